"""python -m yolo9000.priors"""

import ast

import pytest

from experiments import base
from yolo9000 import priors


def test_it_prints_the_curve_and_a_line_for_the_config(tmp_path):
  config = base.detector()
  config.data.train.main.split = "train[:50]"
  text = priors.report(config, 5, str(tmp_path / "curve.png"))
  assert (tmp_path / "curve.png").stat().st_size > 5000
  assert "k = 15: average IoU" in text
  line = text.splitlines()[-1]
  found = ast.literal_eval(line.split("priors=")[1])
  assert len(found) == 5 and all(len(pair) == 2 for pair in found)
  with pytest.raises(ValueError, match="--k is 16; it must be from 1 to 15"):
    priors.report(config, 16, None)
