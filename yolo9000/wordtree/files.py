"""Trees as files of the original program, and the tree that a config names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from yolo9000.files import FileError, read_list, write_list
from yolo9000.wordtree.tree import TreeError, WordTree


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


def make_tree(
  tree: WordTree | str | Sequence[int] | None, class_names: Sequence[str]
) -> WordTree | None:
  """The tree that a config names; its nodes must be the classes.

  Args:
    tree: a .tree file; the number of each class's parent, -1 at the top; or
      nothing, for none.
    class_names: of the network.

  Raises:
    ValueError: if it cannot be read, is no tree, or has other nodes; it lists
      both sides.
  """
  if tree is None or isinstance(tree, WordTree):
    return tree
  if not tree:
    return None
  if not isinstance(tree, str):
    return WordTree(tuple(class_names), tuple(tree))
  found = read_tree(tree)
  if found.ids != tuple(class_names):
    ours, theirs = set(class_names), set(found.ids)
    raise ValueError(
      f"{tree}: its {len(theirs)} nodes are not the {len(ours)} classes in "
      f"their order; in the tree alone: {sorted(theirs - ours)[:20]}, in the "
      f"classes alone: {sorted(ours - theirs)[:20]}"
    )
  return found
