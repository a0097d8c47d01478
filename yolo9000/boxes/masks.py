"""Masks in the frames of boxes, laid on pictures. NumPy and OpenCV alone."""

from __future__ import annotations

import cv2
import numpy as np

from yolo9000.types import Float

ON = 0.5  # the least probability of an object's pixels


def paste(
  mask: Float[np.ndarray, "S S"],
  box_px: Float[np.ndarray, " 4"],
  size: tuple[int, int],
) -> Float[np.ndarray, "H W"]:
  """Probabilities of a picture's pixels, 0 outside the box.

  The mask is enlarged, or made smaller, by linear interpolation; around it lies
  a cell of zeros, so that it ends softly.

  Args:
    mask: in the frame of the box.
    box_px: left, top, right, bottom; may leave the picture.
    size: (width, height) of the picture.

  Source: paste_masks_in_image of torchvision: the box, larger by the cell, is
  cut to whole pixels, of which the last is included.
  """
  width, height = size
  whole = np.trunc(larger(box_px, mask.shape[0])).astype(int).tolist()
  left, top, right, bottom = (*whole[:2], whole[2] + 1, whole[3] + 1)
  out = np.zeros((height, width), np.float32)
  x, y = max(left, 0), max(top, 0)
  end_x, end_y = min(right, width), min(bottom, height)
  if x >= end_x or y >= end_y:
    return out
  large = cv2.resize(
    np.pad(mask.astype(np.float32), 1),
    (max(right - left, 1), max(bottom - top, 1)),
    interpolation=cv2.INTER_LINEAR,
  )
  out[y:end_y, x:end_x] = large[y - top : end_y - top, x - left : end_x - left]
  return out


def larger(
  box_px: Float[np.ndarray, " 4"], side: int
) -> Float[np.ndarray, " 4"]:
  """A box with a cell of its mask, of so many cells a side, around it."""
  centre = (box_px[2:] + box_px[:2]) / 2
  half = (box_px[2:] - box_px[:2]) / 2 * np.float32((side + 2) / side)
  return np.concatenate([centre - half, centre + half])


def cut(
  masks: Float[np.ndarray, "K S S"],
  frames: Float[np.ndarray, "K 4"],
  boxes: Float[np.ndarray, "K 4"],
) -> Float[np.ndarray, "K S S"]:
  """Masks of frames in the frames of boxes, as these are after a cut.

  Args:
    masks: of the frames.
    frames: of any unit; those without area stay as they are.
    boxes: inside the frames, in the same unit.
  """
  out = masks.copy()
  for row in np.flatnonzero((frames != boxes).any(axis=1)):
    sides = frames[row, 2:] - frames[row, :2]
    if (sides > 0).all():
      across, down = (
        _weights(
          float((boxes[row, axis] - frames[row, axis]) / sides[axis]),
          float((boxes[row, axis + 2] - frames[row, axis]) / sides[axis]),
          masks.shape[1],
        )
        for axis in (0, 1)
      )
      out[row] = down @ masks[row] @ across.T
  return out


def _weights(low: float, high: float, side: int) -> Float[np.ndarray, "S S"]:
  """Of old cells in new ones, which lie from low to high of the old side."""
  centres = side * (low + (high - low) * (np.arange(side) + 0.5) / side) - 0.5
  away = np.abs(np.clip(centres, 0, side - 1)[:, None] - np.arange(side))
  return np.maximum(1 - away, 0).astype(np.float32)
