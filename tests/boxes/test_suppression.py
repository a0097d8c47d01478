"""Suppression, against the original program's and by hand."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from yolo9000 import boxes as box
from yolo9000.boxes import suppression
from yolo9000.boxes.suppression import Suppression

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "nms.npz")
ALL = 10**6


def jitted(function):
  """Compiled as a whole; from NumPy to NumPy arrays."""
  compiled = jax.jit(function, static_argnames="how")

  def run(*arrays, how):
    return jax.device_get(compiled(*map(jnp.asarray, arrays), how=how))

  return run


per_class = jitted(suppression.per_class)
class_agnostic = jitted(suppression.class_agnostic)
labelled = jitted(suppression.labelled)
each_class = jitted(suppression.each_class)


def read(case):
  golden = {k.split("/")[1]: GOLDEN[k] for k in GOLDEN if k.startswith(case)}
  return golden, box.cxcywh_to_xyxy(golden["boxes"])


def kept_boxes(detections):
  return {tuple(b) for b in detections.boxes[detections.mask]}


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
    found = per_class(
      boxes[order],
      probs[order, None],
      how=Suppression(float(golden["thresh"]), 0.0, ALL, ALL),
    )
    kept = order[golden["sort_probs"][order, label] > 0]
    assert kept_boxes(found) == {tuple(b) for b in boxes[kept]}


@pytest.mark.parametrize("case", ["case0", "case1", "case4"])
def test_per_class_over_all_classes_at_once(case):
  golden, boxes = read(case)
  scores = golden["probs"] * (golden["objectness"] > 0)[:, None]
  found = per_class(
    boxes,
    scores,
    how=Suppression(float(golden["thresh"]), 0.0, ALL, ALL),
  )
  expected = golden["sort_probs"] * (golden["objectness"] > 0)[:, None]
  rows, labels = np.nonzero(expected)
  mask = found.mask
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
  found = class_agnostic(
    boxes[order],
    golden["objectness"][order],
    golden["probs"][order],
    how=Suppression(float(golden["thresh"]), 0.0, ALL, ALL),
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
  found = per_class(
    spread(40),
    scores,
    how=Suppression(0.45, 0.005, max_candidates=100, max_detections=50),
  )
  assert found.boxes.shape == (50, 4)
  assert found.mask.sum() == count
  assert (found.labels[found.mask] == 1).all()
  np.testing.assert_array_equal(found.scores[~found.mask], 0)


def test_a_suppressed_box_suppresses_nothing():
  # a overlaps b by 2/3, b overlaps c by 2/3, a overlaps c by 3/7 only.
  boxes = np.float32([[0.0, 0, 10, 1], [2.0, 0, 12, 1], [4.0, 0, 14, 1]])
  scores = np.float32([[0.9], [0.8], [0.7]])
  found = per_class(
    boxes,
    scores,
    how=Suppression(0.5, 0.1, max_candidates=10, max_detections=3),
  )
  np.testing.assert_array_equal(found.mask, [True, True, False])
  np.testing.assert_allclose(found.scores, [0.9, 0.7, 0.0])


def test_classes_do_not_suppress_each_other_unless_told_to():
  boxes = np.float32([[0.0, 0, 1, 1], [0.0, 0, 1, 1]])
  probabilities = np.float32([[0.9, 0.1], [0.2, 0.8]])
  how = Suppression(0.45, 0.15, max_candidates=9, max_detections=9)
  apart = per_class(boxes, probabilities, how=how)
  together = class_agnostic(
    boxes, np.float32([0.5, 0.6]), probabilities, how=how
  )
  assert apart.mask.sum() == 2
  assert together.mask.sum() == 1 and together.labels[0] == 1
  np.testing.assert_allclose(together.scores[0], 0.6 * 0.8)


def test_fewer_candidates_keep_the_best_of_the_same_answer():
  golden, boxes = read("case1")
  scores = golden["probs"]
  full, part = (
    per_class(boxes, scores, how=Suppression(0.45, 0.0, most, 20))
    for most in (ALL, 200)
  )
  for a, b in zip(full, part, strict=True):
    np.testing.assert_array_equal(a, b)


def test_labelled_boxes_suppress_their_own_class_alone():
  boxes = np.float32([[0.0, 0, 1, 1], [0.0, 0, 1, 1], [0.0, 0, 1, 0.9]])
  found = labelled(
    boxes,
    np.float32([0.9, 0.8, 0.7]),
    np.array([1, 2, 1]),
    how=Suppression(0.5, 0.1, max_detections=3),
  )
  assert found.labels[found.mask].tolist() == [1, 2]


def test_labelled_suppression_is_per_class_suppression():
  rng = np.random.default_rng(0)
  low = rng.uniform(0, 0.5, (40, 2))
  boxes = np.concatenate([low, low + rng.uniform(0.1, 0.5, (40, 2))], axis=1)
  boxes = boxes.astype(np.float32)
  labels = rng.integers(0, 3, 40)
  scores = np.sort(rng.uniform(size=40).astype(np.float32))[::-1]
  how = Suppression(0.4, 0.1, max_candidates=40, max_detections=40)
  one = labelled(boxes, scores, labels, how=how)
  of_class = scores[:, None] * np.eye(3, dtype=np.float32)[labels]
  two = per_class(boxes, of_class, how=how)
  jax.tree.map(np.testing.assert_array_equal, one, two)
  assert 0 < one.mask.sum() < 40


def test_each_class_has_candidates_of_its_own():
  """With all of them the answer is that of all classes at once.

  With two, it is that of scores of which each class keeps its best two.
  """
  rng = np.random.default_rng(0)
  low = rng.uniform(0, 0.6, (40, 2))
  boxes = np.concatenate([low, low + rng.uniform(0.1, 0.4, (40, 2))], axis=1)
  boxes = boxes.astype(np.float32)
  scores = rng.uniform(0, 1, (40, 3)).astype(np.float32)
  for count in (ALL, 2):
    some = scores.copy()
    for column in some.T:
      column[np.argsort(-column)[count:]] = 0
    found = each_class(boxes, scores, how=Suppression(0.3, 0.2, count, 30))
    expected = per_class(boxes, some, how=Suppression(0.3, 0.2, ALL, 30))
    assert found.mask.sum() == expected.mask.sum() >= 4
    for name in ("boxes", "scores", "labels", "mask"):
      one, other = getattr(found, name), getattr(expected, name)
      np.testing.assert_array_equal(one, other[: len(one)])
