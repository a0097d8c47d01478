"""Masks of detections and truths as COCO's segmentation, of whole pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from yolo9000.boxes.masks import ON, paste
from yolo9000.data import masks
from yolo9000.types import Detections


def of_detections(
  found: Detections, boxes_px: Any, size: tuple[int, int]
) -> list[dict[str, Any]] | None:
  """COCO's segmentation of each detection; None if they have no masks.

  Args:
    found: of one picture, without padding.
    boxes_px: their frames in pixels, uncut.
    size: (width, height) of the picture.
  """
  if found.masks is None:
    return None
  return [
    segmentation(masks.encode(paste(mask, box_px, size) >= ON), size)
    for mask, box_px in zip(found.masks, boxes_px, strict=True)
  ]


def segmentation(runs: bytes, size: tuple[int, int]) -> dict[str, Any]:
  """As it stands in COCO's files; size is (width, height) of the picture."""
  return {"size": [size[1], size[0]], "counts": runs.decode()}


def of_record(record: Any) -> list[dict[str, Any]]:
  """COCO's segmentation of each truth; of one that has none, its box.

  Raises:
    ValueError: if the masks were not read.
  """
  size = record.width, record.height
  if record.masks is None and len(record.labels):
    raise ValueError(
      f"{record.path} has {len(record.labels)} objects and no masks; expected "
      f"a data set with masks, by which COCO mask AP is measured"
    )
  found = []
  for mask, (left, top, right, bottom) in zip(
    record.masks or (), record.boxes_px, strict=True
  ):
    if mask is None:
      corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
      mask = masks.outline([np.array(corners)])
    found.append(segmentation(masks.as_runs(mask, size), size))
  return found


def area_px(one: Mapping[str, Any]) -> float:
  """Pixels that a segmentation of runs covers."""
  height, width = one["size"]
  return masks.area_px(one["counts"].encode(), (width, height))
