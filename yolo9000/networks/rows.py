"""The rows of which networks are made, and what shapes they give.

Row i of a table is layer i of the original program's .cfg, and its parameters
are named `layer_i`. `chain.Chain` runs a table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from yolo9000.wordtree.tree import WordTree

ACTIVATION_NAMES = ("leaky", "linear", "logistic", "relu")


class Conv(NamedTuple):
  """Convolution, zero padded to keep the size; He-normal kernel.

  With batch_norm: no bias of its own, then normalise, scale and shift.
  padding is in pixels on each side; None means size // 2, times dilation: the
  pixels from one entry of the kernel to the next.
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
  | AveragePool
  | Local
  | Connected
  | Dropout
  | Softmax
  | Cost
  | Region
  | Detection
)

# These take a vector for the channels of a single pixel.
NEEDS_GRID = (Conv, Local, MaxPool, Reorg, AveragePool, Region)

Shape = tuple[int, ...]  # (H, W, C) of one picture, or (N,) of a vector


class Network(NamedTuple):
  """Rows of layers and the shape (H, W, C) of its pictures."""

  layers: tuple[Layer, ...]
  shape: Shape

  @property
  def takes_one_size(self) -> bool:
    """Whether a layer has weights for each place of the picture."""
    return any(isinstance(row, (Connected, Local)) for row in self.layers)


def layer_name(index: int) -> str:
  """What a row's parameters are called; its batch norm's end in _norm."""
  return f"layer_{index:02d}"


def widen(layers: Sequence[Layer], width: float) -> tuple[Layer, ...]:
  """The same network with every number of filters times width, at least 4.

  Raises:
    ValueError: unless width is above 0.
  """
  if width <= 0:
    raise ValueError(
      f"task.network.width is {width}; it must be above 0 (1 is the paper's)"
    )
  return tuple(
    row._replace(filters=max(4, round(row.filters * width)))
    if isinstance(row, Conv)
    else row
    for row in layers
  )


class LayerError(ValueError):
  """A table that cannot be; `layer` is the number of the row that cannot."""

  def __init__(self, layer: int, message: str):
    super().__init__(message)
    self.layer = layer


def output_shapes(layers: Sequence[Layer], shape: Shape) -> list[Shape]:
  """The shape of every row's output, for pictures of shape (H, W, C).

  Raises:
    LayerError: where a row does not fit what comes before it, saying why.
  """
  shapes: list[Shape] = []
  for index, row in enumerate(layers):
    try:
      if shapes and isinstance(layers[index - 1], (Region, Detection)):
        raise ValueError("Region and Detection can only be the last row")
      shape = _output_shape(row, index, shape, shapes)
      if min(shape) < 1:
        raise ValueError(f"nothing is left of its input: it gives {shape}")
    except ValueError as error:
      raise LayerError(
        index, f"layer {index} ({type(row).__name__}): {error}"
      ) from None
    shapes.append(shape)
  return shapes


def operations(layers: Sequence[Layer], shape: Shape) -> int:
  """Multiplications and additions of one picture's forward pass.

  Of the convolutional and connected layers, which have nearly all. Source: the
  paper's section 3, "Faster": 5.58 billion for Darknet-19 at 224.
  """
  total, before = 0, shape
  for row, after in zip(layers, output_shapes(layers, shape), strict=True):
    outputs = math.prod(after)
    if isinstance(row, (Conv, Local)):
      total += 2 * row.size**2 * before[2] * outputs
    elif isinstance(row, Connected):
      total += 2 * math.prod(before) * outputs
    before = after
  return total


def _windows(shape: Shape, size: int, stride: int, padding: int) -> Shape:
  """Grid of windows; padding is that of both sides together."""
  return tuple((side + padding - size) // stride + 1 for side in shape[:2])


def _output_shape(
  row: Layer, index: int, shape: Shape, before: list[Shape]
) -> Shape:
  """Output of one row; ValueError if its input cannot be."""
  if isinstance(row, Connected):
    return (row.outputs,)
  if isinstance(row, Route):
    return _route_shape(row, index, before)
  if isinstance(row, (Dropout, Cost)):
    return shape
  if isinstance(row, Softmax):
    _check_softmax(row, shape)
    return shape
  if isinstance(row, Detection):
    wanted = row.side**2 * (row.num_classes + 5 * row.num_boxes)
    if math.prod(shape) != wanted:
      raise ValueError(
        f"needs side^2 (classes + 5 num) = {wanted} numbers, gets "
        f"{math.prod(shape)}"
      )
    return shape
  if len(shape) == 1:
    shape = (1, 1, *shape)
  match row:
    case Conv(size=size, stride=stride):
      reach = row.dilation * (size - 1) + 1
      return (*_windows(shape, reach, stride, 2 * row.pad), row.filters)
    case Local(size=size, stride=stride):
      if row.padding and 2 * row.padding != size - 1:
        raise ValueError(
          f"padding {row.padding} with size {size}; only 0 and (size - 1) / 2 "
          f"are what the original program computes"
        )
      return (*_windows(shape, size, stride, 2 * row.padding), row.filters)
    case MaxPool(size=size, stride=stride):
      if row.pad >= 2 * size:
        raise ValueError(
          f"padding {row.pad} with size {size}: some windows would be empty"
        )
      return (*_windows(shape, size, stride, row.pad), shape[2])
    case Reorg(stride=stride):
      if shape[0] % stride or shape[1] % stride:
        raise ValueError(f"its input {shape} is no multiple of {stride}")
      if row.program_order and shape[2] % stride**2:
        raise ValueError(
          f"its {shape[2]} channels are no multiple of {stride**2}"
        )
      height, width = shape[0] // stride, shape[1] // stride
      return (height, width, shape[2] * stride**2)
    case AveragePool():
      return shape[2:]
    case Region():
      _check_region(row, shape)
  return shape


def _route_shape(row: Route, index: int, before: list[Shape]) -> Shape:
  picked = []
  for number, layer in zip(row.layers, row.sources(index), strict=True):
    if not 0 <= layer < index:
      raise ValueError(f"there is no layer {number} before it")
    picked.append(before[layer])
  if not picked:
    raise ValueError("names no layer")
  if any(one[:-1] != picked[0][:-1] for one in picked):
    raise ValueError(f"its inputs differ in height or width: {picked}")
  return (*picked[0][:-1], sum(one[-1] for one in picked))


def _check_region(row: Region, shape: Shape) -> None:
  wanted = len(row.priors) * (5 + row.num_classes)
  if shape[2] != wanted:
    raise ValueError(
      f"needs {len(row.priors)} * (5 + {row.num_classes}) = {wanted} "
      f"channels, gets {shape[2]}"
    )
  check_priors(row.priors, shape[:2])
  if row.tree and len(row.tree.ids) != row.num_classes:
    raise ValueError(
      f"has {row.num_classes} classes, its tree {len(row.tree.ids)} nodes"
    )


def _check_softmax(row: Softmax, shape: Shape) -> None:
  if math.prod(shape) != shape[-1]:
    raise ValueError(f"needs a vector, gets a picture {shape}")
  if row.tree and len(row.tree.ids) != shape[-1]:
    raise ValueError(
      f"gets {shape[-1]} numbers, its tree has {len(row.tree.ids)} nodes"
    )
  if row.groups < 1 or shape[-1] % row.groups:
    raise ValueError(f"{shape[-1]} numbers make no {row.groups} groups")


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
