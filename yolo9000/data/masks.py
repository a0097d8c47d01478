"""Masks of objects: kept compact, and brought into the frame of a box.

A mask is of one of two kinds. An outline is an array of points in pixels of the
stored picture, whose edges are whole numbers; a row of NaN stands between the
parts of an object that has several. Runs are the bytes of COCO's compressed
run lengths, of the pixels of the whole picture.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pycocotools import mask as coco_masks

from yolo9000.data import fitting
from yolo9000.types import Bool, Float, UInt8

# An outline or runs; None where an object's mask is not known.
Mask = np.ndarray | bytes | None
ROWS = 4  # lines on which an outline is looked at in each row of cells


def encode(pixels: Bool[np.ndarray, "H W"]) -> bytes:
  """Runs of a picture's pixels."""
  whole = np.asfortranarray(pixels, np.uint8)
  return coco_masks.encode(whole)["counts"]


def decode(runs: bytes, size: tuple[int, int]) -> UInt8[np.ndarray, "H W"]:
  """The pixels, 0 or 1, of runs of a picture of this (width, height)."""
  # Not by COCO's program, whose own does not know NumPy 2 and warns.
  counts = lengths(runs)
  on = np.arange(len(counts), dtype=np.uint8) % np.uint8(2)
  return np.repeat(on, counts).reshape(size).T


def lengths(text: bytes) -> list[int]:
  """Run lengths, off and on in turn, of runs; [-1] for what is no text of any.

  Each is a number of 5 bits a letter, the least first, of which the sixth bit
  says that another follows. From the fourth on it is the difference from the
  length two before. Source: rleFrString of pycocotools, which does not look
  where the text ends.
  """
  runs: list[int] = []
  value = shift = 0
  for letter in text:
    bits = letter - 48
    if not 0 <= bits < 64 or shift > 30:
      return [-1]
    value |= (bits & 31) << shift
    shift += 5
    if bits & 32:
      continue
    if bits & 16:  # of a negative number
      value -= 1 << shift
    runs.append(value + (runs[-2] if len(runs) > 2 else 0))
    value = shift = 0
  return runs if shift == 0 else [-1]


def outline(parts: Sequence[np.ndarray]) -> Float[np.ndarray, "P 2"]:
  """An outline of the points (P, 2) of its parts."""
  between = np.full((1, 2), np.nan, np.float32)
  rows = [row for part in parts for row in (part.astype(np.float32), between)]
  return np.concatenate(rows[:-1])


def parts_of(mask: Float[np.ndarray, "P 2"]) -> list[np.ndarray]:
  """The points (P, 2) of each part of an outline."""
  between = np.flatnonzero(np.isnan(mask[:, 0]))
  return [part[~np.isnan(part[:, 0])] for part in np.split(mask, between)]


def as_runs(mask: Mask, size: tuple[int, int]) -> bytes:
  """A mask as runs of a picture of this (width, height), by COCO's program.

  One that is not known is empty.
  """
  if isinstance(mask, bytes):
    return mask
  width, height = size
  if mask is None:
    return encode(np.zeros((height, width), bool))
  # Its program rounds fifths of a pixel, so that it matters whether 10.3 is.
  points = [np.round(part.astype(np.float64), 3) for part in parts_of(mask)]
  flat = [part.reshape(-1).tolist() for part in points]
  found = coco_masks.frPyObjects(flat, height, width)
  return coco_masks.merge(found)["counts"]


def area_px(runs: bytes, size: tuple[int, int]) -> float:
  """How many pixels runs of a picture of this (width, height) cover."""
  return float(coco_masks.area({"size": [*size[::-1]], "counts": runs}))


def placed(
  masks: Sequence[Mask],
  boxes: Float[np.ndarray, "M 4"],
  placement: fitting.Placement,
  *,
  size: tuple[int, int],
  flip: bool,
  side: int,
) -> UInt8[np.ndarray, "M S S"]:
  """Masks of the source picture in the frames of boxes on the input.

  Nothing is drawn on the input: where each box lies on the source picture is
  known, and the mask is brought from there into its frame at once.

  Args:
    masks: of the objects.
    boxes: where they are after `fitting.place_boxes`.
    placement, flip: as there.
    size: (width, height) of the source picture.
    side: S.
  """
  if flip:
    left, top, right, bottom = boxes.T
    boxes = np.stack([1 - right, top, 1 - left, bottom], axis=1)
  frames = fitting.unplace_boxes(boxes.astype(np.float64), placement)
  frames_px = frames * np.array([*size] * 2)
  out = np.zeros((len(boxes), side, side), np.uint8)
  for row, (mask, frame_px) in enumerate(zip(masks, frames_px, strict=True)):
    if mask is not None:
      cells = in_frame(mask, frame_px, size=size, side=side)
      out[row] = cells[:, ::-1] if flip else cells
  return out


def in_frame(
  mask: np.ndarray | bytes,
  frame_px: Float[np.ndarray, " 4"],
  *,
  size: tuple[int, int],
  side: int,
) -> UInt8[np.ndarray, "S S"]:
  """How much of each cell of a frame a mask fills, from 0 to 255.

  Exact, but for the heights of an outline, which is looked at on ROWS lines in
  each row of cells.

  Args:
    mask: of a picture.
    frame_px: left, top, right, bottom of the frame; it has an area.
    size: (width, height) of the picture.
    side: S.
  """
  low, cell = frame_px[:2], (frame_px[2:] - frame_px[:2]) / side
  if isinstance(mask, bytes):
    pixels = decode(mask, size)
    (left, across), (top, down) = (
      _overlaps(low[axis], cell[axis], side, size[axis]) for axis in (0, 1)
    )
    inside = pixels[top : top + down.shape[1], left : left + across.shape[1]]
    filled = down @ inside.astype(np.float64) @ across.T
  else:
    # Parts of an object may touch, and are one object where they overlap.
    filled = sum(_inside((part - low) / cell, side) for part in parts_of(mask))
  return np.round(255 * np.clip(filled, 0, 1)).astype(np.uint8)


def _overlaps(
  low: float, cell: float, side: int, length: int
) -> tuple[int, Float[np.ndarray, "S N"]]:
  """Along an axis: the first pixel that matters, and the pixels' shares.

  Of each cell the part that is each pixel's; pixels outside the picture have
  none.
  """
  first = int(np.clip(np.floor(low), 0, length - 1))
  last = int(np.clip(np.ceil(low + side * cell), first + 1, length))
  starts = low + cell * np.arange(side)[:, None]
  pixels = np.arange(first, last)[None]
  shared = np.minimum(starts + cell, pixels + 1) - np.maximum(starts, pixels)
  return first, np.maximum(shared, 0) / cell


def _inside(
  points: Float[np.ndarray, "P 2"], side: int
) -> Float[np.ndarray, "S S"]:
  """How much of each cell lies inside a polygon, in units of cells.

  Each line is inside from its first crossing to the second, from the third to
  the fourth, and so on.
  """
  ends = np.roll(points, -1, axis=0)
  lines = (np.arange(side * ROWS) + 0.5) / ROWS
  above = points[:, 1] <= lines[:, None]  # (lines, P)
  line, edge = np.nonzero(above != (ends[:, 1] <= lines[:, None]))
  (x, y), (end_x, end_y) = points[edge].T, ends[edge].T
  crossing = x + (lines[line] - y) * (end_x - x) / (end_y - y)
  crossing = np.clip(crossing, 0, side)
  order = np.lexsort((crossing, line))
  line, crossing = line[order], crossing[order]
  # A line is crossed an even number of times, so signs simply take turns.
  sign = np.where(np.arange(len(line)) % 2, 1.0, -1.0)
  cell = np.minimum(crossing.astype(int), side - 1)
  # A crossing adds what lies left of it: all of the cells before, and a part.
  place = line // ROWS * side + cell
  whole, part = (
    np.bincount(place, weights, side * side).reshape(side, side) / ROWS
    for weights in (sign, sign * (crossing - cell))
  )
  return np.cumsum(whole[:, ::-1], axis=1)[:, ::-1] - whole + part
