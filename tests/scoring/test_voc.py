"""VOC's average precision by hand."""

import numpy as np
import pytest

from yolo9000.data.records import Record
from yolo9000.scoring import voc
from yolo9000.types import Detections


def found(image, boxes, score=None, difficult=None, label=None):
  count = len(image)
  return voc.Found(
    np.array(image, int),
    np.array([0] * count if label is None else label, int),
    np.array(boxes, float).reshape(-1, 4),
    np.array([1.0] * count if score is None else score, float),
    np.array([False] * count if difficult is None else difficult, bool),
  )


def curve(detections, truths, label=0):
  return voc.voc_curve(detections, truths, label, iou_threshold=0.5)


A, B, FAR = [0, 0, 10, 10], [20, 20, 30, 30], [50, 50, 60, 60]


def test_hand_worked_case():
  """Truths A, B. Detections by score: A hit, far false, B hit.

  Recall .5, .5, 1 and precision 1, 1/2, 2/3. 11 points: the best precision is 1
  at recall 0 to .5 (6 points) and 2/3 at .6 to 1 (5 points):
  (6 + 10/3) / 11. Area: .5 * 1 + .5 * 2/3 = 5/6.
  """
  result = curve(
    found([0, 0, 0], [B, A, FAR], score=[0.3, 0.9, 0.5]), found([0, 0], [A, B])
  )
  np.testing.assert_allclose(result.recall, [0.5, 0.5, 1])
  np.testing.assert_allclose(result.precision, [1, 1 / 2, 2 / 3])
  assert voc.voc07_ap(result) == pytest.approx((6 + 10 / 3) / 11)
  assert voc.voc10_ap(result) == pytest.approx(5 / 6)


def test_a_second_detection_of_a_truth_is_false():
  result = curve(found([0, 0], [A, A], score=[0.9, 0.8]), found([0], [A]))
  np.testing.assert_allclose(result.precision, [1, 0.5])


def test_a_taken_best_truth_is_a_false_positive_though_another_is_free():
  # Both detections overlap the first truth most; the second truth would do for
  # the second detection (IoU 8/12), but VOC does not look at it.
  truths = found([0, 0], [[0, 0, 10, 10], [0, 2, 10, 12]])
  result = curve(
    found([0, 0], [[0, 0, 10, 10], [0, 0.5, 10, 10.5]], score=[0.9, 0.8]),
    truths,
  )
  np.testing.assert_allclose(result.recall, [0.5, 0.5])


def test_difficult_truths_are_neither_hit_nor_miss():
  truths = found([0, 0], [A, B], difficult=[True, False])
  result = curve(found([0, 0, 0], [A, A, B], score=[0.9, 0.8, 0.7]), truths)
  assert result.truths == 1
  np.testing.assert_allclose(result.recall, [0, 0, 1])
  assert voc.voc07_ap(result) == pytest.approx(1)


def test_a_truth_in_another_picture_does_not_count():
  assert curve(found([1], [A]), found([0], [A])).recall[-1] == 0


def test_recall_of_exactly_nine_fifteenths_reaches_the_point_six():
  """9 of 15 found, all correct: 7 points of 11, 0 to .6."""
  boxes = [[20 * n, 0, 20 * n + 10, 10] for n in range(15)]
  result = curve(found([0] * 9, boxes[:9]), found([0] * 15, boxes))
  assert voc.voc07_ap(result) == pytest.approx(7 / 11)
  assert np.linspace(0, 1, 11)[6] > 9 / 15  # the trap


def test_equal_scores_keep_their_order():
  truths = found([0], [A])
  first = curve(found([0, 0], [A, FAR], score=[0.5, 0.5]), truths)
  last = curve(found([0, 0], [FAR, A], score=[0.5, 0.5]), truths)
  assert voc.voc10_ap(first) == 1 and voc.voc10_ap(last) == 0.5


def test_no_detections_and_no_truths():
  assert voc.voc07_ap(curve(found([], []), found([0], [A]))) == 0
  assert voc.voc10_ap(curve(found([], []), found([0], [A]))) == 0
  assert np.isnan(voc.voc07_ap(curve(found([0], [A]), found([], []))))


def test_iou_counts_inclusive_pixels_as_the_devkit_does():
  """Devkit boxes 1..10 and 6..15 in x share 5 of 15 columns, not 4 of 14.

  Their edges are 0, 10 and 5, 15.
  """
  truth = found([0], [[0, 0, 10, 10]])
  detection = found([0], [[5, 0, 15, 10]])
  hits = [
    voc.match_voc(detection, truth, iou_threshold=t)[0][0]
    for t in (0.333, 0.334)
  ]
  assert hits == [True, False]


def detections(boxes, scores, labels):
  return Detections(
    np.array(boxes, np.float32).reshape(-1, 4),
    np.array(scores, np.float32),
    np.array(labels, np.int32),
    np.ones(len(scores), bool),
  )


def test_evaluate_means_over_the_classes_that_have_truths():
  record = Record(
    *("a.jpg", 100, 50, np.array([[0, 0, 50, 25]], np.float32)),
    *(np.array([1], np.int32), np.array([False])),
  )
  result = voc.evaluate(
    [detections([[0, 0, 0.5, 0.5], [0, 0, 1, 1]], [0.9, 0.8], [1, 0])],
    [record],
    class_names=("cat", "dog", "cow"),
  )
  assert result["per_class"]["dog"]["VOC07 AP"] == pytest.approx(1)
  assert result["per_class"]["cat"]["VOC07 AP"] is None
  assert result["VOC07 AP"] == result["metric"] == pytest.approx(1)
  assert (result["truths"], result["detections"]) == (1, 2)


def test_evaluate_without_anything():
  record = Record(
    *("a.jpg", 9, 9, np.zeros((0, 4), np.float32)),
    *(np.zeros(0, np.int32), np.zeros(0, bool)),
  )
  result = voc.evaluate(
    [detections([], [], [])], [record], class_names=("cat",)
  )
  assert result["VOC07 AP"] is None and result["metric"] == 0
