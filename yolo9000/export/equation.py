"""A step of a traced program, and what the primitives share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from onnx import helper

from yolo9000.export.dimensions import Dimensions
from yolo9000.export.graph import Value, is_constant, plain

INT = np.dtype(np.int64)  # of ONNX's shapes and indices


class Equation(NamedTuple):
  """A step of the program.

  Attributes:
    inputs: its values; an axis may be 1 where `shapes` has more.
    shapes, shape: of its inputs and its output, as JAX has them.
    dtype: of its output.
    params: of the primitive.
    sides: turns open sides into values.
  """

  inputs: list[Any]
  shapes: list[tuple[Any, ...]]
  shape: tuple[Any, ...]
  dtype: Any
  params: dict[str, Any]
  sides: Dimensions

  @property
  def x(self) -> Any:
    """The first input."""
    return self.inputs[0]

  def full(self, number: int = 0) -> Any:
    """An input with all its numbers."""
    return expand(self.inputs[number], self.shapes[number], self.sides)

  def plain(self, kind: str, *values: Any, **attributes: Any) -> Any:
    """An operator of the output's dtype, number by number."""
    return plain(kind, *values, dtype=self.dtype, **attributes)


def shape_of(x: Any) -> tuple[Any, ...]:
  """Sides of a value or constant."""
  return np.shape(x) if is_constant(x) else x.shape


def expand(x: Any, shape: Sequence[Any], sides: Dimensions) -> Any:
  """x with all the numbers of this shape, of its own rank."""
  if shape_of(x) == tuple(shape):
    return x
  return Value("Expand", [x, sides.tensor(shape)], shape, x.dtype)


def reshape(x: Any, shape: Sequence[Any], sides: Dimensions) -> Any:
  """The same numbers in another shape; open sides are said by 0 and -1."""
  shape, before = tuple(shape), shape_of(x)
  if before == shape:
    return x
  if is_constant(x):
    return np.reshape(x, shape)
  said: list[int] = []
  for axis, side in enumerate(shape):
    if isinstance(side, int):
      said.append(side)
    elif axis < len(before) and before[axis] == side:
      said.append(0)
    else:
      said.append(-1)
  wanted: Any = np.array(said, INT)
  if said.count(-1) > 1 or (0 in said and 0 in shape):
    wanted = sides.tensor(shape)
  return Value("Reshape", [x, wanted], shape, x.dtype)


def cast(x: Any, dtype: Any) -> Any:
  """x as another kind of numbers."""
  dtype = np.dtype(dtype)
  if x.dtype == dtype:
    return x
  if is_constant(x):
    return x.astype(dtype)
  kind = int(helper.np_dtype_to_tensor_dtype(dtype))
  return plain("Cast", x, dtype=dtype, to=kind)


def axes(*numbers: Any) -> np.ndarray:
  """Axes as an input of an operator."""
  return np.array(numbers, INT)


def choose(condition: Any, yes: Any, no: Any, dtype: Any) -> Any:
  """One of two by a truth; Where of truths is not in every engine."""
  if dtype != np.bool_:
    return plain("Where", condition, yes, no, dtype=dtype)
  yes = plain("And", condition, yes, dtype=dtype)
  no = plain("And", plain("Not", condition, dtype=dtype), no, dtype=dtype)
  return plain("Or", yes, no, dtype=dtype)


def any_of(x: Any, along: Iterable[Any], shape: Sequence[Any]) -> Any:
  """Whether one is true; ONNX has no reduction of truths."""
  inputs = [cast(x, np.int32), axes(*along)]
  return cast(Value("ReduceMax", inputs, shape, np.int32, keepdims=0), bool)
