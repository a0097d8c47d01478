"""COCO's figures, by its own program, and its list of results."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from yolo9000.data.records import Dataset
from yolo9000.files import write_whole
from yolo9000.scoring.voc import Found, collect
from yolo9000.types import Detections, Float

# COCO's twelve figures, in the order in which its program prints them.
COCO_FIGURES = (
  *("COCO AP", "COCO AP50", "COCO AP75"),
  *("COCO AP small", "COCO AP medium", "COCO AP large"),
  *("COCO AR 1", "COCO AR 10", "COCO AR 100"),
  *("COCO AR small", "COCO AR medium", "COCO AR large"),
)


def coco_library() -> tuple[Any, Any]:
  """COCO and COCOeval, of faster-coco-eval where it is, or of pycocotools.

  Both give the same figures; the first is much faster.
  """
  try:
    from faster_coco_eval import COCO, COCOeval_faster

    return COCO, COCOeval_faster
  except ImportError:
    from pycocotools import coco, cocoeval

    return coco.COCO, cocoeval.COCOeval


def evaluate_coco(
  detections: Sequence[Detections],
  records: Sequence[Any],
  *,
  class_names: Sequence[str],
  library: tuple[Any, Any],
) -> dict[str, Any]:
  """COCO's twelve figures, at most 100 detections per picture.

  What a record marks difficult is treated as a crowd. Sizes are by the area of
  the mask where the record has it, and otherwise of the box.

  Args:
    detections, records, class_names: as for `voc.evaluate`.
    library: see `coco_library`.

  Returns:
    `COCO_FIGURES` (None where there is no truth to find), "per_class" (class
    name to "COCO AP"), and "metric", which is the COCO AP.
  """
  found, truth = collect(detections, records)
  areas = [
    r.areas_px
    if r.areas_px is not None
    else np.prod(r.boxes_px[:, 2:] - r.boxes_px[:, :2], axis=1)
    for r in records
  ]
  with contextlib.redirect_stdout(io.StringIO()):
    tables = [
      _coco_table(library, rows, size, len(records), class_names)
      for rows, size in (
        (truth, np.concatenate([*areas, np.zeros(0)])),
        (found, np.prod(found.boxes_px[:, 2:] - found.boxes_px[:, :2], axis=1)),
      )
    ]
    scores = library[1](*tables, "bbox")
    scores.evaluate()
    scores.accumulate()
    scores.summarize()
  figures = {
    name: None if value < 0 else float(value)
    for name, value in zip(COCO_FIGURES, scores.stats[:12], strict=True)
  }
  # Thresholds, recalls, classes, sizes (all first), detections (100 last).
  precision = scores.eval["precision"][:, :, :, 0, -1]
  per_class = {}
  for label, name in enumerate(class_names):
    valid = precision[:, :, label][precision[:, :, label] >= 0]
    per_class[name] = {"COCO AP": float(valid.mean()) if valid.size else None}
  return {
    "metric": figures["COCO AP"] or 0.0,
    **figures,
    "per_class": per_class,
  }


def _coco_table(
  library: tuple[Any, Any],
  rows: Found,
  areas: Float[np.ndarray, " N"],
  pictures: int,
  class_names: Sequence[str],
) -> Any:
  """Truths or detections as the library's COCO; id 0 would mean none."""
  sizes = rows.boxes_px[:, 2:] - rows.boxes_px[:, :2]
  table = library[0]()
  table.dataset = {
    "images": [{"id": n + 1} for n in range(pictures)],
    "categories": [
      {"id": n + 1, "name": name} for n, name in enumerate(class_names)
    ],
    "annotations": [
      {
        "id": n + 1,
        "image_id": int(rows.image[n]) + 1,
        "category_id": int(rows.label[n]) + 1,
        "bbox": [*rows.boxes_px[n, :2].tolist(), *sizes[n].tolist()],
        "area": float(areas[n]),
        "iscrowd": int(rows.difficult[n]),
        "score": float(rows.score[n]),
      }
      for n in range(len(rows.image))
    ],
  }
  table.createIndex()
  return table


def coco_rows(
  boxes_px: Any,
  labels: Any,
  scores: Any,
  *,
  image_id: int | str,
  file_name: str,
  names: Sequence[str],
) -> list[dict[str, Any]]:
  """A picture's detections as entries of COCO's result list.

  labels are category ids, bbox is x, y, w, h in pixels. The file's name and the
  classes' names, one for each detection, are added for people.
  """
  return [
    {
      "image_id": image_id,
      "category_id": int(label),
      "bbox": [round(v, 2) for v in (x, y, right - x, bottom - y)],
      "score": float(f"{score:.7g}"),
      "file_name": file_name,
      "category_name": name,
    }
    for (x, y, right, bottom), label, score, name in zip(
      boxes_px.tolist(), labels, scores, names, strict=True
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
      names=[dataset.class_names[label] for label in found.labels.tolist()],
    )
  write_whole(path, json.dumps(rows))
