"""Which class is taken for which, and on which pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from yolo9000 import boxes as box
from yolo9000.scoring.voc import Found
from yolo9000.types import Detections, Int

FALSE_ALARM = -1
NOT_JUDGED = -2  # too weak, or on an object that does not count
BACKGROUND = "background"


class Judged(NamedTuple):
  """What each detection found, and what found each truth.

  `truth` is the number of a detection's truth, FALSE_ALARM or NOT_JUDGED;
  `answer` the number of a truth's detection, or -1: it is missed, or does not
  count.
  """

  truth: Int[np.ndarray, " D"]
  answer: Int[np.ndarray, " T"]


class Confusion(NamedTuple):
  """How often a truth (row) has an answer (column), with names of both."""

  names: tuple[str, ...]  # with boxes the last is BACKGROUND
  counts: Int[np.ndarray, "N N"]

  def pairs(self) -> list[tuple[int, str, str]]:
    """Count, truth and answer of what is not right, the most frequent first."""
    wrong = np.argwhere(self.counts * ~np.eye(len(self.names), dtype=bool))
    found = [
      (int(self.counts[row, column]), self.names[row], self.names[column])
      for row, column in wrong.tolist()
    ]
    return sorted(found, key=lambda pair: -pair[0])


def judge(
  found: Found,
  truth: Found,
  *,
  score_threshold: float,
  iou_threshold: float,
  crowds: bool,
) -> Judged:
  """Pairs detections and truths of each picture, whatever their classes.

  Detections of at least score_threshold choose, the best first, and equal ones
  in their order: each takes the free truth of its own class that it overlaps
  most, by iou_threshold or more. Those that have none then choose in the same
  way among the free truths of all classes. What is left is a false alarm,
  unless it lies on a difficult truth.

  Args:
    found, truth: in pixels.
    score_threshold, iou_threshold: see above.
    crowds: difficult truths are crowds, on which a detection lies if this share
      of itself does; otherwise by IoU.
  """
  of_found = np.full(len(found.image), NOT_JUDGED)
  of_truth = np.full(len(truth.image), -1)
  ranked = np.argsort(-found.score, kind="stable")
  ranked = ranked[found.score[ranked] >= score_threshold]
  groups = _by_image(truth.image, np.arange(len(truth.image)))
  for image, mine in _by_image(found.image[ranked], ranked).items():
    there = groups.get(image, np.zeros(0, int))
    counted, hard = (there[truth.difficult[there] == d] for d in (False, True))
    overlap = box.iou(
      found.boxes_px[mine][:, None], truth.boxes_px[counted][None]
    )
    same = found.label[mine][:, None] == truth.label[counted][None]
    for allowed in (same, np.ones_like(same)):
      for n, detection in enumerate(mine):
        free = allowed[n] & (of_truth[counted] < 0)
        if of_found[detection] >= 0 or not free.any():
          continue
        best = np.argmax(np.where(free, overlap[n], -1.0))
        if overlap[n, best] >= iou_threshold:
          of_found[detection] = counted[best]
          of_truth[counted[best]] = detection
    for detection in mine[of_found[mine] < 0]:
      edges = found.boxes_px[detection][None]
      near = box.iou(edges, truth.boxes_px[hard])
      if crowds:
        shared = box.intersection(edges, truth.boxes_px[hard])
        near = shared / np.maximum(box.area(edges), 1e-12)
      if not (near >= iou_threshold).any():
        of_found[detection] = FALSE_ALARM
  return Judged(of_found, of_truth)


def _by_image(images: np.ndarray, numbers: np.ndarray) -> dict[int, np.ndarray]:
  """The numbers of each image, in their order."""
  order = np.argsort(images, kind="stable")
  names, starts = np.unique(images[order], return_index=True)
  parts = np.split(numbers[order], starts[1:])
  return dict(zip(names.tolist(), parts, strict=False))


def of_boxes(
  found: Found, truth: Found, judged: Judged, class_names: Sequence[str]
) -> Confusion:
  """Truths that nothing found have the answer BACKGROUND; false alarms its row.

  Of more than a hundred classes, those alone that are there.
  """
  none = len(class_names)
  counts: Counter[tuple[int, int]] = Counter()
  for number in np.flatnonzero(~truth.difficult):
    answer = judged.answer[number]
    column = found.label[answer] if answer >= 0 else none
    counts[int(truth.label[number]), int(column)] += 1
  for number in np.flatnonzero(judged.truth == FALSE_ALARM):
    counts[none, int(found.label[number])] += 1
  return _table(counts, [*class_names, BACKGROUND])


def of_pictures(
  answers: Sequence[Detections],
  records: Sequence[Any],
  class_names: Sequence[str],
) -> Confusion:
  """The image labels and the first answers of a classifier."""
  pairs = (
    (int(record.image_label), int(found.labels[0]))
    for found, record in zip(answers, records, strict=True)
  )
  return _table(Counter(pairs), class_names)


def _table(counts: Counter[tuple[int, int]], names: Sequence[str]) -> Confusion:
  shown = list(range(len(names)))
  if len(names) > 101:
    shown = sorted({number for pair in counts for number in pair})
  place = {number: n for n, number in enumerate(shown)}
  table = np.zeros((len(shown), len(shown)), np.int64)
  for (row, column), count in counts.items():
    table[place[row], place[column]] = count
  return Confusion(tuple(names[number] for number in shown), table)
