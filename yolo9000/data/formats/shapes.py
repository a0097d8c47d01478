"""An embedded, drawn, deterministic data set: no files, no download.

Twenty classes: five outlines in four colours. Made so that each idea of the
paper matters: at 192 pixels a fifth of the objects is smaller than a cell
(passthrough, high resolution), the largest have six times the side of the
smallest and width over height runs from 1/3 to 3 (dimension priors,
multi-scale), half of the scenes have a crowd whose members may share a cell
(several priors), and lines and dots that are no object lie behind everything.
A scene is a function of its split and number alone.
"""

from __future__ import annotations

import colorsys
import functools

import cv2
import numpy as np

from yolo9000 import boxes as box
from yolo9000.data import masks
from yolo9000.data.disk import DataError
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats.reading import Source
from yolo9000.data.records import Dataset, Record
from yolo9000.types import Bool, Float, Int, UInt8

SIDE = 256  # pixels
# Pictures of each. For joint training: "boxes", where no class of NEVER_BOXED
# occurs, and "boxes_test" have no crowds, so that 128 pixels are enough;
# "labels" and "labels_test" have one object, an image label and no box.
SPLITS = {
  **{"train": 4000, "test": 400, "tiny": 8, "boxes": 4000, "labels": 4000},
  **{"labels_test": 400, "boxes_test": 400},
}


def _circle() -> np.ndarray:
  angle = np.arange(32) * np.pi / 16
  return np.stack([np.cos(angle), np.sin(angle)], axis=1)


OUTLINES: dict[str, np.ndarray] = {
  "disc": _circle(),
  "ring": _circle(),
  "box": np.array([[0, 0], [1, 0], [1, 1], [0, 1]]),
  "triangle": np.array([[0.5, 0], [1, 1], [0, 1]]),
  "cross": np.array(
    [[1, 0], [2, 0], [2, 1], [3, 1], [3, 2], [2, 2]]
    + [[2, 3], [1, 3], [1, 2], [0, 2], [0, 1], [1, 1]]
  ),
}
HUES = {"red": 0, "yellow": 60, "green": 120, "blue": 240}  # degrees
CLASS_NAMES = tuple(f"{hue} {name}" for name in OUTLINES for hue in HUES)
# As a tree: the outlines at the top, below each its four colours.
NODES = (*OUTLINES, *CLASS_NAMES)
PARENTS = (
  *[-1] * len(OUTLINES),
  *(list(OUTLINES).index(name.split()[1]) for name in CLASS_NAMES),
)
# One of each outline, for joint training.
NEVER_BOXED = (
  *("red disc", "yellow ring", "green box", "blue triangle", "red cross"),
)


@functools.cache
def _scene(split: str, number: int) -> tuple[np.ndarray, np.ndarray]:
  """Boxes (M, 4) in pixels and labels (M,) of a scene, in drawing order."""
  rng = np.random.default_rng((list(SPLITS).index(split), number))
  classes = np.arange(len(CLASS_NAMES), dtype=np.int32)
  if split == "boxes":
    classes = classes[~np.isin(CLASS_NAMES, NEVER_BOXED)]
  boxes: list[np.ndarray] = []
  # Half of the scenes have a crowd of small objects.
  crowd = rng.random() < 0.5 and split in ("train", "test", "tiny")
  centre = rng.uniform(0.25, 0.75, 2) * SIDE
  count = rng.integers(2, 8) if not split.startswith("labels") else 1
  for _ in range(count):
    for _ in range(20):  # tries to find a place
      in_crowd = crowd and rng.random() < 0.6
      side = SIDE * (
        rng.uniform(0.12, 0.2) if in_crowd else np.exp(rng.uniform(-1.6, -0.3))
      )
      stretch = np.exp(rng.uniform(-0.55, 0.55))
      size = np.clip([side * stretch, side / stretch], 20, SIDE * 0.8)
      spread = rng.normal(0, 0.1 * SIDE, 2)
      low = (
        centre + spread - size / 2
        if in_crowd
        else rng.uniform(0, 1, 2) * (SIDE - size)
      )
      low = np.clip(low, 0, SIDE - size)
      new = np.round(np.concatenate([low, low + size]))
      old = np.array(boxes).reshape(-1, 4)
      smaller = np.minimum(box.area(new), box.area(old))
      covered = box.intersection(new, old) / smaller
      if np.all(covered < (0.45 if in_crowd else 0.25)):
        boxes.append(new)
        break
  labels = classes[rng.integers(0, len(classes), len(boxes))]
  return np.array(boxes, np.float32), labels


def _tint(rng: np.random.Generator, degrees: int) -> tuple[float, ...]:
  hue = (degrees + rng.uniform(-12, 12)) % 360 / 360
  return tuple(
    255 * c
    for c in colorsys.hsv_to_rgb(hue, rng.uniform(0.5, 1), rng.uniform(0.6, 1))
  )


def _background(rng: np.random.Generator) -> np.ndarray:
  """A patchwork of near greys, crossed by grey lines, with bright dots."""
  patches = rng.integers(30, 150, (4, 4, 1)) + rng.integers(-15, 16, (4, 4, 3))
  patches = np.clip(patches, 0, 255).astype(np.uint8)
  image = cv2.resize(patches, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
  for _ in range(rng.integers(4, 12)):
    start, end = rng.integers(0, SIDE, (2, 2)).tolist()
    grey = int(rng.integers(0, 256))
    cv2.line(image, start, end, (grey, grey, grey), 1, cv2.LINE_AA)
  for _ in range(rng.integers(10, 40)):
    place, hue = rng.integers(0, SIDE, 2).tolist(), int(rng.integers(0, 360))
    cv2.circle(image, place, 2, _tint(rng, hue), -1)
  return image


def draw(record: Record) -> UInt8[np.ndarray, "H W 3"]:
  """The picture of a record that `read` returned."""
  _, split, number = record.path.split("/")
  return draw_scene(split, int(number), *_scene(split, int(number)))


def draw_scene(
  split: str,
  number: int,
  boxes_px: Float[np.ndarray, "M 4"],
  labels: Int[np.ndarray, " M"],
) -> UInt8[np.ndarray, "H W 3"]:
  """These objects on a scene's background."""
  rng = np.random.default_rng((list(SPLITS).index(split), number, 1))
  image = _background(rng)
  for edges, label in zip(boxes_px, labels, strict=True):
    hue, name = CLASS_NAMES[label].split()
    _paint(image, edges, name, _tint(rng, HUES[hue]))
  return image


def _paint(
  image: np.ndarray, edges: np.ndarray, name: str, colour: tuple[float, ...]
) -> None:
  """Draws the object of an outline's name into a box."""
  size = edges[2:] - edges[:2]
  line = max(2, int(size.min() / 6)) if name == "ring" else 1
  points = OUTLINES[name].astype(np.float64)
  points = (points - points.min(0)) / np.ptp(points, axis=0)
  # Sixteenths of a pixel; the line's half thickness stays inside the box.
  points = edges[:2] + line / 2 + points * (size - line)
  points = np.round((points - 0.5) * 16).astype(np.int32)[None]
  if name == "ring":
    cv2.polylines(image, points, True, colour, line, cv2.LINE_AA, 4)
  else:
    cv2.fillPoly(image, points, colour, cv2.LINE_AA, 4)


def visible(
  boxes_px: Float[np.ndarray, "M 4"], labels: Int[np.ndarray, " M"]
) -> Bool[np.ndarray, "M H W"]:
  """The pixels of each object that `draw_scene` shows, and no later one hides.

  A pixel belongs to an object that covers at least half of it.
  """
  pixels = np.zeros((len(labels), SIDE, SIDE), bool)
  for number, (edges, label) in enumerate(zip(boxes_px, labels, strict=True)):
    cover = np.zeros((SIDE, SIDE), np.uint8)
    _paint(cover, edges, CLASS_NAMES[label].split()[1], (255.0,))
    pixels[number] = cover >= 128
    pixels[:number] &= ~pixels[number]
  return pixels


def read(source: Source, flaws: Flaws) -> Dataset:
  """The drawn data set.

  Args:
    source: root is unused, there are no files; split is one of `SPLITS`, or
      its first pictures as in "train[:100]"; class_names, if any, must be the
      twenty `CLASS_NAMES`; masks are the visible pixels.
    flaws: there are none.

  Raises:
    DataError: for another split or other classes.
  """
  split = source.split
  name, _, count = split.partition("[:")
  count = count.removesuffix("]") or str(SPLITS.get(name))
  if name not in SPLITS or not count.isdigit() or int(count) > SPLITS[name]:
    allowed = ", ".join(f"{k} ({v} pictures)" for k, v in SPLITS.items())
    raise DataError(
      f"shapes has no split {split!r}; it has {allowed}, and parts of them "
      f"such as train[:100]"
    )
  if int(count) == 0:
    raise DataError(f"shapes split {split!r} is empty")
  if source.class_names not in ((), CLASS_NAMES):
    raise DataError(f"the classes of shapes are {', '.join(CLASS_NAMES)}")
  records = []
  for number in range(int(count)):
    boxes_px, labels = _scene(name, number)
    image_label = -1
    if name.startswith("labels"):
      image_label = int(labels[0])
      boxes_px, labels = boxes_px[:0], labels[:0]
    records.append(
      Record(
        path=f"shapes/{name}/{number}",
        width=SIDE,
        height=SIDE,
        boxes_px=boxes_px,
        labels=labels,
        difficult=np.zeros(len(labels), bool),
        image_label=image_label,
        masks=_masks(boxes_px, labels) if source.masks else None,
      )
    )
  return Dataset(records, CLASS_NAMES, draw, flaws.found)


def _masks(boxes_px: np.ndarray, labels: np.ndarray) -> tuple[masks.Mask, ...]:
  """Runs of the visible pixels; None for an object that is hidden."""
  pixels = visible(boxes_px, labels)
  return tuple(masks.encode(one) if one.any() else None for one in pixels)


def splits(root: str) -> list[str]:
  """All of them; root is unused."""
  return list(SPLITS)
