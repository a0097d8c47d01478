"""SSD's pictures: laid on a larger canvas, cut where truths overlap the cut.

Source: SSD, arXiv 1512.02325, section 2.2, "Data augmentation", and 3.6 for the
canvas; sizes and shapes of the cut are those of the authors' program.
"""

from __future__ import annotations

import cv2
import numpy as np

from yolo9000 import boxes as box
from yolo9000.data.fitting import Placement
from yolo9000.types import Float, UInt8

LARGEST = 4.0  # a canvas's sides, the picture's are 1
# The mean colour of ImageNet. Differs: colours are changed after the cut, those
# of the canvas too.
CANVAS = (123, 117, 104)
# IoU that a truth has at least with the cut; 0: any cut. None: no cut.
OVERLAPS = (None, 0.1, 0.3, 0.5, 0.7, 0.9, 0.0)
SIDES, SHAPES = (0.3, 1.0), (0.5, 2.0)  # Differs: sides from .1 in the paper
TRIES = 50


def random_edges(
  rng: np.random.Generator, boxes: Float[np.ndarray, "M 4"]
) -> Float[np.ndarray, " 4"]:
  """What of a picture, or around it, is the input.

  In half of the cases the picture is laid on a canvas of up to LARGEST its
  sides. Of that all is taken, or a part of SIDES and SHAPES that a truth
  overlaps by one of OVERLAPS.

  Differs: if no part is found that overlaps enough, all is taken; the program
  draws among the overlaps for which it found one.

  Args:
    rng: of this picture.
    boxes: xyxy in [0, 1], of its truths.

  Returns:
    xyxy; the picture is [0, 1].
  """
  canvas = np.array([0.0, 0.0, 1.0, 1.0])
  if rng.random() < 0.5:
    side = rng.uniform(1, LARGEST)
    corner = -rng.uniform(0, side - 1, 2)
    canvas = np.concatenate([corner, corner + side])
  least = OVERLAPS[rng.integers(len(OVERLAPS))]
  if least is None or (least and not len(boxes)):
    return canvas
  for _ in range(TRIES):
    part = np.tile(canvas[:2], 2) + _random_part(rng) * (canvas[2] - canvas[0])
    if least == 0 or np.any(box.iou(part[None], boxes) >= least):
      return part
  return canvas


def _random_part(rng: np.random.Generator) -> Float[np.ndarray, " 4"]:
  """Of a canvas [0, 1]."""
  scale = rng.uniform(*SIDES)
  shape = rng.uniform(max(SHAPES[0], scale**2), min(SHAPES[1], 1 / scale**2))
  sides = np.minimum([scale * shape**0.5, scale / shape**0.5], 1.0)
  corner = rng.uniform(0, 1 - sides)
  return np.concatenate([corner, corner + sides])


def cut(
  image: UInt8[np.ndarray, "H W 3"],
  edges: Float[np.ndarray, " 4"],
  size: int,
) -> tuple[UInt8[np.ndarray, "S S 3"], Placement]:
  """What lies within edges, outwards to whole pixels, stretched to size.

  Args:
    image: the picture.
    edges: xyxy, the picture is [0, 1]; outside of it is CANVAS.
    size: S.
  """
  sides = np.array([image.shape[1], image.shape[0]])
  low, high = edges.reshape(2, 2) * sides
  low, high = np.floor(low).astype(int), np.ceil(high).astype(int)
  scale = size / (high - low)
  place = Placement(*(-low / (high - low)), *((sides - low) / (high - low)))
  out = np.full((size, size, 3), CANVAS, np.uint8)
  # The part of the picture that is seen, there and on the input.
  first, last = np.maximum(low, 0), np.minimum(high, sides)
  if np.any(first >= last):
    return out, place
  to = np.round((first - low) * scale).astype(int)
  end = np.maximum(np.round((last - low) * scale).astype(int), to + 1)
  (x, y), (right, bottom) = to.tolist(), np.minimum(end, size).tolist()
  if x < right and y < bottom:
    seen = image[first[1] : last[1], first[0] : last[0]]
    out[y:bottom, x:right] = cv2.resize(
      seen, (right - x, bottom - y), interpolation=cv2.INTER_LINEAR
    )
  return out, place
