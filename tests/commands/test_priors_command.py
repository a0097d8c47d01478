"""python -m yolo9000.priors"""

import ast

import pytest
from support import ROOT, load_experiment, run_module

from experiments import base
from yolo9000 import priors
from yolo9000.boxes.priors import curve
from yolo9000.tables import plan


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


# What draws its pictures, and what lies in shared/; :quick has fewer of them.
EXPERIMENTS = [
  *("ablation.py", "sizes.py", "coco.py", "voc12.py", "yolo9000.py"),
  *("yolo9000.py:choices", "yolo9000.py:animals", "voc.py"),
]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_it_works_for_every_experiment_that_has_boxes(
  experiment, request, monkeypatch
):
  monkeypatch.setattr(
    priors, "curve", lambda shapes: curve(shapes[:500], most=3)
  )
  monkeypatch.setattr(priors, "table_1", lambda shapes, cells: [])
  name, _, argument = experiment.partition(":")
  data = name == "voc.py" or argument == "animals"
  folder = request.getfixturevalue("shared") / "data" if data else None
  if argument == "animals":
    argument = f"animals={folder / 'joint_tiny_imagenet_animals'}"
  module = load_experiment(ROOT / "experiments" / name)
  config = module.get_config(*([argument] if argument else []))
  if name == "voc.py":
    config.data.root = str(folder / "voc_bccd")
  few = plan.last_stage(config).data.train
  for source in few.values():
    if source.format == "shapes":
      source.split = source.split.partition("[")[0] + "[:50]"
  text = priors.report(config, 3, None)
  assert "this config's priors: average IoU" in text
  assert "k =  3: average IoU" in text


def test_it_says_plainly_that_there_are_no_boxes():
  module = load_experiment(ROOT / "experiments" / "classifier.py")
  with pytest.raises(ValueError, match="no training picture of .* has boxes"):
    priors.report(module.get_config(), 5, None)


def test_the_command_ends_with_one_line(tmp_path):
  done = run_module(
    "yolo9000.priors",
    f"--config={ROOT}/experiments/voc.py",
    cwd=tmp_path,
  )
  assert done.returncode == 2
  assert done.stderr.startswith("python -m yolo9000.priors: data.root is empty")
  assert done.stderr.count("\n") == 1
