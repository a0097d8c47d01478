"""WordTree: classes as nodes of a tree whose siblings share a softmax.

The network gives a logit for every node. A softmax over each group of siblings
makes them conditional probabilities, Pr(node | parent), and the product along
the path from the top is the probability of a node:

  Pr(terrier) = Pr(terrier | hunting dog) * Pr(hunting dog | dog) * ...

Source: YOLO9000, section 4, hierarchical classification.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from yolo9000.types import Float, Int


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
  def child_group(self) -> Int[np.ndarray, " C"]:
    """Group of each node's children; -1 for a leaf."""
    groups = np.full(len(self.parents), -1, np.int32)
    parents = np.array(self.parents)
    inner = parents >= 0
    groups[parents[inner]] = self.group[inner]
    return groups

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


def _of_groups(
  reduce: Callable[..., Array], tree: WordTree, columns: Array
) -> Array:
  """For each group of siblings one number, (G, ...) of columns (C, ...)."""
  return reduce(
    columns, jnp.asarray(tree.group), tree.num_groups, indices_are_sorted=True
  )


def log_softmax(
  tree: WordTree, logits: Float[Array, "*N C"]
) -> Float[Array, "*N C"]:
  """Conditional log-probabilities: a log-softmax in each group of siblings."""
  columns = jnp.moveaxis(logits, -1, 0)
  group = jnp.asarray(tree.group)
  highest = _of_groups(jax.ops.segment_max, tree, columns)
  shifted = columns - jax.lax.stop_gradient(highest)[group]
  total = _of_groups(jax.ops.segment_sum, tree, jnp.exp(shifted))
  return jnp.moveaxis(shifted - jnp.log(total)[group], 0, -1)


def path_log_probability(
  tree: WordTree, conditional: Float[Array, "*N C"]
) -> Float[Array, "*N C"]:
  """Log-probability of every node: its path's conditional ones, summed.

  In round k each node adds the sum of the 2^k nodes above those it has.
  """
  total = conditional
  for jump in tree.jumps:
    padded = jnp.concatenate([total, jnp.zeros_like(total[..., :1])], axis=-1)
    total = total + padded[..., jump]
  return total


def walk(
  tree: WordTree, probabilities: Float[Array, "*N C"], *, threshold: float
) -> Int[Array, "*N"]:
  """The node that is reached from the top by always taking the best child.

  It stops before the product of `probabilities` on the way falls to threshold
  or below, at a leaf at the latest, and at the best top node at the earliest.

  Args:
    tree: C nodes.
    probabilities: conditional ones, for the paper's rule. Differs: the original
      program gives the paths' probabilities (absolute ones), which are thus
      multiplied along the path a second time and stop at more general nodes.
    threshold: .5 in the program.

  Source: section 4, "we traverse the tree down"; hierarchy_top_prediction.
  """
  shape = probabilities.shape[:-1]
  columns = jnp.moveaxis(probabilities, -1, 0)  # (C, *N)
  highest = _of_groups(jax.ops.segment_max, tree, columns)
  is_best = columns == highest[jnp.asarray(tree.group)]
  number = jnp.arange(len(columns)).reshape(-1, *[1] * len(shape))
  best = _of_groups(  # the first of equals
    jax.ops.segment_min, tree, jnp.where(is_best, number, len(columns))
  )
  children = jnp.asarray(tree.child_group)

  def take(table, groups):
    return jnp.take_along_axis(table, groups[None], axis=0, mode="clip")[0]

  def step(carry):
    node, product, groups = carry
    product = product * take(highest, groups)
    going = (groups >= 0) & (product > threshold)
    node = jnp.where(going, take(best, groups), node)
    return node, product, jnp.where(going, children[node], -1)

  node, _, _ = jax.lax.while_loop(
    lambda carry: jnp.any(carry[2] >= 0),
    step,
    (best[0], jnp.ones(shape, columns.dtype), jnp.zeros(shape, jnp.int32)),
  )
  return node
