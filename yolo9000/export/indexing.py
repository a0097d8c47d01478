"""Gather and scatter of a traced program, in ONNX.

JAX has one primitive each for everything that takes or puts by index. Written
here is what indexing with arrays gives: whole rows along some axes, or one
window at a known place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.lax import GatherScatterMode

from yolo9000.export.equation import (
  INT,
  Equation,
  axes,
  cast,
  choose,
  expand,
  reshape,
)
from yolo9000.export.graph import Value, is_constant, plain, transpose


def gather(eqn: Equation) -> Any:
  """Numbers by index."""
  numbers = eqn.params["dimension_numbers"]
  indices = eqn.full(1)
  if is_constant(indices) and indices.ndim == 1:
    return _window(eqn, indices)
  sizes, batch = eqn.params["slice_sizes"], numbers.operand_batching_dims
  # A part as long as its axis begins at 0 whatever is asked for.
  used = [
    k for k, n in enumerate(numbers.start_index_map) if not whole_axis(eqn, n)
  ]
  indexed = [numbers.start_index_map[k] for k in used]
  whole = [n for n in range(len(sizes)) if n not in (*indexed, *batch)]
  if any(sizes[n] != 1 for n in indexed) or not all(
    whole_axis(eqn, n) for n in whole
  ):
    raise NotImplementedError("of parts at places that are known only later")
  x = transpose(eqn.full(), (*batch, *indexed, *whole))
  sides = [eqn.shapes[0][n] for n in indexed]
  # The indices' axes: those of the batch, the others, which index it is.
  first = numbers.start_indices_batching_dims
  last = len(eqn.shapes[1]) - 1
  others = [n for n in range(last) if n not in first]
  indices = transpose(indices, (*first, *others, last))
  if len(used) < eqn.shapes[1][last]:
    shape = [eqn.shapes[1][n] for n in (*first, *others)] + [len(used)]
    part = [indices, axes(*used)]
    indices = Value("Gather", part, shape, indices.dtype, axis=last)
  indices, inside = _bounded(eqn, indices, sides)
  index_shape = [eqn.shapes[1][n] for n in (*first, *others)]
  shape = [*index_shape, *(eqn.shapes[0][n] for n in whole)]
  if not batch and len(indexed) == 1:
    flat = reshape(indices, index_shape, eqn.sides)
    found = Value("Gather", [x, flat], shape, eqn.dtype, axis=0)
  else:
    found = Value(
      "GatherND", [x, indices], shape, eqn.dtype, batch_dims=len(batch)
    )
  if inside is not None:
    inside = reshape(inside, [*index_shape, *[1] * len(whole)], eqn.sides)
    fill = np.array(_fill(eqn.params["fill_value"], eqn.dtype), eqn.dtype)
    found = choose(inside, found, fill, eqn.dtype)
  # Parts of one number keep their axes, where they are not collapsed.
  kept = [n for n in indexed if n not in numbers.collapsed_slice_dims]
  left = [n for n in whole if n not in numbers.collapsed_slice_dims]
  window = sorted([*left, *kept])
  found = reshape(found, [*index_shape, *(sizes[n] for n in window)], eqn.sides)
  # Where each of these axes is in the output.
  free = [n for n in range(len(eqn.shape)) if n not in numbers.offset_dims]
  place = dict(zip(sorted((*first, *others)), free, strict=True))
  order = [place[n] for n in (*first, *others)] + list(numbers.offset_dims)
  return transpose(found, np.argsort(order))


def whole_axis(eqn: Equation, axis: Any) -> bool:
  """Whether what is taken is as long as this axis."""
  return bool(eqn.params["slice_sizes"][axis] == eqn.shapes[0][axis])


def dynamic_slice(eqn: Equation) -> Any:
  """A part at a place that is known only later, moved inside if it leaves."""
  x, *starts = (eqn.full(n) for n in range(len(eqn.inputs)))
  sizes, shape = eqn.params["slice_sizes"], eqn.shapes[0]
  cut = [n for n in range(len(sizes)) if not whole_axis(eqn, n)]
  begins, ends = [], []
  for n in cut:
    most = eqn.sides.scalar(shape[n] - sizes[n])
    begin = plain("Max", cast(starts[n], INT), np.array(0, INT), dtype=INT)
    begin = plain("Min", begin, most, dtype=INT)
    end = plain("Add", begin, eqn.sides.scalar(sizes[n]), dtype=INT)
    begins.append(Value("Unsqueeze", [begin, axes(0)], (1,), INT))
    ends.append(Value("Unsqueeze", [end, axes(0)], (1,), INT))
  if not cut:
    return x
  vectors = [
    Value("Concat", values, (len(cut),), INT, axis=0)
    for values in (begins, ends)
  ]
  return Value("Slice", [x, *vectors, axes(*cut)], eqn.shape, eqn.dtype)


def _fill(given: Any, dtype: np.dtype) -> Any:
  """What JAX gives for an index that lies outside."""
  if given is not None:
    return given
  if dtype.kind == "f":
    return np.nan
  if dtype.kind == "b":
    return True
  return np.iinfo(dtype).min if dtype.kind == "i" else np.iinfo(dtype).max


def _window(eqn: Equation, start: np.ndarray) -> Any:
  """One part at a known place."""
  numbers = eqn.params["dimension_numbers"]
  sizes, shape = eqn.params["slice_sizes"], eqn.shapes[0]
  indexed = [int(n) for n in numbers.start_index_map]
  begin = start.astype(INT)
  if eqn.params["mode"] == GatherScatterMode.CLIP:
    begin = np.maximum(begin, 0)
  ends = [int(b) + sizes[n] for b, n in zip(begin, indexed, strict=True)]
  for end, n in zip(ends, indexed, strict=True):
    if isinstance(shape[n], int) and (end > shape[n] or begin.min() < 0):
      raise NotImplementedError("of a part that leaves the array")
  if any(sizes[n] != side for n, side in enumerate(shape) if n not in indexed):
    raise NotImplementedError("of a part whose place is not said")
  inputs = [eqn.full(), begin, eqn.sides.tensor(ends), axes(*indexed)]
  part = Value("Slice", inputs, sizes, eqn.dtype)
  return reshape(part, eqn.shape, eqn.sides)


def _bounded(
  eqn: Equation, indices: Any, sides: Sequence[Any]
) -> tuple[Any, Any]:
  """Indices (.., k) that lie inside, and which of them did before.

  None for the second, where they do or the program says that they do.
  """
  mode = eqn.params["mode"]
  if is_constant(indices) and all(isinstance(side, int) for side in sides):
    if (indices >= 0).all() and (indices < np.array(sides)).all():
      return indices.astype(INT), None
  indices = cast(indices, INT)
  if mode in (GatherScatterMode.PROMISE_IN_BOUNDS,):
    return indices, None
  most = [
    np.array(side - 1, INT)
    if isinstance(side, int)
    else plain("Sub", eqn.sides.scalar(side), np.array(1, INT), dtype=INT)
    for side in sides
  ]
  if len(most) > 1:
    raise NotImplementedError("by several indices that may lie outside")
  inside_indices = plain("Max", indices, np.array(0, INT), dtype=INT)
  inside_indices = plain("Min", inside_indices, most[0], dtype=INT)
  if mode == GatherScatterMode.CLIP:
    return inside_indices, None
  return inside_indices, plain("Equal", indices, inside_indices, dtype=bool)


def _scatter(reduction: str) -> Any:
  def of(eqn: Equation) -> Any:
    numbers = eqn.params["dimension_numbers"]
    indexed = [int(n) for n in numbers.scatter_dims_to_operand_dims]
    if numbers.operand_batching_dims or set(
      numbers.inserted_window_dims
    ) != set(indexed):
      raise NotImplementedError("of parts, or into each of several pictures")
    indices = eqn.full(1)
    inside = is_constant(indices) and all(
      isinstance(eqn.shape[n], int) and (indices[..., k] < eqn.shape[n]).all()
      for k, n in enumerate(indexed)
    )
    promised = eqn.params["mode"] == GatherScatterMode.PROMISE_IN_BOUNDS
    if not (promised or (inside and (indices >= 0).all())):
      raise NotImplementedError("to places that are known only later")
    whole = [n for n in range(len(eqn.shape)) if n not in indexed]
    order = [*indexed, *whole]
    windows = [int(n) for n in numbers.update_window_dims]
    updates_rank = len(eqn.shapes[2])
    places = [n for n in range(updates_rank) if n not in windows]
    shape = [eqn.shape[n] for n in order]
    inputs = [
      expand(transpose(eqn.full(0), order), shape, eqn.sides),
      cast(indices, INT),
      transpose(eqn.full(2), (*places, *windows)),
    ]
    made = Value("ScatterND", inputs, shape, eqn.dtype, reduction=reduction)
    return transpose(made, np.argsort(order))

  return of


INDEXING = {
  "dynamic_slice": dynamic_slice,
  "gather": gather,
  "scatter": _scatter("none"),
  "scatter-add": _scatter("add"),
  "scatter-max": _scatter("max"),
  "scatter-min": _scatter("min"),
  "scatter-mul": _scatter("mul"),
}
