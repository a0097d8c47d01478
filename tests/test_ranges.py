"""Numbers of options, and what is said of those that cannot be."""

import math
from typing import NamedTuple

import numpy as np
import pytest

from yolo9000 import ranges


class Some(NamedTuple):
  rate: float = 0.5


@pytest.mark.parametrize(
  ("interval", "inside", "outside"),
  [
    ("[0, 1)", (0, 0.0, np.float32(0.5)), (-1e-9, 1, math.nan, "0", None)),
    ("(0, 1]", (1e-9, 1), (0, 2)),
    ("[2, inf)", (2, 1e300), (1.9, math.inf, -math.inf)),
  ],
)
def test_a_number_is_in_its_interval(interval, inside, outside):
  for value in inside:
    ranges.check("task.loss", Some(value), rate=interval)
  for value in outside:
    with pytest.raises(ValueError) as error:
      ranges.check("task.loss", Some(value), rate=interval)
    expected = f"task.loss.rate is {value!r}; expected a number in {interval}"
    assert str(error.value) == expected


class Weights(NamedTuple):
  count: int
  ratio: float


def test_options_may_have_no_defaults():
  ranges.check("task.x", Weights(1, 0.5), count="[1, inf)", ratio="[0, 1]")
  with pytest.raises(ValueError, match="count is 0; expected a number in"):
    ranges.check("task.x", Weights(0, 0.5), count="[1, inf)")


class Table(NamedTuple):
  count: int = 3
  ratios: tuple = ((2,), (2, 3))
  extras: tuple = ((64, 1, 0),)


def test_a_whole_number_where_the_default_is_one():
  ranges.check("task.x", Table(np.int64(4)), count="[1, inf)")
  for value in (1.5, 3.0, 0):
    with pytest.raises(
      ValueError, match=f"{value}; expected a whole number in"
    ):
      ranges.check("task.x", Table(value), count="[1, inf)")


def test_all_numbers_of_a_tuple_are_in_the_interval():
  ranges.check("task.x", Table(), ratios="(0, inf)")
  for value in (((2,), (0, 3)), ("2",), (), 0):
    with pytest.raises(ValueError, match="task.x.ratios is .*; expected"):
      ranges.check("task.x", Table(ratios=value), ratios="(0, inf)")


def test_rows_of_layers():
  columns = {"extras": "filters side padding"}
  ranges.check_rows("task.x", Table(), **columns)
  ranges.check_rows("task.x", Table(extras=()), **columns)
  for row in ((64, 1), (64, 0, 0), (64, 1.0, 0), (64, 1, -1), 64):
    with pytest.raises(ValueError) as error:
      ranges.check_rows("task.x", Table(extras=((8, 1, 0), row)), **columns)
    assert str(error.value) == (
      f"task.x.extras has {row!r}; expected (filters, side, padding), whole "
      f"numbers of at least 1, or 0 for a padding"
    )
