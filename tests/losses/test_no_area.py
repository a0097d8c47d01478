"""What has no area, a truth or an anchor, teaches nothing and harms nothing."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from yolo9000 import losses
from yolo9000.boxes import matching

BOXES = jnp.asarray([[0.1, 0.2, 0.4, 0.6], [0.5, 0.5, 0.9, 0.8]])
# A line comes first: who belongs to no truth is given the first one.
LINES = ([0.7, 0.1, 0.7, 0.9], [0.2, 0.3, 0.8, 0.3], [0.5, 0.5, 0.5, 0.5])
LABELS = jnp.asarray([1, 0])
rng = np.random.default_rng(0)
LOW = rng.uniform(0, 0.6, (20, 2))
ANCHORS = jnp.asarray(
  np.concatenate([LOW, LOW + rng.uniform(0.1, 0.4, (20, 2))], 1), jnp.float32
)
NUMBERS = jnp.asarray(rng.normal(size=(20, 7)), jnp.float32)
GRID = jnp.asarray(rng.normal(size=(3, 4, 2, 8)), jnp.float32)
PRIORS = jnp.asarray([[0.2, 0.3], [0.4, 0.2]])


def dense(numbers, boxes, labels, mask, *, box_error):
  return losses.dense_loss(
    *(numbers[:, 4:], numbers[:, :4], boxes, labels, mask),
    anchors=ANCHORS,
    high=0.5,
    low=0.4,
    keep_best=True,
    alpha=0.25,
    gamma=2.0,
    box_error=box_error,
    beta=1 / 9,
  )


def multibox(numbers, boxes, labels, mask, *, bipartite, anchors=ANCHORS):
  matches = matching.match_forced(
    anchors, boxes, mask, threshold=0.5, bipartite=bipartite
  )
  return losses.multibox_loss(
    *(numbers[:, 4:], numbers[:, :4], boxes, labels),
    anchors=anchors,
    matches=matches,
    weights=(10.0, 10.0, 5.0, 5.0),
    negatives=3.0,
  )


def level(raw, boxes, labels, mask):
  return losses.level_loss(
    *(raw, boxes, labels, mask),
    prior_shapes=PRIORS,
    own=(0, 1),
    class_error=losses.logistic_error,
    ignore_iou=0.5,
    overlap_of="prediction",
    truth_iou=1.0,
    small_box_weight=True,
  )


def detection(raw, boxes, labels, mask):
  return losses.detection_loss(
    *(raw, boxes, labels, mask),
    priors=PRIORS * 4,
    class_error=losses.softmax_error,
    weights=losses.Weights(1.0, 5.0, 1.0, 1.0),
    ignore_iou=0.6,
    small_box_weight=True,
    prior_pull=0.0,
    rescore=True,
    match_predicted_shape=False,
    location="direct",
  )


CASES = {
  "smooth L1": (partial(dense, box_error="smooth_l1"), NUMBERS),
  "GIoU": (partial(dense, box_error="giou"), NUMBERS),
  "bipartite": (partial(multibox, bipartite=True), NUMBERS),
  "forced": (partial(multibox, bipartite=False), NUMBERS),
  "level": (level, GRID),
  "detection": (detection, GRID),
}


def value_and_gradient(loss, numbers, *truth):
  def total(numbers):
    return sum(loss(numbers, *truth).values())

  return jax.jit(jax.value_and_grad(total))(numbers)


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("case", CASES)
def test_a_truth_without_area_is_as_none(case, line):
  loss, numbers = CASES[case]
  found = value_and_gradient(
    *(loss, numbers, jnp.concatenate([jnp.asarray([line]), BOXES])),
    jnp.concatenate([jnp.asarray([2]), LABELS]),
    jnp.ones(3, bool),
  )
  expected = value_and_gradient(loss, numbers, BOXES, LABELS, jnp.ones(2, bool))
  for a, b in zip(found, expected, strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize("bipartite", [True, False])
def test_an_anchor_without_area_is_no_ones(bipartite):
  """RefineDet's first module may make such anchors; it learns from others."""
  flat = ANCHORS.at[3].set(jnp.asarray([0.3, 0.4, 0.3, 0.6]))
  loss = partial(multibox, bipartite=bipartite, anchors=flat)
  value, gradient = value_and_gradient(
    loss, NUMBERS, BOXES, LABELS, jnp.ones(2, bool)
  )
  assert np.isfinite(value) and np.isfinite(gradient).all()
  assert not gradient[3, :4].any() and gradient[:, :4].any()
