"""Detections of a whole data set, and their score."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import numpy as np

from yolo9000.data import fitting
from yolo9000.data.batches import eval_batches
from yolo9000.data.records import Dataset
from yolo9000.scoring import Score
from yolo9000.training import devices, processes
from yolo9000.types import Detections, Task


def predict_all(
  task: Task,
  variables: Any,
  dataset: Dataset,
  *,
  image_size: int,
  resize: str,
  batch_size: int,
  num_threads: int,
) -> list[Detections]:
  """Detections of every picture, in the order of the records.

  Each process looks at its own part of the pictures, and gets all detections.

  Args:
    task: its predict is jitted.
    variables: replicated over the devices.
    dataset: pictures to look at; their truths are not used, their proposals
      by a task that needs them.
    image_size: side of the network's input.
    resize: "stretch" or "letterbox".
    batch_size: over all devices.
    num_threads: that read pictures.

  Returns:
    NumPy Detections without padding; boxes in [0, 1] of the record's picture.
  """
  mesh = devices.make_mesh()
  devices.check_batch_size(batch_size, mesh, 1)
  run = devices.make_predict(task.predict, mesh)
  batches = eval_batches(
    dataset,
    resize=resize,
    size=image_size,
    batch_size=batch_size,
    rows=devices.own_rows(batch_size, mesh),
    num_threads=num_threads,
  )
  parts: list[tuple[Any, ...]] = []
  for batch, placements in batches:
    found = run(variables, devices.shard(task.inputs(batch), mesh))
    found = jax.tree.map(devices.own_part, found)
    boxes = np.zeros_like(found.boxes)
    for n, placement in enumerate(placements):
      boxes[n] = fitting.unplace_boxes(found.boxes[n], placement)
    parts.append((batch.index, batch.valid, *found._replace(boxes=boxes)))
  if not parts:
    return []
  # Of all processes, then without padding, then in the order of the records.
  index, valid, *columns = (
    None
    if column[0] is None
    else np.concatenate(processes.gather(np.concatenate(column)))
    for column in zip(*parts, strict=True)
  )
  order = np.flatnonzero(valid)[np.argsort(index[valid])]
  found = Detections(*columns)
  return [found.take(n).take(found.mask[n]) for n in order]


def evaluate(
  config: Any, task: Task, score: Score, data: Dataset, variables: Any
) -> tuple[dict[str, Any], list[Detections]]:
  """Figures and detections of variables on a split, as the config says.

  Args:
    config: of a run.
    task: its Task; what is scored is its predict.
    score: see `scoring.make_score`.
    data: the pictures.
    variables: replicated over the devices.
  """
  detections = predict_all(
    task,
    variables,
    data,
    image_size=config.evaluation.image_size,
    resize=config.data.resize,
    batch_size=config.evaluation.batch_size,
    num_threads=config.data.num_threads,
  )
  judge = partial(score, detections, data.records)
  return processes.on_first(judge), detections
