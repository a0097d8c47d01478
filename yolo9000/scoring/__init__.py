"""What detections are worth, as `config.evaluation` says. NumPy alone.

Detectors see nothing of this: metric, groups and scored classes belong to the
evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from yolo9000.scoring import (
  classification,
  coco,
  diagnosis,
  mask_ap,
  trees,
  voc,
)
from yolo9000.types import Detections

MASK_METRICS = ("COCO mask AP",)
BOX_METRICS = ("VOC07 AP", "COCO AP", *MASK_METRICS)
METRICS = (*BOX_METRICS, "top-1")

Score = Callable[[Sequence[Detections], Sequence[Any]], dict[str, Any]]


def make_score(
  *,
  metric: str,
  classes: Any,
  groups: Mapping[str, Sequence[str]],
  scored: Sequence[str],
) -> Score:
  """The function from detections and records to figures.

  It takes one Detections for each record, without padding, boxes in [0, 1] of
  the record's picture. Of its figures "metric" is the number by which
  checkpoints and rows are compared.

  Args:
    metric: "VOC07 AP" for VOC's figures, "COCO AP" for COCO's as well, "COCO
      mask AP" for those by masks beside these, "top-1" for a classifier's.
    classes: `wordtree.Classes`; with a tree each node has its own AP, see
      `trees.credit_ancestors`.
    groups: classes whose mean VOC07 AP is told as well, by the group's name.
    scored: names of the classes whose truths count; none for all.

  Raises:
    ValueError: for another metric, or a class that there is not.
  """
  if metric not in METRICS:
    raise ValueError(
      f"evaluation.metric is {metric!r}; allowed are {', '.join(METRICS)}"
    )
  for group, names in groups.items():
    classes.labels(names, f"evaluation.groups, {group!r},")
  labels = classes.labels(scored, "evaluation.classes")

  def of_boxes(
    detections: Sequence[Detections], records: Sequence[Any]
  ) -> dict[str, Any]:
    told = diagnosis.diagnose(detections, records)
    if classes.tree is not None:
      del told["right class"]  # any node of the path may be right
      records = trees.credit_ancestors(records, classes.tree.parents)
    if labels is not None:
      records = [r.take(np.isin(r.labels, labels)) for r in records]
    evaluate = EVALUATIONS[metric]
    figures = evaluate(detections, records, class_names=classes.names)
    return trees.group_means({**figures, "diagnosis": told}, groups)

  def of_pictures(
    detections: Sequence[Detections], records: Sequence[Any]
  ) -> dict[str, Any]:
    return classification.accuracy(detections, records, classes=classes)

  return of_boxes if metric in BOX_METRICS else of_pictures


def evaluate_both(
  detections: Sequence[Detections],
  records: Sequence[Any],
  *,
  class_names: Sequence[str],
) -> dict[str, Any]:
  """VOC's figures and COCO's; "metric" is the COCO AP."""
  found, truth = voc.collect(detections, records)
  return evaluate_found(found, truth, records, class_names=class_names)


def evaluate_found(
  found: voc.Found,
  truth: voc.Found,
  records: Sequence[Any],
  *,
  class_names: Sequence[str],
) -> dict[str, Any]:
  """As `evaluate_both`, of two lists; detected boxes count as they are."""
  figures = voc.evaluate_found(found, truth, class_names=class_names)
  of_coco = coco.evaluate_found(
    found,
    truth,
    records,
    class_names=class_names,
    library=coco.coco_library(),
  )
  return coco.joined(figures, of_coco)


def evaluate_all(
  detections: Sequence[Detections],
  records: Sequence[Any],
  *,
  class_names: Sequence[str],
) -> dict[str, Any]:
  """As `evaluate_both`, and COCO's by masks; "metric" is the COCO mask AP."""
  figures = evaluate_both(detections, records, class_names=class_names)
  of_masks = mask_ap.evaluate_masks(
    detections,
    records,
    class_names=class_names,
    library=coco.coco_library(),
  )
  return coco.joined(figures, of_masks)


EVALUATIONS = {
  "VOC07 AP": voc.evaluate,
  "COCO AP": evaluate_both,
  "COCO mask AP": evaluate_all,
}
