"""Detections of a whole data set, their score, and what a person looks at."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from yolo9000.data import augment
from yolo9000.data import batches as pipeline
from yolo9000.data.records import Dataset
from yolo9000.scoring import voc
from yolo9000.tables import plots
from yolo9000.training import devices, processes
from yolo9000.types import Detections


def predict_all(
  predict: Callable[..., Detections],
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
    predict: a Task's, jitted.
    variables: replicated over the devices.
    dataset: pictures to look at; their truths are not used.
    image_size: side of the network's input.
    resize: "stretch" or "letterbox".
    batch_size: over all devices.
    num_threads: that read pictures.

  Returns:
    NumPy Detections without padding; boxes in [0, 1] of the record's picture.
  """
  mesh = devices.make_mesh()
  devices.check_batch_size(batch_size, mesh, 1)
  run = devices.make_predict(predict, mesh)
  batches = pipeline.eval_batches(
    dataset,
    resize=resize,
    size=image_size,
    batch_size=batch_size,
    rows=devices.own_rows(batch_size, mesh),
    num_threads=num_threads,
  )
  parts: list[tuple[Any, ...]] = []
  for batch, placements in batches:
    found = run(variables, devices.shard(batch.image, mesh))
    found = jax.tree.map(devices.own_part, found)
    boxes = np.zeros_like(found.boxes)
    for n, placement in enumerate(placements):
      boxes[n] = augment.unplace_boxes(found.boxes[n], placement)
    parts.append((batch.index, batch.valid, *found._replace(boxes=boxes)))
  if not parts:
    return []
  # Of all processes, then without padding, then in the order of the records.
  index, valid, *columns = (
    np.concatenate(processes.gather(np.concatenate(column)))
    for column in zip(*parts, strict=True)
  )
  order = np.flatnonzero(valid)[np.argsort(index[valid])]
  found = Detections(*columns)
  return [
    Detections(*(column[n][found.mask[n]] for column in found)) for n in order
  ]


def coco_rows(
  boxes_px: Any,
  labels: Any,
  scores: Any,
  *,
  image_id: int | str,
  file_name: str,
) -> list[dict[str, Any]]:
  """A picture's detections as entries of COCO's result list.

  labels are category ids, bbox is x, y, w, h in pixels; file_name is added for
  people.
  """
  return [
    {
      "image_id": image_id,
      "category_id": int(label),
      "bbox": [round(v, 2) for v in (x, y, right - x, bottom - y)],
      "score": float(f"{score:.7g}"),
      "file_name": file_name,
    }
    for (x, y, right, bottom), label, score in zip(
      boxes_px.tolist(), labels, scores, strict=True
    )
  ]


def write_coco_json(
  path: Path, detections: list[Detections], dataset: Dataset
) -> None:
  """Detections as COCO's result list.

  image_id and category_id are those of the data set's own files, so that its
  own tools read the list; the record's number and the label where it has none.
  """
  ids = np.array(dataset.category_ids or range(len(dataset.class_names)))
  rows = []
  for number, (found, record) in enumerate(
    zip(detections, dataset.records, strict=True)
  ):
    rows += coco_rows(
      np.clip(found.boxes, 0, 1) * record.edges_px,
      ids[found.labels],
      found.scores,
      image_id=number if record.image_id == -1 else record.image_id,
      file_name=record.path,
    )
  path.write_text(json.dumps(rows))


def write_report(
  folder: Path, detections: list[Detections], dataset: Dataset
) -> None:
  """detections.json and .png in folder, precision_recall.png of boxes."""
  folder.mkdir(parents=True, exist_ok=True)
  write_coco_json(folder / "detections.json", detections, dataset)
  found, truth = voc.collect(detections, dataset.records)
  if len(truth.label):
    curves = {
      name: voc.voc_curve(found, truth, label, iou_threshold=voc.VOC_IOU)
      for label, name in enumerate(dataset.class_names)
    }
    plots.precision_recall(folder / "precision_recall.png", curves)
  shown = range(min(12, len(dataset.records)))
  plots.picture_grid(
    folder / "detections.png",
    [dataset.read_image(dataset.records[n]) for n in shown],
    [detections[n] for n in shown],
    [dataset.records[n] for n in shown],
    dataset.class_names,
  )
