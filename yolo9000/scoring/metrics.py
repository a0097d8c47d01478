"""What a Task's fourth function tells: VOC's figures, COCO's, trees, groups.

COCO's come from its own program.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from yolo9000 import boxes as box
from yolo9000.scoring import voc as average_precision
from yolo9000.scoring.voc import Found, collect
from yolo9000.types import Detections, Float


def credit_ancestors(
  records: Sequence[Any], parents: Sequence[int]
) -> list[Any]:
  """Records in which each truth counts for every class above its own as well.

  So a terrier is a truth of terrier, of dog and of animal, and each node of a
  tree has an AP of its own.

  Args:
    records: `data.records.Record`s.
    parents: of each class, -1 at the top.
  """
  table = np.array([*parents, -1])  # the last serves -1
  result = []
  for record in records:
    labels, rows = [record.labels], [np.arange(len(record.labels))]
    while (labels[-1] >= 0).any():
      labels.append(table[labels[-1]])
      rows.append(rows[0])
    label, row = np.concatenate(labels), np.concatenate(rows)
    record = keep_truths(record, row[label >= 0])
    result.append(record._replace(labels=label[label >= 0].astype(np.int32)))
  return result


def keep_truths(record: Any, index: Any) -> Any:
  """A record with these of its truths, by number or by a mask."""
  areas = record.areas_px
  return record._replace(
    labels=record.labels[index],
    boxes_px=record.boxes_px[index],
    difficult=record.difficult[index],
    areas_px=None if areas is None else areas[index],
  )


def group_means(
  metrics: dict[str, Any], groups: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
  """The metrics with "groups": the mean VOC07 AP of each group of classes.

  Classes without truths do not count; None if a group has no other.
  """
  means = {}
  for group, names in groups.items():
    values = [metrics["per_class"][name]["VOC07 AP"] for name in names]
    known = [value for value in values if value is not None]
    means[group] = float(np.mean(known)) if known else None
  return {**metrics, "groups": means}


def extremes(
  per_class: Mapping[str, Mapping[str, Any]],
  names: Sequence[str],
  *,
  count: int,
) -> str:
  """The classes with the worst and the best VOC07 AP, as in Table 7.

  "" if there are not more than both together.
  """
  known = sorted(
    (per_class[name]["VOC07 AP"], name)
    for name in names
    if per_class[name]["VOC07 AP"] is not None
  )
  if len(known) <= 2 * count:
    return ""
  lowest, highest = known[:count], known[-count:]
  return "; ".join(
    f"{word} " + ", ".join(f"{name} {100 * value:.1f}" for value, name in part)
    for word, part in (("worst", lowest), ("best", highest))
  )


def diagnose(
  detections: Sequence[Detections], records: Sequence[Any]
) -> dict[str, float | None]:
  """What is found of the objects whatever its class: why an AP is as it is.

  Args:
    detections, records: as for `average_precision.evaluate`; truths marked
      difficult do not count.

  Returns:
    "recall": share of truths that some detection overlaps by half or more;
    "recall small" and "recall large": of the third of the truths with the
    smallest and the largest area, as parts of their pictures; "overlap": the
    mean IoU of a found truth with what overlaps it most; "right class": share
    of found truths for which, of the detections that overlap it so, the one
    with the highest score has its class. None where there is none to count.
  """
  area, best, right = [], [], []
  for found, record in zip(detections, records, strict=True):
    boxes = box.clip(found.boxes) * record.edges_px
    for truth, label in zip(
      record.boxes_px[~record.difficult],
      record.labels[~record.difficult],
      strict=True,
    ):
      overlap = box.iou(boxes, truth[None])
      near = overlap >= average_precision.VOC_IOU
      area.append(box.area(truth) / np.prod(record.edges_px[:2]))
      best.append(overlap.max(initial=0.0))
      if near.any():
        first = np.argmax(np.where(near, found.scores, -1.0))
        right.append(found.labels[first] == label)
  hit, order = np.array(best) >= average_precision.VOC_IOU, np.argsort(area)
  third = len(order) // 3

  def mean(values: Any) -> float | None:
    return float(np.mean(values)) if len(values) else None

  return {
    "recall": mean(hit),
    "recall small": mean(hit[order[:third]]),
    "recall large": mean(hit[order[len(order) - third :]]),
    "overlap": mean(np.array(best)[hit]),
    "right class": mean(right),
  }


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
    detections, records, class_names: as for
      `average_precision.evaluate`.
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


def evaluate_both(
  detections: Sequence[Detections],
  records: Sequence[Any],
  *,
  class_names: Sequence[str],
) -> dict[str, Any]:
  """VOC's figures and COCO's; "metric" is the COCO AP."""
  voc = average_precision.evaluate(detections, records, class_names=class_names)
  coco = evaluate_coco(
    detections, records, class_names=class_names, library=coco_library()
  )
  per_class = {
    name: {**voc["per_class"][name], **coco["per_class"][name]}
    for name in class_names
  }
  return {**voc, **coco, "per_class": per_class}


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


METRICS = {"VOC07 AP": average_precision.evaluate, "COCO AP": evaluate_both}


def make_evaluate(
  metric: str,
  class_names: Sequence[str],
  tree: Any,
  groups: Mapping[str, Sequence[str]],
  scored_classes: Sequence[str],
) -> Callable[..., dict[str, Any]]:
  """The fourth function of a Task.

  Args:
    metric: a key of METRICS.
    class_names: of the labels.
    tree: a WordTree whose nodes are the classes, each of which then has its own
      AP, see `credit_ancestors`; or None.
    groups: see `group_means`.
    scored_classes: truths of others do not count; none for all.

  Raises:
    ValueError: for a group with a class that there is not.
  """
  scored = [n for n, c in enumerate(class_names) if c in set(scored_classes)]
  for group, names in groups.items():
    if wrong := set(names) - set(class_names):
      raise ValueError(f"group {group!r} has unknown classes {sorted(wrong)}")

  def of_pictures(
    detections: Sequence[Detections], records: Sequence[Any]
  ) -> dict[str, Any]:
    diagnosis = diagnose(detections, records)
    if tree is not None:
      del diagnosis["right class"]  # any node of the path may be right
      records = credit_ancestors(records, tree.parents)
    if scored:
      records = [
        keep_truths(record, np.isin(record.labels, scored))
        for record in records
      ]
    metrics = METRICS[metric](detections, records, class_names=class_names)
    metrics["diagnosis"] = diagnosis
    return group_means(metrics, groups)

  return of_pictures
