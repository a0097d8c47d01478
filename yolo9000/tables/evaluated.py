"""The files of an evaluation, and its page to look at."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from yolo9000.data import drawing
from yolo9000.data.disk import DataError, shown
from yolo9000.data.records import Dataset
from yolo9000.files import write_whole
from yolo9000.scoring import voc
from yolo9000.scoring.confusion import FALSE_ALARM, Confusion, Judged
from yolo9000.scoring.voc import Found
from yolo9000.tables import html_parts, plots

SIDE = 480  # of a picture on the page, in pixels
WIDEST = 25  # classes of a matrix that is shown whole
PAIRS = 50  # of a larger one
# What is drawn, each in the colour of the label of its number.
KINDS = ("missed", "of a wrong class", "right", "false alarms")
MISSED, WRONG, RIGHT, FALSE = range(4)


class Boxes(NamedTuple):
  """Detections and truths in pixels, and what was made of them."""

  found: Found
  truth: Found
  scored: Found  # the truths that average precision counts, as of a tree
  judged: Judged
  hit: float  # IoU of a hit in the curves


class Evaluation(NamedTuple):
  """All that was learned.

  `boxes` is None for a classifier, and `answers` for a detector: the first
  label of each picture, its score, and whether it is right.
  """

  title: str
  dataset: Dataset
  figures: dict[str, Any]
  protocol: Mapping[str, Any]
  confusion: Confusion
  boxes: Boxes | None
  answers: Sequence[tuple[int, float, bool]] | None


def lines(evaluation: Evaluation) -> Iterator[str]:
  """The protocol and the figures as text; figures are in percent."""
  yield "protocol"
  for name, value in evaluation.protocol.items():
    yield f"  {name}: {'-' if value is None else value}"
  rows = class_rows(evaluation.figures)
  if len(rows) > 1:
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for first, *rest in cells:
      after = (c.rjust(w) for c, w in zip(rest, widths[1:], strict=True))
      yield "  ".join([first.ljust(widths[0]), *after])
  for name, value in means(evaluation.figures).items():
    yield f"{name}: {_cell(value)}"


def _cell(value: Any) -> str:
  """A share in percent; counts and words as they are."""
  if value is None:
    return "-"
  return f"{100 * value:.2f}" if isinstance(value, float) else str(value)


def means(figures: Mapping[str, Any]) -> dict[str, float | None]:
  """The figures that are of all classes, and those of groups."""
  found = {
    name: value
    for name, value in figures.items()
    if value is None or isinstance(value, float)
  }
  return {**found, **figures.get("groups", {})}


def class_rows(figures: Mapping[str, Any]) -> list[list[Any]]:
  """A row for each class, the first of the names of the columns."""
  per_class = figures["per_class"]
  rows = {
    name: row if isinstance(row, Mapping) else {"top-1": row}
    for name, row in per_class.items()
  }
  columns = list(dict.fromkeys(key for row in rows.values() for key in row))
  return [
    ["class", *columns],
    *([name, *(row.get(key) for key in columns)] for name, row in rows.items()),
  ]


def write(out: Path, evaluation: Evaluation, *, shown_pictures: int) -> None:
  """Writes everything but the detections to the folder out.

  Args:
    out: is there.
    evaluation: what is written.
    shown_pictures: on the page, of the worst.
  """
  figures = {**evaluation.figures, "protocol": dict(evaluation.protocol)}
  write_whole(out / "figures.json", json.dumps(figures, indent=1))
  _write_csv(out / "per_class.csv", class_rows(evaluation.figures))
  names, counts = evaluation.confusion
  matrix = [[n, *row] for n, row in zip(names, counts.tolist(), strict=True)]
  _write_csv(out / "confusion.csv", [["truth \\ answer", *names], *matrix])
  if evaluation.boxes is not None:
    _write_curves(out, evaluation.boxes, evaluation.dataset.class_names)
  page = html_parts.page(
    evaluation.title, list(_parts(out, evaluation, shown_pictures))
  )
  data = page.encode("utf-8", "backslashreplace")
  write_whole(out / "index.html", data)


def _write_csv(path: Path, rows: Sequence[Sequence[Any]]) -> None:
  file = io.StringIO()
  csv.writer(file, lineterminator="\n").writerows(rows)
  write_whole(path, file.getvalue())


def _write_curves(out: Path, boxes: Boxes, names: Sequence[str]) -> None:
  """precision_recall.png of the classes with truths, and .csv, its points."""
  points: list[Sequence[Any]] = [("class", "score", "recall", "precision")]
  curves = {}
  for label, name in enumerate(names):
    curve = voc.voc_curve(
      boxes.found, boxes.scored, label, iou_threshold=boxes.hit
    )
    if not curve.truths:
      continue
    curves[name] = curve
    scores = -np.sort(-boxes.found.score[boxes.found.label == label])
    columns = zip(scores, curve.recall, curve.precision, strict=True)
    points += [(name, *map(float, values)) for values in columns]
  _write_csv(out / "precision_recall.csv", points)
  if curves:
    path = out / "precision_recall.png"
    plots.precision_recall(path, curves, hit=boxes.hit)


def _parts(
  out: Path, evaluation: Evaluation, shown_pictures: int
) -> Iterator[str]:
  """The page."""
  text, table = html_parts.text, html_parts.table
  yield f"<h1>{text(evaluation.title)}</h1>"
  yield table([("figure", "%")] + [*_percent(means(evaluation.figures))])
  yield "<h2>The protocol</h2><ul>"
  for name, value in evaluation.protocol.items():
    yield f"<li>{text(name)}: {text('-' if value is None else value)}</li>"
  yield "</ul><h2>Each class</h2>"
  head, *rows = class_rows(evaluation.figures)
  yield table([head, *([row[0], *map(_cell, row[1:])] for row in rows)])
  curves = out / "precision_recall.png"
  if evaluation.boxes is not None and curves.exists():
    chart = html_parts.image(
      curves.read_bytes(), "png", "precision and recall of each class"
    )
    yield f'{html_parts.SCROLLS}<div class="wide">{chart}</div>'
  yield "<h2>What is taken for what</h2>"
  yield from _matrix(evaluation.confusion, evaluation.boxes is not None)
  yield "<h2>The worst pictures</h2>"
  yield from _worst(evaluation, shown_pictures)


def _percent(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
  for name, value in values.items():
    yield name, _cell(value)


def _matrix(confusion: Confusion, boxes: bool) -> Iterator[str]:
  """The matrix, or of a large one the most frequent mistakes."""
  names, counts = confusion
  where = "; in the last column are those missed, in the last row false alarms"
  yield (
    f"<p>A row is of truths, a column of answers{where if boxes else ''}. All "
    f"of it is in confusion.csv.</p>"
  )
  if len(names) <= WIDEST:
    body = [[n, *row] for n, row in zip(names, counts.tolist(), strict=True)]
    yield html_parts.table([["", *names], *body])
  else:
    pairs = [(a, b, n) for n, a, b in confusion.pairs()[:PAIRS]]
    yield html_parts.table([("truth", "answer", "times"), *pairs])


class _Mistakes(NamedTuple):
  """What is drawn on a picture, and how much of it is wrong."""

  boxes_px: np.ndarray
  kinds: np.ndarray
  texts: list[str]

  @property
  def counts(self) -> tuple[int, ...]:
    return tuple(int(np.sum(self.kinds == kind)) for kind in range(len(KINDS)))

  @property
  def wrong(self) -> int:
    return sum(self.counts) - self.counts[RIGHT]


def _mistakes(boxes: Boxes, names: Sequence[str]) -> dict[int, _Mistakes]:
  """By picture, in the order of the pictures."""
  found, truth, _, judged, _ = boxes
  rows: dict[int, list[tuple[Any, int, str]]] = {}
  for number in np.flatnonzero(~truth.difficult & (judged.answer < 0)):
    row = (truth.boxes_px[number], MISSED, f"{names[truth.label[number]]}?")
    rows.setdefault(int(truth.image[number]), []).append(row)
  for number in np.flatnonzero(judged.truth >= FALSE_ALARM):
    text = f"{names[found.label[number]]} {found.score[number]:.2f}"
    kind = FALSE
    if judged.truth[number] >= 0:
      label = truth.label[judged.truth[number]]
      kind = RIGHT if label == found.label[number] else WRONG
      text += "" if kind == RIGHT else f", is {names[label]}"
      edges = truth.boxes_px[judged.truth[number]]
      rows.setdefault(int(found.image[number]), []).append((edges, -1, ""))
    row = (found.boxes_px[number], kind, text)
    rows.setdefault(int(found.image[number]), []).append(row)
  result = {}
  for image in sorted(rows):
    edges, kinds, texts = zip(*rows[image], strict=True)
    result[image] = _Mistakes(np.array(edges), np.array(kinds), [*texts])
  return result


def _worst(evaluation: Evaluation, shown_pictures: int) -> Iterator[str]:
  if evaluation.boxes is None:
    yield from _worst_labels(evaluation, shown_pictures)
    return
  dataset = evaluation.dataset
  mistakes = _mistakes(evaluation.boxes, dataset.class_names)
  order = sorted(
    (image for image in mistakes if mistakes[image].wrong),
    key=lambda image: -mistakes[image].wrong,
  )
  yield (
    f"<p>{len(order)} of {len(dataset.records)} pictures have mistakes; here "
    f"are {min(len(order), shown_pictures)}, those with the most first. "
    f"Truths that were found are in white, the rest is coloured:"
  )
  for number, kind in enumerate(KINDS):
    red, green, blue, _ = (round(255 * x) for x in drawing.colour(number))
    yield f'<b style="color: rgb({red} {green} {blue})">&#9632;</b> {kind}'
  yield "</p>"
  absent = []
  for image in order[:shown_pictures]:
    record, made = dataset.records[image], mistakes[image]
    told = ", ".join(
      f"{kind} {count}"
      for count, kind in zip(made.counts, KINDS, strict=True)
      if count
    )
    caption = f"{Path(shown(record.path)).name}: {told}"
    try:
      picture = dataset.read_image(record)
    except DataError:
      absent.append(caption)
      continue
    yield html_parts.image(_draw(picture, made), "jpeg", caption)
  yield from _absent(absent)


def _absent(captions: Sequence[str]) -> Iterator[str]:
  if captions:
    items = "".join(f"<li>{html_parts.text(c)}</li>" for c in captions)
    yield f"<p>{len(captions)} pictures cannot be shown:</p><ul>{items}</ul>"


def _draw(picture: np.ndarray, made: _Mistakes) -> bytes:
  small, scale = _shrink(picture)
  found = made.kinds < 0
  pen = small.copy()
  for left, top, right, bottom in (made.boxes_px[found] * scale).round():
    corners = (int(left), int(top)), (int(right), int(bottom))
    cv2.rectangle(pen, *corners, (255, 255, 255), 1)
  texts = [t for t, hidden in zip(made.texts, found, strict=True) if not hidden]
  drawn = drawing.draw(
    pen, made.boxes_px[~found] * scale, made.kinds[~found], texts
  )
  return _jpeg(drawn)


def _shrink(picture: np.ndarray) -> tuple[np.ndarray, float]:
  """The picture with a longer side of SIDE, and by what it was scaled."""
  scale = SIDE / max(picture.shape[:2])
  size = tuple(max(1, round(side * scale)) for side in picture.shape[1::-1])
  how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
  return cv2.resize(picture, size, interpolation=how), scale


def _jpeg(rgb: np.ndarray) -> bytes:
  return cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes()


def _worst_labels(evaluation: Evaluation, shown_pictures: int) -> Iterator[str]:
  """Of a classifier: the surest of its wrong answers first."""
  dataset, names = evaluation.dataset, evaluation.dataset.class_names
  wrong = [
    (score, n, label)
    for n, (label, score, right) in enumerate(evaluation.answers or ())
    if not right
  ]
  wrong.sort(key=lambda one: -one[0])
  yield (
    f"<p>{len(wrong)} of {len(dataset.records)} first answers are wrong; here "
    f"are {min(len(wrong), shown_pictures)}, the surest first.</p>"
  )
  absent = []
  for score, n, label in wrong[:shown_pictures]:
    record = dataset.records[n]
    caption = (
      f"{Path(shown(record.path)).name}: {names[record.image_label]}, the "
      f"answer is {names[label]} {score:.2f}"
    )
    try:
      picture, _ = _shrink(dataset.read_image(record))
    except DataError:
      absent.append(caption)
      continue
    yield html_parts.image(_jpeg(picture), "jpeg", caption)
  yield from _absent(absent)
