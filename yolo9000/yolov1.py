"""YOLOv1: how its output is read."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from yolo9000 import boxes as box
from yolo9000 import nms
from yolo9000.layers import Detection
from yolo9000.types import Detections, Float


def decode(
  output: Float[Array, " D"], how: Detection
) -> tuple[Float[Array, "N 4"], Float[Array, " N"], Float[Array, "N C"]]:
  """Boxes, confidences and class probabilities of one picture.

  The output has the class probabilities of each cell, then the confidences of
  each cell's boxes, then their (x, y, w, h): x and y within the cell, w and h
  or their square roots as fractions of the picture.

  Returns:
    xyxy boxes in [0, 1], not clipped; N = S * S * B of them, cell by cell. The
    boxes of a cell share its class probabilities.

  Source: get_detection_detections of the original program.
  """
  cells, num_boxes = how.side**2, how.num_boxes
  ends = (cells * how.num_classes, cells * (how.num_classes + num_boxes))
  classes, confidences, numbers = jnp.split(output, ends)
  classes = classes.reshape(cells, how.num_classes)
  if how.exclusive:
    classes = jax.nn.softmax(classes, axis=1)
  numbers = numbers.reshape(cells, num_boxes, 4)
  cell = jnp.arange(cells)
  corner = jnp.stack([cell % how.side, cell // how.side], axis=1)  # (cells, 2)
  centre = numbers[..., :2] + corner[:, None].astype(output.dtype)
  size = numbers[..., 2:] ** 2 if how.square_root else numbers[..., 2:]
  boxes = jnp.concatenate([centre / how.side, size], axis=-1).reshape(-1, 4)
  return (
    box.cxcywh_to_xyxy(boxes),
    confidences,
    jnp.repeat(classes, num_boxes, axis=0),
  )


def detect(
  output: Float[Array, " D"], *, how: Detection, **suppression: Any
) -> Detections:
  """Detections of one picture; `suppression` as in `nms.per_class`."""
  boxes, confidences, classes = decode(output, how)
  return nms.per_class(boxes, confidences[:, None] * classes, **suppression)
