"""Large pictures: detected in tiles that overlap, the boxes joined again."""

from __future__ import annotations

import numpy as np

from yolo9000.types import Detections, Float, Int


def corners(length: int, tile: int, overlap: float) -> list[int]:
  """Where tiles begin along a side, so that neighbours overlap by that part.

  The last one ends with the side.

  Raises:
    ValueError: unless the tile has a pixel and the overlap is in [0, 1).
  """
  if tile < 1 or not 0 <= overlap < 1:
    raise ValueError(
      f"tiles of {tile} pixels that overlap by {overlap}; expected a pixel at "
      f"least, and a part from 0 to below 1"
    )
  if length <= tile:
    return [0]
  count = 1 + int(np.ceil((length - tile) / (tile * (1 - overlap))))
  return np.linspace(0, length - tile, count).round().astype(int).tolist()


def cut(
  height: int, width: int, tile: int, overlap: float
) -> Int[np.ndarray, "N 4"]:
  """Left, top, right and bottom of each tile; the whole picture comes first."""
  parts = [
    (left, top, min(left + tile, width), min(top + tile, height))
    for top in corners(height, tile, overlap)
    for left in corners(width, tile, overlap)
  ]
  whole = (0, 0, width, height)
  return np.array([whole, *(part for part in parts if part != whole)])


def join(
  found: list[Detections],
  tiles: Int[np.ndarray, "N 4"],
  *,
  threshold: float,
  most: int,
) -> Detections:
  """The detections of all tiles as those of the picture.

  Of two boxes of one class that two tiles found, the weaker is left out if
  their intersection is more than the threshold of the smaller one: what a tile
  cuts off lies in the whole.

  Args:
    found: of each tile, boxes in its pixels, without padding.
    tiles: from `cut`.
    threshold: in (0, 1].
    most: detections that are kept.
  """
  shifted = [
    one._replace(boxes=one.boxes + np.tile(place[:2], 2).astype(np.float32))
    for one, place in zip(found, tiles, strict=True)
  ]
  every = Detections(
    *(
      None if columns[0] is None else np.concatenate(columns)
      for columns in zip(*shifted, strict=True)
    )
  )
  order = np.argsort(-every.scores, kind="stable")
  every = every.take(order)
  tile = np.repeat(np.arange(len(found)), [len(f.scores) for f in found])[order]
  areas = np.prod(every.boxes[:, 2:] - every.boxes[:, :2], axis=1)
  kept: list[int] = []
  for n, label in enumerate(every.labels.tolist()):
    rivals = [
      k for k in kept if every.labels[k] == label and tile[k] != tile[n]
    ]
    shared = _intersections(every.boxes[n], every.boxes[rivals])
    smaller = np.minimum(areas[n], areas[rivals])
    if not (shared > threshold * smaller).any():
      kept.append(n)
  return every.take(kept[:most])


def _intersections(
  box: Float[np.ndarray, " 4"], boxes: Float[np.ndarray, "N 4"]
) -> Float[np.ndarray, " N"]:
  low = np.maximum(box[:2], boxes[:, :2])
  high = np.minimum(box[2:], boxes[:, 2:])
  return np.prod(np.maximum(high - low, 0), axis=1)
