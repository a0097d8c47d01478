"""How many objects have a proposal: what a second stage can find at most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from yolo9000 import boxes as box
from yolo9000.types import Float

# COCO's, over which average recall is a mean.
THRESHOLDS = tuple((50 + 5 * n) / 100 for n in range(10))


def best_overlaps(record: Any) -> Float[np.ndarray, " M"]:
  """Of each truth of a picture, the IoU of the proposal that has most."""
  if record.proposals_px is None or not len(record.proposals_px):
    return np.zeros(len(record.labels), np.float32)
  truths = record.boxes_px.astype(np.float32)
  return box.iou(truths[:, None], record.proposals_px[None]).max(1)


def of_proposals(
  records: Sequence[Any], class_names: Sequence[str]
) -> dict[str, Any]:
  """Recall of the proposals of pictures, in parts of 1.

  Truths that are marked difficult do not count. A class without truths has no
  figures.

  Returns:
    recall_50 and recall_70, the part of the truths of which a proposal has an
    IoU of at least .5 or .7; average_recall, the mean over .5, .55 .. .95;
    objects, how many truths there are; proposals_per_picture; and per_class,
    with the first four of each class.
  """
  overlaps, labels = [np.zeros(0, np.float32)], [np.zeros(0, np.int32)]
  for record in records:
    counts = ~record.difficult
    overlaps.append(best_overlaps(record)[counts])
    labels.append(record.labels[counts])
  best, label = np.concatenate(overlaps), np.concatenate(labels)
  numbers = [
    0 if r.proposals_px is None else len(r.proposals_px) for r in records
  ]
  return {
    **_figures(best),
    "proposals_per_picture": float(np.mean(numbers)) if numbers else 0.0,
    "per_class": {
      name: _figures(best[label == n])
      for n, name in enumerate(class_names)
      if (label == n).any()
    },
  }


def _figures(best: Float[np.ndarray, " M"]) -> dict[str, Any]:
  """Of truths by the IoU of their best proposals."""
  if not len(best):
    return {"objects": 0}
  return {
    "objects": len(best),
    "recall_50": float(np.mean(best >= 0.5)),
    "recall_70": float(np.mean(best >= np.float32(0.7))),
    "average_recall": float(
      np.mean([np.mean(best >= np.float32(t)) for t in THRESHOLDS])
    ),
  }


def lines(figures: Any) -> list[str]:
  """For people: a line for each class, then all, in percent."""
  rows = [*figures["per_class"].items(), ("all", figures)]
  width = max(len(name) for name, _ in rows)
  told = [f"{'class':{width}}  objects  recall .5  recall .7  average recall"]
  for name, one in rows:
    if one["objects"]:
      numbers = (one["recall_50"], one["recall_70"], one["average_recall"])
      half, seven, mean = (100 * number for number in numbers)
      told.append(
        f"{name:{width}}  {one['objects']:7}  {half:9.1f}  {seven:9.1f}  "
        f"{mean:14.1f}"
      )
  return told
