"""Boxes: their geometry; anchors, matching, coding, suppression, priors.

The geometry is here under its own name: `from yolo9000 import boxes as box`.
"""

from yolo9000.boxes.geometry import (
  area,
  clip,
  cxcywh_to_xyxy,
  giou,
  intersection,
  iou,
  shape_iou,
  xyxy_to_cxcywh,
)

__all__ = [
  "area",
  "clip",
  "cxcywh_to_xyxy",
  "giou",
  "intersection",
  "iou",
  "shape_iou",
  "xyxy_to_cxcywh",
]
