"""PASCAL VOC average precision in NumPy, and COCO's by its own program.

VOC's matching is the devkit's: a detection is compared with the truth of its
class that it overlaps most; if that one is already found, it is a false
positive, even if another free truth would do (COCO goes on to the next best).
A truth marked difficult is neither a hit nor a miss.

Boxes here are continuous edges in pixels. The devkit counts inclusive pixels
(width = xmax - xmin + 1); a reader that turns xmin, xmax into the edges
xmin - 1, xmax, as `data.voc` does, gets the devkit's IoU without the + 1.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from yolo9000 import boxes as box
from yolo9000.types import Bool, Detections, Float, Int

VOC_IOU = 0.5  # a detection with less overlap finds nothing


class Found(NamedTuple):
  """Boxes of a set of pictures in one list: detections, or truths.

  `score` is the detections' confidence; `difficult` the truths' flag.
  """

  image: Int[np.ndarray, " N"]
  label: Int[np.ndarray, " N"]
  boxes_px: Float[np.ndarray, "N 4"]
  score: Float[np.ndarray, " N"]
  difficult: Bool[np.ndarray, " N"]


class Curve(NamedTuple):
  """Precision and recall of one class after each detection, best first."""

  recall: Float[np.ndarray, " D"]
  precision: Float[np.ndarray, " D"]
  truths: int  # without the difficult ones


def match_voc(
  detections: Found, truths: Found, *, iou_threshold: float
) -> tuple[Bool[np.ndarray, " D"], Bool[np.ndarray, " D"]]:
  """Which detections of one class are hits, and which false positives.

  Detections come best first. One that best overlaps a difficult truth is
  neither.
  """
  hit = np.zeros(len(detections.image), bool)
  false = np.zeros(len(detections.image), bool)
  found = np.zeros(len(truths.image), bool)
  of_image = {
    image: np.flatnonzero(truths.image == image)
    for image in np.unique(truths.image)
  }
  for n, image in enumerate(detections.image):
    candidates = of_image.get(image)
    if candidates is None:
      false[n] = True
      continue
    overlap = box.iou(detections.boxes_px[n][None], truths.boxes_px[candidates])
    best = candidates[np.argmax(overlap)]
    if overlap.max() < iou_threshold or (
      found[best] and not truths.difficult[best]
    ):
      false[n] = True
    elif not truths.difficult[best]:
      hit[n] = found[best] = True
  return hit, false


def voc_curve(
  detections: Found, truths: Found, label: int, *, iou_threshold: float
) -> Curve:
  """Precision against recall of one class.

  Equal scores keep the order of the input (picture, then position).
  """
  mine = detections.label == label
  order = np.flatnonzero(mine)[
    np.argsort(-detections.score[mine], kind="stable")
  ]
  ranked = Found(*(column[order] for column in detections))
  of_class = Found(*(column[truths.label == label] for column in truths))
  hit, false = match_voc(ranked, of_class, iou_threshold=iou_threshold)
  hits, falses = np.cumsum(hit), np.cumsum(false)
  count = int(np.sum(~of_class.difficult))
  return Curve(
    recall=hits / max(count, 1),
    precision=hits / np.maximum(hits + falses, 1),
    truths=count,
  )


def voc07_ap(curve: Curve) -> float:
  """Mean over recall 0, .1, .. 1 of the best precision from there on.

  nan for a class without truths. Recall is compared with a tolerance of 1e-9:
  a recall of exactly 9/15 reaches the point .6, which binary fractions miss.
  """
  if not curve.truths:
    return float("nan")
  points = np.arange(11) / 10
  reached = curve.recall[None] >= points[:, None] - 1e-9
  best = np.max(np.where(reached, curve.precision, 0.0), axis=1, initial=0.0)
  return float(np.mean(best))


def voc10_ap(curve: Curve) -> float:
  """Area under the envelope of precision over recall, used since VOC 2010.

  nan for a class without truths.
  """
  if not curve.truths:
    return float("nan")
  recall = np.concatenate([[0.0], curve.recall])
  envelope = np.maximum.accumulate(curve.precision[::-1])[::-1]
  return float(np.sum(np.diff(recall) * envelope))


def collect(
  detections: Sequence[Detections], records: Sequence[Any]
) -> tuple[Found, Found]:
  """Detections and truths of records as two lists, in pixels.

  Detected boxes are cut at the picture's edge.
  """

  def listed(columns):
    image, label, boxes_px, score, difficult = columns
    counts = [len(part) for part in label]
    return Found(
      np.repeat(np.arange(len(records)), counts),
      np.concatenate([*label, np.zeros(0, int)]).astype(np.int64),
      np.concatenate([*boxes_px, np.zeros((0, 4))]).astype(np.float64),
      np.concatenate([*score, np.zeros(0)]).astype(np.float64),
      np.concatenate([*difficult, np.zeros(0, bool)]).astype(bool),
    )

  found = [
    (
      n,
      d.labels[d.mask],
      box.clip(d.boxes[d.mask].astype(np.float64)) * r.edges_px,
      d.scores[d.mask],
      np.zeros(int(d.mask.sum()), bool),
    )
    for n, (d, r) in enumerate(zip(detections, records, strict=True))
  ]
  truth = [
    (n, r.labels, r.boxes_px, np.ones(len(r.labels)), r.difficult)
    for n, r in enumerate(records)
  ]
  empty = ([], [], [], [], [])
  return (
    listed(list(zip(*found, strict=True)) or empty),
    listed(list(zip(*truth, strict=True)) or empty),
  )


def evaluate(
  detections: Sequence[Detections],
  records: Sequence[Any],
  *,
  class_names: Sequence[str],
) -> dict[str, Any]:
  """VOC07 and VOC10 AP at IoU .5, per class and their means.

  Args:
    detections: one per record, boxes in [0, 1] of the record's picture.
    records: `data.records.Record`s.
    class_names: of the labels.

  Returns:
    "VOC07 AP", "VOC10 AP" (means over the classes with truths; None if there
    are none), "per_class" (class name to both and the number of truths),
    "truths", "detections", and "metric", which is the VOC07 AP.
  """
  found, truth = collect(detections, records)
  per_class, means = {}, {"VOC07 AP": [], "VOC10 AP": []}
  for label, name in enumerate(class_names):
    curve = voc_curve(found, truth, label, iou_threshold=VOC_IOU)
    row: dict[str, Any] = {"truths": curve.truths}
    for measure, function in (("VOC07 AP", voc07_ap), ("VOC10 AP", voc10_ap)):
      value = function(curve)
      row[measure] = None if np.isnan(value) else value
      if not np.isnan(value):
        means[measure].append(value)
    per_class[name] = row
  mean = {k: float(np.mean(v)) if v else None for k, v in means.items()}
  return {
    "metric": mean["VOC07 AP"] or 0.0,
    **mean,
    "truths": int(np.sum(~truth.difficult)),
    "detections": len(found.image),
    "per_class": per_class,
  }


def credit_ancestors(
  records: Sequence[Any], parents: Sequence[int]
) -> list[Any]:
  """Records in which each truth counts for every class above its own as well.

  So a terrier is a truth of terrier, of dog and of animal, and each node of a
  tree has an AP of its own.

  Args:
    records: `data.records.Record`s.
    parents: of each class, -1 at the top.
  """
  table = np.array([*parents, -1])  # the last serves -1
  result = []
  for record in records:
    labels, rows = [record.labels], [np.arange(len(record.labels))]
    while (labels[-1] >= 0).any():
      labels.append(table[labels[-1]])
      rows.append(rows[0])
    label, row = np.concatenate(labels), np.concatenate(rows)
    label, row = label[label >= 0], row[label >= 0]
    areas = record.areas_px
    result.append(
      record._replace(
        labels=label.astype(np.int32),
        boxes_px=record.boxes_px[row],
        difficult=record.difficult[row],
        areas_px=None if areas is None else areas[row],
      )
    )
  return result


def group_means(
  metrics: dict[str, Any], groups: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
  """The metrics with "groups": the mean VOC07 AP of each group of classes.

  Classes without truths do not count; None if a group has no other.
  """
  means = {}
  for group, names in groups.items():
    values = [metrics["per_class"][name]["VOC07 AP"] for name in names]
    known = [value for value in values if value is not None]
    means[group] = float(np.mean(known)) if known else None
  return {**metrics, "groups": means}


# COCO's twelve figures, in the order in which its program prints them.
COCO_FIGURES = (
  *("COCO AP", "COCO AP50", "COCO AP75"),
  *("COCO AP small", "COCO AP medium", "COCO AP large"),
  *("COCO AR 1", "COCO AR 10", "COCO AR 100"),
  *("COCO AR small", "COCO AR medium", "COCO AR large"),
)


def coco_library() -> tuple[Any, Any]:
  """COCO and COCOeval, of faster-coco-eval where it is, or of pycocotools.

  Both give the same figures; the first is much faster.
  """
  try:
    from faster_coco_eval import COCO, COCOeval_faster

    return COCO, COCOeval_faster
  except ImportError:
    from pycocotools import coco, cocoeval

    return coco.COCO, cocoeval.COCOeval


def evaluate_coco(
  detections: Sequence[Detections],
  records: Sequence[Any],
  *,
  class_names: Sequence[str],
  library: tuple[Any, Any],
) -> dict[str, Any]:
  """COCO's twelve figures, at most 100 detections per picture.

  What a record marks difficult is treated as a crowd. Sizes are by the area of
  the mask where the record has it, and otherwise of the box.

  Args:
    detections, records, class_names: as for `evaluate`.
    library: see `coco_library`.

  Returns:
    `COCO_FIGURES` (None where there is no truth to find), "per_class" (class
    name to "COCO AP"), and "metric", which is the COCO AP.
  """
  found, truth = collect(detections, records)
  areas = [
    r.areas_px
    if r.areas_px is not None
    else np.prod(r.boxes_px[:, 2:] - r.boxes_px[:, :2], axis=1)
    for r in records
  ]
  with contextlib.redirect_stdout(io.StringIO()):
    tables = [
      _coco_table(library, rows, size, len(records), class_names)
      for rows, size in (
        (truth, np.concatenate([*areas, np.zeros(0)])),
        (found, np.prod(found.boxes_px[:, 2:] - found.boxes_px[:, :2], axis=1)),
      )
    ]
    scores = library[1](*tables, "bbox")
    scores.evaluate()
    scores.accumulate()
    scores.summarize()
  figures = {
    name: None if value < 0 else float(value)
    for name, value in zip(COCO_FIGURES, scores.stats[:12], strict=True)
  }
  # Thresholds, recalls, classes, sizes (all first), detections (100 last).
  precision = scores.eval["precision"][:, :, :, 0, -1]
  per_class = {}
  for label, name in enumerate(class_names):
    valid = precision[:, :, label][precision[:, :, label] >= 0]
    per_class[name] = {"COCO AP": float(valid.mean()) if valid.size else None}
  return {
    "metric": figures["COCO AP"] or 0.0,
    **figures,
    "per_class": per_class,
  }


def evaluate_both(
  detections: Sequence[Detections],
  records: Sequence[Any],
  *,
  class_names: Sequence[str],
) -> dict[str, Any]:
  """VOC's figures and COCO's; "metric" is the COCO AP."""
  voc = evaluate(detections, records, class_names=class_names)
  coco = evaluate_coco(
    detections, records, class_names=class_names, library=coco_library()
  )
  per_class = {
    name: {**voc["per_class"][name], **coco["per_class"][name]}
    for name in class_names
  }
  return {**voc, **coco, "per_class": per_class}


def _coco_table(
  library: tuple[Any, Any],
  rows: Found,
  areas: Float[np.ndarray, " N"],
  pictures: int,
  class_names: Sequence[str],
) -> Any:
  """Truths or detections as the library's COCO; id 0 would mean none."""
  sizes = rows.boxes_px[:, 2:] - rows.boxes_px[:, :2]
  table = library[0]()
  table.dataset = {
    "images": [{"id": n + 1} for n in range(pictures)],
    "categories": [
      {"id": n + 1, "name": name} for n, name in enumerate(class_names)
    ],
    "annotations": [
      {
        "id": n + 1,
        "image_id": int(rows.image[n]) + 1,
        "category_id": int(rows.label[n]) + 1,
        "bbox": [*rows.boxes_px[n, :2].tolist(), *sizes[n].tolist()],
        "area": float(areas[n]),
        "iscrowd": int(rows.difficult[n]),
        "score": float(rows.score[n]),
      }
      for n in range(len(rows.image))
    ],
  }
  table.createIndex()
  return table
