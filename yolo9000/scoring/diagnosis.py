"""Why an average precision is as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from yolo9000 import boxes as box
from yolo9000.scoring.voc import VOC_IOU
from yolo9000.types import Detections


def diagnose(
  detections: Sequence[Detections], records: Sequence[Any]
) -> dict[str, float | None]:
  """What is found of the objects whatever its class: why an AP is as it is.

  Args:
    detections, records: as for `voc.evaluate`; truths marked
      difficult do not count.

  Returns:
    "recall": share of truths that some detection overlaps by half or more;
    "recall small" and "recall large": of the third of the truths with the
    smallest and the largest area, as parts of their pictures; "overlap": the
    mean IoU of a found truth with what overlaps it most; "right class": share
    of found truths for which, of the detections that overlap it so, the one
    with the highest score has its class. None where there is none to count.
  """
  area, best, right = [], [], []
  for found, record in zip(detections, records, strict=True):
    boxes = box.clip(found.boxes) * record.edges_px
    for truth, label in zip(
      record.boxes_px[~record.difficult],
      record.labels[~record.difficult],
      strict=True,
    ):
      overlap = box.iou(boxes, truth[None])
      near = overlap >= VOC_IOU
      area.append(box.area(truth) / np.prod(record.edges_px[:2]))
      best.append(overlap.max(initial=0.0))
      if near.any():
        first = np.argmax(np.where(near, found.scores, -1.0))
        right.append(found.labels[first] == label)
  hit, order = np.array(best) >= VOC_IOU, np.argsort(area)
  third = len(order) // 3

  def mean(values: Any) -> float | None:
    return float(np.mean(values)) if len(values) else None

  return {
    "recall": mean(hit),
    "recall small": mean(hit[order[:third]]),
    "recall large": mean(hit[order[len(order) - third :]]),
    "overlap": mean(np.array(best)[hit]),
    "right class": mean(right),
  }
