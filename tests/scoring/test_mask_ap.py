"""COCO's figures by masks, against an AP of loops over pixels."""

import json

import numpy as np
import pycocotools.coco
import pycocotools.cocoeval
import pytest
from conftest import SHARED

from yolo9000.boxes.masks import ON, paste
from yolo9000.data import fitting, masks, sources
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats.reading import Source
from yolo9000.data.records import Record
from yolo9000.scoring import coco, make_score, mask_ap
from yolo9000.types import Detections
from yolo9000.wordtree import Classes

SIZE = (48, 40)
NAMES = ("cat", "dog")


def disc(box, radius=0.5):
  """Pixels of an ellipse in a box in pixels."""
  y, x = np.mgrid[: SIZE[1], : SIZE[0]] + 0.5
  left, top, right, bottom = box
  x = (x - (left + right) / 2) / (right - left)
  y = (y - (top + bottom) / 2) / (bottom - top)
  return x**2 + y**2 < radius**2


def case():
  """Pictures, truths that are ellipses, and detections by a seeded hand.

  One truth is a crowd, and of one the mask is not known.
  """
  rng = np.random.default_rng(3)
  records, detections = [], []
  y, x = (np.mgrid[:14, :14] + 0.5) / 14 - 0.5
  for number in range(6):
    low = rng.uniform(0, 20, (3, 2))
    boxes_px = np.concatenate([low, low + rng.uniform(8, 20, (3, 2))], axis=1)
    boxes_px = boxes_px.astype(np.float32)
    labels = rng.integers(0, 2, 3).astype(np.int32)
    shown = [masks.encode(disc(box)) for box in boxes_px]
    if number == 2:
      shown[0] = None
    hard = np.arange(3) == (1 if number == 1 else 7)
    records.append(
      Record(*(str(number), *SIZE, boxes_px, labels, hard), masks=tuple(shown))
    )
    again = rng.integers(0, 3, 5)
    moved = boxes_px[again] + rng.normal(0, 1.5, (5, 4)).astype(np.float32)
    radii = rng.uniform(0.3, 0.6, (5, 1, 1))
    detections.append(
      Detections(
        moved / np.float32([*SIZE] * 2),
        -np.sort(-rng.random(5)).astype(np.float32),
        labels[again],
        np.ones(5, bool),
        np.float32(x**2 + y**2 < radii**2),
      )
    )
  return records, detections


def slow_ap(records, detections, label, threshold):
  """101 points of recall; greedy, the best first, each the best free truth."""
  rows, count = [], 0
  for record, found in zip(records, detections, strict=True):
    mine = np.flatnonzero(record.labels == label)
    truths = [
      None if record.masks[n] is None else disc(record.boxes_px[n])
      for n in mine
    ]
    hard = [record.difficult[n] or record.masks[n] is None for n in mine]
    # Of one whose mask is not known, its box.
    for place, n in enumerate(mine):
      if truths[place] is None:
        truths[place] = np.ones(SIZE[::-1], bool)
        runs = masks.as_runs(box_outline(record.boxes_px[n]), SIZE)
        truths[place] = masks.decode(runs, SIZE).astype(bool)
    count += len(mine) - sum(hard)
    taken = [False] * len(mine)
    for n in np.flatnonzero(found.labels == label):
      box_px = found.boxes[n] * np.float32([*SIZE] * 2)
      pixels = paste(found.masks[n], box_px, SIZE) >= ON
      best, which = threshold, None
      for place in sorted(range(len(mine)), key=lambda p: hard[p]):
        if taken[place] and not hard[place]:
          continue
        if which is not None and not hard[which] and hard[place]:
          break
        both = (pixels & truths[place]).sum()
        either = (pixels | truths[place]).sum()
        iou = both / (pixels.sum() if hard[place] else either)
        if iou >= best:
          best, which = iou, place
      if which is not None:
        taken[which] = True
      if which is None or not hard[which]:
        rows.append((-found.scores[n], which is not None))
  rows.sort(key=lambda row: row[0])
  hits = np.cumsum([hit for _, hit in rows])
  recall = hits / count
  precision = hits / np.arange(1, len(rows) + 1)
  points = np.linspace(0, 1, 101)
  best = [max(precision[recall >= p - 1e-12], default=0.0) for p in points]
  return float(np.mean(best))


def box_outline(box):
  left, top, right, bottom = box
  corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
  return masks.outline([np.array(corners)])


def test_mask_ap_is_that_of_loops_over_pixels():
  records, detections = case()
  score = make_score(
    metric="COCO mask AP", classes=Classes(NAMES), groups={}, scored=()
  )
  figures = score(detections, records)
  thresholds = np.linspace(0.5, 0.95, 10)
  table = np.array(
    [[slow_ap(records, detections, c, t) for t in thresholds] for c in (0, 1)]
  )
  assert 0.05 < table.mean() < 0.6
  assert figures["COCO mask AP"] == pytest.approx(table.mean(), abs=1e-9)
  assert figures["COCO mask AP50"] == pytest.approx(table[:, 0].mean())
  assert figures["COCO mask AP75"] == pytest.approx(table[:, 5].mean())
  assert figures["metric"] == figures["COCO mask AP"] != figures["COCO AP"]
  for label, name in enumerate(NAMES):
    row = figures["per_class"][name]
    assert row["COCO mask AP"] == pytest.approx(table[label].mean())
    assert {"VOC07 AP", "COCO AP"} < row.keys()
  # Both programs.
  slow = pycocotools.coco.COCO, pycocotools.cocoeval.COCOeval
  other = mask_ap.evaluate_masks(
    detections, records, class_names=NAMES, library=slow
  )
  for name in coco.MASK_FIGURES:
    assert figures[name] == pytest.approx(other[name], abs=1e-12), name


def test_what_has_no_masks_says_so():
  records, detections = case()
  how = {"class_names": NAMES, "library": coco.coco_library()}
  with pytest.raises(ValueError, match="detections have no masks; expected a"):
    mask_ap.evaluate_masks(
      [one._replace(masks=None) for one in detections], records, **how
    )
  with pytest.raises(ValueError, match="0 has 3 objects and no masks; expect"):
    mask_ap.evaluate_masks(
      detections, [r._replace(masks=None) for r in records], **how
    )
  nothing = [one.take(slice(0)) for one in detections]
  figures = mask_ap.evaluate_masks(nothing, records, **how)
  assert figures["COCO mask AP"] == 0


def test_real_truths_find_themselves(tmp_path):
  """COCO's own masks in frames of 56 cells, pasted, against its own file.

  The list of results has them, and its program reads that list.
  """
  root = SHARED / "data" / "coco_tiny38"
  if not root.is_dir():
    pytest.skip(f"{root} is not here")
  source = Source("coco", str(root), "train2017", masks=True)
  data = sources.read(source, Flaws(strict=True))
  detections, rng = [], np.random.default_rng(0)
  for record in data.records:
    boxes = record.boxes[~record.difficult].reshape(-1, 4)
    easy = record.take(~record.difficult)
    cells = masks.placed(
      easy.masks,
      boxes,
      fitting.Placement(0.0, 0.0, 1.0, 1.0),
      size=(record.width, record.height),
      flip=False,
      side=56,
    )
    scores = -np.sort(-rng.random(len(boxes))).astype(np.float32)
    mask = np.ones(len(boxes), bool)
    found = (boxes, scores, easy.labels, mask, cells / np.float32(255))
    detections.append(Detections(*found))
  figures = mask_ap.evaluate_masks(
    detections,
    data.records,
    class_names=data.class_names,
    library=coco.coco_library(),
  )
  assert figures["COCO mask AP50"] > 0.99 and figures["COCO mask AP"] > 0.85
  path = tmp_path / "detections.json"
  coco.write_coco_json(path, detections, data)
  rows = json.loads(path.read_text())
  assert all(set(row["segmentation"]) == {"size", "counts"} for row in rows)
  for row in rows:
    del row["bbox"]  # COCO's program would count areas of boxes
  truth = pycocotools.coco.COCO(
    root / "annotations" / "instances_train2017.json"
  )
  scores = pycocotools.cocoeval.COCOeval(truth, truth.loadRes(rows), "segm")
  scores.evaluate()
  scores.accumulate()
  scores.summarize()
  for name, theirs in zip(coco.MASK_FIGURES, scores.stats, strict=True):
    assert figures[name] == pytest.approx(theirs, abs=1e-6), name
