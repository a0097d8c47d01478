"""What figures depend on, beside the detector: one line of the report each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from yolo9000.data.records import Dataset, Record
from yolo9000.scoring import trees
from yolo9000.scoring.coco import coco_library
from yolo9000.scoring.voc import Found
from yolo9000.types import Detections

PROGRAM_SCORE = 0.005  # of the original program's `detector valid`
NOTHING = Detections(
  np.zeros((0, 4), np.float32),
  np.zeros(0, np.float32),
  np.zeros(0, np.int32),
  np.zeros(0, bool),
)
OF_MASKS = {
  "COCO mask AP": (
    "as COCO AP, by IoU of pixels: those of probability .5 and more; a truth "
    "whose mask is not known is neither hit nor miss"
  )
}
# Options of detection under the names by which people compare them.
NAMES = {
  "score_threshold": "score threshold",
  "iou_threshold": "IoU of suppression",
  "max_candidates": "most boxes before suppression",
  "max_detections": "most detections on a picture",
}


def some(names: Sequence[str]) -> str:
  """The names, at most ten of them."""
  more = f" and {len(names) - 10} more" if len(names) > 10 else ""
  return (", ".join(names[:10]) or "none") + more


def of_model(
  where: str, size: tuple[int, int], resize: str, options: Mapping[str, Any]
) -> dict[str, Any]:
  """The detector and its options.

  Args:
    where: it comes from.
    size: (height, width) of its input.
    resize: how a picture is brought to it.
    options: of detection, all that were used.
  """
  told = {NAMES.get(name, name): value for name, value in options.items()}
  told = {name: value for name, value in told.items() if value not in ((), [])}
  return {
    "detector": where,
    "input size": f"{size[1]}x{size[0]}, {resize}",
    **told,
  }


def of_dataset(dataset: Dataset, *, as_it_is: bool = False) -> dict[str, Any]:
  """What its reader noted and mended.

  Args:
    dataset: the data set.
    as_it_is: whether annotations are judged as they are, and not mended.
  """
  told: dict[str, Any] = {
    note: count for note, count in dataset.notes.items() if count
  }
  if dataset.flaws:
    kinds = Counter(flaw.kind for flaw in dataset.flaws)
    what = "judged as they are" if as_it_is else "mended"
    told[f"flaws of the annotations, {what}"] = ", ".join(
      f"{count} {kind}" for kind, count in kinds.most_common()
    )
  return told


def of_classes(names: Sequence[str], of_model: Sequence[str]) -> dict[str, Any]:
  """The classes of the data set beside the model's."""
  rest = [name for name in of_model if name not in names]
  told = f"{len(names)} of the data set, {len(of_model)} of the model"
  if rest:
    told += f"; the model alone has {some(rest)}"
  return {"classes": told}


def of_boxes(
  found: Found,
  truth: Found,
  *,
  pictures: int,
  class_names: Sequence[str],
  hit: float,
  tree: bool,
  coco_format: bool,
) -> dict[str, Any]:
  """How boxes are judged, and how many there are.

  Args:
    found, truth: in pixels.
    pictures: of the data set.
    class_names: of the labels.
    hit: IoU of a hit for VOC's figures.
    tree: whether a truth counts for the classes above its own.
    coco_format: whether difficult truths are COCO's crowds.
  """
  library = coco_library()[0].__module__.partition(".")[0]
  have = set(truth.label[~truth.difficult].tolist())
  without = [n for label, n in enumerate(class_names) if label not in have]
  hard = "crowds (iscrowd)" if coco_format else "difficult truths"
  told = {
    "VOC07 AP": f"11 points of recall, IoU of a hit at least {hit:g}",
    "VOC10 AP": f"area under the curve, IoU of a hit at least {hit:g}",
    "matching for VOC": (
      "a detection is compared with the truth that it overlaps most; equal "
      "scores keep their order"
    ),
    "COCO AP": (
      f"101 points of recall, mean of IoU .5 to .95, the best 100 detections "
      f"of a class on a picture, by {library}"
    ),
    hard: "neither hit nor miss, and no truths to find",
    "pictures": pictures,
    "truths": int(np.sum(~truth.difficult)),
    f"{hard}, not counted": int(np.sum(truth.difficult)),
    "all detections": len(found.image),
    "classes without truths, left out of the means": some(without),
  }
  if tree:
    told["tree"] = "a truth counts for every class above its own as well"
  return told


def of_matrix(score_threshold: float, iou_threshold: float) -> dict[str, Any]:
  """The rule of the confusion matrix, see `confusion.judge`."""
  return {
    "confusion matrix": (
      f"detections of score {score_threshold:g} and more, the best first, each "
      f"with the free truth of its class that it overlaps most, IoU at least "
      f"{iou_threshold:g}; those without one then with a truth of any class"
    )
  }


def scored_records(
  records: Sequence[Record], classes: Any, scored: Sequence[str]
) -> list[Record]:
  """Records with the truths that `scoring.make_score` counts."""
  result = list(records)
  labels = classes.labels(scored, "evaluation.classes")
  if classes.tree is not None:
    result = trees.credit_ancestors(result, classes.tree.parents)
  if labels is not None:
    result = [r.take(np.isin(r.labels, labels)) for r in result]
  return result


def check_boxes(records: Sequence[Record]) -> None:
  """Raises ValueError for pictures with image labels, which have no boxes."""
  labelled = sum(record.image_label >= 0 for record in records)
  if labelled:
    raise ValueError(
      f"{labelled} of {len(records)} pictures have an image label in "
      f"place of boxes; expected boxes, by which a detector is measured"
    )
