"""The confusion matrix by hand."""

import numpy as np
import pytest

from yolo9000.data.records import Record
from yolo9000.scoring import confusion, voc
from yolo9000.types import Detections

A, B, C = [0, 0, 10, 10], [0, 2, 10, 12], [50, 50, 60, 60]


def listed(*rows):
  """Of (image, label, box, score or difficult)."""
  image, label, boxes, last = zip(*rows, strict=True) if rows else [()] * 4
  return voc.Found(
    np.array(image, int),
    np.array(label, int),
    np.array(boxes, float).reshape(-1, 4),
    np.array(last, float),
    np.array(last, bool),
  )


def judge(found, truth, **changes):
  options = dict(score_threshold=0.3, iou_threshold=0.5, crowds=False)
  found, truth = listed(*found), listed(*truth)
  judged = confusion.judge(found, truth, **{**options, **changes})
  table = confusion.of_boxes(found, truth, judged, ("cat", "dog", "emu"))
  return judged, table.counts.tolist(), table


def test_hand_worked_case():
  """A cat found, a dog taken for an emu, a dog missed, a false cat, a weak."""
  judged, counts, table = judge(
    [(0, 0, A, 0.9), (1, 2, A, 0.8), (1, 0, C, 0.7), (0, 0, C, 0.2)],
    [(0, 0, A, 0), (1, 1, A, 0), (0, 1, C, 0)],
  )
  assert judged.truth.tolist() == [0, 1, confusion.FALSE_ALARM, -2]
  assert judged.answer.tolist() == [0, 1, -1]
  assert counts == [[1, 0, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0], [1, 0, 0, 0]]
  assert table.names == ("cat", "dog", "emu", "background")
  assert table.pairs() == [
    (1, "dog", "emu"),
    (1, "dog", "background"),
    (1, "background", "cat"),
  ]


def test_a_truth_goes_to_its_own_class_before_a_better_score_of_another():
  _, counts, _ = judge([(0, 1, A, 0.9), (0, 0, B, 0.4)], [(0, 0, A, 0)])
  assert counts[0] == [1, 0, 0, 0] and counts[3] == [0, 1, 0, 0]


def test_a_detection_takes_the_next_best_free_truth():
  """As COCO's program does, and VOC's does not."""
  judged, _, _ = judge(
    [(0, 0, A, 0.9), (0, 0, [0, 0.5, 10, 10.5], 0.8)],
    [(0, 0, A, 0), (0, 0, B, 0)],
  )
  assert judged.truth.tolist() == [0, 1]


def test_equal_scores_keep_their_order():
  judged, _, _ = judge([(0, 0, B, 0.5), (0, 0, A, 0.5)], [(0, 0, A, 0)])
  assert judged.truth.tolist() == [0, confusion.FALSE_ALARM]


def test_what_lies_on_a_difficult_truth_is_not_judged():
  judged, counts, _ = judge(
    [(0, 0, A, 0.9), (0, 1, A, 0.8), (0, 1, C, 0.7)], [(0, 0, A, 1)]
  )
  assert judged.truth.tolist() == [-2, -2, confusion.FALSE_ALARM]
  assert sum(map(sum, counts)) == 1


def test_of_a_crowd_the_detections_share_counts():
  found, truth = [(0, 0, A, 0.9)], [(0, 0, [0, 0, 100, 100], 1)]
  assert judge(found, truth)[0].truth.tolist() == [confusion.FALSE_ALARM]
  assert judge(found, truth, crowds=True)[0].truth.tolist() == [-2]


@pytest.mark.parametrize("which", ["found", "truth", "none"])
def test_without_detections_or_truths(which):
  found = [(0, 0, A, 0.9)] if which == "found" else []
  truth = [(3, 1, A, 0)] if which == "truth" else []
  _, counts, _ = judge(found, truth)
  expected = {"found": (3, 0), "truth": (1, 3)}.get(which)
  places = [tuple(place) for place in np.argwhere(np.array(counts)).tolist()]
  assert places == ([expected] if expected else [])


def test_of_many_classes_those_that_are_there():
  names = [f"class {n}" for n in range(300)]
  found, truth = listed((0, 7, A, 0.9)), listed((0, 200, A, 0))
  judged = confusion.judge(
    *(found, truth), score_threshold=0.0, iou_threshold=0.5, crowds=False
  )
  table = confusion.of_boxes(found, truth, judged, names)
  assert table.names == ("class 7", "class 200")
  assert table.counts.tolist() == [[0, 0], [1, 0]]


def test_of_pictures():
  nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.int32)
  record = Record("a", 9, 9, *nothing, np.zeros(0, bool), image_label=1)
  answer = Detections(
    np.array([[0, 0, 1, 1]] * 2, np.float32),
    np.array([0.9, 0.1], np.float32),
    np.array([0, 1], np.int32),
    np.ones(2, bool),
  )
  table = confusion.of_pictures([answer], [record], ("cat", "dog"))
  assert table.counts.tolist() == [[0, 0], [1, 0]]
