"""Box geometry; the only place where box formats are converted.

Every function takes NumPy arrays or jax.Arrays (traced ones too) and returns
the same kind, so that the data pipeline and the losses share one definition.
"""

from __future__ import annotations

from typing import Any

from yolo9000.types import Float


def xyxy_to_cxcywh(boxes: Float[Any, "*N 4"]) -> Float[Any, "*N 4"]:
  """Corners to centre and size, in the same unit."""
  xp = boxes.__array_namespace__()
  low, high = boxes[..., :2], boxes[..., 2:]
  return xp.concat([(low + high) / 2, high - low], axis=-1)


def cxcywh_to_xyxy(boxes_cxcywh: Float[Any, "*N 4"]) -> Float[Any, "*N 4"]:
  """Centre and size to corners, in the same unit."""
  xp = boxes_cxcywh.__array_namespace__()
  centre, half = boxes_cxcywh[..., :2], boxes_cxcywh[..., 2:] / 2
  return xp.concat([centre - half, centre + half], axis=-1)


def clip(boxes: Float[Any, "*N 4"]) -> Float[Any, "*N 4"]:
  """Cuts boxes at the picture's edge, [0, 1]."""
  return boxes.__array_namespace__().clip(boxes, 0.0, 1.0)


def area(boxes: Float[Any, "*N 4"]) -> Float[Any, "*N"]:
  """Width times height; zero for a box whose corners are out of order."""
  xp = boxes.__array_namespace__()
  sides = xp.clip(boxes[..., 2:] - boxes[..., :2], 0.0, None)
  return sides[..., 0] * sides[..., 1]


def intersection(
  a: Float[Any, "*#N 4"], b: Float[Any, "*#N 4"]
) -> Float[Any, "*#N"]:
  """Area that two boxes share; leading axes broadcast."""
  xp = a.__array_namespace__()
  low = xp.maximum(a[..., :2], b[..., :2])
  high = xp.minimum(a[..., 2:], b[..., 2:])
  return area(xp.concat([low, high], axis=-1))


def iou(a: Float[Any, "*#N 4"], b: Float[Any, "*#N 4"]) -> Float[Any, "*#N"]:
  """Intersection over union; leading axes broadcast.

  All pairs of (N, 4) and (M, 4) are `iou(a[:, None], b[None])`. Two boxes
  without area have IoU 0 (Differs: the original program gets 0 / 0 there).
  """
  xp = a.__array_namespace__()
  shared = intersection(a, b)
  union = area(a) + area(b) - shared
  return shared / xp.where(union > 0, union, 1.0)


def giou(a: Float[Any, "*#N 4"], b: Float[Any, "*#N 4"]) -> Float[Any, "*#N"]:
  """Generalised IoU: less, down to -1, the further two boxes are apart.

  From the IoU is taken the share of the smallest box around both that lies in
  neither. Leading axes broadcast.

  Source: Rezatofighi et al., arXiv 1902.09630, algorithm 1.
  """
  xp = a.__array_namespace__()
  low = xp.minimum(a[..., :2], b[..., :2])
  high = xp.maximum(a[..., 2:], b[..., 2:])
  around = area(xp.concat([low, high], axis=-1))
  union = area(a) + area(b) - intersection(a, b)
  return iou(a, b) - (around - union) / xp.where(around > 0, around, 1.0)


def shape_iou(
  a_wh: Float[Any, "*#N 2"], b_wh: Float[Any, "*#N 2"]
) -> Float[Any, "*#N"]:
  """IoU of two shapes (w, h) laid on the same centre; leading axes broadcast.

  One minus this is the distance of the paper's k-means (section 2, dimension
  clusters), and the rule by which a truth chooses its prior.
  """
  xp = a_wh.__array_namespace__()
  sides = xp.minimum(a_wh, b_wh)
  shared = sides[..., 0] * sides[..., 1]
  union = a_wh[..., 0] * a_wh[..., 1] + b_wh[..., 0] * b_wh[..., 1] - shared
  return shared / xp.where(union > 0, union, 1.0)
