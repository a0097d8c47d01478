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
