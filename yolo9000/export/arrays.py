"""Primitives that make and join arrays and move their axes, in ONNX.

Each function takes an `Equation` and gives its output, or a list of several.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from yolo9000.export.equation import (
  INT,
  Equation,
  axes,
  cast,
  reshape,
  shape_of,
)
from yolo9000.export.graph import Value, transpose


def same(eqn: Equation) -> Any:
  """What changes nothing in a forward pass."""
  return eqn.x


def broadcast_in_dim(eqn: Equation) -> Any:
  """New axes; they stay 1 until all numbers are needed."""
  shape: list[Any] = [1] * len(eqn.shape)
  for side, axis in zip(
    shape_of(eqn.x), eqn.params["broadcast_dimensions"], strict=True
  ):
    shape[axis] = side
  return reshape(eqn.x, shape, eqn.sides)


def to_shape(eqn: Equation) -> Any:
  """reshape, squeeze, expand_dims: the same numbers, other axes."""
  return reshape(eqn.full(), eqn.shape, eqn.sides)


def permute(eqn: Equation) -> Any:
  """transpose: axes in another order."""
  return transpose(eqn.x, eqn.params["permutation"])


def concatenate(eqn: Equation) -> Any:
  """Values one after the other along an axis."""
  axis = int(eqn.params["dimension"])
  values = [eqn.full(n) for n in range(len(eqn.inputs))]
  orders = [
    x.attributes["perm"]
    if isinstance(x, Value) and x.kind == "Transpose"
    else 0
    for x in values
  ]
  order = orders[0]
  if order and all(one == order for one in orders):
    shape = [eqn.shape[a] for a in np.argsort(order)]
    below = [x.inputs[0] for x in values]
    joined = Value("Concat", below, shape, eqn.dtype, axis=order[axis])
    return transpose(joined, order)
  return Value("Concat", values, eqn.shape, eqn.dtype, axis=axis)


def stack(eqn: Equation) -> Any:
  """Values one after the other along a new axis."""
  axis = int(eqn.params["axis"])
  values = [
    Value("Unsqueeze", [eqn.full(n), axes(axis)], one, eqn.dtype)
    for n, shape in enumerate(eqn.shapes)
    for one in [(*shape[:axis], 1, *shape[axis:])]
  ]
  return Value("Concat", values, eqn.shape, eqn.dtype, axis=axis)


def slice_(eqn: Equation) -> Any:
  """A part, by its beginning, end and step on each axis."""
  begin, end = eqn.params["start_indices"], eqn.params["limit_indices"]
  steps = eqn.params["strides"] or [1] * len(begin)
  cut = [
    n
    for n, side in enumerate(eqn.shapes[0])
    if not (begin[n] == 0 and end[n] == side and steps[n] == 1)
  ]
  inputs = [
    eqn.full(),
    *(eqn.sides.tensor([part[n] for n in cut]) for part in (begin, end)),
    *(axes(*cut), axes(*(steps[n] for n in cut))),
  ]
  return Value("Slice", inputs, eqn.shape, eqn.dtype)


def split(eqn: Equation) -> list[Any]:
  """Parts of these sizes along an axis."""
  axis, begin, parts = int(eqn.params["axis"]), 0, []
  for size in eqn.params["sizes"]:
    shape = [*eqn.shapes[0]]
    shape[axis] = size
    ends = [eqn.sides.tensor([n]) for n in (begin, begin + size)]
    inputs = [eqn.full(), *ends, axes(axis)]
    parts.append(Value("Slice", inputs, shape, eqn.x.dtype))
    begin = begin + size
  return parts


def rev(eqn: Equation) -> Any:
  """Backwards along these axes."""
  turned = [int(axis) for axis in eqn.params["dimensions"]]
  ones = np.ones(len(turned), INT)
  inputs = [
    *(eqn.full(), -ones, ones * np.iinfo(INT).min, axes(*turned), -ones)
  ]
  return Value("Slice", inputs, eqn.shape, eqn.dtype)


def pad(eqn: Equation) -> Any:
  """A border of a constant; a negative one cuts."""
  config = eqn.params["padding_config"]
  if any(inner for *_, inner in config):
    raise NotImplementedError("between the numbers")
  x, constant = eqn.full(), eqn.inputs[1]
  order = list(range(len(config)))
  if isinstance(x, Value) and x.kind == "Transpose":
    order = [int(axis) for axis in np.argsort(x.attributes["perm"])]
    x = x.inputs[0]
  ends = [config[axis][side] for side in (0, 1) for axis in order]
  inputs = [x, eqn.sides.tensor(ends), constant]
  shape = [eqn.shape[axis] for axis in order]
  padded = Value("Pad", inputs, shape, eqn.dtype, mode="constant")
  return transpose(padded, np.argsort(order))


def iota(eqn: Equation) -> Any:
  """0, 1, 2, .. along an axis."""
  axis, shape = int(eqn.params["dimension"]), [1] * len(eqn.shape)
  side = eqn.shape[axis]
  shape[axis] = side
  if isinstance(side, int):
    return np.arange(side).astype(eqn.dtype).reshape(shape)
  inputs = [np.array(0, INT), eqn.sides.scalar(side), np.array(1, INT)]
  numbers = cast(Value("Range", inputs, (side,), INT), eqn.dtype)
  return reshape(numbers, shape, eqn.sides)


def dim_as_value(eqn: Equation) -> Any:
  """A side of the input as a number."""
  return cast(eqn.sides.scalar(eqn.params["dim"]), eqn.dtype)


ARRAYS: dict[str, Callable[[Equation], Any]] = {
  "broadcast_in_dim": broadcast_in_dim,
  "concatenate": concatenate,
  "copy": same,
  "copy_p": same,
  "dim_as_value": dim_as_value,
  "expand_dims": to_shape,
  "iota": iota,
  "optimization_barrier": same,
  "pad": pad,
  "reshape": to_shape,
  "rev": rev,
  "slice": slice_,
  "split": split,
  "squeeze": to_shape,
  "stack": stack,
  "stop_gradient": same,
  "transpose": permute,
}
