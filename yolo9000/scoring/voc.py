"""PASCAL VOC average precision, NumPy only.

Matching is the devkit's: a detection is compared with the truth of its class
that it overlaps most; if that one is already found, it is a false positive,
even if another free truth would do (COCO goes on to the next best).
A truth marked difficult is neither a hit nor a miss.

Boxes here are continuous edges in pixels. The devkit counts inclusive pixels
(width = xmax - xmin + 1); a reader that turns xmin, xmax into the edges
xmin - 1, xmax, as `data.voc` does, gets the devkit's IoU without the + 1.
"""

from __future__ import annotations

from collections.abc import Sequence
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
  return evaluate_found(found, truth, class_names=class_names)


def evaluate_found(
  found: Found,
  truth: Found,
  *,
  class_names: Sequence[str],
  iou_threshold: float = VOC_IOU,
) -> dict[str, Any]:
  """As `evaluate`, of two lists; detected boxes count as they are, uncut."""
  per_class, means = {}, {"VOC07 AP": [], "VOC10 AP": []}
  for label, name in enumerate(class_names):
    curve = voc_curve(found, truth, label, iou_threshold=iou_threshold)
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
