import sys

import numpy as np
import pycocotools.coco
import pycocotools.cocoeval
import pytest
from conftest import SHARED

from yolo9000 import average_precision as ap
from yolo9000 import evaluate
from yolo9000.data import sources
from yolo9000.data.reading import Flaws, Source
from yolo9000.data.records import Record
from yolo9000.types import Detections


def found(image, boxes, score=None, difficult=None, label=None):
  count = len(image)
  return ap.Found(
    np.array(image, int),
    np.array([0] * count if label is None else label, int),
    np.array(boxes, float).reshape(-1, 4),
    np.array([1.0] * count if score is None else score, float),
    np.array([False] * count if difficult is None else difficult, bool),
  )


def curve(detections, truths, label=0):
  return ap.voc_curve(detections, truths, label, iou_threshold=0.5)


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
  assert ap.voc07_ap(result) == pytest.approx((6 + 10 / 3) / 11)
  assert ap.voc10_ap(result) == pytest.approx(5 / 6)


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
  assert ap.voc07_ap(result) == pytest.approx(1)


def test_a_truth_in_another_picture_does_not_count():
  assert curve(found([1], [A]), found([0], [A])).recall[-1] == 0


def test_recall_of_exactly_nine_fifteenths_reaches_the_point_six():
  """9 of 15 found, all correct: 7 points of 11, 0 to .6."""
  boxes = [[20 * n, 0, 20 * n + 10, 10] for n in range(15)]
  result = curve(found([0] * 9, boxes[:9]), found([0] * 15, boxes))
  assert ap.voc07_ap(result) == pytest.approx(7 / 11)
  assert np.linspace(0, 1, 11)[6] > 9 / 15  # the trap


def test_equal_scores_keep_their_order():
  truths = found([0], [A])
  first = curve(found([0, 0], [A, FAR], score=[0.5, 0.5]), truths)
  last = curve(found([0, 0], [FAR, A], score=[0.5, 0.5]), truths)
  assert ap.voc10_ap(first) == 1 and ap.voc10_ap(last) == 0.5


def test_no_detections_and_no_truths():
  assert ap.voc07_ap(curve(found([], []), found([0], [A]))) == 0
  assert ap.voc10_ap(curve(found([], []), found([0], [A]))) == 0
  assert np.isnan(ap.voc07_ap(curve(found([0], [A]), found([], []))))


def test_iou_counts_inclusive_pixels_as_the_devkit_does():
  """Devkit boxes 1..10 and 6..15 in x share 5 of 15 columns, not 4 of 14.

  Their edges are 0, 10 and 5, 15.
  """
  truth = found([0], [[0, 0, 10, 10]])
  detection = found([0], [[5, 0, 15, 10]])
  hits = [
    ap.match_voc(detection, truth, iou_threshold=t)[0][0]
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
  result = ap.evaluate(
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
  result = ap.evaluate([detections([], [], [])], [record], class_names=("cat",))
  assert result["VOC07 AP"] is None and result["metric"] == 0


@pytest.fixture(scope="module")
def coco_case():
  """COCO's own truths, and detections made from them by a seeded hand."""
  root = SHARED / "data" / "coco_tiny38"
  if not root.is_dir():
    pytest.skip(f"{root} is not here")
  data = sources.read(
    Source("coco", str(root), "train2017"), Flaws(strict=True)
  )
  rng = np.random.default_rng(0)
  detections = []
  for record in data.records:
    boxes, labels = record.boxes, record.labels
    again = rng.integers(0, max(len(boxes), 1), 3 * len(boxes))
    noise = rng.normal(0, 0.15, (len(again), 4)) * rng.random((len(again), 1))
    sides = np.tile(boxes[again, 2:] - boxes[again, :2], 2)
    wrong = rng.random(len(again)) < 0.2
    guess = np.where(wrong, rng.integers(0, 80, len(again)), labels[again])
    moved = np.clip(boxes[again] + noise * sides, 0, 1).astype(np.float32)
    detections.append(
      Detections(
        moved,
        rng.random(len(again)).astype(np.float32),
        guess.astype(np.int32),
        np.ones(len(again), bool),
      )
    )
  return root, data, detections


def test_coco_figures_are_those_of_pycocotools(coco_case, tmp_path, capsys):
  """Ours against its own program on its own file; and our list of results."""
  root, data, detections = coco_case
  ours = ap.evaluate_coco(
    detections,
    data.records,
    class_names=data.class_names,
    library=ap.coco_library(),
  )
  truth = pycocotools.coco.COCO(
    root / "annotations" / "instances_train2017.json"
  )
  path = tmp_path / "detections.json"
  evaluate.write_coco_json(path, detections, data)
  scores = pycocotools.cocoeval.COCOeval(
    truth, truth.loadRes(str(path)), "bbox"
  )
  scores.evaluate()
  scores.accumulate()
  scores.summarize()
  assert len(ap.COCO_FIGURES) == len(scores.stats) == 12
  for name, theirs in zip(ap.COCO_FIGURES, scores.stats, strict=True):
    assert ours[name] == pytest.approx(theirs, abs=1e-6), name
  assert 0.1 < ours["metric"] == ours["COCO AP"] < 0.9
  mean = [c["COCO AP"] for c in ours["per_class"].values()]
  assert np.mean([x for x in mean if x is not None]) == pytest.approx(
    ours["COCO AP"]
  )


def test_faster_coco_eval_is_used_and_gives_the_same(coco_case, monkeypatch):
  faster = pytest.importorskip("faster_coco_eval")
  _, data, detections = coco_case
  fast = ap.coco_library()
  assert fast == (faster.COCO, faster.COCOeval_faster)
  monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
  slow = ap.coco_library()
  assert slow[1] is pycocotools.cocoeval.COCOeval
  figures = [
    ap.evaluate_coco(
      detections, data.records, class_names=data.class_names, library=library
    )
    for library in (fast, slow)
  ]
  one, other = (f.pop("per_class") for f in figures)
  assert figures[0] == pytest.approx(figures[1], abs=1e-12)
  for name in data.class_names:
    assert one[name] == pytest.approx(other[name], abs=1e-12), name


def test_coco_without_detections_or_truths():
  record = Record(
    *("a", 10, 10, np.zeros((0, 4), np.float32), np.zeros(0, np.int32)),
    np.zeros(0, bool),
  )
  nothing = Detections(
    np.zeros((0, 4), np.float32),
    np.zeros(0, np.float32),
    np.zeros(0, np.int32),
    np.zeros(0, bool),
  )
  found = ap.evaluate_both([nothing], [record], class_names=("cat",))
  assert found["COCO AP"] is None and found["metric"] == 0
  assert found["per_class"]["cat"]["COCO AP"] is None
  one = record._replace(
    boxes_px=np.array([[0, 0, 5, 5]], np.float32),
    labels=np.zeros(1, np.int32),
    difficult=np.zeros(1, bool),
  )
  found = ap.evaluate_both([nothing], [one], class_names=("cat",))
  assert found["COCO AP"] == 0 and found["COCO AP large"] is None


def test_every_node_of_a_tree_has_its_own_truths():
  """A terrier is a dog and an animal; a cat is an animal."""
  names, parents = ("animal", "dog", "cat", "terrier"), (-1, 0, 0, 1)
  record = Record(
    *("a", 10, 10, np.array([[0, 0, 4, 4], [5, 5, 9, 9]], np.float32)),
    *(np.array([3, 2], np.int32), np.array([False, True])),
    areas_px=np.array([7.0, 8.0]),
  )
  (more,) = ap.credit_ancestors([record], parents)
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
  (none,) = ap.credit_ancestors(
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
  metrics = ap.evaluate([found], [more], class_names=names)
  assert metrics["per_class"]["dog"]["VOC07 AP"] == pytest.approx(1)
  assert metrics["per_class"]["terrier"]["VOC07 AP"] == 0
  means = ap.group_means(
    metrics, {"kinds": ("dog", "cat"), "breeds": ("terrier",), "none": ("cat",)}
  )["groups"]
  assert means["kinds"] == pytest.approx(1)  # the cat is difficult
  assert means == {"kinds": means["kinds"], "breeds": 0, "none": None}
