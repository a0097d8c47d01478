"""What shapes the rows of a table give, and which rows fit each other."""

from __future__ import annotations

import math
from collections.abc import Sequence

from yolo9000.networks.rows import (
  AveragePool,
  Connected,
  Conv,
  Cost,
  Detection,
  Dropout,
  Layer,
  Local,
  MaxPool,
  Region,
  Reorg,
  Route,
  Shape,
  Shortcut,
  Softmax,
  Upsample,
  Yolo,
  check_priors,
  sources,
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
      for layer in sources(row, index):
        if 0 <= layer < index and isinstance(layers[layer], Yolo):
          raise ValueError(f"reads layer {layer}, Yolo, which no row can read")
      shape = _output_shape(row, index, shape, shapes)
      _check_levels(layers[: index + 1])
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
  if isinstance(row, Shortcut):
    return _shortcut_shape(row, index, before)
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
    case Upsample(stride):
      return (shape[0] * stride, shape[1] * stride, shape[2])
    case AveragePool():
      return shape[2:]
    case Region():
      check_priors(row.priors, shape[:2])
      _check_slots(row, len(row.priors), shape)
    case Yolo():
      _check_yolo(row, shape)
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


def _shortcut_shape(row: Shortcut, index: int, before: list[Shape]) -> Shape:
  _, other = row.sources(index)
  if not 0 <= other < index:
    raise ValueError(f"there is no layer {row.layer} before it")
  if before[other] != before[-1]:
    raise ValueError(
      f"adds {before[other]} to {before[-1]}; only equal shapes are supported"
    )
  return before[-1]


def _check_levels(layers: Sequence[Layer]) -> None:
  """Raises ValueError if the last is a Yolo with other classes than before."""
  *before, row = layers
  for other in before if isinstance(row, Yolo) else ():
    if isinstance(other, Yolo) and other.num_classes != row.num_classes:
      raise ValueError(
        f"has {row.num_classes} classes, a Yolo before it {other.num_classes}; "
        f"expected the same on all levels"
      )


def _check_yolo(row: Yolo, shape: Shape) -> None:
  if not all(side > 0 for prior in row.priors_px for side in prior):
    raise ValueError(f"priors {row.priors_px!r} must be positive")
  if not row.own or not set(row.own) <= set(range(len(row.priors_px))):
    raise ValueError(
      f"its own priors are {row.own}; expected some of 0 to "
      f"{len(row.priors_px) - 1}"
    )
  _check_slots(row, len(row.own), shape)


def _check_slots(row: Region | Yolo, num_priors: int, shape: Shape) -> None:
  wanted = num_priors * (5 + row.num_classes)
  if shape[2] != wanted:
    raise ValueError(
      f"needs {num_priors} * (5 + {row.num_classes}) = {wanted} "
      f"channels, gets {shape[2]}"
    )
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
