"""A traced program as values of an ONNX graph.

What depends on no picture, such as a batch norm's factors, is computed here, by
JAX. The rest goes through one function per primitive.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.extend import core
from jax.extend.source_info_util import summarize

from yolo9000.export.arithmetic import ARITHMETIC
from yolo9000.export.arrays import ARRAYS
from yolo9000.export.dimensions import Dimensions
from yolo9000.export.equation import (
  INT,
  Equation,
  any_of,
  cast,
  choose,
  expand,
  reshape,
)
from yolo9000.export.graph import Value, is_constant
from yolo9000.export.indexing import INDEXING
from yolo9000.export.layers import LAYERS
from yolo9000.export.suppression import suppress

FUNCTIONS = {**ARITHMETIC, **ARRAYS, **INDEXING, **LAYERS}
# Where a primitive keeps the program that it runs once.
CALLS = ("jaxpr", "call_jaxpr", "fun_jaxpr")


class CannotExport(ValueError):
  """A program that has no ONNX form here, saying why; `where`: its line."""

  where = ""

  def __str__(self) -> str:
    return f"{self.where}: {super().__str__()}"


def convert(
  closed: core.ClosedJaxpr, inputs: Sequence[Any], sides: Dimensions
) -> list[Any]:
  """The outputs of a program for these inputs.

  Raises:
    CannotExport: naming the primitive that is not known, and where it is.
  """
  constants = [_array(one, one.dtype) for one in closed.consts]
  found = run(closed.jaxpr, [*constants, *inputs], sides)
  return [
    expand(x, out.shape, sides)
    for x, out in zip(found, closed.out_avals, strict=True)
  ]


def run(jaxpr: Any, inputs: Sequence[Any], sides: Dimensions) -> list[Any]:
  """The outputs of a program whose constants are the first of its inputs."""
  values: dict[Any, Any] = {}

  def read(one: Any) -> Any:
    if isinstance(one, core.Literal):
      return _array(one.val, one.aval.dtype)
    return values[one]

  values.update(zip((*jaxpr.constvars, *jaxpr.invars), inputs, strict=True))
  for eqn in jaxpr.eqns:
    try:
      found = _equation(eqn, [read(one) for one in eqn.invars], sides)
    except CannotExport as error:  # what lies in JAX itself has no line
      error.where = error.where or summarize(eqn.source_info)
      raise
    values.update(zip(eqn.outvars, found, strict=True))
  return [read(one) for one in jaxpr.outvars]


def _array(x: Any, dtype: Any) -> np.ndarray:
  return np.asarray(x, _dtype(dtype))


def _dtype(dtype: Any) -> np.dtype:
  """bfloat16, which few engines have, is computed as float32."""
  dtype = np.dtype(dtype)
  return np.dtype(np.float32) if dtype.name == "bfloat16" else dtype


def _equation(eqn: Any, inputs: list[Any], sides: Dimensions) -> list[Any]:
  name = eqn.primitive.name
  inner = next((eqn.params[key] for key in CALLS if key in eqn.params), None)
  shapes = [tuple(one.aval.shape) for one in eqn.invars]
  if inner is not None and name != "while":
    if eqn.params.get("name") == "suppress" and len(inputs) == 4:
      found = suppress(inputs, shapes, sides)
      if found is not None:
        return [found]
    if isinstance(inner, core.ClosedJaxpr):
      return convert(inner, inputs, sides)
    return run(inner, inputs, sides)
  if inputs and all(map(is_constant, inputs)):
    known = _computed(eqn, inputs, shapes)
    if known is not None:
      return known
  if name == "while":
    return while_(eqn, inputs, shapes, sides)
  try:
    if name not in FUNCTIONS:
      raise NotImplementedError("at all")
    out = eqn.outvars[0].aval
    made = FUNCTIONS[name](
      Equation(inputs, shapes, out.shape, _dtype(out.dtype), eqn.params, sides)
    )
  except NotImplementedError as error:
    raise CannotExport(
      f"the primitive {name} has no ONNX form here, {error}"
    ) from None
  return made if isinstance(made, list) else [made]


def _computed(
  eqn: Any, inputs: Sequence[Any], shapes: Sequence[Any]
) -> list[Any] | None:
  """The equation's outputs as JAX computes them, if its shapes are known.

  A constant that stands for a larger one is computed small, number by number.
  """
  name, params = eqn.primitive.name, dict(eqn.params)
  if name == "convert_element_type":  # bfloat16 would round
    return [cast(inputs[0], _dtype(params["new_dtype"]))]
  if name == "broadcast_in_dim":
    shape = [1] * len(eqn.outvars[0].aval.shape)
    for side, axis in zip(
      inputs[0].shape, params["broadcast_dimensions"], strict=True
    ):
      shape[axis] = side
    return [inputs[0].reshape(shape)]
  if name in ARITHMETIC:
    sides = np.broadcast_shapes(*(x.shape for x in inputs))
    inputs = [x if x.ndim == 0 else np.broadcast_to(x, sides) for x in inputs]
  else:
    every = [*shapes, *(one.aval.shape for one in eqn.outvars)]
    if not all(isinstance(n, int) for shape in every for n in shape):
      return None
    inputs = [
      np.broadcast_to(x, shape) for x, shape in zip(inputs, shapes, strict=True)
    ]
  found = eqn.primitive.bind(*map(jax.numpy.asarray, inputs), **params)
  found = found if eqn.primitive.multiple_results else [found]
  return [_array(one, one.dtype) for one in found]


def while_(
  eqn: Any, inputs: Sequence[Any], shapes: Sequence[Any], sides: Dimensions
) -> list[Any]:
  """Repeats a program while another one says so: Loop."""
  how = eqn.params
  of_test, of_body = how["cond_nconsts"], how["body_nconsts"]
  first = of_test + of_body
  test, body = inputs[:of_test], inputs[of_test:first]
  start = [
    expand(x, shape, sides)
    for x, shape in zip(inputs[first:], shapes[first:], strict=True)
  ]
  carried = shapes[first:]
  truths = how["cond_jaxpr"].out_avals[0].shape  # of a batch, one for each

  def goes_on(state: list[Any]) -> tuple[Any, Any]:
    (each,) = convert(how["cond_jaxpr"], [*test, *state], sides)
    return each, any_of(each, range(len(truths)), ()) if truths else each

  _, going = goes_on(start)
  depth = 1 + max((x.depth for x in inputs if isinstance(x, Value)), default=0)
  state = [
    Value("", (), shape, x.dtype)
    for x, shape in zip(start, carried, strict=True)
  ]
  counter, before = Value("", (), (), INT), Value("", (), (), bool)
  for one in (counter, before, *state):
    one.depth = depth
  after = convert(how["body_jaxpr"], [*body, *state], sides)
  if truths:
    each, _ = goes_on(state)
    after = [
      choose(_over(each, len(shape), sides), new, old, old.dtype)
      for new, old, shape in zip(after, state, carried, strict=True)
    ]
  _, again = goes_on(after)
  loop = Value("Loop", [None, going, *start], carried[0], start[0].dtype)
  loop.body = ([counter, before, *state], [again, *after])
  loop.depth = depth - 1
  return [loop, *(loop.another(x.shape, x.dtype) for x in start[1:])]


def _over(x: Any, rank: int, sides: Dimensions) -> Any:
  """x with axes of 1 behind its own."""
  return reshape(x, [*x.shape, *[1] * (rank - len(x.shape))], sides)
