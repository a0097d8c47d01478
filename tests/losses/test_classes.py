"""Class errors: a label's path in a tree."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from yolo9000 import losses
from yolo9000.wordtree import WordTree

# 0 -> 2 3, 1 -> 4, 3 -> 5 6
TREE = WordTree(tuple("abcdefg"), (-1, -1, 0, 0, 1, 3, 3))


@jax.jit
@jax.value_and_grad
def error_of(row, label):
  same = jnp.eye(1, dtype=bool)
  return losses.tree_error(row[None], label[None], same, tree=TREE)[0]


def test_tree_error_by_hand():
  """Node f: Pr(a) Pr(d | a) Pr(f | d), of groups (a b), (c d), (f g)."""
  logits = jnp.asarray([1.0, 0.0, 2.0, 3.0, 9.0, 0.5, 0.5])
  expected = np.log1p(np.exp(-1)) + np.log1p(np.exp(-1)) + np.log(2)
  found, of_only_child, of_its_parent = (
    error_of(logits, jnp.asarray(label))[0] for label in (5, 4, 1)
  )
  np.testing.assert_allclose(found, expected, rtol=1e-6)
  # An only child is certain: e costs what b costs.
  np.testing.assert_allclose(of_only_child, of_its_parent)


@pytest.mark.parametrize(
  ("label", "touched"),
  [(0, "ab"), (1, "ab"), (3, "abcd"), (5, "abcdfg"), (4, "ab")],
)
def test_nothing_below_or_beside_the_label_is_penalised(label, touched):
  rng = np.random.default_rng(0)
  logits = jnp.asarray(rng.normal(size=7), jnp.float32)
  gradient = np.asarray(error_of(logits, jnp.asarray(label))[1])
  moved = {TREE.ids[n] for n in np.flatnonzero(np.abs(gradient) > 1e-7)}
  assert moved == set(touched)
  # Of every group the gradient sums to zero.
  sums = np.bincount(TREE.group, gradient)
  np.testing.assert_allclose(sums, 0, atol=1e-6)


@pytest.mark.parametrize(
  ("count", "children"),
  [(1, 1), (100_000, 7), (100_000, 100_000), (2000, 1)],
)
def test_trees_of_any_size(count, children):
  """One node; seven below each; all in one group; each below the one before."""
  parents = tuple(
    -1 if children >= count or not n else (n - 1) // children
    for n in range(count)
  )
  tree = WordTree(tuple(map(str, range(count))), parents)
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(2, count)).astype(np.float32)
  labels = np.array([count - 1, count // 2])
  error = jax.jit(partial(losses.tree_error, tree=tree))
  found = error(
    jnp.asarray(logits), jnp.asarray(labels), jnp.asarray(np.eye(2, dtype=bool))
  )
  for row, label, value in zip(logits, labels, found, strict=True):
    total = 0.0
    for node in tree.path(int(label)):
      siblings = np.asarray(row, np.float64)[tree.group == tree.group[node]]
      total += np.log(np.exp(siblings).sum()) - float(row[node])
    np.testing.assert_allclose(value, total, rtol=1e-5, atol=1e-6)
