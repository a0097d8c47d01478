"""From detections and truths to an Evaluation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from yolo9000 import scoring
from yolo9000.data.disk import read_text
from yolo9000.data.formats import segmentation
from yolo9000.data.formats.coco import annotation_file
from yolo9000.data.formats.reading import Source
from yolo9000.data.records import Dataset
from yolo9000.scoring import classification, coco, confusion, protocol, voc
from yolo9000.scoring.given import Given
from yolo9000.scoring.voc import Found
from yolo9000.tables.evaluated import Boxes, Evaluation
from yolo9000.types import Detections
from yolo9000.wordtree import Classes

# Flaws of annotations in COCO's format that change nothing where these are
# judged as they are.
AS_THEY_ARE = ("like fractions", "not read", "outside")


class Truths(NamedTuple):
  """What is evaluated on, and how.

  `groups` and `scored` are as in `scoring.make_score`, `told` is what the
  protocol says already.
  """

  dataset: Dataset
  source: Source
  groups: Mapping[str, Sequence[str]]
  scored: Sequence[str]
  told: Mapping[str, Any]


class Limits(NamedTuple):
  """Thresholds of an evaluation.

  Attributes:
    hit: IoU of a hit for VOC's figures.
    matrix_score: least score of the confusion matrix.
    matrix_iou: IoU of a hit there.
  """

  hit: float = voc.VOC_IOU
  matrix_score: float = 0.5
  matrix_iou: float = 0.5


def given_boxes(
  what: str,
  truths: Truths,
  read: Given,
  limits: Limits,
) -> Evaluation:
  """Of a file's detections.

  Args:
    what: is evaluated, for people.
    truths: with the data set's own classes.
    read: the detections.
    limits: see there.
  """
  dataset, source = truths.dataset, truths.source
  classes = Classes(dataset.class_names)
  truths = truths._replace(told={**truths.told, **read.told})
  truth = _listed(dataset.records)
  if source.format == "coco":
    truth = _of_file(dataset, _content(source))
    figures = voc.evaluate_found(read.found, truth, class_names=classes.names)
  else:
    figures = scoring.evaluate_found(
      read.found, truth, dataset.records, class_names=classes.names
    )
  return _evaluation(
    what, truths, classes, read.found, truth, read.rows, figures, limits
  )


def _content(source: Source) -> dict[str, Any]:
  """The annotation file of a data set in COCO's format."""
  return json.loads(read_text(str(annotation_file(source))))


def _of_file(dataset: Dataset, content: Mapping[str, Any]) -> Found:
  """The truths of an annotation file as they are, uncut and unrounded.

  What belongs to no picture or no class counts in no program.
  """
  places = {record.image_id: n for n, record in enumerate(dataset.records)}
  labels = {number: label for label, number in enumerate(dataset.category_ids)}
  rows = [
    row
    for row in content["annotations"]
    if row["image_id"] in places and row["category_id"] in labels
  ]
  edges = np.array([row["bbox"] for row in rows], np.float64).reshape(-1, 4)
  edges[:, 2:] += edges[:, :2]
  return Found(
    np.array([places[row["image_id"]] for row in rows], np.int64),
    np.array([labels[row["category_id"]] for row in rows], np.int64),
    edges,
    np.ones(len(rows)),
    np.array([bool(row.get("iscrowd")) for row in rows], bool),
  )


def boxes(
  what: str,
  truths: Truths,
  classes: Classes,
  detections: Sequence[Detections],
  limits: Limits,
) -> tuple[Evaluation, list[dict[str, Any]]]:
  """Of a model's detections, in [0, 1]; and these as COCO's list of results.

  Args:
    what: is evaluated, for people.
    truths: with the model's classes.
    classes: the model's.
    detections: of each picture.
    limits: see there.
  """
  dataset, told = truths.dataset, dict(truths.told)
  ids = np.array(dataset.category_ids)
  if len(ids) and classes.tree is None and (ids < 0).any():
    whole = sum(len(found.labels) for found in detections)
    detections = [found.take(ids[found.labels] >= 0) for found in detections]
    told["detections of classes that the data set has not, left out"] = (
      whole - sum(len(found.labels) for found in detections)
    )
  score = scoring.make_score(
    metric=_metric(detections, dataset),
    classes=classes,
    groups=truths.groups,
    scored=truths.scored,
  )
  figures = score(detections, dataset.records)
  rows = coco.result_list(detections, dataset, exact=True)
  found, _ = voc.collect(detections, dataset.records)
  truths = truths._replace(told=told)
  truth = _listed(dataset.records)
  made = _evaluation(what, truths, classes, found, truth, rows, figures, limits)
  return made, rows


def _metric(detections: Sequence[Detections], dataset: Dataset) -> str:
  """COCO's figures, by masks as well where both sides have them."""
  have = all(found.masks is not None for found in detections) and all(
    record.masks is not None for record in dataset.records
  )
  return "COCO mask AP" if have else "COCO AP"


def _listed(records: Sequence[Any]) -> Found:
  """The truths of records in one list."""
  return voc.collect([protocol.NOTHING] * len(records), records)[1]


def _evaluation(
  what: str,
  truths: Truths,
  classes: Classes,
  found: Found,
  truth: Found,
  rows: Sequence[Mapping[str, Any]],
  figures: dict[str, Any],
  limits: Limits,
) -> Evaluation:
  """The figures with what else is told of boxes."""
  dataset, told = truths.dataset, dict(truths.told)
  is_coco = truths.source.format == "coco"
  figures.pop("metric")
  scored = truth
  if classes.tree is not None or truths.scored:
    scored = _listed(
      protocol.scored_records(dataset.records, classes, truths.scored)
    )
  if limits.hit != voc.VOC_IOU:
    figures = _by_hit(figures, found, scored, classes, limits.hit)
  if is_coco and classes.tree is None and not truths.scored:
    figures = _by_file(truths, figures, rows, told)
  told |= protocol.of_boxes(
    found,
    truth,
    pictures=len(dataset.records),
    class_names=classes.names,
    hit=limits.hit,
    tree=classes.tree is not None,
    coco_format=is_coco,
  )
  if coco.MASK_FIGURES[0] in figures:
    told |= protocol.OF_MASKS
  elif any("segmentation" in row for row in rows):
    told["masks of detections"] = (
      "not compared: not every object of the data set has one that COCO's own "
      "program can read"
    )
  told |= protocol.of_matrix(limits.matrix_score, limits.matrix_iou)
  judged = confusion.judge(
    found,
    truth,
    score_threshold=limits.matrix_score,
    iou_threshold=limits.matrix_iou,
    crowds=is_coco,
  )
  for label, name in enumerate(classes.names):
    row, mine = figures["per_class"][name], truth.label == label
    row["difficult"] = int(np.sum(mine & truth.difficult))
    row["detections"] = int(np.sum(found.label == label))
  return Evaluation(
    f"{what} on {truths.source}",
    dataset,
    figures,
    told,
    confusion.of_boxes(found, truth, judged, classes.names),
    Boxes(found, truth, scored, judged, limits.hit),
    None,
  )


def _by_hit(
  figures: dict[str, Any],
  found: Found,
  scored: Found,
  classes: Classes,
  hit: float,
) -> dict[str, Any]:
  """The figures, VOC's by another IoU of a hit; groups have none."""
  other = voc.evaluate_found(
    found, scored, class_names=classes.names, iou_threshold=hit
  )
  per_class = {
    name: {**row, **other["per_class"][name]}
    for name, row in figures["per_class"].items()
  }
  of_voc = {name: other[name] for name in ("VOC07 AP", "VOC10 AP")}
  kept = {key: value for key, value in figures.items() if key != "groups"}
  return {**kept, **of_voc, "per_class": per_class}


def _by_file(
  truths: Truths,
  figures: dict[str, Any],
  rows: Sequence[Mapping[str, Any]],
  told: dict[str, Any],
) -> dict[str, Any]:
  """The figures, COCO's by the annotation file itself.

  They stay as they are if classes of the file are left out or joined.
  """
  path, content = annotation_file(truths.source), _content(truths.source)
  ids = {row["id"] for row in content["categories"]}
  used = {row["category_id"] for row in content["annotations"]} & ids
  if not used <= set(truths.dataset.category_ids):
    return figures
  told["COCO's figures"] = f"of {path} as it is, by COCO's own program"
  if any(row.get("id") == 0 for row in content["annotations"]):
    told["an annotation has the id 0"] = (
      "COCO's program takes it for none: what finds that one counts as false"
    )
  rows = [row for row in rows if row["category_id"] in ids]
  masks = any("segmentation" in row for row in rows)
  if masks and not segmentation.is_strict(content):
    # Without them only boxes are compared.
    rows = [{k: row[k] for k in row if k != "segmentation"} for row in rows]
  by_file = coco.evaluate_file(content, rows, library=coco.coco_library())
  by_file.pop("metric")
  per_class = dict(figures["per_class"])
  for name, row in by_file.pop("per_class").items():
    if name in per_class:
      per_class[name] = {**per_class[name], **row}
  return {**figures, **by_file, "per_class": per_class}


def pictures(
  what: str,
  truths: Truths,
  classes: Classes,
  answers: Sequence[Detections],
) -> Evaluation:
  """Of a classifier's answers, as `boxes`."""
  dataset = truths.dataset
  score = scoring.make_score(
    metric="top-1", classes=classes, groups={}, scored=()
  )
  figures = score(answers, dataset.records)
  figures.pop("metric")
  return Evaluation(
    f"{what} on {truths.source}",
    dataset,
    figures,
    {**truths.told, "pictures": len(dataset.records)},
    confusion.of_pictures(answers, dataset.records, classes.names),
    None,
    [
      (
        int(one.labels[0]),
        float(one.scores[0]),
        record.image_label in classification.credited(one.labels[0], classes),
      )
      for one, record in zip(answers, dataset.records, strict=True)
    ],
  )
