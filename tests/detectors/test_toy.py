"""A detector joins by one file and one line; the package stays as it is."""

import re
import sys

import numpy as np
import pytest
from ml_collections import ConfigDict
from support import tiny_config

from experiments import base
from yolo9000 import detectors
from yolo9000.detector import Detector, from_run
from yolo9000.files import read_json_lines
from yolo9000.tables import cost, plan, sweep
from yolo9000.tables.run import run_alone
from yolo9000.training import loop
from yolo9000.wordtree import Classes

pytestmark = pytest.mark.usefixtures("libraries_promote")

TOY = '''
"""One box and one class of each picture, from the mean of its pixels."""
from typing import NamedTuple
import flax.linen as nn
import jax
import jax.numpy as jnp
from yolo9000 import losses
from yolo9000.networks import input as pictures
from yolo9000.types import Detections, Task

class Network(NamedTuple):
  hidden: int = 8

class Detect(NamedTuple):
  score_threshold: float = 0.0

class Options(NamedTuple):
  network: Network = Network()
  detect: Detect = Detect()

class Mean(nn.Module):
  hidden: int
  outputs: int

  @nn.compact
  def __call__(self, x, *, train):
    x = nn.relu(nn.Dense(self.hidden)(x.mean((1, 2))))
    return nn.Dense(self.outputs)(x)

def make_task(options, classes):
  network = Mean(options.network.hidden, 4 + len(classes.names))

  def check_size(size):
    if min(size) < 1:
      raise ValueError(f"image size {size}; expected at least 1x1")

  def init(key, size):
    check_size(size)
    return pictures.begin(network, key, size)

  def loss(variables, batch, step):
    output, stats = pictures.train(network, variables, batch.image)
    box = jnp.mean((output[:, :4] - batch.boxes[:, 0]) ** 2)
    alone = jnp.eye(len(output), dtype=bool)
    error = losses.softmax_error(output[:, 4:], batch.labels[:, 0], alone)
    parts = {"coord": box, "label": jnp.mean(error)}
    return sum(parts.values()), (stats, parts)

  def predict(variables, images):
    output = pictures.predict(network, variables, images)
    score = jax.nn.softmax(output[:, 4:])
    best = score.max(1, keepdims=True)
    shown = best > options.detect.score_threshold
    label = score.argmax(1)[:, None]
    return Detections(output[:, None, :4], best, label, shown)

  return Task(init, loss, predict, check_size)
'''


@pytest.fixture(scope="module")
def toy(libraries_promote, tmp_path_factory):
  """A config of the detector that is joined by one line."""
  assert len(TOY.strip().splitlines()) <= 60
  folder = tmp_path_factory.mktemp("toy")
  (folder / "toy.py").write_text(TOY)
  sys.path.insert(0, str(folder))
  detectors.DETECTORS["toy"] = "toy"
  config = ConfigDict(tiny_config().to_dict())
  config.task = dict(
    model="toy",
    network=dict(hidden=16),
    detect=dict(score_threshold=0.0),
  )
  config.run.update(total_steps=6, checkpoint_every=2)
  yield config.lock()
  del detectors.DETECTORS["toy"]
  sys.path.remove(str(folder))


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
  found = Detector(trained)(np.zeros((40, 60, 3), np.uint8))
  assert found.boxes.shape == (1, 4)
  none = Detector(trained, score_threshold=1.0)(np.zeros((4, 6, 3), np.uint8))
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


def test_a_word_that_is_no_option_is_an_error(toy):
  wrong = ConfigDict(toy.to_dict())
  wrong.task.network.hiden = 3
  with pytest.raises(ValueError, match="task.network has unknown .*'hiden'"):
    detectors.make_task(wrong.task.to_dict(), Classes(("a",)))
  assert base.detector().task.model in detectors.DETECTORS
