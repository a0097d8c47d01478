"""Building, checking, showing and mapping trees, against the recorded ones."""

import json
import random
import re

import pytest
from conftest import SHARED

from yolo9000.darknet import text as darknet_files
from yolo9000.wordtree import TreeError, WordTree, __main__, build
from yolo9000.wordtree import files as tree_files
from yolo9000.wordtree import names as node_names


def above(tree):
  """Each node's parent by id."""
  return {
    node: tree.ids[parent] if parent >= 0 else None
    for node, parent in zip(tree.ids, tree.parents, strict=True)
  }


@pytest.fixture(scope="module")
def files():
  if not (SHARED / "wordnet").is_dir():
    pytest.skip(f"{SHARED / 'wordnet'} is not here")
  return SHARED


@pytest.fixture(scope="module")
def wordnet(files):
  return build.read_hypernyms(files / "wordnet/wordnet30/wordnet.is_a.txt")


def test_wordtree1k_has_the_papers_1369_nodes(files, wordnet):
  """In the original program's order of classes; 1371 in WordNet's."""
  folder = files / "wordnet"
  labels = (folder / "ilsvrc1k_darknet_order.txt").read_text().split()
  tree = build.from_hypernyms(wordnet, labels)
  assert len(tree.ids) == 1369 and tree.num_groups == 370
  assert sum(group < 0 for group in tree.child_group) == 1000
  expected = tree_files.read_tree(folder / "expected/wordtree1k_1369.tree")
  assert above(tree) == above(expected)
  labels = (folder / "ilsvrc1k_wnid_order.txt").read_text().split()
  assert len(build.from_hypernyms(wordnet, labels).ids) == 1371


def test_the_9k_tree_rebuilt_is_nearly_the_programs(files, wordnet):
  """From the synsets of many pictures below physical entity, and three lists.

  The paper's "top 9000 classes" are not known; 777 pictures fit best.
  """
  theirs = tree_files.read_tree(files / "darknet/9k.tree")
  assert len(theirs.ids) == 9418 and theirs.num_groups == 1846
  assert sum(group < 0 for group in theirs.child_group) == 7573
  release = files / "wordnet/imagenet/ReleaseStatus_fall2011.xml"
  synsets = re.findall(
    r'wnid="(n\d+)"[^>]*numImages="(\d+)"', release.read_text()
  )

  def is_physical(node):
    return node == "n00001930" or any(map(is_physical, wordnet.get(node, ())))

  labels = (files / "wordnet/ilsvrc1k_darknet_order.txt").read_text().split()
  labels += [n for n, count in synsets if int(count) >= 777 and is_physical(n)]
  for name in ("coco9k.map", "inet9k.map"):
    nodes = darknet_files.read_map(files / "darknet" / name, num_nodes=9418)
    labels += [theirs.ids[node] for node in nodes]
  labels = [n for n in dict.fromkeys(labels) if n in wordnet]
  ours = above(build.from_hypernyms(wordnet, labels))
  of_theirs = above(theirs)
  common = ours.keys() & of_theirs.keys()
  same = sum(ours[node] == of_theirs[node] for node in common)
  assert (len(ours), len(common), same) == (9419, 9405, 8602)


@pytest.mark.parametrize("seed", range(2))
def test_orders_give_about_as_many_nodes(files, wordnet, seed):
  labels = (files / "wordnet/ilsvrc1k_wnid_order.txt").read_text().split()
  random.Random(seed).shuffle(labels)
  tree = build.from_hypernyms(wordnet, labels)
  assert 1368 <= len(tree.ids) <= 1373 and set(labels) <= set(tree.ids)


def test_of_several_paths_the_one_that_grows_the_tree_least():
  """By hand: cat has one path; wolf has two, and takes the one of cat's."""
  pairs = {
    "animal": ("thing",),
    "pet": ("animal",),
    "wild": ("animal",),
    "forest": ("wild",),
    "cat": ("pet",),
    "lion": ("wild",),
    "wolf": ("forest", "pet"),
    "stone": ("thing",),
  }
  tree = build.from_hypernyms(pairs, ("wolf", "cat", "lion", "stone"))
  # thing is the root, wild has one child and is no label.
  assert above(tree) == {
    **{"animal": None, "stone": None, "pet": "animal", "lion": "animal"},
    **{"cat": "pet", "wolf": "pet"},
  }
  kept = build.from_hypernyms(pairs, ("wolf", "cat", "lion", "stone", "wild"))
  assert above(kept)["lion"] == "wild"


@pytest.mark.parametrize(
  ("labels", "message"),
  [
    (("cat", "cow"), "label 1 .cow. has no hypernyms here"),
    (("cat", "cat"), "label 1 .cat. is there twice"),
  ],
)
def test_bad_labels(labels, message):
  with pytest.raises(TreeError, match=message):
    build.from_hypernyms({"cat": ("animal",)}, labels)


def test_a_tree_of_100000_nodes():
  """And one that is a single path of them."""
  wide = {f"n{n}": f"n{(n - 1) // 7}" if n else None for n in range(100_000)}
  tree = build.ordered(wide)
  assert len(tree.ids) == 100_000 and above(tree) == wide
  deep = {f"n{n}": f"n{n - 1}" if n else None for n in range(100_000)}
  assert build.ordered(deep).num_groups == 100_000
  assert build.cycle(deep) == []
  assert len(build.contracted(deep, (), without_root=False)) == 1


def test_a_tree_comes_back_in_a_good_order(files):
  """Shuffled nodes; siblings end as neighbours, parents before children."""
  theirs = above(tree_files.read_tree(files / "darknet/9k.tree"))
  nodes = list(theirs)
  random.Random(0).shuffle(nodes)
  again = build.ordered({node: theirs[node] for node in nodes})
  assert above(again) == theirs


@pytest.mark.parametrize(
  ("parents", "message"),
  [
    ({}, "0 ids"),
    ({"a": "b"}, "a has the parent b, which is no node"),
    ({"a": None, "b": "c", "c": "b"}, "b is below itself"),
    ({"a": "a"}, "a is below itself"),
  ],
)
def test_what_is_no_tree(parents, message):
  with pytest.raises(TreeError, match=message):
    build.ordered(parents)


# Tables


def test_a_table(tmp_path):
  path = tmp_path / "t.csv"
  path.write_text("dog,animal\ncat,animal\npug,dog\n")
  assert build.read_csv(path) == {
    **{"animal": None, "dog": "animal", "cat": "animal", "pug": "dog"}
  }
  path.write_text("animal,\nstone,\ndog,animal\n")
  tree = build.ordered(build.read_csv(path))
  assert tree == WordTree(("animal", "stone", "dog"), (-1, -1, 0))
  path.write_text("child,parent\nanimal,\nstone,\ndog,animal\n")
  assert build.ordered(build.read_csv(path)) == tree


@pytest.mark.parametrize(
  ("text", "flaws"),
  [
    ("a,\nb,a\nb,a\n", ["t.csv:3: b is there already, in line 2"]),
    ("a,\nb,c\n", ["t.csv:2: b has the parent c, which is no node"]),
    (
      "a,b\nb,a\nc,a\n",
      [f"t.csv:{n}: {node} is below itself" for n, node in enumerate("abc", 1)],
    ),
    ("a,\nb\n", ["t.csv:2: 'b'; expected: child,parent"]),
    ("a,b,c\n,b\nd,\n", ["t.csv:1: 'a,b,c'", "t.csv:2: ',b'"]),
  ],
)
def test_bad_tables(tmp_path, text, flaws, capsys):
  path = tmp_path / "t.csv"
  path.write_text(text)
  with pytest.raises(TreeError) as error:
    build.read_csv(path)
  for told in (str(error.value), printed(capsys, 1, "check", path)):
    for flaw in flaws:
      assert flaw in told


def printed(capsys, code, *words):
  """What the command prints; it must end with the code."""
  assert __main__.main([*map(str, words)]) == code
  shown = capsys.readouterr()
  return shown.out + shown.err


# Files .tree


@pytest.mark.parametrize(
  ("rows", "flaws"),
  [
    (["a -1", "b 0", "c 0"], []),
    (["a -1", "b 0", "c -1"], ["t.tree:3: c is not next to its sibling a"]),
    (["a 1", "b -1"], ["t.tree:1: a comes before its parent, b"]),
    (["a -1", "b 7"], ["t.tree:2: b has the parent 7, which is no node"]),
    (["a -1", "a 0"], ["t.tree:2: a is there already, in line 1"]),
    (["a 1", "b 0"], ["t.tree:1: a is below", "t.tree:2: b is below itself"]),
    (["a -1", "b"], ["t.tree:2: 'b'; expected: id, number of the parent"]),
  ],
)
def test_check(tmp_path, rows, flaws, capsys):
  path = tmp_path / "t.tree"
  path.write_text("\n".join(rows))
  told = printed(capsys, int(bool(flaws)), "check", path)
  for flaw in flaws:
    assert flaw in told
  assert ("0 flaws" in told) == (not flaws)


def test_repair(tmp_path, capsys):
  path, good = tmp_path / "t.tree", tmp_path / "good.tree"
  path.write_text("pug 2\nstone -1\ndog 4\ncat 4\nanimal -1\n")
  printed(capsys, 1, "check", path, f"--repair={good}")
  assert above(tree_files.read_tree(good)) == {
    **{"stone": None, "animal": None, "dog": "animal", "cat": "animal"},
    "pug": "dog",
  }
  printed(capsys, 0, "check", good)
  path.write_text("a 1\nb 0\n")
  assert "is below itself" in printed(
    capsys, 2, "check", path, f"--repair={good}"
  )


# Open Images


def test_open_images_hierarchy(tmp_path, capsys):
  """Entity is no class; what stands in two places goes where it costs least."""
  path = tmp_path / "h.json"
  tea = {"LabelName": "/m/tea"}
  path.write_text(
    json.dumps(
      {
        "LabelName": "/m/entity",
        "Subcategory": [
          {"LabelName": "/m/drink", "Subcategory": [tea]},
          {"LabelName": "/m/food", "Subcategory": [tea], "Part": [tea]},
        ],
      }
    )
  )
  tree = build.read_open_images(path)
  assert above(tree) == {
    **{"/m/drink": None, "/m/food": None, "/m/tea": "/m/drink"}
  }
  out = tmp_path / "o.tree"
  told = printed(capsys, 0, "build", "open_images", path, out)
  assert "3 nodes, 2 groups of siblings, 2 leaves" in told
  for text in ("{", "[]", '{"LabelName": 3}', "[" * 100000, "{}"):
    path.write_text(text)
    assert "h.json" in printed(capsys, 2, "build", "open_images", path, out)


# The command


def test_the_command_builds_wordtree1k(files, tmp_path, capsys):
  folder = files / "wordnet"
  labels = f"--labels={folder}/ilsvrc1k_darknet_order.txt"
  pairs = folder / "wordnet30/wordnet.is_a.txt"
  out = tmp_path / "1k.tree"
  told = printed(capsys, 0, "build", "wordnet", pairs, out, labels)
  assert "1369 nodes, 370 groups of siblings, 1000 leaves" in told
  assert "needs --labels" in printed(capsys, 2, "build", "wordnet", pairs, out)
  (tmp_path / "bad.txt").write_text("a b\nc\n")
  told = printed(
    capsys, 2, "build", "wordnet", tmp_path / "bad.txt", out, labels
  )
  assert "bad.txt:2: 'c'; expected: parent child" in told
  (tmp_path / "bad.txt").write_text("a b\nb a\n")
  told = printed(
    capsys, 2, "build", "wordnet", tmp_path / "bad.txt", out, labels
  )
  assert "is below itself" in told


@pytest.fixture
def small(tmp_path, capsys):
  """A table, its tree by the command, and names of its nodes."""
  table, tree = tmp_path / "t.csv", tmp_path / "t.tree"
  table.write_text("n2,n1\nn3,n1\nn4,n2\nn5,n2\n")
  printed(capsys, 0, "build", "csv", table, tree)
  words = tmp_path / "words.txt"
  words.write_text(
    "n1\tanimal, beast\nn2\tdog, hound\nn3\tcat\nn4\tpug, pug-dog\nn9\tx\n"
    "n5\tGerman shepherd, hound\n"
  )
  return tree, words


def test_show(small, tmp_path, capsys):
  tree, words = small
  told = printed(capsys, 0, "show", tree, f"--names={words}")
  assert told == "animal\n  dog\n    pug\n    German shepherd\n  cat\n"
  assert printed(capsys, 0, "show", tree, "n2") == "n2\n  n4\n  n5\n"
  told = printed(
    capsys, 0, "show", tree, "beast", f"--names={words}", "--depth=2"
  )
  assert told == "animal\n  dog  [2 below]\n  cat\n"
  told = printed(capsys, 2, "show", tree, "hound", f"--names={words}")
  assert "'hound': n2, n5; expected one" in told
  assert "'cow': none" in printed(capsys, 2, "show", tree, "cow")
  for name, start in (("a.svg", b"<?xml"), ("a.png", b"\x89PNG")):
    printed(capsys, 0, "show", tree, f"--out={tmp_path / name}")
    assert (tmp_path / name).read_bytes().startswith(start)
  assert "expected .svg or .png" in printed(
    capsys, 2, "show", tree, "--out=a.gif"
  )
  assert "at least 1" in printed(capsys, 2, "show", tree, "--depth=0")


def test_names_of_nodes(small, tmp_path, capsys):
  tree, _ = small
  lines = tmp_path / "names"
  lines.write_text("a\nb\nc\nd\ne\n")
  assert printed(capsys, 0, "show", tree, f"--names={lines}").startswith("a\n")
  lines.write_text("a\nb\n")
  told = printed(capsys, 2, "show", tree, f"--names={lines}")
  assert "names: 2 lines, but the tree has 5 nodes" in told
  assert "cannot be read" in printed(capsys, 2, "show", tmp_path / "none.tree")


def test_map(small, tmp_path, capsys):
  tree, words = small
  classes, out = tmp_path / "classes", tmp_path / "map.csv"
  classes.write_text("Cats\nhound\ncow\nn4\ngerman_shepherd\n")
  told = printed(capsys, 1, "map", tree, classes, out, f"--names={words}")
  assert out.read_text().split() == [
    *("Cats,n3", "hound,n2", "cow,?", "n4,n4", "german_shepherd,n5")
  ]
  assert "hound: n2 (dog), n5 (German shepherd)" in told
  assert "cow: no node has this name" in told
  assert "3 of 5 classes have one node, 1 have none" in told


def test_proposals_for_coco_are_mostly_the_programs(files):
  """80 classes; what it maps them to is often not what they are called."""
  folder = files / "darknet"
  tree = tree_files.read_tree(folder / "9k.tree")
  words = node_names.read(files / "wordnet/wordnet30/words.txt", tree)
  classes = darknet_files.read_names(folder / "coco.names")
  nodes = darknet_files.read_map(folder / "coco9k.map", num_nodes=9418)
  found = node_names.propose(classes, tree, words).values()
  theirs = [tree.ids[node] for node in nodes]
  pairs = list(zip(found, theirs, strict=True))
  assert sum(node in ours for ours, node in pairs) == 63
  assert sum(ours[:1] == [node] for ours, node in pairs) == 60


def test_a_node_with_blanks_is_refused(tmp_path, capsys):
  table = tmp_path / "t.csv"
  table.write_text("German shepherd,dog\n")
  told = printed(capsys, 2, "build", "csv", table, tmp_path / "t.tree")
  assert "'German shepherd' cannot stand in a .tree file" in told
