"""Checks that the numbers of a group of options lie where they can."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any


def check(group: str, options: Any, **intervals: str) -> None:
  """Raises ValueError for a number that is outside its interval.

  Where the default is an int, the number must be whole.

  Args:
    group: the options' place in a config, such as "task.loss".
    options: a NamedTuple.
    **intervals: of its fields, such as alpha="[0, 1)"; a square bracket
      belongs to the interval, a round one does not. A tuple has all of its
      numbers there, at least one, also those of tuples in it.
  """
  for name, interval in intervals.items():
    value = getattr(options, name)
    whole = type(options._field_defaults.get(name)) is int
    low, high = map(float, interval[1:-1].split(","))
    numbers = list(_numbers(value))
    inside = (
      isinstance(number, Integral if whole else Real)
      and (
        low < number < high
        or (number == low and interval[0] == "[")
        or (number == high and interval[-1] == "]")
      )
      for number in numbers
    )
    if not numbers or not all(inside):
      many = isinstance(value, (tuple, list))
      expected = "a whole number" if whole else "a number"
      expected = "numbers" if many else expected
      raise ValueError(
        f"{group}.{name} is {value!r}; expected {expected} in {interval}"
      )


def check_rows(group: str, options: Any, **columns: str) -> None:
  """Raises ValueError for a table of layers with a row that cannot be.

  Args:
    group: the options' place in a config.
    options: a NamedTuple.
    **columns: of its fields, what the numbers of a row are, such as
      extras="filters side stride padding". They are whole and at least 1, a
      padding at least 0.
  """
  for name, names in columns.items():
    for row in getattr(options, name):
      least = {n: int(n != "padding") for n in names.split()}
      fits = isinstance(row, (tuple, list)) and len(row) == len(least)
      if not fits or not all(
        isinstance(number, Integral) and number >= low
        for number, low in zip(row, least.values(), strict=True)
      ):
        raise ValueError(
          f"{group}.{name} has {row!r}; expected ({', '.join(least)}), whole "
          f"numbers of at least 1, or 0 for a padding"
        )


def _numbers(value: Any) -> Iterator[Any]:
  """A number, or all that are in a tuple and in the tuples in it."""
  if isinstance(value, (tuple, list)):
    for one in value:
      yield from _numbers(one)
  else:
    yield value
