"""Augmentation as the original program does it, on uint8 pictures.

Every geometry of a detector's pictures is one Placement, see fitting.py.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import cv2
import numpy as np

from yolo9000.data import overlap
from yolo9000.data.fitting import (
  Placement,
  crop_and_stretch,
  paste,
  stretch,
)
from yolo9000.types import Float, UInt8


class Augmentation(NamedTuple):
  """What happens to a training picture.

  geometry "crop": January 2017 and the paper's time. Each edge moves in or out
    by up to jitter of the side, the cut is stretched to the square, what lies
    outside repeats the picture's edge.
  geometry "letterbox": from March 2017. The aspect changes as if each side had
    moved by up to jitter, the whole picture is laid at a random place on grey.
  geometry "zoom out": as "letterbox", with the picture's longer side drawn from
    a third of the square's to all of it; for pictures that one object fills.
  geometry "overlap": as SSD, see overlap.py; jitter is not used. A box stays if
    its centre does.
  geometry "none": stretched to the square.
  hue moves by up to this part of the circle; saturation and exposure are
  multiplied by up to this factor or its inverse. flip mirrors half of the
  pictures. Boxes are cut at the edge and left out when a side of the rest is
  below min_side (.005 in January 2017, .001 later).
  """

  geometry: str
  jitter: float
  hue: float
  saturation: float
  exposure: float
  flip: bool
  min_side: float

  @property
  def centred(self) -> bool:
    """Whether a box stays only if its centre does."""
    return self.geometry == OVERLAP


class Classification(NamedTuple):
  """What happens to a training picture of a classifier.

  The picture is scaled until its shorter side has a length drawn from
  short_side (as parts of the input's side), its width changed by a factor of
  up to aspect or its inverse, turned by up to angle degrees, and a square of
  the input's size cut out at a random place within it. Colours and flip are as
  for `Augmentation`.

  border "edge": as in January 2017; what lies outside repeats the picture's
    edge, and a picture smaller than the input stays in the middle.
  border "black": as later; zeros, and a smaller picture moves as well.

  Source: the paper's section 3, "Training for classification"; random crops,
  rotations, and hue, saturation and exposure shifts. Short sides: 1 to 2 where
  a .cfg says nothing, .5 to 1.75 in darknet19.cfg, 1 to 8/7 in its 448 form.
  """

  short_side: tuple[float, float]
  angle: float
  aspect: float
  border: str
  hue: float
  saturation: float
  exposure: float
  flip: bool


# What a config's data.augment.kind names.
KINDS = {"detection": Augmentation, "classification": Classification}
BORDERS = {"edge": cv2.BORDER_REPLICATE, "black": cv2.BORDER_CONSTANT}


class Turn(NamedTuple):
  """How `rotate_and_crop` lays the input's square on a picture."""

  angle: float  # radians
  scale: float  # of the picture's height
  aspect: float  # the width is scaled by scale / aspect
  dx: float  # of the square's centre from the picture's, in scaled pixels
  dy: float


def rotate_and_crop(
  image: UInt8[np.ndarray, "H W 3"], size: int, turn: Turn, *, border: str
) -> UInt8[np.ndarray, "S S 3"]:
  """A turned, scaled square out of a picture; border is a key of BORDERS.

  Source: rotate_crop_image of the original program. Differs: OpenCV rounds
  places to 1/32 of a pixel.
  """
  height, width = image.shape[:2]
  cos, sin = np.cos(turn.angle), np.sin(turn.angle)
  across, down = turn.aspect / turn.scale, 1 / turn.scale
  matrix = np.array([[cos * across, -sin * down], [sin * across, cos * down]])
  start = np.array([turn.dx - size / 2, turn.dy - size / 2])
  shift = matrix @ start + np.array([width / 2, height / 2])
  return cv2.warpAffine(
    image,
    np.concatenate([matrix, shift[:, None]], axis=1),
    (size, size),
    flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
    borderMode=BORDERS[border],
  )


def random_turn(
  rng: np.random.Generator,
  shape: tuple[int, int],
  size: int,
  how: Classification,
) -> Turn:
  """Draws a Turn for a picture of shape (h, w), as random_augment_args does."""
  height, width = shape
  aspect = _random_scale(rng, how.aspect)
  low, high = (round(side * size) for side in how.short_side)
  side = int(rng.integers(low, high, endpoint=True))
  scale = side / max(1, min(height, int(width * aspect)))
  angle = np.radians(rng.uniform(-how.angle, how.angle))
  room = np.array([width * scale / aspect, height * scale]) / 2 - size / 2
  room = np.maximum(room, 0) if how.border == "edge" else np.abs(room)
  dx, dy = rng.uniform(-room, room).tolist()
  return Turn(float(angle), scale, aspect, dx, dy)


def _jittered_crop(rng, image, boxes, size, jitter):
  height, width = image.shape[:2]
  dw, dh = int(width * jitter), int(height * jitter)
  left, right = rng.integers(-dw, dw, 2, endpoint=True).tolist()
  top, bottom = rng.integers(-dh, dh, 2, endpoint=True).tolist()
  return crop_and_stretch(
    image, (left, top, width - right, height - bottom), size
  )


def _jittered_letterbox(rng, image, boxes, size, jitter, smallest=1.0):
  height, width = image.shape[:2]
  aspect = (width + rng.uniform(-jitter, jitter) * width) / (
    height + rng.uniform(-jitter, jitter) * height
  )
  side = size * rng.uniform(smallest, 1.0) if smallest < 1 else size
  across = max(1, int(side * min(aspect, 1.0)))
  down = max(1, int(side / max(aspect, 1.0)))
  x, y = int(rng.uniform(0, size - across)), int(rng.uniform(0, size - down))
  return paste(image, (x, y), (across, down), (size, size))


def _by_overlap(rng, image, boxes, size, jitter):
  return overlap.cut(image, overlap.random_edges(rng, boxes), size)


def _stretched(rng, image, boxes, size, jitter):
  return stretch(image, (size, size))


OVERLAP = "overlap"
GEOMETRIES = {
  "crop": _jittered_crop,
  "letterbox": _jittered_letterbox,
  "zoom out": functools.partial(_jittered_letterbox, smallest=1 / 3),
  OVERLAP: _by_overlap,
  "none": _stretched,
}


def distort(
  image: UInt8[np.ndarray, "H W 3"],
  *,
  hue: float,
  saturation: float,
  exposure: float,
) -> UInt8[np.ndarray, "H W 3"]:
  """Adds to the hue (circle = 1), multiplies saturation and value.

  Works on OpenCV's 8 bit HSV; the program computes in floating point. As there,
  what is too bright is cut after the way back to RGB, so that it bleaches.
  """
  levels = np.arange(256)
  turned = (levels + round(hue * 256)) % 256
  scaled = np.clip(np.round(levels * saturation), 0, 255)
  hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
  h, s, v = cv2.split(hsv)  # a table for each is faster than one for all
  h = cv2.LUT(h, turned.astype(np.uint8))
  s = cv2.LUT(s, scaled.astype(np.uint8))
  rgb = cv2.cvtColor(cv2.merge((h, s, v)), cv2.COLOR_HSV2RGB_FULL)
  return cv2.convertScaleAbs(rgb, alpha=exposure)


def check(how: Augmentation | Classification) -> None:
  """Raises ValueError for a setting that cannot be, saying what can."""
  for name, value in zip(how._fields, how, strict=True):
    if not isinstance(value, str) and not np.all(np.isfinite(value)):
      raise ValueError(f"{name} is {value}; it must be finite")
  if how.saturation <= 0 or how.exposure <= 0:
    raise ValueError(
      f"saturation {how.saturation} and exposure {how.exposure} are factors "
      f"and must be above 0; 1 changes nothing"
    )
  if isinstance(how, Classification):
    if how.border not in BORDERS:
      raise ValueError(
        f"border is {how.border!r}; allowed are {', '.join(BORDERS)}"
      )
    if how.aspect <= 0 or not 0 < how.short_side[0] <= how.short_side[1]:
      raise ValueError(
        f"aspect {how.aspect} must be above 0, and short_side "
        f"{how.short_side} two parts of the input's side, the smaller first"
      )
    return
  if how.geometry not in GEOMETRIES:
    raise ValueError(
      f"geometry is {how.geometry!r}; allowed are {', '.join(GEOMETRIES)}"
    )
  if not 0 <= how.jitter < 0.5:
    raise ValueError(
      f"jitter is {how.jitter}; it must be at least 0 and below .5, where both "
      f"edges of a crop could meet"
    )
  if not 0 < how.min_side < 1:
    raise ValueError(
      f"min_side is {how.min_side}; it must be between 0 and 1, such as .001"
    )


def _random_scale(rng: np.random.Generator, most: float) -> float:
  """Uniform in [1, most], or with probability 1/2 the inverse of that."""
  scale = rng.uniform(min(1.0, most), max(1.0, most))
  return scale if rng.random() < 0.5 else 1 / scale


def augment(
  rng: np.random.Generator,
  image: UInt8[np.ndarray, "H W 3"],
  size: int,
  how: Augmentation | Classification,
  boxes: Float[np.ndarray, "M 4"] | None = None,
) -> tuple[UInt8[np.ndarray, "S S 3"], Placement, bool]:
  """One training picture at the network's size, where it lies, if flipped.

  A classifier's turned picture lies nowhere in particular; it has no boxes.

  Args:
    rng: of this picture.
    image: the source.
    size: S.
    how: what may happen.
    boxes: of the truths, xyxy in [0, 1]; None if there are none.
  """
  if isinstance(how, Classification):
    turn = random_turn(rng, image.shape[:2], size, how)
    out = rotate_and_crop(image, size, turn, border=how.border)
    placement = Placement(0.0, 0.0, 1.0, 1.0)
  else:
    boxes = np.zeros((0, 4), np.float32) if boxes is None else boxes
    geometry = GEOMETRIES[how.geometry]
    out, placement = geometry(rng, image, boxes, size, how.jitter)
  flip = bool(how.flip and rng.random() < 0.5)
  if flip:
    out = cv2.flip(out, 1)
  hue = rng.uniform(-how.hue, how.hue)
  saturation = _random_scale(rng, how.saturation)
  exposure = _random_scale(rng, how.exposure)
  if how.hue or how.saturation != 1 or how.exposure != 1:
    out = distort(out, hue=hue, saturation=saturation, exposure=exposure)
  return out, placement, flip
