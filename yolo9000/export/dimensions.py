"""Open sides of a traced program, as numbers that its ONNX file computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from yolo9000.export.graph import Value

INT = np.dtype(np.int64)


class Number:
  """A whole number that is known when the file is run, with Python's signs."""

  def __init__(self, value: Any):
    self.value = value

  def _with(self, kind: str, other: Any, *, turned: bool = False) -> Number:
    other = other.value if isinstance(other, Number) else np.array(other, INT)
    pair = [other, self.value] if turned else [self.value, other]
    return Number(Value(kind, pair, (), INT))

  def __add__(self, other: Any) -> Number:
    return self._with("Add", other)

  def __sub__(self, other: Any) -> Number:
    return self._with("Sub", other)

  def __rsub__(self, other: Any) -> Number:
    return self._with("Sub", other, turned=True)

  def __mul__(self, other: Any) -> Number:
    return self._with("Mul", other)

  def __neg__(self) -> Number:
    return self * -1

  def __pow__(self, power: int) -> Number:
    return self._with("Pow", power)

  __radd__, __rmul__ = __add__, __mul__


def _number(x: Any) -> Number:
  return x if isinstance(x, Number) else Number(np.array(x, INT))


def _mod(a: Any, b: Any) -> Number:  # both of Python's sign
  return _number(a)._with("Mod", b)


def _floordiv(a: Any, b: Any) -> Number:
  return (_number(a) - _mod(a, b))._with("Div", b)


OPERATIONS = {
  "floordiv": _floordiv,
  "max": lambda a, b: _number(a)._with("Max", b),
  "min": lambda a, b: _number(a)._with("Min", b),
  "mod": _mod,
}


class Dimensions:
  """Turns expressions of open sides into values.

  Args:
    names: the value of each open side.
  """

  def __init__(self, names: Mapping[str, Any]):
    self._names = {name: Number(value) for name, value in names.items()}
    self._known: dict[str, Any] = {}

  def scalar(self, side: Any) -> Any:
    """A side as an int64 number without axes."""
    if isinstance(side, int | np.integer):
      return np.array(side, INT)
    text = str(side).replace("^", "**")
    if text not in self._known:
      # The text is JAX's own: sums and products of names, and OPERATIONS.
      space = {"__builtins__": {}, **OPERATIONS, **self._names}
      self._known[text] = eval(text, space).value  # noqa: S307
    return self._known[text]

  def tensor(self, sides: Sequence[Any]) -> Any:
    """Sides as an int64 vector."""
    if all(isinstance(side, int | np.integer) for side in sides):
      return np.array(sides, INT)
    parts = []
    for side in sides:
      one = self.scalar(side)
      if isinstance(one, Value):
        one = Value("Unsqueeze", [one, np.array([0], INT)], (1,), INT)
      else:
        one = one.reshape(1)
      parts.append(one)
    return Value("Concat", parts, (len(parts),), INT, axis=0)
