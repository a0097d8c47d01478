"""From a config to what the loop needs: a task, an optimizer, batches.

Below these functions, and the loop and sweep that call them, nothing receives a
config.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import optax

from yolo9000.data import augment, records, sources
from yolo9000.data import batches as pipeline
from yolo9000.data.formats.reading import Source
from yolo9000.data.records import Dataset
from yolo9000.detectors import yolov2
from yolo9000.training import devices, optimizer, trained
from yolo9000.types import Batch, Task


def make_task(config: Any) -> Task:
  """The Task that a config describes, with its predict jitted."""
  options = config.task.to_dict()
  task = trained.of_name(options.pop("model")).make_task(
    class_names=trained.class_names(
      config.data.class_names, options.get("tree", "")
    ),
    scored_classes=config.evaluation.classes,
    **options,
  )
  return task._replace(predict=jax.jit(task.predict))


def _tree(config: Any) -> Any:
  """Of the classes; YOLOv1 has none."""
  return config.task.tree if "tree" in config.task else ""


def make_optimizer(config: Any) -> optax.GradientTransformation:
  """The optimizer and its schedule."""
  options = config.optimizer.to_dict()
  options.pop("average")
  schedule = optimizer.make_schedule(
    total_steps=config.run.total_steps, **config.schedule.to_dict()
  )
  return optimizer.make_optimizer(schedule, **options)


def check_config(config: Any) -> None:
  """Finds what would only show later, at the first evaluation or batch.

  Raises:
    ValueError: naming the value and what is allowed.
  """
  trained.of_name(config.task.model)
  run, mesh = config.run, devices.make_mesh()
  if not run.image_sizes or run.resize_every < 1:
    raise ValueError(
      f"run.image_sizes {run.image_sizes} must hold at least one size, and "
      f"run.resize_every {run.resize_every} must be at least 1"
    )
  for size in (*run.image_sizes, config.evaluation.image_size):
    yolov2.check_image_size(size)
  devices.check_batch_size(run.batch_size, mesh, run.subdivisions)
  devices.check_batch_size(config.evaluation.batch_size, mesh, 1)
  if config.task.norm_axis not in ("", devices.AXIS):
    raise ValueError(
      f"norm_axis is {config.task.norm_axis!r}; allowed are '' (each device "
      f"alone) and {devices.AXIS!r} (across devices)"
    )
  if run.start_from and not Path(run.start_from).exists():
    raise ValueError(
      f"run.start_from is {run.start_from!r}, which is not there; expected a "
      f"run's folder or a .weights file"
    )
  if wrong := set(config.data.test) - set(Source._fields):
    raise ValueError(
      f"data.test has unknown {sorted(wrong)}; allowed are "
      f"{', '.join(Source._fields)}"
    )
  for name in config.data.train:
    augment.check(augmentation(config, name))
  augment.check_resize(config.data.resize)


def is_classifier(config: Any) -> bool:
  """Whether the pictures have labels alone, and are augmented for that."""
  return config.task.model == "classifier"


def augmentation(
  config: Any, name: str
) -> augment.Augmentation | augment.Classification:
  """What happens to a training picture: as `data` says, or its data set.

  Raises:
    ValueError: for a key of the data set that is unknown.
  """
  classifier = is_classifier(config)
  kind = augment.Classification if classifier else augment.Augmentation
  described = config.data.train[name]
  own = {key for key in described if key not in Source._fields}
  if wrong := own - set(kind._fields):
    raise ValueError(
      f"data.train.{name} has unknown {sorted(wrong)}; allowed are "
      f"{', '.join([*Source._fields, *kind._fields])}"
    )
  return kind(
    **{
      key: described[key] if key in own else config.data[key]
      for key in kind._fields
    }
  )


def read_data(config: Any, name: str, description: Any) -> Dataset:
  """A data set of the config, with the network's classes."""
  source = Source(
    **{k: v for k, v in description.items() if k in Source._fields}
  )
  return sources.read_for(
    name,
    source._replace(root=os.path.join(config.data.root, source.root)),
    class_names=trained.class_names(config.data.class_names, _tree(config)),
  )


def test_data(config: Any) -> Dataset:
  """The data set to be evaluated on.

  Raises:
    ValueError: if a classifier's has pictures without a label.
  """
  data = read_data(config, "test", config.data.test)
  if is_classifier(config):
    records.check_image_labels(data.records)
  return data


def training_data(config: Any) -> dict[str, Dataset]:
  """The data sets to be trained on, by name; a weight of 0 leaves one out.

  Raises:
    ValueError: if none is left, or one has pictures that the task has no use
      for.
  """
  data = {
    name: read_data(config, name, described)
    for name, described in config.data.train.items()
    if described.weight
  }
  if not data:
    raise ValueError(
      f"every data set of data.train ({', '.join(config.data.train)}) has "
      f"weight 0; at least one must be above"
    )
  if not is_classifier(config):
    alone = config.task.to_dict().get("slot_rule", "none") != "none"
    records.check_labels(list(data.values()), alone=alone)
  return data


def training_batches(
  config: Any, data: dict[str, Dataset], start_step: int
) -> tuple[Generator[Batch, None, None], dict[int, Batch]]:
  """The batches from start_step on, and an empty one of each size to come.

  Of each batch, this process's rows.
  """
  options, run = config.data, config.run
  rows = devices.own_rows(run.batch_size, devices.make_mesh())
  size_of_step = partial(
    pipeline.image_size,
    sizes=tuple(run.image_sizes),
    every=run.resize_every,
    seed=run.seed,
  )
  batches = pipeline.train_batches(
    list(data.values()),
    weights=[options.train[name].weight for name in data],
    augmentations=[augmentation(config, name) for name in data],
    train_on_difficult=options.train_on_difficult,
    batch_size=run.batch_size,
    rows=rows,
    size_of_step=size_of_step,
    max_objects=options.max_objects,
    seed=run.seed,
    start_step=start_step,
    broken_share=options.broken_share,
    num_threads=options.num_threads,
    num_processes=options.num_processes,
  )
  empty = {}
  for size in map(size_of_step, range(start_step, run.total_steps)):
    if size not in empty:
      empty[size] = pipeline.empty_batch(
        len(rows), size=size, max_objects=options.max_objects
      )
  return batches, empty
