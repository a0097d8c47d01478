"""A detector joins by one file and one line; the package stays as it is."""

import re

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from support import ROOT, toy_config

from experiments import base
from yolo9000 import detectors
from yolo9000.detector import Detector, from_run
from yolo9000.files import read_json_lines
from yolo9000.tables import cost, plan, sweep
from yolo9000.tables.run import run_alone
from yolo9000.training import loop
from yolo9000.wordtree import Classes

pytestmark = pytest.mark.usefixtures("libraries_promote")


@pytest.fixture
def toy():
  """Its config; `support` has the one line that joins it."""
  assert len((ROOT / "tests" / "toy.py").read_text().splitlines()) <= 60
  return toy_config(run__total_steps=6, run__checkpoint_every=2)


def test_it_is_trained_resumed_evaluated_and_detected_with(toy, tmp_path):
  results = run_alone(toy, tmp_path / "whole")
  assert results["detections"] == 8
  first = plan.with_changes(toy, [("run.total_steps", 4)])
  loop.train(first, tmp_path / "parts")
  loop.train(toy, tmp_path / "parts")
  lines = [
    [
      x["loss"]
      for x in read_json_lines(tmp_path / name / "metrics.jsonl")
      if "loss" in x
    ]
    for name in ("whole", "parts")
  ]
  assert len(lines[0]) == 6 and lines[0][:4] == lines[1][:4]
  trained = from_run(tmp_path / "whole")
  found = Detector(trained).detect(np.zeros((40, 60, 3), np.uint8))
  assert found.boxes.shape == (1, 4)
  none = Detector(trained, score_threshold=1.0).detect(
    np.zeros((4, 6, 3), np.uint8)
  )
  assert none.boxes.shape == (0, 4)


def test_it_is_costed_and_stands_in_a_report(toy, tmp_path):
  rows = (
    plan.row("small", 50.0),
    plan.row("large", 60.0, {"task.network.hidden": 32}),
    plan.row("sure", None, {"task.detect.score_threshold": 0.06}, on="small"),
  )
  config = plan.with_changes(toy, [("rows", rows), ("run.total_steps", 2)])
  made = plan.make(config)
  text = cost.describe(made, plan.chosen(made, config), tmp_path)
  assert text.count("8 pictures in 2 steps") == 2
  assert re.search(r"To do: [\d.e-]+ PFLOP", text)
  assert sweep.run_rows(config, tmp_path) == 0
  page = (tmp_path / "report.html").read_text()
  assert "task.network.hidden: 16 → 32" in page
  assert "It differs from small" in page
  assert "| large |" in (tmp_path / "table.md").read_text()


def test_memory_is_that_of_a_step_on_a_device(toy, tmp_path):
  """More than its pictures; where it cannot be, the plan is told without."""

  def told(config):
    made = plan.make(config)
    stages = plan.chosen(made, config)
    return cost.describe(made, stages, tmp_path, memory=True)

  assert re.search(r" here, [\d,]+ MiB a device", told(toy))
  run = toy.run
  pictures = run.batch_size * max(run.image_sizes) ** 2 * 3
  least = pictures / jax.device_count()
  assert least < cost.step_bytes(toy) < 100 * least
  odd = told(plan.with_changes(toy, [("run.batch_size", 3)]))
  assert "memory is not known: " in odd and "To do" in odd


def test_a_word_that_is_no_option_is_an_error(toy):
  wrong = ConfigDict(toy.to_dict())
  wrong.task.network.hiden = 3
  with pytest.raises(ValueError, match="task.network has unknown .*'hiden'"):
    detectors.make_task(wrong.task.to_dict(), Classes(("a",)))
  assert base.detector().task.model in detectors.DETECTORS
