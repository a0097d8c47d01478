"""The nodes of a tree: their order, their parts, their file."""

import re

import numpy as np
import pytest

from yolo9000.files import FileError
from yolo9000.wordtree import TreeError, WordTree
from yolo9000.wordtree.files import read_tree, write_tree

#  animal          plant
#  dog      cat    rose
#  terrier
TREE = WordTree(
  ("animal", "plant", "dog", "cat", "rose", "terrier"), (-1, -1, 0, 0, 1, 2)
)


def test_a_tree_needs_an_order():
  with pytest.raises(TreeError, match="siblings without a gap") as error:
    WordTree(("a", "b", "c", "d"), (-1, 0, -1, 0))
  assert error.value.node == 2


def test_parts_of_a_tree_by_hand():
  ids = np.array(TREE.ids)
  assert TREE.depth.tolist() == [0, 0, 1, 1, 1, 2]
  assert ids[TREE.leaves].tolist() == ["cat", "rose", "terrier"]
  assert [TREE.ids[n] for n in TREE.path(5)] == ["terrier", "dog", "animal"]
  assert ids[TREE.below(0)].tolist() == ["animal", "dog", "cat", "terrier"]
  assert ids[TREE.below(5)].tolist() == ["terrier"]
  assert ids[TREE.level(0)].tolist() == ["animal", "plant"]
  assert ids[TREE.level(1)].tolist() == ["dog", "cat", "rose"]
  assert ids[TREE.level(2)].tolist() == ["cat", "rose", "terrier"]


def test_select_nodes_by_words():
  for what, nodes in (
    ("leaves", TREE.leaves),
    ("level 1", TREE.level(1)),
    ("below " + TREE.ids[1], TREE.below(1)),
    (f"{TREE.ids[2]},{TREE.ids[0]}", [2, 0]),
  ):
    np.testing.assert_array_equal(TREE.select(what), nodes)
  for wrong in ("level 9", "below eel", "eel", "level x", ""):
    with pytest.raises(ValueError, match="expected leaves, level 0 to"):
      TREE.select(wrong)


# Its file


TEXT = "animal -1\nplant -1\ndog 0\ncat 0\nrose 1\nterrier 2\n"


def write(tmp_path, text):
  path = tmp_path / "a.tree"
  path.write_text(text)
  return path


def test_a_file_by_hand(tmp_path):
  path = write(tmp_path, TEXT)
  tree = read_tree(path)
  assert tree.ids[2] == "dog" and tree.parents == (-1, -1, 0, 0, 1, 2)
  np.testing.assert_array_equal(tree.group, [0, 0, 1, 1, 2, 3])
  np.testing.assert_array_equal(tree.child_group, [1, 2, 3, -1, -1, -1])
  write_tree(tmp_path / "b.tree", tree)
  assert (tmp_path / "b.tree").read_text() == TEXT


@pytest.mark.parametrize(
  ("text", "line", "message"),
  [
    (TEXT + "tulip 1\n", 7, r"siblings without a gap"),
    ("a -1\nb 2\nc -1\n", 2, "node 1 .b. has parent 2; expected -1"),
    ("a -1\nb 1\n", 2, "has parent 1; expected -1 for the top or an earlier"),
    ("a 1\nb 0\n", 1, r"has parent 1; expected -1 for the top"),
    ("a -1\nb 0\nc 1\nd 9\n", 4, "has parent 9"),
    ("a -1\nb\n", 2, "expected an id and the number of its parent"),
    ("a -1\n\nb 0\n", 2, "is blank"),
    ("a -1\nb -2\n", 2, "has parent -2"),
  ],
)
def test_a_bad_tree_names_the_line(tmp_path, text, line, message):
  path = write(tmp_path, text)
  with pytest.raises(
    FileError, match=rf"{re.escape(str(path))}:{line}: .*{message}"
  ):
    read_tree(path)


def test_a_tree_needs_as_many_ids_as_parents():
  with pytest.raises(TreeError, match="2 ids and 1 parents"):
    WordTree(("a", "b"), (-1,))


def test_the_real_tree_comes_back_from_its_file(shared, tmp_path):
  real = shared / "darknet" / "9k.tree"
  write_tree(tmp_path / "9k.tree", read_tree(real))
  assert (tmp_path / "9k.tree").read_text() == real.read_text()
