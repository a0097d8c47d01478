from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from yolo9000 import boxes as box
from yolo9000.boxes import suppression

GOLDEN = np.load(Path(__file__).parent / "golden" / "nms.npz")
ALL = 10**6


def read(case):
  golden = {k.split("/")[1]: GOLDEN[k] for k in GOLDEN if k.startswith(case)}
  return golden, box.cxcywh_to_xyxy(golden["boxes"])


def kept_boxes(detections):
  return {tuple(b) for b in np.asarray(detections.boxes)[detections.mask]}


def program_order(objectness):
  """Where the program's input ends up before it sorts: empty boxes last.

  It swaps each box without objectness with the last one not yet looked at.
  """
  order, last, n = list(range(len(objectness))), len(objectness) - 1, 0
  while n <= last:
    if objectness[order[n]] == 0:
      order[n], order[last] = order[last], order[n]
      last -= 1
    else:
      n += 1
  return np.array(order[: last + 1])


@pytest.mark.parametrize("case", [f"case{n}" for n in range(5)])
def test_per_class_is_the_programs(case):
  """Equal as sets, class by class.

  Cases 2 and 3 hold equal scores. There the order of the input decides, and the
  program gives a class the order in which the class before left the boxes, so
  each class is given that order here.
  """
  golden, boxes = read(case)
  order = program_order(golden["objectness"])
  for label in range(golden["probs"].shape[1]):
    probs = golden["probs"][:, label]
    order = order[np.argsort(-probs[order], kind="stable")]
    found = suppression.per_class(
      jnp.asarray(boxes[order]),
      jnp.asarray(probs[order, None]),
      iou_threshold=float(golden["thresh"]),
      score_threshold=0.0,
      max_candidates=ALL,
      max_detections=ALL,
    )
    kept = order[golden["sort_probs"][order, label] > 0]
    assert kept_boxes(found) == {tuple(b) for b in boxes[kept]}


@pytest.mark.parametrize("case", ["case0", "case1", "case4"])
def test_per_class_over_all_classes_at_once(case):
  golden, boxes = read(case)
  scores = golden["probs"] * (golden["objectness"] > 0)[:, None]
  found = suppression.per_class(
    jnp.asarray(boxes),
    jnp.asarray(scores),
    iou_threshold=float(golden["thresh"]),
    score_threshold=0.0,
    max_candidates=ALL,
    max_detections=ALL,
  )
  expected = golden["sort_probs"] * (golden["objectness"] > 0)[:, None]
  rows, labels = np.nonzero(expected)
  mask = np.asarray(found.mask)
  assert mask.sum() == len(rows)
  assert {
    (*map(float, b), int(c), float(s))
    for b, c, s in zip(
      found.boxes[mask], found.labels[mask], found.scores[mask], strict=True
    )
  } == {
    (*map(float, boxes[r]), int(c), float(expected[r, c]))
    for r, c in zip(rows, labels, strict=True)
  }
  assert (np.diff(found.scores[mask]) <= 0).all()


@pytest.mark.parametrize("case", [f"case{n}" for n in range(5)])
def test_class_agnostic_is_the_programs(case):
  golden, boxes = read(case)
  order = program_order(golden["objectness"])
  found = suppression.class_agnostic(
    jnp.asarray(boxes[order]),
    jnp.asarray(golden["objectness"][order]),
    jnp.asarray(golden["probs"][order]),
    iou_threshold=float(golden["thresh"]),
    score_threshold=0.0,
    max_candidates=ALL,
    max_detections=ALL,
  )
  kept = golden["obj_objectness"] > 0
  assert kept_boxes(found) == {tuple(b) for b in boxes[kept]}


def spread(count):
  """Boxes that do not touch, in a row."""
  left = np.arange(count, dtype=np.float32)[:, None]
  return np.concatenate([left, 0 * left, left + 0.5, 0 * left + 1], axis=1)


@pytest.mark.parametrize("count", [0, 1, 30])
def test_none_and_thirty_objects(count):
  scores = np.zeros((40, 3), np.float32)
  scores[:count, 1] = np.linspace(1, 0.5, count)
  found = jax.jit(
    lambda boxes, scores: suppression.per_class(
      *(boxes, scores),
      iou_threshold=0.45,
      score_threshold=0.005,
      max_candidates=100,
      max_detections=50,
    )
  )(jnp.asarray(spread(40)), jnp.asarray(scores))
  assert found.boxes.shape == (50, 4)
  assert found.mask.sum() == count
  assert (found.labels[found.mask] == 1).all()
  np.testing.assert_array_equal(found.scores[~found.mask], 0)


def test_a_suppressed_box_suppresses_nothing():
  # a overlaps b by 2/3, b overlaps c by 2/3, a overlaps c by 3/7 only.
  boxes = jnp.array([[0.0, 0, 10, 1], [2.0, 0, 12, 1], [4.0, 0, 14, 1]])
  scores = jnp.array([[0.9], [0.8], [0.7]])
  found = suppression.per_class(
    *(boxes, scores),
    iou_threshold=0.5,
    score_threshold=0.1,
    max_candidates=10,
    max_detections=3,
  )
  np.testing.assert_array_equal(found.mask, [True, True, False])
  np.testing.assert_allclose(found.scores, [0.9, 0.7, 0.0])


def test_classes_do_not_suppress_each_other_unless_told_to():
  boxes = jnp.array([[0.0, 0, 1, 1], [0.0, 0, 1, 1]])
  probabilities = jnp.array([[0.9, 0.1], [0.2, 0.8]])
  options = dict(
    iou_threshold=0.45,
    score_threshold=0.15,
    max_candidates=9,
    max_detections=9,
  )
  apart = suppression.per_class(boxes, probabilities, **options)
  together = suppression.class_agnostic(
    boxes, jnp.array([0.5, 0.6]), probabilities, **options
  )
  assert apart.mask.sum() == 2
  assert together.mask.sum() == 1 and together.labels[0] == 1
  np.testing.assert_allclose(together.scores[0], 0.6 * 0.8)


def test_fewer_candidates_keep_the_best_of_the_same_answer():
  golden, boxes = read("case1")
  scores = jnp.asarray(golden["probs"])
  options = dict(iou_threshold=0.45, score_threshold=0.0)
  full = suppression.per_class(
    jnp.asarray(boxes), scores, max_candidates=ALL, max_detections=20, **options
  )
  part = suppression.per_class(
    jnp.asarray(boxes), scores, max_candidates=200, max_detections=20, **options
  )
  for a, b in zip(full, part, strict=True):
    np.testing.assert_array_equal(a, b)
