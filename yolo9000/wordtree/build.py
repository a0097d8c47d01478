"""Building a WordTree: from WordNet, a table, or Open Images' hierarchy.

Until it is a WordTree, a tree is a dict from each node's id to its parent's, or
to None at the top.
"""

from __future__ import annotations

import csv
import functools
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from yolo9000.files import FileError, read_lines, read_text
from yolo9000.wordtree.tree import TreeError, WordTree

Parents = Mapping[str, "str | None"]


def read_hypernyms(path: str | Path) -> dict[str, tuple[str, ...]]:
  """Every synset's hypernyms, from lines `parent child` such as WordNet's.

  Raises:
    TreeError: for a line of another form, or a cycle.
  """
  parents: dict[str, list[str]] = defaultdict(list)
  for line, text in _numbered(path):
    words = text.split()
    if len(words) != 2:
      raise TreeError(line, f"{path}:{line}: {text!r}; expected: parent child")
    parents[words[1]].append(words[0])
  result = {child: tuple(above) for child, above in parents.items()}
  _check_cycles(result, path)
  return result


def from_hypernyms(
  hypernyms: Mapping[str, Sequence[str]], labels: Sequence[str]
) -> WordTree:
  """The paper's procedure: a tree of WordNet that has these labels.

  First the labels with one path to the root, then, label by label, of several
  paths the one that grows the tree least, the first of equals. Then nodes that
  have one child and are no label are left out, and so is the root. Differs: the
  paper does not say so, but its 1369 nodes come out only then.

  Args:
    hypernyms: of each synset; one without is a root.
    labels: ids of synsets.

  Raises:
    TreeError: for a label that the hypernyms do not have, or that is there
      twice.

  Source: section 4, "Hierarchical classification".
  """
  known = {*hypernyms, *(p for above in hypernyms.values() for p in above)}
  seen: set[str] = set()
  for n, label in enumerate(labels):
    if label not in known or label in seen:
      wrong = "is there twice" if label in seen else "has no hypernyms here"
      raise TreeError(n, f"label {n} ({label}) {wrong}")
    seen.add(label)

  @functools.cache
  def paths(node: str) -> tuple[tuple[str, ...], ...]:
    above = hypernyms.get(node, ())
    return tuple((node, *path) for p in above for path in paths(p)) or (
      (node,),
    )

  parents: dict[str, str | None] = {}

  def growth(path: tuple[str, ...]) -> int:
    return next((n for n, x in enumerate(path) if x in parents), len(path))

  several = []
  for label in labels:
    if len(paths(label)) > 1:
      several.append(label)
    else:
      _add(parents, paths(label)[0])
  for label in several:
    _add(parents, min(paths(label), key=growth))
  return ordered(contracted(parents, labels, without_root=True))


def _add(parents: dict[str, str | None], path: tuple[str, ...]) -> None:
  """Adds a path from a node to the root, up to where the tree has it."""
  for node, above in zip(path, (*path[1:], None), strict=True):
    if node in parents:
      return
    parents[node] = above


def contracted(
  parents: Parents, labels: Iterable[str], *, without_root: bool
) -> dict[str, str | None]:
  """Without the nodes that have one child and are no label.

  Such a child has probability 1 given its parent, so nothing is lost.

  Args:
    parents: a tree.
    labels: nodes that stay.
    without_root: whether the top nodes are left out as well; they are then no
      nodes, and objectness takes their part.
  """
  children = Counter(parents.values())
  kept = {node for node in parents if children[node] != 1} | set(labels)
  if without_root:
    kept -= {node for node, above in parents.items() if above is None}
  result = {}
  for node in parents:
    if node in kept:
      above = parents[node]
      while above is not None and above not in kept:
        above = parents[above]
      result[node] = above
  return result


def ordered(parents: Parents) -> WordTree:
  """The nodes level by level, siblings as neighbours, in their given order.

  Raises:
    TreeError: for a parent that is no node, a cycle, or no node at all.
  """
  children = defaultdict(list)
  for n, (node, above) in enumerate(parents.items()):
    if above is not None and above not in parents:
      raise TreeError(n, f"{node} has the parent {above}, which is no node")
    children[above].append(node)
  ids: list[str] = []
  level = children[None]
  while level:
    ids += level
    level = [child for node in level for child in children[node]]
  if len(ids) < len(parents):
    numbers = {node: n for n, node in enumerate(parents)}
    lost = min(set(parents) - set(ids), key=numbers.__getitem__)
    raise TreeError(numbers[lost], f"{lost} is below itself")
  numbers = {node: n for n, node in enumerate(ids)}
  numbers_above = (parents[node] for node in ids)
  return WordTree(
    tuple(ids),
    tuple(-1 if a is None else numbers[a] for a in numbers_above),
  )


def read_csv(path: str | Path) -> dict[str, str | None]:
  """A tree from lines `child,parent`.

  A line with an empty parent is a node at the top. Without such lines, a parent
  that is nobody's child is. A first line such as "child,parent", whose second
  cell begins so and is in no other line, is the table's head. Cells may also be
  separated by semicolons or tabulators.

  Raises:
    TreeError: for lines of another form, a node that is there twice, a parent
      that is no node, or a cycle; all of them, with their lines.
  """
  parents, flaws = _csv_rows(path)
  if flaws:
    raise TreeError(flaws[0][0], "\n".join(_told(path, flaws)))
  return parents


# How the second column of a table may be called.
HEADS = ("parent", "superclass", "supercategory", "hypernym")
Flaw = tuple[int, str]  # a line from 1, and what is wrong there


def _csv_rows(path: str | Path) -> tuple[dict[str, str | None], list[Flaw]]:
  """A table's tree, without what is wrong, and what is wrong."""
  rows: list[tuple[int, str, str]] = []
  flaws: list[Flaw] = []
  numbered = [(line, text) for line, text in _numbered(path) if text]
  delimiter = max(",;\t", key=numbered[0][1].count)
  for line, text in numbered:
    reader = csv.reader([text], delimiter=delimiter, skipinitialspace=True)
    cells = [cell.strip() for cell in next(reader)]
    if len(cells) == 2 and cells[0]:
      rows.append((line, cells[0], cells[1]))
    elif any(cells):
      flaws.append((line, f"{text!r}; expected: child,parent"))
  if rows and rows[0][2].lower().startswith(HEADS):
    if not any(rows[0][2] in row[1:] for row in rows[1:]):
      del rows[0]
  elif rows and rows[0][1].lower().startswith(HEADS):
    if not any(rows[0][1] in row[1:] for row in rows[1:]):
      head = ",".join(rows[0][1:])
      flaws.append(
        (rows[0][0], f"the columns are {head}; expected child,parent")
      )
  if not rows and not flaws:
    raise FileError(f"{path}: has no node; expected lines child,parent")
  children = {child for _, child, _ in rows}
  has_tops = any(not parent for _, _, parent in rows)
  tops = [] if has_tops else [p for _, _, p in rows if p not in children]
  parents: dict[str, str | None] = dict.fromkeys(tops)
  lines: dict[str, int] = {}
  for line, child, parent in rows:
    if child in lines:
      flaws.append((line, f"{child} is there already, in line {lines[child]}"))
    elif parent and has_tops and parent not in children:
      flaws.append((line, f"{child} has the parent {parent}, which is no node"))
    else:
      parents[child], lines[child] = parent or None, line
  flaws += [(lines.get(n, 0), f"{n} is below itself") for n in cycle(parents)]
  return parents, sorted(flaws)


ENTRY = {"LabelName", "Subcategory", "Part"}  # keys of the hierarchy


def read_open_images(path: str | Path) -> WordTree:
  """The tree of Open Images' hierarchy, bbox_labels_600_hierarchy.json.

  A class that stands below several others is placed as `from_hypernyms` does.
  The root, Entity, is no class and left out, and so are parts.

  Raises:
    TreeError: if it has another form.
  """
  above: dict[str, list[str]] = defaultdict(list)
  order: list[str] = []

  def enter(entry: Any, parent: str | None) -> None:
    name = entry.get("LabelName") if isinstance(entry, dict) else None
    below = entry.get("Subcategory", []) if isinstance(entry, dict) else None
    for key in entry if isinstance(entry, dict) else ():
      meant = {known.lower(): known for known in ENTRY}.get(key.lower(), key)
      if meant != key:
        raise TreeError(0, f"{path}: {key!r} is not read; is it {meant}?")
    if not isinstance(name, str) or not isinstance(below, list):
      raise TreeError(0, f"{path}: {str(entry)[:60]} has no LabelName")
    if parent is not None and parent not in above[name]:
      above[name].append(parent)
    if parent is not None and name not in order:
      order.append(name)
    for child in below:
      enter(child, name)

  text = read_text(path)
  try:
    enter(json.loads(text), None)
  except (ValueError, RecursionError) as error:
    if isinstance(error, TreeError):
      raise
    raise TreeError(0, f"{path}: not valid JSON: {error}") from None
  hypernyms = {name: tuple(parents) for name, parents in above.items()}
  _check_cycles(hypernyms, path)
  return from_hypernyms(hypernyms, order)


def check(path: str | Path) -> tuple[dict[str, str | None], list[Flaw]]:
  """What is wrong with a .tree or a .csv file, and the tree that can be saved.

  Cycles, parents that are no node, nodes that are there twice, and in a .tree
  also parents after their children and siblings that are not neighbours.
  """
  if str(path).lower().endswith(".csv"):
    return _csv_rows(path)
  flaws: list[Flaw] = []
  rows: list[tuple[str, int]] = []
  for line, text in _numbered(path):
    words = text.split()
    if len(words) == 2 and re.fullmatch(r"-?\d+", words[1]):
      rows.append((words[0], int(words[1])))
    else:
      flaws.append((line, f"{text!r}; expected: id, number of the parent"))
      rows.append((f"line {line}", -1))
  parents: dict[str, str | None] = {}
  last: dict[int, int] = {}
  for n, (node, above) in enumerate(rows):
    if node in parents:
      first = [name for name, _ in rows].index(node) + 1
      flaws.append((n + 1, f"{node} is there already, in line {first}"))
      continue
    if not -1 <= above < len(rows):
      flaws.append((n + 1, f"{node} has the parent {above}, which is no node"))
      continue
    parents[node] = rows[above][0] if above >= 0 else None
    if above >= n:
      flaws.append((n + 1, f"{node} comes before its parent, {parents[node]}"))
    if last.get(above, n - 1) != n - 1:
      sibling = rows[last[above]][0]
      flaws.append((n + 1, f"{node} is not next to its sibling {sibling}"))
    last[above] = n
  lines = {node: n for n, (node, _) in enumerate(rows, 1)}
  flaws += [(lines[n], f"{n} is below itself") for n in cycle(parents)]
  return parents, sorted(flaws)


def cycle(parents: Parents) -> list[str]:
  """The nodes that are below themselves, and those below them."""
  done: dict[str, bool] = {}  # whether the way up ends
  for start in parents:
    way: list[str] = []
    node: str | None = start
    while node is not None and node not in done and node in parents:
      done[node] = False  # until the end is found
      way.append(node)
      node = parents[node]
    ends = (
      node is None or node not in parents or (node not in way and done[node])
    )
    for passed in way:
      done[passed] = ends
  return [node for node in parents if not done[node]]


def _told(path: str | Path, flaws: Iterable[Flaw]) -> list[str]:
  return [f"{path}:{line}: {message}" for line, message in flaws]


def _check_cycles(
  hypernyms: Mapping[str, Sequence[str]], path: str | Path
) -> None:
  """Raises TreeError if somebody is an ancestor of itself."""
  state: dict[str, bool] = {}  # entered, and whether left again
  for start in hypernyms:
    stack = [start]
    while stack:
      node = stack[-1]
      if node in state:
        state[stack.pop()] = True
        continue
      state[node] = False
      for above in hypernyms.get(node, ()):
        if state.get(above) is False:
          raise TreeError(0, f"{path}: {above} is below itself")
        if above not in state:
          stack.append(above)


def _numbered(path: str | Path) -> list[tuple[int, str]]:
  """The lines of a file with their numbers, without blank ones at the end.

  Raises:
    FileError: if it cannot be read, or has none.
  """
  lines = list(enumerate(read_lines(path), 1))
  while lines and not lines[-1][1]:
    lines.pop()
  if not lines:
    raise FileError(f"{path}: is empty")
  return lines
