"""What the nodes of a tree are called, and which of them a class name means."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from yolo9000.files import read_list
from yolo9000.wordtree.tree import TreeError, WordTree

Names = Mapping[str, tuple[str, ...]]  # of each id, the usual one first


def read(path: str | Path, tree: WordTree) -> dict[str, tuple[str, ...]]:
  """The names of a tree's nodes.

  Args:
    path: lines `id TAB name, another name` such as WordNet's words.txt, in any
      order and of any nodes; or a name on each line, in the order of the tree.
    tree: its nodes.

  Raises:
    FileError: for a file that cannot be read.
    TreeError: for one of neither form.
  """
  lines = read_list(path)
  if all("\t" in line for line in lines):
    pairs = (line.split("\t", 1) for line in lines)
    known = set(tree.ids)
    return {
      node: tuple(name.strip() for name in names.split(","))
      for node, names in pairs
      if node in known
    }
  if len(lines) != len(tree.ids):
    raise TreeError(
      0, f"{path}: {len(lines)} lines, but the tree has {len(tree.ids)} nodes"
    )
  return {node: (name,) for node, name in zip(tree.ids, lines, strict=True)}


def called(node: str, names: Names) -> str:
  """A node's usual name, or its id."""
  return names.get(node, (node,))[0]


def propose(
  classes: Sequence[str], tree: WordTree, names: Names
) -> dict[str, list[str]]:
  """For each class the nodes it may mean, those with the most below first.

  By the node's id, or by one of its names; letters' size, blanks, hyphens and a
  plural s make no difference. A person is to choose: of the program's map of 80
  COCO classes to its 9k tree this finds 63, and 60 of these come first.
  """
  nodes: dict[str, dict[str, None]] = defaultdict(dict)
  for node in tree.ids:
    for name in (node, *names.get(node, ())):
      nodes[_plain(name)][node] = None
  below = dict.fromkeys(tree.ids, 0)
  for node, parent in reversed(list(zip(tree.ids, tree.parents, strict=True))):
    if parent >= 0:
      below[tree.ids[parent]] += 1 + below[node]
  return {
    name: sorted(nodes.get(_plain(name), ()), key=lambda node: -below[node])
    for name in classes
  }


def _plain(name: str) -> str:
  letters = re.sub(r"[\W_]+", "", name.lower())
  return letters[:-1] if len(letters) > 3 and letters.endswith("s") else letters


def lines(
  tree: WordTree, names: Names, *, top: int | None, depth: int
) -> Iterator[str]:
  """A tree as indented text, a line for each node.

  Args:
    tree: what to show.
    names: of its nodes.
    top: number of the node to begin with; None for all of the top.
    depth: levels to show.
  """
  children: dict[int, list[int]] = defaultdict(list)
  for node, parent in enumerate(tree.parents):
    children[parent].append(node)
  start = children[-1] if top is None else [top]
  stack = [(node, 0) for node in reversed(start)]
  while stack:
    node, level = stack.pop()
    below = children[node]
    hidden = f"  [{len(below)} below]" if below and level + 1 >= depth else ""
    yield f"{'  ' * level}{called(tree.ids[node], names)}{hidden}"
    if not hidden:
      stack += [(child, level + 1) for child in reversed(below)]


def find(tree: WordTree, names: Names, wanted: str) -> int:
  """The number of the node with this id or name.

  Raises:
    TreeError: if there is none, or several of that name.
  """
  (found,) = propose([wanted], tree, names).values()
  if len(found) != 1:
    several = ", ".join(found) or "none"
    raise TreeError(0, f"nodes called {wanted!r}: {several}; expected one")
  return tree.ids.index(found[0])
