"""Checks that the numbers of a group of options lie where they can."""

from __future__ import annotations

from numbers import Real
from typing import Any


def check(group: str, options: Any, **intervals: str) -> None:
  """Raises ValueError for a number that is outside its interval.

  Args:
    group: the options' place in a config, such as "task.loss".
    options: a NamedTuple.
    **intervals: of its fields, such as alpha="[0, 1)"; a square bracket
      belongs to the interval, a round one does not.
  """
  for name, interval in intervals.items():
    value = getattr(options, name)
    low, high = map(float, interval[1:-1].split(","))
    inside = isinstance(value, Real) and (
      low < value < high
      or (value == low and interval[0] == "[")
      or (value == high and interval[-1] == "]")
    )
    if not inside:
      raise ValueError(
        f"{group}.{name} is {value!r}; expected a number in {interval}"
      )
