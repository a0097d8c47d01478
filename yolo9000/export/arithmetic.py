"""Primitives that take number by number, in ONNX.

Each function takes an `Equation` and gives its output.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from yolo9000.export.equation import Equation, cast, choose, plain


def _operator(kind: str) -> Callable[[Equation], Any]:
  def of(eqn: Equation) -> Any:
    if kind in ("And", "Not", "Or", "Xor") and eqn.dtype != bool:
      raise NotImplementedError("of whole numbers, bit by bit")
    return eqn.plain(kind, *eqn.inputs)

  return of


def round_(eqn: Equation) -> Any:
  """The nearest whole number; of two the even one, or that away from 0."""
  if eqn.params["rounding_method"] == jax.lax.RoundingMethod.TO_NEAREST_EVEN:
    return eqn.plain("Round", eqn.x)
  size = eqn.plain("Abs", eqn.x)
  whole = eqn.plain("Floor", size)
  # The rest is exact; adding a half before the floor would not be.
  rest, half = eqn.plain("Sub", size, whole), np.array(0.5, eqn.dtype)
  up = cast(plain("GreaterOrEqual", rest, half, dtype=bool), eqn.dtype)
  return eqn.plain("Mul", eqn.plain("Sign", eqn.x), eqn.plain("Add", whole, up))


def rsqrt(eqn: Equation) -> Any:
  """1 / sqrt(x)."""
  return eqn.plain("Reciprocal", eqn.plain("Sqrt", eqn.x))


def integer_pow(eqn: Equation) -> Any:
  """x to a whole number."""
  power = np.array(eqn.params["y"], eqn.dtype)
  if power == 2:
    return eqn.plain("Mul", eqn.x, eqn.x)
  return eqn.plain("Pow", eqn.x, power)


def square(eqn: Equation) -> Any:
  """x x."""
  return eqn.plain("Mul", eqn.x, eqn.x)


def expm1(eqn: Equation) -> Any:
  """exp(x) - 1."""
  return eqn.plain("Sub", eqn.plain("Exp", eqn.x), np.array(1, eqn.dtype))


def log1p(eqn: Equation) -> Any:
  """log(1 + x)."""
  return eqn.plain("Log", eqn.plain("Add", eqn.x, np.array(1, eqn.dtype)))


def rem(eqn: Equation) -> Any:
  """The remainder, with the sign of the dividend."""
  return eqn.plain("Mod", *eqn.inputs, fmod=1)


def ne(eqn: Equation) -> Any:
  """Whether two numbers differ."""
  return eqn.plain("Not", eqn.plain("Equal", *eqn.inputs))


def is_finite(eqn: Equation) -> Any:
  """Whether it is a number, and no infinity."""
  wrong = [eqn.plain(kind, eqn.x) for kind in ("IsInf", "IsNaN")]
  return eqn.plain("Not", eqn.plain("Or", *wrong))


def clamp(eqn: Equation) -> Any:
  """low, x, high: what lies outside is brought to the edge."""
  low, x, high = eqn.inputs
  return eqn.plain("Min", eqn.plain("Max", x, low), high)


def select_n(eqn: Equation) -> Any:
  """One of the others by the first input; false comes first."""
  condition, *cases = eqn.inputs
  if len(cases) != 2 or condition.dtype != bool:
    raise NotImplementedError("among more than two cases")
  return choose(condition, cases[1], cases[0], eqn.dtype)


def convert_element_type(eqn: Equation) -> Any:
  """Another kind of numbers; bfloat16 is computed as float32."""
  return cast(eqn.x, eqn.dtype)


OPERATORS = {
  **{"abs": "Abs", "add": "Add", "add_any": "Add", "and": "And"},
  **{"ceil": "Ceil", "cos": "Cos", "div": "Div", "eq": "Equal"},
  **{"erf": "Erf", "exp": "Exp", "floor": "Floor", "ge": "GreaterOrEqual"},
  **{"gt": "Greater", "le": "LessOrEqual", "log": "Log", "logistic": "Sigmoid"},
  **{"lt": "Less", "max": "Max", "min": "Min", "mul": "Mul", "neg": "Neg"},
  **{"not": "Not", "or": "Or", "pow": "Pow", "sign": "Sign", "sin": "Sin"},
  **{"sqrt": "Sqrt", "sub": "Sub", "tanh": "Tanh", "xor": "Xor"},
}

ARITHMETIC: dict[str, Callable[[Equation], Any]] = {
  **{name: _operator(kind) for name, kind in OPERATORS.items()},
  "clamp": clamp,
  "convert_element_type": convert_element_type,
  "expm1": expm1,
  "integer_pow": integer_pow,
  "is_finite": is_finite,
  "log1p": log1p,
  "ne": ne,
  "rem": rem,
  "round": round_,
  "rsqrt": rsqrt,
  "select_n": select_n,
  "square": square,
}
