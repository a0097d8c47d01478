"""Matching, against torchvision's and against loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from yolo9000 import boxes as box
from yolo9000.boxes import matching

match = jax.jit(matching.match, static_argnames=("high", "low", "keep_best"))
match_forced = jax.jit(
  matching.match_forced, static_argnames=("threshold", "bipartite")
)


def padded(boxes, count):
  """With rows of padding, which hold a box that overlaps much."""
  rows = np.tile(np.float32([0, 0, 200, 200]), (count, 1))
  mask = np.arange(len(boxes) + count) < len(boxes)
  return jnp.asarray(np.concatenate([boxes, rows])), jnp.asarray(mask)


def numbers(matches):
  """As torchvision has them: -1 is background, -2 ignored."""
  other = np.where(matches.ignored, -2, -1)
  return np.where(matches.assigned, matches.truth, other)


@pytest.mark.parametrize("keep_best", [True, False])
@pytest.mark.parametrize("thresholds", [(0.7, 0.3), (0.5, 0.4), (0.5, 0.5)])
def test_matches_are_torchvisions(goldens, thresholds, keep_best):
  golden = goldens("tv_ops")
  high, low = thresholds
  found = match(
    jnp.asarray(golden["matcher/anchors"]),
    *padded(golden["matcher/gt"], 3),
    high=high,
    low=low,
    keep_best=keep_best,
  )
  name = f"matcher/h{high}_l{low}" + "_low" * keep_best
  np.testing.assert_array_equal(numbers(found), golden[name])


def test_forced_matches_are_torchvisions(goldens):
  golden = goldens("tv_ops")
  found = match_forced(
    jnp.asarray(golden["matcher/anchors"]),
    *padded(golden["matcher/gt"], 3),
    threshold=0.5,
    bipartite=False,
  )
  np.testing.assert_array_equal(numbers(found), golden["matcher/ssd0.5"])


def slow_match(pairs, high, low, keep_best):
  """Anchor by anchor."""
  found = []
  for row in pairs:
    if row.max() >= high:
      found.append(row.argmax())
    else:
      found.append(-2 if row.max() >= low else -1)
  for column in pairs.T if keep_best else ():
    for n in np.flatnonzero((column == column.max()) & (column > 0)):
      found[n] = pairs[n].argmax()
  return found


def slow_forced(pairs, threshold, bipartite):
  """Truth by truth, then anchor by anchor."""
  found = [row.argmax() if row.max() >= threshold else -1 for row in pairs]
  left = pairs.copy()
  for m in range(pairs.shape[1]):
    n = pairs[:, m].argmax()
    if bipartite:
      n, m = np.unravel_index(left.argmax(), left.shape)
      if left[n, m] <= 1e-6:
        break
      left[n], left[:, m] = -1, -1
    if pairs[n, m] > 0:
      found[n] = m
  return found


@pytest.mark.parametrize("seed", range(5))
def test_matches_are_those_of_loops(seed):
  """With truths that want one anchor, and one that none overlaps.

  On a lattice, so that equal overlaps are frequent.
  """
  rng = np.random.default_rng(seed)
  low = rng.integers(0, 6, (60, 2))
  anchors = np.concatenate([low, low + rng.integers(1, 5, (60, 2))], axis=1)
  truths = np.concatenate([anchors[:4], anchors[2:5], [[50, 50, 51, 51]]])
  truths[4:7, 2:] += rng.integers(0, 3, (3, 2))
  anchors, truths = anchors.astype(np.float32), truths.astype(np.float32)
  pairs = np.asarray(box.iou(anchors[:, None], truths[None]))
  given = (jnp.asarray(anchors), *padded(truths, 2))
  for keep_best in (True, False):
    how = dict(high=0.7, low=0.3, keep_best=keep_best)
    np.testing.assert_array_equal(
      numbers(match(*given, **how)), slow_match(pairs, **how)
    )
  for bipartite in (True, False):
    how = dict(threshold=0.5, bipartite=bipartite)
    np.testing.assert_array_equal(
      numbers(match_forced(*given, **how)), slow_forced(pairs, **how)
    )


def test_without_truths_all_is_background():
  anchors = jnp.asarray([[0.0, 0, 1, 1], [0, 0, 2, 2]])
  truths, mask = padded(np.zeros((0, 4), np.float32), 2)
  for found in (
    match(anchors, truths, mask, high=0.5, low=0.4, keep_best=True),
    match_forced(anchors, truths, mask, threshold=0.5, bipartite=True),
    match_forced(anchors, truths, mask, threshold=0.5, bipartite=False),
  ):
    np.testing.assert_array_equal(numbers(found), -1)
