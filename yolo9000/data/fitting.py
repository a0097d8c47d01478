"""Where a picture lies on the network's input.

That is one axis-aligned map, a Placement: where the four edges of the source
picture come to lie on the input, as fractions of it. Boxes follow by the same
four numbers, forth and back.

Differs: pictures are resized by OpenCV, which maps edges to edges; the original
program maps the centres of the corner pixels. On photos brought to 416 pixels
the two differ by .4 to 2.3 of 255 levels in the mean.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from yolo9000 import boxes as box
from yolo9000.types import Bool, Float, UInt8

GREY = 128


class Placement(NamedTuple):
  """Edges of the source picture on the input, fractions; may lie outside."""

  left: float
  top: float
  right: float
  bottom: float


def crop_and_stretch(
  image: UInt8[np.ndarray, "H W 3"],
  edges: tuple[int, int, int, int],
  size: int,
) -> tuple[UInt8[np.ndarray, "S S 3"], Placement]:
  """Cuts at pixel edges (left, top, right, bottom) and stretches to size.

  Edges may lie outside, where the picture's own edge is repeated.
  """
  height, width = image.shape[:2]
  left, top, right, bottom = edges
  inside = image[max(top, 0) : bottom, max(left, 0) : right]
  margins = (
    *(max(-top, 0), max(bottom - height, 0)),
    *(max(-left, 0), max(right - width, 0)),
  )
  if any(margins):
    inside = cv2.copyMakeBorder(inside, *margins, cv2.BORDER_REPLICATE)
  out = cv2.resize(inside, (size, size), interpolation=cv2.INTER_LINEAR)
  across, down = right - left, bottom - top
  return out, Placement(
    -left / across, -top / down, (width - left) / across, (height - top) / down
  )


def paste(
  image: UInt8[np.ndarray, "H W 3"],
  corner: tuple[int, int],
  shape: tuple[int, int],
  size: tuple[int, int],
) -> tuple[UInt8[np.ndarray, "Y X 3"], Placement]:
  """Resizes to shape (w, h) and lays it with its corner (x, y) on grey."""
  (x, y), (across, down), (width, height) = corner, shape, size
  out = np.full((height, width, 3), GREY, np.uint8)
  out[y : y + down, x : x + across] = cv2.resize(
    image, shape, interpolation=cv2.INTER_LINEAR
  )
  return out, Placement(
    x / width, y / height, (x + across) / width, (y + down) / height
  )


def letterbox(
  image: UInt8[np.ndarray, "H W 3"], size: tuple[int, int]
) -> tuple[UInt8[np.ndarray, "Y X 3"], Placement]:
  """Fits the picture into size (w, h), aspect kept, centred on grey.

  Differs: where the margin is odd, the program's boxes are half a pixel of the
  input off, since it lays the picture at a whole pixel and forgets that.
  """
  height, width = image.shape[:2]
  if size[0] * height < size[1] * width:  # as wide as the input
    across, down = size[0], max(1, height * size[0] // width)
  else:
    across, down = max(1, width * size[1] // height), size[1]
  corner = ((size[0] - across) // 2, (size[1] - down) // 2)
  return paste(image, corner, (across, down), size)


def stretch(
  image: UInt8[np.ndarray, "H W 3"], size: tuple[int, int]
) -> tuple[UInt8[np.ndarray, "Y X 3"], Placement]:
  """Fills size (w, h), aspect changed."""
  out = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
  return out, Placement(0.0, 0.0, 1.0, 1.0)


def centre_crop(
  image: UInt8[np.ndarray, "H W 3"], size: tuple[int, int]
) -> tuple[UInt8[np.ndarray, "Y X 3"], Placement]:
  """The largest centred part of size's aspect, resized to size (w, h).

  For classifiers; boxes outside that part cannot be found. Differs: in 2017 the
  program resized first and cut then, the same to a pixel's rounding.
  """
  height, width = image.shape[:2]
  across = min(width, max(1, height * size[0] // size[1]))
  down = min(height, max(1, width * size[1] // size[0]))
  x, y = (width - across) // 2, (height - down) // 2
  inside = image[y : y + down, x : x + across]
  out = cv2.resize(inside, size, interpolation=cv2.INTER_LINEAR)
  return out, Placement(
    -x / across, -y / down, (width - x) / across, (height - y) / down
  )


RESIZES = {
  "stretch": stretch,
  "letterbox": letterbox,
  "centre_crop": centre_crop,
}


def check_resize(resize: str) -> None:
  """Raises ValueError for an unknown way to resize, naming the known."""
  if resize not in RESIZES:
    raise ValueError(f"resize is {resize!r}; allowed are {', '.join(RESIZES)}")


def place_boxes(
  boxes: Float[np.ndarray, "M 4"],
  placement: Placement,
  *,
  flip: bool,
  min_side: float,
  centred: bool = False,
) -> tuple[Float[np.ndarray, "M 4"], Bool[np.ndarray, " M"]]:
  """Boxes of the source picture on the input, and which are big enough.

  A box whose centre leaves the picture is kept if its rest is big enough,
  unless boxes must be centred.
  """
  low = np.array([*placement[:2]] * 2, boxes.dtype)
  high = np.array([*placement[2:]] * 2, boxes.dtype)
  out = low + boxes * (high - low)
  if flip:
    out = np.stack([1 - out[:, 2], out[:, 1], 1 - out[:, 0], out[:, 3]], axis=1)
  centre = (out[:, :2] + out[:, 2:]) / 2
  out = box.clip(out)
  kept = np.all(out[:, 2:] - out[:, :2] >= min_side, axis=1)
  if centred:
    kept &= np.all((centre > 0) & (centre < 1), axis=1)
  return out, kept


def unplace_boxes(
  boxes: Float[np.ndarray, "K 4"], placement: Placement
) -> Float[np.ndarray, "K 4"]:
  """The inverse of `place_boxes`: from the input back to the source picture."""
  low = np.array([*placement[:2]] * 2, boxes.dtype)
  high = np.array([*placement[2:]] * 2, boxes.dtype)
  return (boxes - low) / (high - low)
