"""A tree of classes, siblings as neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from yolo9000.types import Int


class TreeError(ValueError):
  """Nodes that make no tree; `node` is the number of the first wrong one."""

  def __init__(self, node: int, message: str):
    super().__init__(message)
    self.node = node


@dataclass(frozen=True)
class WordTree:
  """A tree, or several: nodes in an order in which siblings are neighbours.

  Attributes:
    ids: a name for each of the C nodes, such as WordNet's n02084071.
    parents: number of each node's parent, -1 at the top. A parent comes before
      its children.

  Raises:
    TreeError: for another order, a cycle or a parent that does not exist.
  """

  ids: tuple[str, ...]
  parents: tuple[int, ...]

  def __post_init__(self):
    if len(self.ids) != len(self.parents) or not self.ids:
      raise TreeError(
        0, f"{len(self.ids)} ids and {len(self.parents)} parents make no tree"
      )
    last_child: dict[int, int] = {}
    for node, (name, parent) in enumerate(
      zip(self.ids, self.parents, strict=True)
    ):
      if not -1 <= parent < node:
        earlier = f" or an earlier node, 0 to {node - 1}" if node else ""
        raise TreeError(
          node,
          f"node {node} ({name}) has parent {parent}; expected -1 for the top"
          + earlier,
        )
      sibling = last_child.get(parent, node - 1)
      if sibling != node - 1:
        raise TreeError(
          node,
          f"node {node} ({name}) is a child of {parent} like node {sibling} "
          f"({self.ids[sibling]}), but other nodes lie between; expected "
          f"siblings without a gap",
        )
      last_child[parent] = node

  @cached_property
  def group(self) -> Int[np.ndarray, " C"]:
    """Number of each node's group of siblings; the top is group 0."""
    parents = np.array(self.parents)
    return np.r_[0, np.cumsum(parents[1:] != parents[:-1])].astype(np.int32)

  @property
  def num_groups(self) -> int:
    """How many groups of siblings there are."""
    return int(self.group[-1]) + 1

  @cached_property
  def group_sizes(self) -> Int[np.ndarray, " G"]:
    """How many nodes each group has."""
    return np.bincount(self.group).astype(np.int32)

  @cached_property
  def child_group(self) -> Int[np.ndarray, " C"]:
    """Group of each node's children; -1 for a leaf."""
    groups = np.full(len(self.parents), -1, np.int32)
    parents = np.array(self.parents)
    inner = parents >= 0
    groups[parents[inner]] = self.group[inner]
    return groups

  @cached_property
  def depth(self) -> Int[np.ndarray, " C"]:
    """Levels above each node; 0 at the top."""
    depth = np.zeros(len(self.parents), np.int32)
    for node, parent in enumerate(self.parents):
      depth[node] = depth[parent] + 1 if parent >= 0 else 0
    return depth

  @cached_property
  def widest_path(self) -> int:
    """Nodes in the groups on a path, of the path where they are most."""
    widths = self.group_sizes[self.group].astype(np.int64)
    for node, parent in enumerate(self.parents):
      if parent >= 0:
        widths[node] += widths[parent]
    return int(widths.max())

  @property
  def leaves(self) -> Int[np.ndarray, " L"]:
    """The nodes without children."""
    return np.flatnonzero(self.child_group < 0)

  def level(self, depth: int) -> Int[np.ndarray, " D"]:
    """The nodes at this depth and the leaves above it, one of each path.

    Their probabilities sum to 1.
    """
    at = self.depth == depth
    return np.flatnonzero(at | ((self.child_group < 0) & (self.depth < depth)))

  def select(self, what: str) -> Int[np.ndarray, " D"]:
    """Nodes by a few words.

    Args:
      what: "leaves", "level 2", "below dog" (dog among them), or ids with
        commas between.

    Raises:
      ValueError: for an id or level that there is not.
    """
    kind, _, rest = what.partition(" ")
    if what == "leaves":
      return self.leaves
    if kind == "level" and rest.isdigit() and int(rest) <= self.depth.max():
      return self.level(int(rest))
    names = [rest] if kind == "below" else what.split(",")
    if wrong := [name for name in names if name not in self.ids]:
      raise ValueError(
        f"{what!r}: there is no node {', '.join(wrong)}; expected leaves, "
        f"level 0 to {self.depth.max()}, below and an id, or ids with commas "
        f"between"
      )
    nodes = [self.ids.index(name) for name in names]
    return self.below(nodes[0]) if kind == "below" else np.array(nodes)

  def path(self, node: int) -> tuple[int, ...]:
    """The node and all above it, up to the top."""
    path = []
    while node >= 0:
      path.append(node)
      node = self.parents[node]
    return tuple(path)

  def below(self, node: int) -> Int[np.ndarray, " D"]:
    """The node and all below it."""
    inside = np.zeros(len(self.parents), bool)
    inside[node] = True
    for child in range(node + 1, len(self.parents)):
      inside[child] |= self.parents[child] >= 0 and inside[self.parents[child]]
    return np.flatnonzero(inside)

  @cached_property
  def jumps(self) -> list[Int[np.ndarray, " C"]]:
    """Each node's ancestor 1, 2, 4, .. levels above; C beyond the top."""
    top = len(self.parents)
    jump = np.array([p if p >= 0 else top for p in (*self.parents, -1)])
    jumps = []
    while (jump != top).any():
      jumps.append(jump[:-1])
      jump = jump[jump]
    return jumps


class Classes(NamedTuple):
  """The classes of a detector.

  Attributes:
    names: of the C labels, in their order.
    tree: whose nodes they are, or None.
  """

  names: tuple[str, ...]
  tree: WordTree | None = None

  def labels(
    self, chosen: Sequence[str | int], option: str
  ) -> list[int] | None:
    """Labels of these classes; None for none, which stands for all.

    Args:
      chosen: names, or labels, since names of a tree's nodes may repeat.
      option: from which they are, for the message.

    Raises:
      ValueError: for a class that there is not or that is there twice.
    """
    numbers = {name: label for label, name in enumerate(self.names)}
    known = {*numbers, *range(len(self.names))}
    wrong = [one for one in chosen if one not in known]
    if isinstance(chosen, str) or wrong or len(set(chosen)) < len(chosen):
      raise ValueError(
        f"{option} is {chosen!r}; expected classes, each once"
        + (f"; unknown are {wrong}" if wrong else "")
      )
    return [numbers.get(one, one) for one in chosen] or None
