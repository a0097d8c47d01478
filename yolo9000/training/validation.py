"""Whether a config can be, found before anything is built, read or written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax

from yolo9000 import scoring
from yolo9000.data import augment, fitting, sources
from yolo9000.data.batches import empty_batch
from yolo9000.data.formats.reading import Source
from yolo9000.training import board, build, devices, held
from yolo9000.types import Task


def validate(config: Any) -> None:
  """Finds what cannot be before anything is built, read or written.

  Raises:
    ValueError: naming the value and what is allowed.
  """
  classes = build.read_classes(config.data)
  task = build.make_task(config, classes)
  build.make_optimizer(config)
  build.make_score(config, classes)
  check_config(config, task)
  for name, described in (
    *config.data.train.items(),
    ("test", config.data.test),
  ):
    if described.get("weight", 1):
      source = build.make_source(config, name, described)
      sources.check(source.format, source.root)


def check_proposals(config: Any, task: Task) -> None:
  """Raises ValueError for a data set without what its task needs."""
  for name, described in {
    **{f"train.{n}": d for n, d in config.data.train.items() if d.weight},
    "test": config.data.test,
  }.items():
    if task.needs_proposals and not described.get("proposals", ""):
      raise ValueError(
        f"data.{name}.proposals is '', and this detector looks at proposals "
        f"alone; expected a file of them: python -m yolo9000.proposals writes "
        f"it"
      )
    if (most := build.max_proposals(described)) < 1:
      raise ValueError(
        f"data.{name}.max_proposals is {most}; it must be at least 1"
      )


def check_metric(config: Any, task: Task) -> None:
  """Raises ValueError for a metric of what the task's detections have not."""
  metric, side = config.evaluation.metric, config.evaluation.image_size
  of_pictures = task.learns_from == "image labels"
  if (metric in scoring.BOX_METRICS) == of_pictures:
    raise ValueError(
      f"evaluation.metric is {metric!r}, and task.model is "
      f"{config.task.model!r}; expected "
      + ("top-1" if of_pictures else " or ".join(scoring.BOX_METRICS))
    )
  if metric in scoring.MASK_METRICS:
    batch = empty_batch(
      1, size=side, max_objects=1, max_proposals=int(task.needs_proposals)
    )
    key = jax.random.key(0)
    variables = jax.eval_shape(lambda key: task.init(key, (side, side)), key)
    found = jax.eval_shape(task.predict, variables, *task.inputs(batch))
    if found.masks is None:
      raise ValueError(
        f"evaluation.metric is {metric!r}, and task.model is "
        f"{config.task.model!r}, which finds no masks; expected a detector "
        f"that does, or COCO AP"
      )


# The least value of numbers, where it is checked nowhere else.
LEAST = {
  "run.seed": 0,
  "run.total_steps": 0,
  "run.extend": 0,
  "run.start_layers": 0,
  "run.log_every": 1,
  "run.checkpoint_every": 0,
  "run.evaluate_every": 0,
  "run.profile": 0,
  "data.max_objects": 0,
  "data.mask_size": 0,
  "data.priors": 0,
  "data.num_threads": 1,
  "data.num_processes": 0,
}


def check_config(config: Any, task: Task) -> None:
  """Finds what would only show later, at the first evaluation or batch.

  Raises:
    ValueError: naming the value and what is allowed.
  """
  run, mesh = config.run, devices.make_mesh()
  for name, least in LEAST.items():
    section, key = name.split(".")
    value = config[section][key]
    if value < least:
      raise ValueError(f"{name} is {value}; it must be at least {least}")
  if not isinstance(run.tensorboard, bool):
    raise ValueError(
      f"run.tensorboard is {run.tensorboard!r}; expected True or False"
    )
  if run.tensorboard:
    board.check()
  if not run.image_sizes or run.resize_every < 1:
    raise ValueError(
      f"run.image_sizes {run.image_sizes} must hold at least one size, and "
      f"run.resize_every {run.resize_every} must be at least 1"
    )
  for size in (*run.image_sizes, config.evaluation.image_size):
    task.check_size((size, size))
  devices.check_batch_size(run.batch_size, mesh, run.subdivisions)
  devices.check_batch_size(config.evaluation.batch_size, mesh, 1)
  of_row = run.start_from.startswith("row ")  # of a table, known there
  if run.start_from and not of_row and not Path(run.start_from).exists():
    raise ValueError(
      f"run.start_from is {run.start_from!r}, which is not there; expected a "
      f"run's folder, a .weights file or an .npz"
    )
  if Path(run.start_from).suffix in (".pth", ".pt", ".safetensors"):
    raise ValueError(
      f"run.start_from is {run.start_from!r}; expected an .npz, which of a "
      f"PyTorch module m np.savez(path, **{{k: v.numpy() for k, v in "
      f"m.state_dict().items()}}) writes"
    )
  if names := config.optimizer.held:
    if not run.start_from:
      raise ValueError(
        f"optimizer.held is {tuple(names)}, and run.start_from is ''; expected "
        f"what the layers that are held still begin with"
      )
    size = (run.image_sizes[0],) * 2
    fresh = jax.eval_shape(lambda key: task.init(key, size), jax.random.key(0))
    held.layers(names, fresh)
  if wrong := set(config.data.test) - set(Source._fields):
    raise ValueError(
      f"data.test has unknown {sorted(wrong)}; allowed are "
      f"{', '.join(Source._fields)}"
    )
  check_proposals(config, task)
  check_metric(config, task)
  for name in config.data.train:
    augment.check(build.augmentation(config, name))
  fitting.check_resize(config.data.resize)
