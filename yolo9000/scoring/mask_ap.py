"""COCO's figures by masks: the IoU of two objects is that of their pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from yolo9000.scoring import coco, runs
from yolo9000.scoring.voc import collect
from yolo9000.types import Detections


def evaluate_masks(
  detections: Sequence[Detections],
  records: Sequence[Any],
  *,
  class_names: Sequence[str],
  library: tuple[Any, Any],
) -> dict[str, Any]:
  """COCO's twelve figures, by its own program.

  A pixel is a detection's if its probability is at least .5, see
  `boxes.masks.paste`. A truth whose mask is not known is neither hit nor miss.

  Args:
    detections, records, class_names: as for `voc.evaluate`, both with masks.
    library: see `coco.coco_library`.

  Returns:
    `coco.MASK_FIGURES`, "COCO mask AP by IoU" (of a hit, such as "0.50"),
    "per_class" (class name to "COCO mask AP"), and "metric", which is the COCO
    mask AP.

  Raises:
    ValueError: for detections or records without masks.
  """
  found_runs, truth_runs, known = [], [], []
  for one, record in zip(detections, records, strict=True):
    kept, size = one.take(one.mask), (record.width, record.height)
    own = runs.of_detections(kept, kept.boxes * record.edges_px, size)
    if own is None:
      raise ValueError(
        "evaluation.metric is 'COCO mask AP', and the detections have no "
        "masks; expected a detector that gives masks, or COCO AP"
      )
    found_runs += own
    truth_runs += runs.of_record(record)
    known += [mask is not None for mask in record.masks or ()]
  found, truth = collect(detections, records)
  truth = truth._replace(difficult=truth.difficult | ~np.array(known, bool))
  told = [_told(record) for record in records]
  areas = np.concatenate([*told, np.zeros(0)])
  counted = np.array([*map(runs.area_px, truth_runs)], np.float64)
  areas = np.where(np.isnan(areas), counted, areas)
  tables = [
    coco.coco_table(
      library,
      rows,
      area,
      [(record.width, record.height) for record in records],
      class_names,
      masks,
    )
    for rows, area, masks in (
      (truth, areas, truth_runs),
      (found, np.array([*map(runs.area_px, found_runs)]), found_runs),
    )
  ]
  return coco.figures(library, *tables, class_names, names=coco.MASK_FIGURES)


def _told(record: Any) -> np.ndarray:
  """Areas of the masks that the files tell; nan where they do not."""
  if record.areas_px is None:
    return np.full(len(record.labels), np.nan)
  return record.areas_px
