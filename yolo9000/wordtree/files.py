"""Trees as files of the original program; the classes that a config names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from yolo9000.files import FileError, read_list, write_list
from yolo9000.wordtree.tree import Classes, TreeError, WordTree


def read_tree(path: str | Path) -> WordTree:
  """A tree, one node on each line: its id and the number of its parent or -1.

  Raises:
    FileError: for a line of another form, a parent after its child, a
      cycle, or siblings that are not neighbours, which the program would take
      for several groups.
  """
  ids, parents = [], []
  for number, line in enumerate(read_list(Path(path)), 1):
    match = re.fullmatch(r"(\S+)\s+(-?\d{1,9})", line)
    if not match:
      raise FileError(
        f"{path}:{number}: {line[:60]!r}; expected an id and the number of "
        f"its parent"
      )
    ids.append(match[1])
    parents.append(int(match[2]))
  try:
    return WordTree(tuple(ids), tuple(parents))
  except TreeError as error:
    raise FileError(
      f"{path}:{error.node + 1}: {error} (node n is on line n + 1)"
    ) from None


def write_tree(path: str | Path, tree: WordTree) -> None:
  """The inverse of `read_tree`.

  Raises:
    FileError: for a node's id that would not come back: with blanks.
  """
  for name in tree.ids:
    if len(name.split()) != 1 or name != name.strip():
      raise FileError(
        f"{path}: the node {name!r} cannot stand in a .tree file; expected an "
        f"id without blanks, such as german_shepherd"
      )
  pairs = zip(tree.ids, tree.parents, strict=True)
  write_list(path, [f"{name} {parent}" for name, parent in pairs])


def make_classes(names: Sequence[str], tree: str | Sequence[int]) -> Classes:
  """The classes that a config names; a tree's file is read once.

  Args:
    names: of the labels; none for the nodes of a tree's file.
    tree: a .tree file; the number of each class's parent, -1 at the top; or
      nothing, for none.

  Raises:
    ValueError: if there are no names, or the tree cannot be read, is no tree,
      or has other nodes; it lists both sides.
  """
  names = tuple(names)
  if isinstance(tree, str) and tree:
    found = read_tree(tree)
    if names and found.ids != names:
      ours, theirs = set(names), set(found.ids)
      raise ValueError(
        f"{tree}: its {len(theirs)} nodes are not the {len(ours)} classes in "
        f"their order; in the tree alone: {sorted(theirs - ours)[:20]}, in the "
        f"classes alone: {sorted(ours - theirs)[:20]}"
      )
    return Classes(found.ids, found)
  if not names:
    raise ValueError(
      "data.class_names is empty; expected names, or a .tree file as data.tree"
    )
  return Classes(names, WordTree(names, tuple(tree)) if tree else None)
