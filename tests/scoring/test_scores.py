"""Scores of trees, of groups and of the extremes; why they are as they are."""

import numpy as np
import pytest

from yolo9000.data.records import Record
from yolo9000.scoring import make_score, trees, voc
from yolo9000.scoring.diagnosis import diagnose
from yolo9000.types import Detections
from yolo9000.wordtree import Classes, WordTree


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (
      {"metric": "mAP"},
      "metric is 'mAP'; allowed are VOC07 AP, COCO AP, COCO",
    ),
    ({"groups": {"x": ("eel",)}}, "groups, 'x', is .*; unknown are .'eel'."),
    ({"scored": ("cat", "cat")}, "classes is .* expected classes, each on"),
  ],
)
def test_what_cannot_be_says_what_can(changes, message):
  options = dict(metric="VOC07 AP", groups={}, scored=())
  with pytest.raises(ValueError, match=message):
    make_score(classes=Classes(("cat", "dog")), **{**options, **changes})


def test_every_node_of_a_tree_has_its_own_truths():
  """A terrier is a dog and an animal; a cat is an animal."""
  names, parents = ("animal", "dog", "cat", "terrier"), (-1, 0, 0, 1)
  record = Record(
    *("a", 10, 10, np.array([[0, 0, 4, 4], [5, 5, 9, 9]], np.float32)),
    *(np.array([3, 2], np.int32), np.array([False, True])),
    areas_px=np.array([7.0, 8.0]),
  )
  (more,) = trees.credit_ancestors([record], parents)
  rows = sorted(
    zip(
      *(more.labels.tolist(), more.boxes_px[:, 0].tolist()),
      *(more.difficult.tolist(), more.areas_px.tolist()),
      strict=True,
    )
  )
  assert rows == [
    (0, 0.0, False, 7.0),
    (0, 5.0, True, 8.0),
    (1, 0.0, False, 7.0),
    (2, 5.0, True, 8.0),
    (3, 0.0, False, 7.0),
  ]
  (none,) = trees.credit_ancestors(
    [record._replace(labels=record.labels[:0], boxes_px=record.boxes_px[:0])],
    parents,
  )
  assert not len(none.labels)
  found = Detections(
    np.array([[0, 0, 0.4, 0.4]] * 2, np.float32),
    np.array([0.9, 0.8], np.float32),
    np.array([1, 2], np.int32),
    np.ones(2, bool),
  )
  figures = voc.evaluate([found], [more], class_names=names)
  assert figures["per_class"]["dog"]["VOC07 AP"] == pytest.approx(1)
  assert figures["per_class"]["terrier"]["VOC07 AP"] == 0
  means = trees.group_means(
    figures, {"kinds": ("dog", "cat"), "breeds": ("terrier",), "none": ("cat",)}
  )["groups"]
  assert means["kinds"] == pytest.approx(1)  # the cat is difficult
  assert means == {"kinds": means["kinds"], "breeds": 0, "none": None}


def test_truths_of_classes_that_are_not_scored_do_not_count():
  tree = WordTree(("dog", "cat", "pug"), (-1, -1, 0))
  record = Record(
    *("a", 10, 10, np.array([[0, 0, 5, 5], [5, 5, 9, 9]], np.float32)),
    *(np.array([2, 1], np.int32), np.zeros(2, bool)),
  )
  found = Detections(
    record.boxes_px[:1] / 10,
    np.array([0.9], np.float32),
    np.array([2], np.int32),
    np.array([True]),
  )

  def score(scored):
    of = make_score(
      metric="VOC07 AP",
      classes=Classes(tree.ids, tree),
      groups={},
      scored=scored,
    )
    return of([found], [record])

  whole, few = score(()), score(("pug",))
  np.testing.assert_allclose(whole["VOC07 AP"], 1 / 3)
  assert few["VOC07 AP"] == 1 and few["per_class"]["cat"]["truths"] == 0


def test_extremes_are_the_worst_and_the_best():
  values = (0.5, None, 0.1, 0.9, 0.3, 0.2)
  per_class = {
    name: {"VOC07 AP": value}
    for name, value in zip("abcdef", values, strict=True)
  }
  assert trees.extremes(per_class, "abcdef", count=2) == (
    "worst c 10.0, f 20.0; best a 50.0, d 90.0"
  )
  assert trees.extremes(per_class, "abcd", count=2) == ""


def test_diagnosis_by_hand():
  """Three truths of 10 x 10, 20 x 20, 40 x 40 pixels; a difficult one."""
  edges = np.array([[0, 0, 10, 10], [20, 0, 40, 20], [50, 50, 90, 90]])
  edges = np.concatenate([edges, [[0, 90, 10, 100]]]).astype(np.float32)
  record = Record(
    path="a",
    width=100,
    height=100,
    boxes_px=edges,
    labels=np.array([0, 1, 2, 0], np.int32),
    difficult=np.array([False, False, False, True]),
    image_label=-1,
  )
  # The middle one exactly, but its best score is of another class; the large
  # one with 40 x 30 of its 40 x 40; the small one too little.
  boxes = [[20, 0, 40, 20], [20, 0, 40, 20], [50, 50, 90, 80], [0, 0, 10, 4]]
  found = Detections(
    np.array(boxes, np.float32) / 100,
    np.array([0.9, 0.5, 0.8, 0.7], np.float32),
    np.array([2, 1, 2, 0], np.int32),
    np.ones(4, bool),
  )
  assert diagnose([found], [record]) == pytest.approx(
    {
      "recall": 2 / 3,
      "recall small": 0.0,
      "recall large": 1.0,
      "overlap": (1 + 0.75) / 2,
      "right class": 0.5,
    }
  )
  nothing = diagnose([], [])
  assert nothing == dict.fromkeys(nothing) and len(nothing) == 5
