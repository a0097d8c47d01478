"""Configs that train in seconds."""

import importlib.util
from pathlib import Path

from ml_collections import ConfigDict

from yolo9000.data.formats import shapes
from yolo9000.tables import plan

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
    "data.hue": 0.02,  # the twenty classes are told apart by it
    "data.saturation": 1.2,
    "data.exposure": 1.2,
    "data.num_threads": 2,
    "task.network": "darknet19",
    "task.location": "direct",
    "task.priors": (
      *((0.82, 1.38), (1.49, 0.84), (1.43, 2.55)),
      *((2.68, 1.49), (3.28, 3.43)),
    ),
    "task.width": 1 / 16,
    "task.passthrough": "paper",
    "optimizer.clip_norm": 0.0,
    "schedule.rate": 1.2e-2,
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
