"""COCO's figures, by its own program, and its list of results."""

from __future__ import annotations

import contextlib
import io
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from yolo9000.data.records import Dataset
from yolo9000.files import write_whole
from yolo9000.scoring import runs
from yolo9000.scoring.voc import Found, collect
from yolo9000.types import Detections, Float

# COCO's twelve figures, in the order in which its program prints them.
COCO_FIGURES = (
  *("COCO AP", "COCO AP50", "COCO AP75"),
  *("COCO AP small", "COCO AP medium", "COCO AP large"),
  *("COCO AR 1", "COCO AR 10", "COCO AR 100"),
  *("COCO AR small", "COCO AR medium", "COCO AR large"),
)


MASK_FIGURES = tuple(name.replace("COCO", "COCO mask") for name in COCO_FIGURES)
# Of results: AP by the IoU that a hit has at least.
BY_IOU = ("COCO AP by IoU", "COCO mask AP by IoU")


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
    `COCO_FIGURES` (None where there is no truth to find), "COCO AP by IoU" (of
    a hit, such as "0.50"), "per_class" (class name to "COCO AP"), and "metric",
    which is the COCO AP.
  """
  found, truth = collect(detections, records)
  return evaluate_found(
    found, truth, records, class_names=class_names, library=library
  )


def evaluate_found(
  found: Found,
  truth: Found,
  records: Sequence[Any],
  *,
  class_names: Sequence[str],
  library: tuple[Any, Any],
) -> dict[str, Any]:
  """As `evaluate_coco`, of two lists; detected boxes count uncut."""
  areas = [
    r.areas_px
    if r.areas_px is not None
    else np.prod(r.boxes_px[:, 2:] - r.boxes_px[:, :2], axis=1)
    for r in records
  ]
  sizes = [(record.width, record.height) for record in records]
  tables = [
    coco_table(library, rows, size, sizes, class_names)
    for rows, size in (
      (truth, np.concatenate([*areas, np.zeros(0)])),
      (found, np.prod(found.boxes_px[:, 2:] - found.boxes_px[:, :2], axis=1)),
    )
  ]
  return figures(library, *tables, class_names)


def evaluate_file(
  content: Mapping[str, Any],
  rows: Sequence[Mapping[str, Any]],
  *,
  library: tuple[Any, Any],
) -> dict[str, Any]:
  """As `evaluate_coco`, of an annotation file and a list of results in its ids.

  Nothing is mended, cut or left out: the figures are those of COCO's program,
  run by hand on the two files. If all detections and truths have masks, its
  figures by masks are there as well.

  Args:
    content: of the annotation file. An annotation without area has its box's.
    rows: image_id, category_id, bbox and score of each detection, and
      segmentation if it has a mask.
    library: see `coco_library`.
  """
  truth, found = library[0](), library[0]()
  shared = {key: content[key] for key in ("images", "categories")}
  truth.dataset = {
    **shared,
    "annotations": [
      {"id": n, "iscrowd": 0, "area": _area(row["bbox"]), **row}
      for n, row in enumerate(content["annotations"], 1)
    ],
  }
  found.dataset = {
    **shared,
    "annotations": [
      {
        "id": n,
        "image_id": row["image_id"],
        "category_id": row["category_id"],
        "bbox": row["bbox"],
        "area": _area(row["bbox"]),
        "iscrowd": 0,
        "score": row["score"],
        **{k: row[k] for k in ("segmentation",) if k in row},
      }
      for n, row in enumerate(rows, 1)
    ],
  }
  every = truth.dataset["annotations"] + found.dataset["annotations"]
  masks = bool(rows) and all(row.get("segmentation") for row in every)
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of an id 0, which `given` tells as well
    for table in (truth, found):
      with contextlib.redirect_stdout(io.StringIO()):
        table.createIndex()
    by_id = sorted(content["categories"], key=lambda row: row["id"])
    names = [row["name"] for row in by_id]
    result = figures(library, truth, found, names)
    if masks:
      for row in found.dataset["annotations"]:
        row["area"] = runs.area_px(row["segmentation"])
      of_masks = figures(library, truth, found, names, names=MASK_FIGURES)
      result = joined(result, of_masks) | {"metric": result["metric"]}
    return result


def joined(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
  """The figures of both, of each class too; the metric is the other's."""
  per_class = {
    name: {**row, **other["per_class"].get(name, {})}
    for name, row in one["per_class"].items()
  }
  return {**one, **other, "per_class": per_class}


def _area(bbox: Sequence[int | float]) -> int | float:
  return bbox[2] * bbox[3]


def figures(
  library: tuple[Any, Any],
  truth: Any,
  found: Any,
  class_names: Sequence[str],
  *,
  names: Sequence[str] = COCO_FIGURES,
) -> dict[str, Any]:
  """What the library finds.

  Args:
    library: see `coco_library`.
    truth, found: its tables.
    class_names: in the order of the ids.
    names: COCO_FIGURES, of boxes, or MASK_FIGURES, of masks.
  """
  kind = "segm" if names is MASK_FIGURES else "bbox"
  with contextlib.redirect_stdout(io.StringIO()):
    scores = library[1](truth, found, kind)
    scores.evaluate()
    scores.accumulate()
    scores.summarize()
  found_figures = {
    name: None if value < 0 else float(value)
    for name, value in zip(names, scores.stats[:12], strict=True)
  }
  # Thresholds, recalls, classes, sizes (all first), detections (100 last).
  precision = scores.eval["precision"][:, :, :, 0, -1]
  per_class = {}
  for label, name in enumerate(class_names):
    valid = precision[:, :, label][precision[:, :, label] >= 0]
    value = float(valid.mean()) if valid.size else None
    if value is not None or name not in per_class:  # a group may share a name
      per_class[name] = {names[0]: value}
  by_iou = {}
  for threshold, of_threshold in zip(
    scores.params.iouThrs, precision, strict=True
  ):
    valid = of_threshold[of_threshold >= 0]
    if valid.size:
      by_iou[f"{threshold:.2f}"] = float(valid.mean())
  return {
    "metric": found_figures[names[0]] or 0.0,
    **found_figures,
    f"{names[0]} by IoU": by_iou,
    "per_class": per_class,
  }


def coco_table(
  library: tuple[Any, Any],
  rows: Found,
  areas: Float[np.ndarray, " N"],
  pictures: Sequence[tuple[int, int]],
  class_names: Sequence[str],
  masks: Sequence[Mapping[str, Any]] | None = None,
) -> Any:
  """Truths or detections as the library's COCO; id 0 would mean none.

  Args:
    library: see `coco_library`.
    rows, areas: boxes in pixels, and what counts as their areas.
    pictures: (width, height) of each.
    class_names: of the labels.
    masks: COCO's segmentation of each row, if they are compared by these.
  """
  sizes = rows.boxes_px[:, 2:] - rows.boxes_px[:, :2]
  table = library[0]()
  table.dataset = {
    "images": [
      {"id": n, "width": width, "height": height}
      for n, (width, height) in enumerate(pictures, 1)
    ],
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
        **({} if masks is None else {"segmentation": dict(masks[n])}),
      }
      for n in range(len(rows.image))
    ],
  }
  with contextlib.redirect_stdout(io.StringIO()):
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
  exact: bool = False,
  masks: Sequence[Mapping[str, Any]] | None = None,
) -> list[dict[str, Any]]:
  """A picture's detections as entries of COCO's result list.

  labels are category ids, bbox is x, y, w, h in pixels. The file's name and the
  classes' names, one for each detection, are added for people. Unless they are
  to be exact, pixels are rounded to hundredths. masks are COCO's segmentation
  of each, if there is any.
  """
  rows = [
    {
      "image_id": image_id,
      "category_id": int(label),
      "bbox": [
        float(v) if exact else round(v, 2)
        for v in (x, y, right - x, bottom - y)
      ],
      "score": float(score) if exact else float(f"{score:.7g}"),
      "file_name": file_name,
      "category_name": name,
    }
    for (x, y, right, bottom), label, score, name in zip(
      boxes_px.tolist(), labels, scores, names, strict=True
    )
  ]
  for row, one in zip(rows, masks or (), strict=masks is not None):
    row["segmentation"] = dict(one)
  return rows


def write_coco_json(
  path: Path, detections: list[Detections], dataset: Dataset
) -> None:
  """Writes detections as `result_list` gives them, rounded."""
  write_whole(path, json.dumps(result_list(detections, dataset)))


def result_list(
  detections: Sequence[Detections], dataset: Dataset, *, exact: bool = False
) -> list[dict[str, Any]]:
  """Detections as COCO's result list.

  image_id and category_id are those of the data set's own files, so that its
  own tools read the list; the record's number and the label where it has none.

  Args:
    detections: one for each record, boxes in [0, 1].
    dataset: of the records.
    exact: whether numbers are not rounded.
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
      exact=exact,
      masks=runs.of_detections(
        found, found.boxes * record.edges_px, (record.width, record.height)
      ),
    )
  return rows
