"""Class errors: of M slots with logits (M, C), whose truths are known."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from yolo9000 import wordtree
from yolo9000.types import Bool, Float, Int
from yolo9000.wordtree.tree import WordTree


def softmax_error(
  logits: Float[Array, "M C"],
  labels: Int[Array, " M"],
  same_slot: Bool[Array, "M T"],
) -> Float[Array, " M"]:
  """Cross-entropy of exclusive classes, in nats; same_slot is not needed."""
  del same_slot
  chosen = jnp.take_along_axis(logits, labels[:, None], axis=1, mode="clip")
  return jax.nn.logsumexp(logits, axis=1) - chosen[:, 0]


def logistic_error(
  logits: Float[Array, "N C"],
  labels: Int[Array, " M"],
  same_slot: Bool[Array, "N M"],
) -> Float[Array, " N"]:
  """Binary cross-entropy summed over classes that do not exclude each other.

  Truths that meet in one slot are all taught: same_slot[n, m] says that truth m
  lies in the slot of logits n. Slots may be those of the truths, or any N.
  """
  one_hot = jax.nn.one_hot(labels, logits.shape[1], dtype=logits.dtype)
  target = jnp.minimum(same_slot.astype(logits.dtype) @ one_hot, 1.0)
  return jnp.sum(jax.nn.softplus(logits) - target * logits, axis=1)


def tree_error(
  logits: Float[Array, "M C"],
  labels: Int[Array, " M"],
  same_slot: Bool[Array, "M T"],
  *,
  tree: WordTree,
) -> Float[Array, " M"]:
  """Cross-entropy of a tree's node, in nats: minus its path's log-probability.

  The label may be any node. Of each group of siblings on its path the error is
  that of a softmax; nothing below the label, or beside the path, is penalised.
  same_slot is not needed.

  Source: section 4, "we propagate error only at and above the label's level".
  """
  del same_slot

  def error(logits: Float[Array, " C"], label: Int[Array, ""]) -> Array:
    path = wordtree.path_to(tree, label)
    return wordtree.path_error(tree, path, logits[path.nodes])

  return jax.vmap(error)(logits, labels)
