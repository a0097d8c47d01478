"""COCO's figures against its own program."""

import sys

import numpy as np
import pycocotools.coco
import pycocotools.cocoeval
import pytest
from conftest import SHARED

from yolo9000.data import sources
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats.reading import Source
from yolo9000.data.records import Record
from yolo9000.scoring import coco, evaluate_both
from yolo9000.types import Detections


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
  ours = coco.evaluate_coco(
    detections,
    data.records,
    class_names=data.class_names,
    library=coco.coco_library(),
  )
  truth = pycocotools.coco.COCO(
    root / "annotations" / "instances_train2017.json"
  )
  path = tmp_path / "detections.json"
  coco.write_coco_json(path, detections, data)
  scores = pycocotools.cocoeval.COCOeval(
    truth, truth.loadRes(str(path)), "bbox"
  )
  scores.evaluate()
  scores.accumulate()
  scores.summarize()
  assert len(coco.COCO_FIGURES) == len(scores.stats) == 12
  for name, theirs in zip(coco.COCO_FIGURES, scores.stats, strict=True):
    assert ours[name] == pytest.approx(theirs, abs=1e-6), name
  assert 0.1 < ours["metric"] == ours["COCO AP"] < 0.9
  by_iou = ours["COCO AP by IoU"]
  assert list(by_iou) == [f"{iou:.2f}" for iou in np.arange(0.5, 0.99, 0.05)]
  assert by_iou["0.50"] == pytest.approx(scores.stats[1])
  assert by_iou["0.75"] == pytest.approx(scores.stats[2])
  assert np.mean(list(by_iou.values())) == pytest.approx(ours["COCO AP"])
  mean = [c["COCO AP"] for c in ours["per_class"].values()]
  assert np.mean([x for x in mean if x is not None]) == pytest.approx(
    ours["COCO AP"]
  )


def test_faster_coco_eval_is_used_and_gives_the_same(coco_case, monkeypatch):
  faster = pytest.importorskip("faster_coco_eval")
  _, data, detections = coco_case
  fast = coco.coco_library()
  assert fast == (faster.COCO, faster.COCOeval_faster)
  monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
  slow = coco.coco_library()
  assert slow[1] is pycocotools.cocoeval.COCOeval
  figures = [
    coco.evaluate_coco(
      detections, data.records, class_names=data.class_names, library=library
    )
    for library in (fast, slow)
  ]
  one, other = (f.pop("COCO AP by IoU") for f in figures)
  assert one == pytest.approx(other, abs=1e-12)
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
  found = evaluate_both([nothing], [record], class_names=("cat",))
  assert found["COCO AP"] is None and found["metric"] == 0
  assert found["per_class"]["cat"]["COCO AP"] is None
  one = record._replace(
    boxes_px=np.array([[0, 0, 5, 5]], np.float32),
    labels=np.zeros(1, np.int32),
    difficult=np.zeros(1, bool),
  )
  found = evaluate_both([nothing], [one], class_names=("cat",))
  assert found["COCO AP"] == 0 and found["COCO AP large"] is None
