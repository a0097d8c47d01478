"""The rows of which networks are made.

Row i of a table is layer i of the original program's .cfg, and its parameters
are named `layer_i`. `chain.Chain` runs a table; shapes.py says what shapes it
gives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from yolo9000.wordtree.tree import WordTree

ACTIVATION_NAMES = ("leaky", "linear", "logistic", "relu")


class Conv(NamedTuple):
  """Convolution, padded with zeros; He-normal kernel.

  With batch_norm: no bias of its own, then normalise, scale and shift.
  padding is in pixels on each side; None means size // 2, times dilation, which
  keeps the size of a picture where `size` is odd. dilation: the pixels from one
  entry of the kernel to the next.
  """

  filters: int
  size: int
  batch_norm: bool = True
  activation: str = "leaky"  # of ACTIVATION_NAMES
  stride: int = 1
  padding: int | None = None
  dilation: int = 1

  @property
  def pad(self) -> int:
    """Pixels on each side."""
    keeps_size = self.dilation * (self.size // 2)
    return keeps_size if self.padding is None else self.padding


class MaxPool(NamedTuple):
  """Maximum of size x size windows.

  padding pixels are added, half of them (rounded down) left and above; None
  means size - 1, with which odd sides round up.
  """

  size: int = 2
  stride: int = 2
  padding: int | None = None

  @property
  def pad(self) -> int:
    """Pixels of both sides together."""
    return self.size - 1 if self.padding is None else self.padding


class Reorg(NamedTuple):
  """Space to depth: each 2 x 2 block of pixels becomes 4 times the channels.

  Channels come offset first: out[(2 dy + dx) * C + c, y, x] =
  x[c, 2 y + dy, 2 x + dx]. The original program's layer mixes up its
  dimensions; with program_order its rearrangement is repeated exactly, as its
  weights need (see `reorg_program`).
  """

  program_order: bool = False
  stride: int = 2


class Route(NamedTuple):
  """Concatenates earlier layers along channels; negative counts from here."""

  layers: tuple[int, ...]

  def sources(self, index: int) -> tuple[int, ...]:
    """Numbers of the layers, for the row at this index."""
    return tuple(n if n >= 0 else index + n for n in self.layers)


class Shortcut(NamedTuple):
  """Adds an earlier layer to the one before; negative counts from here."""

  layer: int
  activation: str = "linear"

  def sources(self, index: int) -> tuple[int, ...]:
    """Numbers of the two layers, for the row at this index."""
    other = self.layer if self.layer >= 0 else index + self.layer
    return index - 1, other


class Upsample(NamedTuple):
  """Repeats each pixel stride x stride times."""

  stride: int = 2


class AveragePool(NamedTuple):
  """Mean over the whole picture: (B, H, W, C) to (B, C)."""


class Local(NamedTuple):
  """Locally connected: a convolution with another kernel at each place.

  padding is in pixels on each side: none, or (size - 1) / 2.
  """

  filters: int
  size: int
  activation: str = "leaky"
  stride: int = 1
  padding: int = 1


class Connected(NamedTuple):
  """Fully connected: each output sees every number of the picture."""

  outputs: int
  batch_norm: bool = False
  activation: str = "leaky"


class Dropout(NamedTuple):
  """In training, each number is 0 with this probability, or scaled up."""

  probability: float = 0.5


class Softmax(NamedTuple):
  """Softmax of a vector, or with a tree of each group of siblings in it."""

  groups: int = 1
  temperature: float = 1.0
  tree: WordTree | None = None


class Cost(NamedTuple):
  """Marks the end of a classifier for training; passes its input on."""

  kind: str = "sse"


class Region(NamedTuple):
  """How YOLOv2's last numbers are read, (B, Y, X, A * (5 + C)).

  Passes its input on; see `losses.decode`.

  Attributes:
    priors: A pairs (w, h) in cells.
    num_classes: C.
    exclusive: softmax over the classes (true) or each on its own.
    tree: a softmax in each group of siblings instead; has C nodes.
    location: "direct" or "offset", how a box's centre is said.
  """

  priors: tuple[tuple[float, float], ...]
  num_classes: int
  exclusive: bool = True
  tree: WordTree | None = None
  location: str = "direct"


class Yolo(NamedTuple):
  """How the numbers of a level of YOLOv3 are read, (B, Y, X, A * (5 + C)).

  No row reads this one. A table with such rows has one for each level, and its
  output is what each of them reads, in their order.

  Attributes:
    priors_px: of all levels, pairs (w, h) in pixels of the network's input.
    own: which of them are the A of this level.
    num_classes: C.
    tree: a softmax in each group of siblings; has C nodes. Without it each
      class is on its own.
  """

  priors_px: tuple[tuple[float, float], ...]
  own: tuple[int, ...]
  num_classes: int
  tree: WordTree | None = None


class Detection(NamedTuple):
  """How YOLOv1's last numbers are read, (B, side * side * (C + 5 * boxes)).

  Passes its input on; see `losses.sum_squared.split`.

  Attributes:
    side: cells per side, S in the paper.
    num_classes: C.
    num_boxes: predictors of a cell, B in the paper.
    square_root: the network says the square roots of width and height.
    exclusive: softmax over the classes of a cell.
  """

  side: int
  num_classes: int
  num_boxes: int
  square_root: bool = True
  exclusive: bool = False


Layer = (
  Conv
  | MaxPool
  | Reorg
  | Route
  | Shortcut
  | Upsample
  | AveragePool
  | Local
  | Connected
  | Dropout
  | Softmax
  | Cost
  | Region
  | Yolo
  | Detection
)

# These take a vector for the channels of a single pixel.
NEEDS_GRID = (Conv, Local, MaxPool, Reorg, Upsample, AveragePool, Region, Yolo)

Shape = tuple[int, ...]  # (H, W, C) of one picture, or (N,) of a vector


class Network(NamedTuple):
  """Rows of layers and the shape (H, W, C) of its pictures."""

  layers: tuple[Layer, ...]
  shape: Shape

  @property
  def takes_one_size(self) -> bool:
    """Whether a layer has weights for each place of the picture."""
    return any(isinstance(row, (Connected, Local)) for row in self.layers)


def sources(row: Layer, index: int) -> tuple[int, ...]:
  """Numbers of the layers that the row at this index reads; -1: the picture."""
  if isinstance(row, (Route, Shortcut)):
    return row.sources(index)
  return (index - 1,)


def layer_name(index: int) -> str:
  """What a row's parameters are called; its batch norm's end in _norm."""
  return f"layer_{index:02d}"


def widened(filters: int, width: float, least: int = 4) -> int:
  """A published number of filters times `task.network.width`.

  Raises:
    ValueError: unless width is above 0.
  """
  if not 0 < width < math.inf:
    raise ValueError(
      f"task.network.width is {width}; it must be above 0 (1 is the paper's)"
    )
  return max(least, round(filters * width))


def widen(layers: Sequence[Layer], width: float) -> tuple[Layer, ...]:
  """The same network with every number of filters `widened`.

  Raises:
    ValueError: unless width is above 0.
  """
  return tuple(
    row._replace(filters=widened(row.filters, width))
    if isinstance(row, Conv)
    else row
    for row in layers
  )


STRIDE = 32  # pixels per cell of the detection grid
LARGEST_PRIOR = 32  # cells, a picture of 1024 pixels


def check_priors(
  priors: Sequence[Sequence[float]], grid: Shape = (0, 0)
) -> None:
  """Raises ValueError unless priors are positive pairs in cells.

  Beyond twice the grid (Y, X), and beyond LARGEST_PRIOR, they are taken for
  pixels. Priors larger than the grid are legal: those that the program
  published reach 16.62 of 13 cells.
  """
  try:
    sides = [float(side) for w, h in priors for side in (w, h)]
  except (TypeError, ValueError):
    sides = []
  if not sides:
    raise ValueError(
      f"priors {priors!r} must be a list of (width, height) pairs in cells"
    )
  if not all(math.isfinite(side) and side > 0 for side in sides):
    raise ValueError(f"priors {priors!r} must be positive")
  if max(sides) > max(LARGEST_PRIOR, 2 * max(grid)):
    cells = ", ".join(
      f"({w / STRIDE:.4g}, {h / STRIDE:.4g})" for w, h in priors
    )
    raise ValueError(
      f"priors {priors!r} look like pixels; expected cells of {STRIDE} pixels. "
      f"Divided by {STRIDE} they are {cells}"
    )
