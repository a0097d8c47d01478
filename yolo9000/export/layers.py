"""Primitives that sum, choose, convolve and multiply, in ONNX.

Each function takes an `Equation` and gives its output, or a list of several.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from yolo9000.export.equation import INT, Equation, any_of, axes, cast
from yolo9000.export.graph import Value, transpose


def _reduction(kind: str) -> Callable[[Equation], Any]:
  def of(eqn: Equation) -> Any:
    inputs = [eqn.full(), axes(*eqn.params["axes"])]
    return Value(kind, inputs, eqn.shape, eqn.dtype, keepdims=0)

  return of


def reduce_or(eqn: Equation) -> Any:
  """Whether one is true."""
  return any_of(eqn.full(), eqn.params["axes"], eqn.shape)


def reduce_and(eqn: Equation) -> Any:
  """Whether all are true: not one is false."""
  wrong = eqn.plain("Not", eqn.full())
  return eqn.plain("Not", any_of(wrong, eqn.params["axes"], eqn.shape))


def _choice(kind: str) -> Callable[[Equation], Any]:
  def of(eqn: Equation) -> Any:  # the first of equals
    (axis,) = eqn.params["axes"]
    found = Value(
      kind, [eqn.full()], eqn.shape, INT, axis=int(axis), keepdims=0
    )
    return cast(found, eqn.dtype)

  return of


def top_k(eqn: Equation) -> list[Any]:
  """The largest k and where they are; the first of equals comes first."""
  x, k = eqn.full(), eqn.params["k"]
  axis = int(eqn.params.get("axis", len(eqn.shape) - 1))
  found = Value(
    "TopK", [x, eqn.sides.tensor([k])], eqn.shape, x.dtype, axis=axis
  )
  return [found, cast(found.another(eqn.shape, INT), np.int32)]


def cumulative_sum(eqn: Equation) -> Any:
  """cumsum along an axis."""
  axis = np.array(eqn.params["axis"], INT)
  backwards = int(eqn.params["reverse"])
  return Value(
    "CumSum", [eqn.full(), axis], eqn.shape, eqn.dtype, reverse=backwards
  )


def sort(eqn: Equation) -> Any:
  """Rising, of one array."""
  if len(eqn.inputs) > 1:
    raise NotImplementedError("of several arrays together")
  axis = int(eqn.params["dimension"])
  size = eqn.sides.tensor([eqn.shape[axis]])
  found = Value(
    "TopK", [eqn.full(), size], eqn.shape, eqn.dtype, axis=axis, largest=0
  )
  found.another(eqn.shape, INT)  # which nothing asks for
  return found


# Convolutions, pools, products.


def conv_general_dilated(eqn: Equation) -> Any:
  """A convolution, in whatever order the axes are."""
  how = eqn.params
  if how["batch_group_count"] != 1:
    raise NotImplementedError("with groups of pictures")
  numbers = how["dimension_numbers"]
  x = transpose(eqn.full(0), numbers.lhs_spec)
  kernel = transpose(eqn.full(1), numbers.rhs_spec)
  kind, strides, padding = "Conv", how["window_strides"], how["padding"]
  if set(how["lhs_dilation"]) != {1}:
    kind, strides = "ConvTranspose", how["lhs_dilation"]
    kernel, padding = _transposed(kernel, how)
  begins, ends = zip(*padding, strict=True)
  made = Value(
    kind,
    [x, kernel],
    [eqn.shape[axis] for axis in numbers.out_spec],
    eqn.dtype,
    strides=[int(n) for n in strides],
    pads=[int(n) for n in (*begins, *ends)],
    dilations=[int(n) for n in how["rhs_dilation"]],
    group=int(how["feature_group_count"]),
  )
  return transpose(made, np.argsort(numbers.out_spec))


def _transposed(kernel: Any, how: Mapping[str, Any]) -> tuple[Any, Any]:
  """Kernel and padding of a transposed convolution.

  Ours goes over a picture with zeros between its pixels. ONNX's spreads each
  pixel by the kernel, which is turned round, and cuts where ours is padded.
  """
  dilations, group = how["rhs_dilation"], how["feature_group_count"]
  cut = [
    [dilation * (side - 1) - pad for pad in pads]
    for side, dilation, pads in zip(
      kernel.shape[2:], dilations, how["padding"], strict=True
    )
  ]
  plain = set(how["window_strides"]) == {1} and group == 1
  if not plain or np.min(cut) < 0 or not isinstance(kernel, np.ndarray):
    raise NotImplementedError(
      "transposed, with strides, groups, more padding than its kernel, or a "
      "kernel that is computed"
    )
  return kernel[..., ::-1, ::-1].swapaxes(0, 1).copy(), cut


def _pool(kind: str) -> Callable[[Equation], Any]:
  def of(eqn: Equation) -> Any:
    how = eqn.params
    if {*how["base_dilation"], *how["window_dilation"]} != {1}:
      raise NotImplementedError("with holes")
    rank = len(eqn.shape)
    windows = [int(n) for n in how["window_dimensions"]]
    strides = [int(n) for n in how["window_strides"]]
    space = [
      n
      for n in range(rank)
      if (windows[n], strides[n], how["padding"][n]) != (1, 1, (0, 0))
    ]
    space = sorted({*space, *([1, 2] if len(space) < 2 else [])})
    if rank != 4 or len(space) != 2:
      raise NotImplementedError("over more or less than two axes")
    order = [n for n in range(rank) if n not in space] + space
    more = {"count_include_pad": 1} if kind == "AveragePool" else {}
    made = Value(
      kind,
      [transpose(eqn.full(), order)],
      [eqn.shape[n] for n in order],
      eqn.dtype,
      kernel_shape=[windows[n] for n in space],
      strides=[strides[n] for n in space],
      pads=[int(how["padding"][n][end]) for end in (0, 1) for n in space],
      **more,
    )
    made = transpose(made, np.argsort(order))
    if kind == "AveragePool":  # the traced one is a sum
      made = eqn.plain("Mul", made, np.array(math.prod(windows), eqn.dtype))
    return made

  return of


def dot_general(eqn: Equation) -> Any:
  """A product of matrices, or of any axes."""
  (left, right), (left_batch, right_batch) = eqn.params["dimension_numbers"]
  a, b = eqn.full(0), eqn.full(1)
  rank = len(eqn.shapes[0])
  if (tuple(left), tuple(right)) == ((rank - 1,), (0,)) and (
    not left_batch and len(eqn.shapes[1]) == 2
  ):
    return Value("MatMul", [a, b], eqn.shape, eqn.dtype)
  letters = iter("abcdefghijklmnopqrstuvwxyz")
  of_a = [next(letters) for _ in eqn.shapes[0]]
  of_b = [next(letters) for _ in eqn.shapes[1]]
  for i, j in (*zip(left, right), *zip(left_batch, right_batch)):  # noqa: B905
    of_b[j] = of_a[i]
  free_a = [c for n, c in enumerate(of_a) if n not in (*left, *left_batch)]
  free_b = [c for n, c in enumerate(of_b) if n not in (*right, *right_batch)]
  result = "".join([*(of_a[n] for n in left_batch), *free_a, *free_b])
  how = f"{''.join(of_a)},{''.join(of_b)}->{result}"
  return Value("Einsum", [a, b], eqn.shape, eqn.dtype, equation=how)


LAYERS: dict[str, Callable[[Equation], Any]] = {
  "argmax": _choice("ArgMax"),
  "argmin": _choice("ArgMin"),
  "conv_general_dilated": conv_general_dilated,
  "cumsum": cumulative_sum,
  "dot_general": dot_general,
  "reduce_and": reduce_and,
  "reduce_max": _reduction("ReduceMax"),
  "reduce_min": _reduction("ReduceMin"),
  "reduce_or": reduce_or,
  "reduce_prod": _reduction("ReduceProd"),
  "reduce_sum": _reduction("ReduceSum"),
  "reduce_window_max": _pool("MaxPool"),
  "reduce_window_sum": _pool("AveragePool"),
  "sort": sort,
  "top_k": top_k,
}
