"""An ONNX graph under construction: values, and how they become a file.

A value is what an operator gives, or a NumPy array, which is a constant. Nodes
are written once the whole graph is known, from its outputs back, so what
nothing uses is never written.

Networks here have the channels last, ONNX's convolutions first. A transpose is
pushed down through all that treats numbers alike, so that those of neighbouring
layers meet and vanish.

Shapes may be open: a side is a number or an expression of the sides of the
input, such as 13*h. A value's own shape may have 1 where the traced program has
more: ONNX broadcasts when it computes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

Shape = Sequence[Any]

# Of wide support: ONNX Runtime 1.14, OpenVINO 2023, TensorRT 10.
OPSET = 18
IR_VERSION = 8


class Value:
  """One output of an operator.

  Attributes:
    kind: the operator's name in ONNX; "" for an input of a graph.
    inputs: values and constants.
    attributes: of the operator.
    shape, dtype: of this output.
    source: of another output than the first, the first one.
    depth: 0 for the graph, 1 for the body of a loop in it, and so on.
    name: once it is written.
  """

  def __init__(
    self,
    kind: str,
    inputs: Sequence[Any],
    shape: Shape,
    dtype: Any,
    **attributes: Any,
  ):
    self.kind, self.inputs, self.attributes = kind, list(inputs), attributes
    self.shape, self.dtype = tuple(shape), np.dtype(dtype)
    depths = [x.depth for x in inputs if isinstance(x, Value)]
    self.depth = max(depths, default=0)
    self.name, self.source = "", self
    self.outputs: list[Value] = [self]
    self.body: Any = None  # of a Loop: its inputs and outputs

  def another(self, shape: Shape, dtype: Any) -> Value:
    """A further output of the same operator."""
    other = Value(self.kind, (), shape, dtype)
    other.source, other.depth = self, self.depth
    self.outputs.append(other)
    return other


def is_constant(x: Any) -> bool:
  """Whether a number is known now."""
  return not isinstance(x, Value)


def is_scalar(x: Any, number: Any = None) -> bool:
  """Whether it is a constant of one number, and that one if it is given."""
  if not is_constant(x) or np.size(x) != 1:
    return False
  return number is None or bool(np.ravel(x)[0] == number)


def transpose(x: Any, order: Any) -> Any:
  """Axes in another order; two after each other are one, or none."""
  order = [int(axis) for axis in order]
  if is_constant(x):
    return np.transpose(x, order)
  if x.kind == "Transpose":
    order = [x.attributes["perm"][axis] for axis in order]
    x = x.inputs[0]
  if order == list(range(len(order))):
    return x
  shape = [x.shape[axis] for axis in order]
  return Value("Transpose", [x], shape, x.dtype, perm=order)


def lift(*values: Any) -> tuple[list[Any], list[int] | None]:
  """What is below the transposes, if all values are transposed alike.

  Constants are brought to the axes below.

  Returns:
    The values and the order of the transpose that is to follow, or None.
  """
  orders = [
    x.attributes["perm"] if x.kind == "Transpose" else None
    for x in values
    if isinstance(x, Value) and x.shape
  ]
  if not orders or orders[0] is None or any(o != orders[0] for o in orders):
    return list(values), None
  back = np.argsort(orders[0]).tolist()
  below = []
  for x in values:
    if isinstance(x, Value) and x.shape:
      x = x.inputs[0]
    elif np.ndim(x) == len(back):
      x = np.transpose(x, back)
    below.append(x)
  return below, orders[0]


def broadcast(shapes: Sequence[Shape]) -> Shape:
  """The shape of what is computed from these."""
  rank = max(map(len, shapes))
  padded = [(1,) * (rank - len(shape)) + tuple(shape) for shape in shapes]
  return tuple(
    next((side for side in sides if side != 1), 1)
    for sides in zip(*padded, strict=True)
  )


def plain(kind: str, *values: Any, dtype: Any, **attributes: Any) -> Any:
  """An operator that works number by number; its shorter form, if it has one.

  Args:
    kind: the operator's name in ONNX.
    *values: its inputs; axes of 1 are broadcast.
    dtype: of its output.
    **attributes: of the operator.
  """
  below, order = lift(*values)
  if order is not None:
    return transpose(plain(kind, *below, dtype=dtype, **attributes), order)
  short = folded(kind, values) or leaky(kind, values)
  if short is not None:
    return short
  if kind == "Max" and is_scalar(values[1], 0) and dtype == np.float32:
    kind, values = "Relu", values[:1]
  shape = broadcast(
    [np.shape(x) if is_constant(x) else x.shape for x in values]
  )
  return Value(kind, values, shape, dtype, **attributes)


def folded(kind: str, values: Sequence[Any]) -> Any:
  """A convolution whose channels are scaled or shifted is a convolution."""
  if len(values) != 2 or kind not in ("Add", "Sub", "Mul", "Div"):
    return None
  x, constant = values
  if is_constant(x) and kind in ("Add", "Mul"):
    x, constant = constant, x
  if is_constant(x) or x.kind != "Conv" or not is_constant(constant):
    return None
  kernel, *bias = x.inputs[1:]
  filters = len(kernel)
  if np.shape(constant) not in ((1, filters, 1, 1), (1, 1, 1, 1)):
    return None
  vector = np.broadcast_to(np.ravel(constant), filters)
  bias = bias[0] if bias else np.zeros(filters, np.float32)
  if kind in ("Mul", "Div"):
    scale = vector if kind == "Mul" else 1 / vector
    kernel, bias = kernel * scale[:, None, None, None], bias * scale
  else:
    bias = bias + (vector if kind == "Add" else -vector)
  inputs = [x.inputs[0], kernel, bias]
  return Value("Conv", inputs, x.shape, x.dtype, **x.attributes)


def leaky(kind: str, values: Sequence[Any]) -> Any:
  """LeakyRelu, where it is said as x if x > 0, and a x otherwise."""
  if kind != "Where" or any(is_constant(x) for x in values):
    return None
  condition, x, other = values
  if (
    (condition.kind, other.kind) == ("Greater", "Mul")
    and condition.inputs[0] is x
    and is_scalar(condition.inputs[1], 0)
    and any(one is x for one in other.inputs)
  ):
    factor = next(one for one in other.inputs if one is not x)
    if is_scalar(factor):
      alpha = float(np.ravel(factor)[0])
      return Value("LeakyRelu", [x], x.shape, x.dtype, alpha=alpha)
  return None


class Writer:
  """Writes values as the nodes of a graph."""

  def __init__(self) -> None:
    self._scopes: list[list[Any]] = [[]]
    self._constants: dict[Any, str] = {}
    self._tensors: list[Any] = []
    self._kept: list[Any] = []  # so that no id is given twice
    self._count = 0

  def model(
    self, inputs: dict[str, Value], outputs: dict[str, Any], name: str
  ) -> onnx.ModelProto:
    """The file's content."""
    for label, value in inputs.items():
      value.name = label
    for label, value in outputs.items():
      kept = Value("Identity", [value], np.shape(value), value.dtype)
      kept.name = ""
      self._write(kept, label)
    graph = helper.make_graph(
      self._scopes[0],
      name,
      [_info(label, value) for label, value in inputs.items()],
      [_info(label, value) for label, value in outputs.items()],
      self._tensors,
    )
    opset = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION)

  def _fresh(self, kind: str) -> str:
    self._count += 1
    return f"{kind}_{self._count}"

  def _name(self, x: Any) -> str:
    if x is None:  # an input that is left out
      return ""
    if is_constant(x):
      return self._constant(np.asarray(x))
    if not x.name:
      self._write(x.source)
    return x.name

  def _constant(self, array: np.ndarray) -> str:
    small = array.size <= 64
    key = (
      (array.tobytes(), array.shape, str(array.dtype)) if small else id(array)
    )
    if key not in self._constants:
      self._kept.append(array)
      self._constants[key] = self._fresh("constant")
      self._tensors.append(
        numpy_helper.from_array(
          np.ascontiguousarray(array).reshape(array.shape), self._constants[key]
        )
      )
    return self._constants[key]

  def _write(self, x: Value, name: str = "") -> None:
    """Writes the node of a value after those that it needs.

    A network may be deeper than Python's calls may be.
    """
    waiting = [x]
    while waiting:
      one = waiting[-1]
      needed = [y.source for y in one.inputs if isinstance(y, Value)]
      missing = [y for y in needed if not y.name]
      if missing:
        waiting += missing[::-1]
      else:
        waiting.pop()
        if not one.name:
          self._node(one, name if one is x else "")

  def _node(self, x: Value, name: str) -> None:
    inputs = [self._name(one) for one in x.inputs]
    attributes = dict(x.attributes)
    if x.body is not None:
      attributes["body"] = self._body(*x.body)
    for output in x.outputs:
      output.name = name or self._fresh(x.kind)
    names = [output.name for output in x.outputs]
    node = helper.make_node(x.kind, inputs, names, name=names[0], **attributes)
    self._scopes[x.depth].append(node)

  def _body(self, inputs: Sequence[Value], outputs: Sequence[Any]) -> Any:
    self._scopes.append([])
    for one in inputs:
      one.name = self._fresh("state")
    results = []
    for one in outputs:
      result = Value("Identity", [one], np.shape(one), one.dtype)
      result.depth = inputs[0].depth
      self._write(result)
      results.append(result)
    return helper.make_graph(
      self._scopes.pop(),
      "body",
      [_info(one.name, one, shape=False) for one in inputs],
      [_info(one.name, one, shape=False) for one in results],
    )


def _info(name: str, x: Any, *, shape: bool = True) -> Any:
  kind = helper.np_dtype_to_tensor_dtype(np.dtype(x.dtype))
  sides = None
  if shape:
    sides = [s if isinstance(s, int) else str(s) for s in np.shape(x)]
  elif x.shape == ():
    sides = []
  return helper.make_tensor_value_info(name, kind, sides)
