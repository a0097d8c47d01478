"""Configs that train in seconds."""

import importlib.util
from pathlib import Path

from ml_collections import ConfigDict

from yolo9000 import plan
from yolo9000.data import shapes

ROOT = Path(__file__).parents[1]


def load_experiment(path):
  spec = importlib.util.spec_from_file_location(Path(path).stem, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def tiny_config(**changes):
  """A narrow net, 64 pixels, 8 pictures; changes by dotted names."""
  ablation = load_experiment(ROOT / "experiments" / "ablation.py")
  config = ConfigDict(ablation.get_config().detector.to_dict())
  config.update(name="tiny", paper="Table 2", rows=(), seeds=(0,))
  changes = {name.replace("__", "."): value for name, value in changes.items()}
  settings = {
    "data.class_names": shapes.CLASS_NAMES,
    "data.train.main.map": (),
    "data.test.map": (),
    "data.train.main.split": "tiny",
    "data.test.split": "tiny",
    "data.geometry": "crop",
    "data.num_threads": 2,
    "task.network": "darknet19",
    "task.location": "direct",
    "task.priors": ((0.8, 1.4), (1.5, 0.8), (1.4, 2.6), (2.7, 1.5), (3.3, 3.4)),
    "task.width": 1 / 16,
    "task.passthrough": "paper",
    "run.total_steps": 4,
    "run.batch_size": 4,
    "run.image_sizes": (64,),
    "run.log_every": 1,
    "run.checkpoint_every": 0,
    "run.evaluate_every": 0,
    "evaluation.image_size": 64,
    "evaluation.batch_size": 4,
    **changes,
  }
  return plan.with_changes(config, settings.items())
