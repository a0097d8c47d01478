"""WordTree: classes as nodes of a tree whose siblings share a softmax.

The network gives a logit for every node. A softmax over each group of siblings
makes them conditional probabilities, Pr(node | parent), and the product along
the path from the top is the probability of a node:

  Pr(terrier) = Pr(terrier | hunting dog) * Pr(hunting dog | dog) * ...

Source: YOLO9000, section 4, hierarchical classification.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from yolo9000.types import Bool, Float, Int
from yolo9000.wordtree.tree import WordTree


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
  total = jnp.moveaxis(conditional, -1, 0)  # whole rows are faster to gather
  for jump in tree.jumps:
    padded = jnp.concatenate([total, jnp.zeros_like(total[:1])])
    total = total + padded[jump]
  return jnp.moveaxis(total, 0, -1)


class Path(NamedTuple):
  """The nodes that a node's probability depends on; D = `tree.widest_path`.

  Attributes:
    nodes: those of all groups on its path, group by group; then padding.
    depth: of each; -1 for padding.
    own: whether it lies on the path itself.
  """

  nodes: Int[Array, " D"]
  depth: Int[Array, " D"]
  own: Bool[Array, " D"]


def path_to(tree: WordTree, node: Int[Array, ""]) -> Path:
  """The groups of siblings on the way from a node to the top."""
  levels = int(tree.depth.max()) + 1
  path = node.astype(jnp.int32)[None]
  for jump in tree.jumps:  # 1, 2, 4, .. nodes are known, and so as many more
    beyond = jnp.asarray(np.r_[jump, len(jump)], jnp.int32)
    path = jnp.concatenate([path, beyond[path]])
  path = path[:levels]
  group = jnp.asarray(np.r_[tree.group, tree.num_groups])[path]
  sizes = np.r_[tree.group_sizes, 0]
  ends = jnp.cumsum(jnp.asarray(sizes)[group])
  place = jnp.arange(tree.widest_path)
  few = levels * tree.widest_path < 1e6
  step = jnp.searchsorted(
    ends, place, side="right", method="compare_all" if few else "scan_unrolled"
  )
  inside = step < levels
  step = jnp.minimum(step, levels - 1)
  starts = jnp.asarray(np.cumsum(sizes) - sizes)[group]
  nodes = starts[step] + place - (ends - jnp.asarray(sizes)[group])[step]
  nodes = jnp.where(inside, nodes, 0)
  depth = jnp.where(inside, jnp.asarray(tree.depth)[nodes], -1)
  return Path(nodes, depth, inside & (nodes == path[step]))


def path_error(
  tree: WordTree, path: Path, logits: Float[Array, "*N D"]
) -> Float[Array, "*N"]:
  """Minus the log-probability of a path's node, in nats.

  Equal to its `path_log_probability`, but of the few logits that it depends on:
  those of `path.nodes`.
  """
  levels = int(tree.depth.max()) + 1
  columns = jnp.moveaxis(logits, -1, 0)  # (D, *N)
  ones = [1] * (columns.ndim - 1)
  depth = jnp.where(path.depth < 0, levels, path.depth)  # padding comes last

  def of_levels(reduce: Callable[..., Array], columns: Array) -> Array:
    return reduce(columns, depth, levels + 1)

  highest = of_levels(jax.ops.segment_max, jax.lax.stop_gradient(columns))
  highest = jnp.where(jnp.isfinite(highest), highest, 0.0)
  shifted = columns - highest[depth]
  total = of_levels(jax.ops.segment_sum, jnp.exp(shifted))
  own = jnp.where(path.own.reshape(-1, *ones), shifted, 0.0)
  own = of_levels(jax.ops.segment_sum, own)
  there = (jnp.arange(levels) <= path.depth.max()).reshape(-1, *ones)
  error = jnp.log(jnp.where(there, total[:-1], 1.0)) - own[:-1]
  return jnp.sum(jnp.where(there, error, 0.0), axis=0)


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


def most_probable(
  paths: Float[Array, "*N C"], nodes: Int[Any, " D"]
) -> Int[Array, "*N"]:
  """The most probable of these nodes, the first of equals.

  Args:
    paths: (log-)probabilities of paths. Conditional ones of nodes in different
      groups cannot be compared.
    nodes: such as a tree's `leaves`, one `level`, or those `below` a node.
  """
  nodes = jnp.asarray(nodes)
  return nodes[jnp.argmax(paths[..., nodes], axis=-1)]
