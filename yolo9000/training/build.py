"""From a config to what the loop needs: classes, data, an optimizer, batches.

Below these functions, and the loop and sweep that call them, nothing receives a
config.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import optax

from yolo9000 import detectors, scoring
from yolo9000.data import augment, records, sources
from yolo9000.data.batches import (
  Wanted,
  Workers,
  empty_batch,
  image_size,
  train_batches,
)
from yolo9000.data.formats.reading import Source
from yolo9000.data.records import Dataset
from yolo9000.training import devices, optimizer
from yolo9000.types import Batch, Task
from yolo9000.wordtree import Classes
from yolo9000.wordtree.files import make_classes, read_tree, write_tree

KEPT_TREE = "classes.tree"  # in a run's folder


def read_classes(data: Any, kept: Path | None = None) -> Classes:
  """A config's classes: data.class_names, or the nodes of the file data.tree.

  Args:
    data: the config's section.
    kept: folder of a run that has a copy of the tree's file.

  Raises:
    ValueError: if there is neither, or the tree has other nodes.
  """
  tree = data["tree"]
  if kept and tree and isinstance(tree, str):
    tree = str(kept / KEPT_TREE)
  return make_classes(data["class_names"], tree)


def keep_tree(data: Any, classes: Classes, workdir: Path) -> None:
  """Writes the tree of a file into a run, which can then be moved elsewhere.

  Raises:
    ValueError: if the run has another one, from before.
  """
  if classes.tree is None or not isinstance(data["tree"], str):
    return
  kept = workdir / KEPT_TREE
  if not kept.is_file():
    write_tree(kept, classes.tree)
  elif read_tree(kept) != classes.tree:
    raise ValueError(
      f"{data['tree']} is not {kept}, the tree that this run began with; "
      f"expected the same, or another folder for the run"
    )


def make_task(config: Any, classes: Classes | None = None) -> Task:
  """The Task that a config describes, its init and predict jitted."""
  classes = classes or read_classes(config.data)
  task = detectors.make_task(config.task.to_dict(), classes)
  return task._replace(
    init=jax.jit(task.init, static_argnums=1), predict=jax.jit(task.predict)
  )


def make_score(config: Any, classes: Classes) -> scoring.Score:
  """From detections and records to figures, as config.evaluation says."""
  how = config.evaluation.to_dict()
  return scoring.make_score(
    metric=how["metric"],
    classes=classes,
    groups=how["groups"],
    scored=how["classes"],
  )


def make_schedule(config: Any) -> optimizer.Schedule:
  """The learning rate of each update, counted from 1."""
  return optimizer.make_schedule(
    total_steps=config.run.total_steps, **config.schedule.to_dict()
  )


def make_optimizer(config: Any) -> optax.GradientTransformation:
  """The optimizer and its schedule."""
  options = config.optimizer.to_dict()
  del options["average"], options["held"]  # the step's
  return optimizer.make_optimizer(make_schedule(config), **options)


def max_proposals(described: Any) -> int:
  """Of a picture of a data set that has proposals."""
  return described.get("max_proposals", Source._field_defaults["max_proposals"])


def augmentation(
  config: Any, name: str
) -> augment.Augmentation | augment.Classification:
  """What happens to a training picture: as data.augment says, or its data set.

  Raises:
    ValueError: for a key that is unknown, or missing.
  """
  options = config.data.augment.to_dict()
  kind = augment.KINDS.get(options.pop("kind", None))
  if kind is None or set(options) != set(kind._fields):
    known = {name: ", ".join(k._fields) for name, k in augment.KINDS.items()}
    raise ValueError(
      f"data.augment is {config.data.augment.to_dict()}; expected one of these "
      f"kinds with its keys: {known}"
    )
  described = config.data.train[name]
  own = {key: described[key] for key in set(described) - set(Source._fields)}
  if wrong := set(own) - set(kind._fields):
    raise ValueError(
      f"data.train.{name} has unknown {sorted(wrong)}; allowed are "
      f"{', '.join([*Source._fields, *kind._fields])}"
    )
  return kind(**{**options, **own})


def make_source(config: Any, name: str, description: Any) -> Source:
  """The description of a data set, its files below data.root.

  Raises:
    ValueError: if it is of files, but has no root.
  """
  source = Source(
    **{k: v for k, v in description.items() if k in Source._fields}
  )
  root = os.path.join(config.data.root, source.root)
  missing = not root or ("://" not in root and not Path(root).is_dir())
  if not config.data.root and missing and sources.needs_root(source.format):
    raise ValueError(
      f"data.root is empty: --config.data.root=FOLDER must name where the "
      f"files of the data set {name!r} are (format {source.format}, root "
      f"{source.root!r} below it)"
    )
  file = source.proposals and os.path.join(config.data.root, source.proposals)
  return source._replace(root=root, proposals=file, masks=wants_masks(config))


def wants_masks(config: Any) -> bool:
  """Whether a run learns from masks, or is measured by them."""
  of_masks = config.evaluation.metric in scoring.MASK_METRICS
  return config.data.mask_size > 0 or of_masks


def read_data(
  config: Any, name: str, description: Any, classes: Classes
) -> Dataset:
  """A data set of the config, with the network's classes."""
  source = make_source(config, name, description)
  return sources.read_for(name, source, class_names=classes.names)


def test_data(config: Any, classes: Classes) -> Dataset:
  """The data set to be evaluated on.

  Raises:
    ValueError: if it has not what the metric compares with: for a classifier
      the labels of pictures, or masks.
  """
  data = read_data(config, "test", config.data.test, classes)
  metric = config.evaluation.metric
  if metric not in scoring.BOX_METRICS:
    records.check_image_labels(data.records)
  if metric in scoring.MASK_METRICS:
    records.check_masks(data.records, f"evaluation.metric {metric!r}")
  return data


def read_training(config: Any, classes: Classes) -> dict[str, Dataset]:
  """The data sets to be trained on, by name; a weight of 0 leaves one out.

  Raises:
    ValueError: if none is left.
  """
  data = {
    name: read_data(config, name, described, classes)
    for name, described in config.data.train.items()
    if described.weight
  }
  if not data:
    raise ValueError(
      f"every data set of data.train ({', '.join(config.data.train)}) has "
      f"weight 0; at least one must be above"
    )
  return data


def training_data(
  config: Any, classes: Classes, learns_from: str
) -> dict[str, Dataset]:
  """As `read_training`, of pictures that the task can learn from.

  Raises:
    ValueError: naming a picture from which it cannot.
  """
  data = read_training(config, classes)
  if learns_from == "image labels":
    for dataset in data.values():
      records.check_image_labels(dataset.records)
  else:
    records.check_labels(list(data.values()), alone=learns_from == "both")
  return data


def training_batches(
  config: Any, data: Mapping[str, Dataset], start_step: int
) -> tuple[Generator[Batch, None, None], dict[int, Batch]]:
  """The batches from start_step on, and an empty one of each size to come.

  Of each batch, this process's rows.
  """
  options, run = config.data, config.run
  rows = devices.own_rows(run.batch_size, devices.make_mesh())
  size_of_step = partial(
    image_size,
    sizes=tuple(run.image_sizes),
    every=run.resize_every,
    seed=run.seed,
  )
  batches = train_batches(
    list(data.values()),
    weights=[options.train[name].weight for name in data],
    augmentations=[augmentation(config, name) for name in data],
    wanted=Wanted(
      options.max_objects,
      options.train_on_difficult,
      options.mask_size,
    ),
    batch_size=run.batch_size,
    rows=rows,
    size_of_step=size_of_step,
    seed=run.seed,
    start_step=start_step,
    broken_share=options.broken_share,
    workers=Workers(options.num_threads, options.num_processes),
  )
  empty, most = {}, records.most_proposals(list(data.values()))
  for size in map(size_of_step, range(start_step, run.total_steps)):
    if size not in empty:
      empty[size] = empty_batch(
        len(rows),
        size=size,
        max_objects=options.max_objects,
        max_proposals=most,
        mask_size=options.mask_size,
      )
  return batches, empty
