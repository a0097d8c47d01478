"""Configs that train in seconds."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[1]


def load_experiment(path):
  spec = importlib.util.spec_from_file_location(Path(path).stem, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def tiny_config(**changes):
  """A narrow net, 64 pixels, 8 pictures; changes by dotted names."""
  from yolo9000 import sweep

  config = load_experiment(ROOT / "experiments" / "ablation.py").get_config()
  changes = {name.replace("__", "."): value for name, value in changes.items()}
  settings = {
    "rows": (),
    "data.train.main.split": "tiny",
    "data.test.split": "tiny",
    "data.geometry": "crop",
    "data.num_threads": 2,
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
  return sweep.with_changes(config, settings.items())
