"""Boxes drawn on pictures, for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from yolo9000.boxes.masks import ON, paste
from yolo9000.types import Float, UInt8

# Comes with matplotlib and knows Latin, Greek and Cyrillic letters.
FONT = str(
  Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
)
VEIL = 0.45  # how much of a mask's colour hides the picture


def colour(label: int) -> Any:
  """Of a class: strong colours first, then the pale ones."""
  return matplotlib.colormaps["tab20"]((2 * label + label // 10) % 20)


def drawable(boxes_px: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
  """Boxes that reach at most one picture beyond the picture.

  A network that learned little says boxes of any size, which no library draws.

  Args:
    boxes_px: (K, 4) xyxy.
    shape: of the picture, (height, width, ..).
  """
  height, width = shape[:2]
  sides = np.array([width, height, width, height])
  low, high = np.split(np.nan_to_num(boxes_px).clip(-sides, 2 * sides), 2, 1)
  return np.concatenate([low, np.maximum(low, high)], axis=1)


def draw(
  image: UInt8[np.ndarray, "H W 3"],
  boxes_px: np.ndarray,
  labels: np.ndarray,
  texts: Sequence[str],
  masks: Float[np.ndarray, "N S S"] | None = None,
) -> UInt8[np.ndarray, "H W 3"]:
  """A copy with boxes and a text at each drawn on it; the first on top.

  Lines have a colour of their class and a dark edge, texts stand on a field of
  that colour in black or white, so that both can be read on any picture. Masks,
  if there are any, are a veil of that colour over the pixels of the object.
  """
  if masks is not None:
    image = _veiled(image, boxes_px, labels, masks)
  picture = Image.fromarray(image)
  pen = ImageDraw.Draw(picture)
  thick = max(2, round(min(image.shape[:2]) / 200))
  font = ImageFont.truetype(FONT, max(11, round(min(image.shape[:2]) / 30)))
  marks = [
    (
      [round(edge) for edge in box_px],
      tuple(round(255 * part) for part in colour(label)[:3]),
      text,
    )
    for box_px, label, text in zip(
      drawable(boxes_px, image.shape).tolist(),
      labels.tolist(),
      texts,
      strict=True,
    )
  ][::-1]
  for edges, paint, _ in marks:
    pen.rectangle(edges, outline=(20, 20, 20), width=thick + 2)
    left, top, right, bottom = edges
    if right - left > 2 and bottom - top > 2:
      inner = (left + 1, top + 1, right - 1, bottom - 1)
      pen.rectangle(inner, outline=paint, width=thick)
  for (left, top, *_), paint, text in marks:
    _, _, width, height = map(round, pen.textbbox((0, 0), text, font=font))
    # Above the box, or inside it at the picture's edge.
    left = max(0, min(left, image.shape[1] - width - 4))
    top = top - height - 4 if top >= height + 4 else max(0, top)
    pen.rectangle((left, top, left + width + 4, top + height + 4), fill=paint)
    bright = np.dot(paint, (0.299, 0.587, 0.114)) > 140
    ink = (0, 0, 0) if bright else (255, 255, 255)
    pen.text((left + 2, top + 2), text, fill=ink, font=font)
  return np.asarray(picture)


def _veiled(
  image: np.ndarray, boxes_px: np.ndarray, labels: np.ndarray, masks: np.ndarray
) -> np.ndarray:
  """A copy with masks, in the frames of the boxes, drawn on it."""
  picture = image.copy()
  size = image.shape[1], image.shape[0]
  for number in reversed(range(len(masks))):
    pixels = paste(masks[number], boxes_px[number], size) >= ON
    paint = 255 * np.array(colour(int(labels[number]))[:3])
    mixed = (1 - VEIL) * picture[pixels] + VEIL * paint
    picture[pixels] = mixed.round().astype(np.uint8)
  return picture


def mark(
  image: UInt8[np.ndarray, "H W 3"], box_px: np.ndarray
) -> UInt8[np.ndarray, "H W 3"]:
  """A copy with a box in dashes of red, at the picture's edge if it lies out.

  One without area is a small cross.
  """
  height, width = image.shape[:2]
  left, right = np.sort(box_px[::2]).clip(0, width - 1)
  top, bottom = np.sort(box_px[1::2]).clip(0, height - 1)
  if right - left < 3 or bottom - top < 3:
    left, right = (np.array([left, right]) + (-6, 6)).clip(0, width - 1)
    top, bottom = (np.array([top, bottom]) + (-6, 6)).clip(0, height - 1)
  picture = Image.fromarray(image)
  pen = ImageDraw.Draw(picture)
  corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
  for start, end in zip(corners, [*corners[1:], corners[0]], strict=True):
    along = np.linspace(start, end, 15)
    for number in range(0, 14, 2):
      dash = [tuple(along[number]), tuple(along[number + 1])]
      pen.line(dash, fill=(230, 0, 0), width=3)
  return np.asarray(picture)
