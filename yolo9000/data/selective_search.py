"""Selective Search for Object Recognition, Uijlings et al., IJCV 2013.

A picture is cut into small regions. Again and again the two neighbours that are
most alike become one region; the box of every region that there ever was is a
proposal. Several colour spaces, sizes of the first regions and measures of
likeness find different boxes.

The first regions are Felzenszwalb and Huttenlocher's, by scikit-image, which
`pip install 'yolo9000[proposals]'` brings.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

from yolo9000 import extras
from yolo9000.types import Float, Int, UInt8

COLOURS = {"hsv": cv2.COLOR_RGB2HSV_FULL, "lab": cv2.COLOR_RGB2LAB}
COLOUR_BINS, TEXTURE_BINS, ORIENTATIONS = 25, 10, 8

# From a picture of three channels and the scale k, a number for each pixel.
Segment = Callable[[np.ndarray, float], np.ndarray]


class Search(NamedTuple):
  """How boxes are searched.

  Attributes:
    colours: keys of COLOURS.
    scales: k of the first regions; with a larger one they are larger.
    measures: of likeness, each a choice of "colour", "texture", "size" and
      "fill" whose sum it is.
    width: larger pictures are brought to this width first, in pixels.
    min_side: of a box, in pixels of that picture.
    most: boxes of a picture.

  Source: the paper's "fast", section 5.2, which R-CNN takes: two colour spaces,
  two scales, two measures. Differs: R-CNN's program also makes smaller pictures
  500 pixels wide, and leaves out boxes with a side below 20 of these.
  """

  colours: Sequence[str] = ("hsv", "lab")
  scales: Sequence[float] = (50.0, 100.0)
  measures: Sequence[Sequence[str]] = (
    ("colour", "texture", "size", "fill"),
    ("texture", "size", "fill"),
  )
  width: int = 500
  min_side: int = 8
  most: int = 2000

  def __str__(self) -> str:
    """For the file that keeps what was found."""
    return f"selective search, {dict(self._asdict())}"


def felzenszwalb() -> Segment:
  """The first regions by scikit-image.

  Raises:
    MissingExtra: if that is not installed.
  """
  module = extras.load("skimage.segmentation", "proposals", "selective search")

  def segment(image: Any, scale: float) -> Any:
    return module.felzenszwalb(
      image, scale=scale, sigma=0.8, min_size=int(scale), channel_axis=-1
    )

  return segment


def propose(
  image: UInt8[np.ndarray, "H W 3"], how: Search, segment: Segment
) -> Float[np.ndarray, "P 4"]:
  """Boxes of a picture, xyxy, edges in its pixels; a function of it alone.

  They come in the paper's order: those of large regions first, shuffled, so
  that the first ones are not all alike. Of equal boxes the first is kept.

  Args:
    image: RGB.
    how: see `Search`.
    segment: see `felzenszwalb`.
  """
  height, width = image.shape[:2]
  shrink = min(1.0, how.width / width)
  size = max(1, round(width * shrink)), max(1, round(height * shrink))
  small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
  rng = np.random.default_rng(0)
  boxes, ranks = [], []
  for colour, scale in itertools.product(how.colours, how.scales):
    picture = cv2.cvtColor(small, COLOURS[colour])
    first = first_regions(picture, segment(picture, scale))
    for measure in how.measures:
      found = group(first, measure)
      # 1 for the region that is the whole picture.
      place = np.arange(len(found), 0, -1)
      boxes.append(found)
      ranks.append(place * rng.random(len(found)))
  every = np.concatenate(boxes)[np.argsort(np.concatenate(ranks))]
  sides = every[:, 2:] - every[:, :2]
  every = every[(sides >= how.min_side).all(1)]
  _, place = np.unique(every, axis=0, return_index=True)
  every = every[np.sort(place)][: how.most].astype(np.float32)
  edges = np.array([width / size[0], height / size[1]] * 2, np.float32)
  return every * edges


class Regions(NamedTuple):
  """Regions of a picture.

  Attributes:
    boxes: their boxes, in pixels.
    sizes: their pixels.
    colour, texture: histograms, each of sum 1.
    neighbours: pairs of them that touch.
    area: pixels of the picture.
  """

  boxes: Int[np.ndarray, "N 4"]
  sizes: Int[np.ndarray, " N"]
  colour: Float[np.ndarray, "N D"]
  texture: Float[np.ndarray, "N E"]
  neighbours: Int[np.ndarray, "K 2"]
  area: int


def first_regions(
  picture: UInt8[np.ndarray, "H W 3"], labels: Int[np.ndarray, "H W"]
) -> Regions:
  """What the pixels of each label have; section 3.2 of the paper."""
  _, labels = np.unique(labels, return_inverse=True)
  labels = labels.reshape(picture.shape[:2])
  count, flat = int(labels.max()) + 1, labels.reshape(-1)
  rows, cols = np.indices(labels.shape).reshape(2, -1)
  low = np.full((count, 2), max(labels.shape))
  high = np.zeros((count, 2), np.int64)
  places = np.stack([cols, rows], axis=1)
  np.minimum.at(low, flat, places)
  np.maximum.at(high, flat, places + 1)
  pairs = np.concatenate(
    [
      np.stack([labels[:, :-1], labels[:, 1:]], axis=-1).reshape(-1, 2),
      np.stack([labels[:-1], labels[1:]], axis=-1).reshape(-1, 2),
    ]
  )
  pairs = np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1)
  colour = picture.astype(np.int64) * COLOUR_BINS // 256
  return Regions(
    np.concatenate([low, high], axis=1),
    np.bincount(flat, minlength=count),
    _histograms(flat, count, colour.reshape(-1, 3), COLOUR_BINS),
    _histograms(flat, count, slopes(picture), TEXTURE_BINS),
    np.unique(pairs, axis=0),
    labels.size,
  )


def slopes(
  picture: UInt8[np.ndarray, "H W 3"],
) -> Int[np.ndarray, "N E"]:
  """Bins of Gaussian derivatives in eight directions, of each channel."""
  smooth = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 1.0)
  across = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=1)
  down = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=1)
  found = []
  for n in range(ORIENTATIONS):
    angle = 2 * np.pi * n / ORIENTATIONS
    slope = np.cos(angle) * across + np.sin(angle) * down
    most = max(float(slope.max()), 1e-6)
    bins = (np.clip(slope / most, 0, 1) * TEXTURE_BINS).astype(np.int64)
    found.append(np.minimum(bins, TEXTURE_BINS - 1).reshape(-1, 3))
  return np.concatenate(found, axis=1)


def _histograms(
  labels: Int[np.ndarray, " N"],
  count: int,
  bins: Int[np.ndarray, "N E"],
  num_bins: int,
) -> Float[np.ndarray, "R D"]:
  """Of each label, those of all columns beside each other; of sum 1."""
  found = [
    np.bincount(labels * num_bins + column, minlength=count * num_bins)
    for column in bins.T
  ]
  joined = np.concatenate([one.reshape(count, -1) for one in found], axis=1)
  return joined / joined.sum(1, keepdims=True)


def group(regions: Regions, measure: Sequence[str]) -> Int[np.ndarray, "N 4"]:
  """Boxes of the first regions and of all that they are joined to, in order.

  Source: algorithm 1 and section 3.2. Histograms of a joined region are those
  of its two, weighted by their sizes.
  """
  first = len(regions.sizes)
  room = ((0, first - 1), (0, 0))
  made = Regions(
    np.pad(regions.boxes, room),
    np.pad(regions.sizes, room[0]),
    np.pad(regions.colour, room),
    np.pad(regions.texture, room),
    regions.neighbours,
    regions.area,
  )
  touching: dict[int, set[int]] = {n: set() for n in range(first)}
  for one, other in regions.neighbours.tolist():
    touching[one].add(other)
    touching[other].add(one)
  heap: list[tuple[float, int, int]] = []

  def offer(one: int, others: list[int]) -> None:
    if others:
      likeness = alike(made, one, np.array(others), measure)
      for other, value in zip(others, likeness.tolist(), strict=True):
        heapq.heappush(heap, (-value, one, other))

  for one in range(first):
    offer(one, sorted(n for n in touching[one] if n < one))
  new = first
  while heap:
    _, one, other = heapq.heappop(heap)
    if one not in touching or other not in touching:
      continue  # joined already
    _join(made, one, other, new)
    around = (touching.pop(one) | touching.pop(other)) - {one, other}
    for n in around:
      touching[n] = (touching[n] - {one, other}) | {new}
    touching[new] = around
    offer(new, sorted(around))
    new += 1
  return made.boxes[:new]


def _join(made: Regions, one: int, other: int, new: int) -> None:
  """Writes what two regions are together."""
  both = [one, other]
  share = made.sizes[both] / made.sizes[both].sum()
  made.sizes[new] = made.sizes[both].sum()
  made.boxes[new, :2] = made.boxes[both, :2].min(0)
  made.boxes[new, 2:] = made.boxes[both, 2:].max(0)
  made.colour[new] = share @ made.colour[both]
  made.texture[new] = share @ made.texture[both]


def alike(
  regions: Regions, one: int, others: Int[np.ndarray, " K"], measure: Any
) -> Float[np.ndarray, " K"]:
  """How much a region is like others; equations 2 to 6."""
  total = np.zeros(len(others))
  for name in ("colour", "texture"):
    if name in measure:
      histograms = getattr(regions, name)
      total += np.minimum(histograms[one], histograms[others]).sum(1)
  together = regions.sizes[one] + regions.sizes[others]
  if "size" in measure:
    total += 1 - together / regions.area
  if "fill" in measure:
    low = np.minimum(regions.boxes[one, :2], regions.boxes[others, :2])
    high = np.maximum(regions.boxes[one, 2:], regions.boxes[others, 2:])
    around = np.prod(high - low, axis=1)
    total += 1 - (around - together) / regions.area
  return total
