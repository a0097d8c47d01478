"""What COCO's files call a segmentation: polygons, or run lengths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from yolo9000.data import masks
from yolo9000.data.formats.reading import number

POINTS = 3  # of a polygon, at least
EMPTY = "counts of the segmentation cover no pixel"


def read(
  value: Any, size: tuple[int, int], edges: Sequence[float]
) -> tuple[masks.Mask, str]:
  """A mask, and what is wrong with what was left out of it.

  Of polygons those that can be read are taken; run lengths as a whole.

  Args:
    value: as it stands in the file.
    size: (width, height) of the picture.
    edges: left, top, right and bottom of the object's box, in pixels.

  Returns:
    The mask, None if there is none, and a text, "" if nothing is wrong.
  """
  if value in (None, [], ""):
    return None, ""
  if isinstance(value, dict):
    return _runs(value, size, edges)
  if not isinstance(value, list):
    return None, f"segmentation is {_shown(value)}; expected polygons or runs"
  if not any(isinstance(part, list) for part in value):
    value = [value]  # some write their only polygon without the outer list
  parts, wrong = [], []
  for n, part in enumerate(value):
    found = _polygon(part, edges)
    if isinstance(found, str):
      wrong.append(f"polygon {n + 1} of {len(value)} {found}")
    else:
      parts.append(found)
  return (masks.outline(parts) if parts else None), "; ".join(wrong)


def _polygon(part: Any, edges: Sequence[float]) -> np.ndarray | str:
  """The points (P, 2), or what is wrong."""
  if not isinstance(part, list):
    return f"is {_shown(part)}; expected a list of numbers"
  if len(part) % 2 or len(part) < 2 * POINTS:
    return f"has {len(part)} numbers; expected x and y of {POINTS} or more"
  if str in map(type, part) or any(number(x) != number(x) for x in part):
    return f"is {_shown(part)}; expected finite numbers"
  points = np.array(part, np.float32).reshape(-1, 2)
  if not np.isfinite(points).all():
    return f"is {_shown(part)}; expected finite numbers"
  if not np.ptp(points, axis=0).all():
    return "has no area"
  return _beside(np.array([points.min(0), points.max(0)]), edges) or points


def _beside(corners: np.ndarray, edges: Sequence[float]) -> str:
  """What is wrong with corners beside the object's box; "": nothing."""
  left, top, right, bottom = corners.round(2).reshape(-1).tolist()
  across = left <= edges[2] and edges[0] <= right
  if across and top <= edges[3] and edges[1] <= bottom:
    return ""
  return (
    f"lies from {left:g}, {top:g} to {right:g}, {bottom:g}; expected pixels of "
    f"the object, where its bbox is"
  )


def _runs(
  value: dict[str, Any], size: tuple[int, int], edges: Sequence[float]
) -> tuple[masks.Mask, str]:
  """Runs of an object with size and counts, compressed or not."""
  width, height = size
  told, counts = value.get("size"), value.get("counts")
  if told != [height, width]:
    return None, (
      f"size of the segmentation is {_shown(told)}; expected height and width "
      f"of the picture, [{height}, {width}]"
    )
  if isinstance(counts, str) and counts.isascii():
    runs = masks.lengths(counts.encode())
  elif isinstance(counts, list) and all(type(n) is int for n in counts):
    runs = counts
  else:
    return None, (
      f"counts of the segmentation are {_shown(counts)}; expected whole "
      f"numbers, or COCO's text of them"
    )
  total = sum(runs)
  if min(runs, default=0) < 0 or total != width * height:
    return None, (
      f"counts of the segmentation sum to {total}; expected the pixels of the "
      f"picture, {width} x {height} = {width * height}"
    )
  # Runs of pixels that are not, and are, the object's take turns.
  pixels = np.repeat(np.arange(len(runs)) % 2, runs).astype(bool)
  if not pixels.any():
    return None, EMPTY
  pixels = pixels.reshape(width, height).T
  columns, rows = pixels.any(0).nonzero()[0], pixels.any(1).nonzero()[0]
  corners = [columns[0], rows[0]], [columns[-1] + 1, rows[-1] + 1]
  if wrong := _beside(np.array(corners, np.float32), edges):
    return None, f"segmentation {wrong}"
  return masks.encode(pixels), ""


def is_strict(content: Any) -> bool:
  """Whether COCO's own program can read every mask of an annotation file.

  It checks nothing, needs the size of each picture, and polygons in a list even
  if there is only one.
  """
  sizes = {
    row["id"]: (row.get("width"), row.get("height"))
    for row in content["images"]
  }
  for row in content["annotations"]:
    size = sizes.get(row["image_id"], (None, None))
    value = row.get("segmentation")
    if not all(type(side) is int and side > 0 for side in size):
      return False
    if isinstance(value, list) and not all(isinstance(p, list) for p in value):
      return False
    mask, wrong = read(value, size, (0.0, 0.0, *map(float, size)))
    if mask is None or wrong:
      return False
  return True


def _shown(value: Any) -> str:
  text = repr(value)
  return text if len(text) <= 60 else f"{text[:57]}..."
