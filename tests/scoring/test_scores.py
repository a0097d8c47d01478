"""COCO's figures against its own program, trees, groups."""

import sys

import numpy as np
import pycocotools.coco
import pycocotools.cocoeval
import pytest
from conftest import SHARED

from yolo9000.data import sources
from yolo9000.data.formats.reading import Flaws, Source
from yolo9000.data.records import Record
from yolo9000.scoring import metrics
from yolo9000.scoring import voc as ap
from yolo9000.training import evaluation
from yolo9000.types import Detections
from yolo9000.wordtree import WordTree


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
  ours = metrics.evaluate_coco(
    detections,
    data.records,
    class_names=data.class_names,
    library=metrics.coco_library(),
  )
  truth = pycocotools.coco.COCO(
    root / "annotations" / "instances_train2017.json"
  )
  path = tmp_path / "detections.json"
  evaluation.write_coco_json(path, detections, data)
  scores = pycocotools.cocoeval.COCOeval(
    truth, truth.loadRes(str(path)), "bbox"
  )
  scores.evaluate()
  scores.accumulate()
  scores.summarize()
  assert len(metrics.COCO_FIGURES) == len(scores.stats) == 12
  for name, theirs in zip(metrics.COCO_FIGURES, scores.stats, strict=True):
    assert ours[name] == pytest.approx(theirs, abs=1e-6), name
  assert 0.1 < ours["metric"] == ours["COCO AP"] < 0.9
  mean = [c["COCO AP"] for c in ours["per_class"].values()]
  assert np.mean([x for x in mean if x is not None]) == pytest.approx(
    ours["COCO AP"]
  )


def test_faster_coco_eval_is_used_and_gives_the_same(coco_case, monkeypatch):
  faster = pytest.importorskip("faster_coco_eval")
  _, data, detections = coco_case
  fast = metrics.coco_library()
  assert fast == (faster.COCO, faster.COCOeval_faster)
  monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
  slow = metrics.coco_library()
  assert slow[1] is pycocotools.cocoeval.COCOeval
  figures = [
    metrics.evaluate_coco(
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
  found = metrics.evaluate_both([nothing], [record], class_names=("cat",))
  assert found["COCO AP"] is None and found["metric"] == 0
  assert found["per_class"]["cat"]["COCO AP"] is None
  one = record._replace(
    boxes_px=np.array([[0, 0, 5, 5]], np.float32),
    labels=np.zeros(1, np.int32),
    difficult=np.zeros(1, bool),
  )
  found = metrics.evaluate_both([nothing], [one], class_names=("cat",))
  assert found["COCO AP"] == 0 and found["COCO AP large"] is None


def test_every_node_of_a_tree_has_its_own_truths():
  """A terrier is a dog and an animal; a cat is an animal."""
  names, parents = ("animal", "dog", "cat", "terrier"), (-1, 0, 0, 1)
  record = Record(
    *("a", 10, 10, np.array([[0, 0, 4, 4], [5, 5, 9, 9]], np.float32)),
    *(np.array([3, 2], np.int32), np.array([False, True])),
    areas_px=np.array([7.0, 8.0]),
  )
  (more,) = metrics.credit_ancestors([record], parents)
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
  (none,) = metrics.credit_ancestors(
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
  figures = ap.evaluate([found], [more], class_names=names)
  assert figures["per_class"]["dog"]["VOC07 AP"] == pytest.approx(1)
  assert figures["per_class"]["terrier"]["VOC07 AP"] == 0
  means = metrics.group_means(
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
    make = metrics.make_evaluate("VOC07 AP", tree.ids, tree, {}, scored)
    return make([found], [record])

  whole, few = score(()), score(("pug",))
  np.testing.assert_allclose(whole["VOC07 AP"], 1 / 3)
  assert few["VOC07 AP"] == 1 and few["per_class"]["cat"]["truths"] == 0


def test_extremes_are_the_worst_and_the_best():
  values = (0.5, None, 0.1, 0.9, 0.3, 0.2)
  per_class = {
    name: {"VOC07 AP": value}
    for name, value in zip("abcdef", values, strict=True)
  }
  assert metrics.extremes(per_class, "abcdef", count=2) == (
    "worst c 10.0, f 20.0; best a 50.0, d 90.0"
  )
  assert metrics.extremes(per_class, "abcd", count=2) == ""


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
  assert metrics.diagnose([found], [record]) == pytest.approx(
    {
      "recall": 2 / 3,
      "recall small": 0.0,
      "recall large": 1.0,
      "overlap": (1 + 0.75) / 2,
      "right class": 0.5,
    }
  )
  nothing = metrics.diagnose([], [])
  assert nothing == dict.fromkeys(nothing) and len(nothing) == 5
