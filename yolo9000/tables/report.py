"""report.html: a table with all that is needed to believe it, in one file."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from ml_collections import ConfigDict

from yolo9000 import scoring
from yolo9000.data import drawing
from yolo9000.data.disk import DataError
from yolo9000.files import read_json_lines, write_whole
from yolo9000.tables import (
  plan,
  plots,
  results,
  sentences,
  table_files,
)
from yolo9000.tables.html_parts import drawn, image, page, table, text
from yolo9000.tables.plan import Plan
from yolo9000.tables.results import Filled
from yolo9000.training import build

PICTURES = 4  # shown with the detections of every row
TITLES = {
  "steps": "Step by step",
  "sizes": "Size by size",
  "alternatives": "The alternatives",
}
# What a row's folder has for people.
LINKED = {
  "curves.png": "its curves",
  "precision_recall.png": "precision and recall",
  "detections.png": "more pictures",
  "results.json": "all its figures",
}


def write(
  config: Any,
  made: Plan,
  filled: Sequence[Filled],
  workdir: Path,
  out: Path,
) -> None:
  """Writes report.html to the folder out: one file, with links to the runs.

  Args:
    config: of the table.
    made: its plan.
    filled: its rows.
    workdir: of its stages; what is not finished there is left out.
    out: where table.png is.
  """
  rows = {row.name: row for row in made.rows[::-1]}  # of the first seed
  ends = {
    one.name: plan.folder(workdir, rows[one.name].stages[-1])
    for one in filled
    if rows[one.name].seed in one.results
  }
  parts = [
    f"<h1>{text(results.heading(config))}</h1>",
    table(results.cells(config, filled)),
    *(f"<p>{text(note)}</p>" for note in sentences.notes(config, filled)),
    drawn(lambda file: table_files.draw(config, filled, file)),
    *(
      f"<p>{title}:</p>{table(cells)}"
      for title, cells in results.by_iou(filled).items()
    ),
    _trade_off(config, filled),
    f"<h2>{TITLES[results.frame(config).kind]}</h2>",
    *_steps(config, filled, ends, out),
    f"<h2>{_metric(config)} of each class</h2>",
    _per_class(filled),
    "<h2>The same pictures: the truth, and what every row detects</h2>",
    *_detections(config, ends),
    "<h2>Loss</h2>",
    _curves(made, rows, ends, workdir),
    "<h2>Stages</h2>",
    _stages(made, workdir),
    "<h2>The first row's config</h2>",
    f"<pre>{text(json.dumps(_base(config), indent=1))}</pre>",
  ]
  out.mkdir(parents=True, exist_ok=True)
  write_whole(out / "report.html", page(config.name, parts))


def _base(config: Any) -> Any:
  """The first row's stages as JSON."""
  first = next(iter(plan.row_configs(config).values()))
  return {
    name: plan.as_json(stage)
    for name, stage in plan.stage_configs(
      first, plan.seeds_of(config)[0]
    ).items()
  }


def _steps(
  config: Any, filled: Sequence[Filled], ends: Mapping[str, Path], out: Path
) -> list[str]:
  """A section for each row: what it changes and gains, what is measured."""
  configs = plan.row_configs(config)
  remarks = config.remarks.to_dict() if "remarks" in config else {}
  figure, how = results.figures_of(filled)[0], results.frame(config)
  changes_of = {name: changes for name, _, changes, _ in config.rows}
  parts = []
  for row, before in zip(filled, results.below(config, filled), strict=True):
    above = config if before is None else configs[before.name]
    changes = changes_of[row.name]
    if before is None or how.kind == "sizes":
      sentence = {
        "steps": "The others stand on it.",
        "sizes": "It differs from the others in these values alone.",
        "alternatives": "It stands by itself.",
      }[how.kind]
    else:
      sentence = sentences.step_in_words(before, row, figure, how)
      sentence += f" It differs from {before.name} in these values."
    lines = dict.fromkeys(
      line
      for name, _ in changes
      for line in _changed(above, configs[row.name], name)
    )
    parts.append(f"<h3>{text(row.name)}</h3><p>{text(sentence)}</p>")
    parts.append(_links(ends.get(row.name), out))
    if before is not None and _against_paper(before, row, figure):
      parts.append("<p>It goes the other way than in the paper.</p>")
    if row.name in remarks:
      note = f"Of the recorded run: {remarks[row.name]}"
      parts.append(f"<p>{text(note)}</p>")
    if lines:
      parts.append(f"<pre>{text(chr(10).join(lines))}</pre>")
    parts.append(_diagnosis(before, row))
  return parts


def _links(folder: Path | None, out: Path) -> str:
  """To the folder of a row, and to what is drawn there."""
  if folder is None:
    return ""
  where = os.path.relpath(folder, out)
  names = [name for name in LINKED if (folder / name).exists()]
  links = [f'<a href="{text(where)}/">its folder</a>']
  links += [f'<a href="{text(where)}/{n}">{LINKED[n]}</a>' for n in names]
  return f"<p>{', '.join(links)}</p>"


def _changed(above: Any, config: Any, name: str) -> list[str]:
  """A row's change in words; of a group of options those that differ."""
  old, new = _value(above, name), _value(config, name)
  if not isinstance(new, ConfigDict) or not isinstance(old, ConfigDict):
    return [f"{name}: {old!r} → {new!r}"]
  pair = plan.as_json(old), plan.as_json(new)
  return [f"{name}.{line}" for line in plan.differences(*pair)]


def _value(config: Any, name: str) -> Any:
  """Of an option; None for one that the config has not."""
  for part in name.split("."):
    if part not in config:
      return None
    config = config[part]
  return config


def _against_paper(before: Filled, row: Filled, figure: str) -> bool:
  ours = results.in_pairs(before, row, figure)
  old, new = (one.of_paper(figure, first=True) for one in (before, row))
  if old is None or new is None or not ours[0]:
    return False
  gain = float(np.mean(ours[1]) - np.mean(ours[0]))
  return gain * (new - old) < 0


def _diagnosis(before: Filled | None, row: Filled) -> str:
  """What `scoring.diagnosis` measured, of this row and the one below it."""
  names: dict[str, None] = {}
  for found in row.results.values():
    names.update(dict.fromkeys(found.get("diagnosis", ())))
  if not names:
    return ""

  def of(one: Filled) -> list[str]:
    found = [r.get("diagnosis", {}) for r in one.results.values()]
    return [
      results.spread([100 * f[n] for f in found if f.get(n) is not None])
      for n in names
    ]

  lines = [["in percent", *names], [row.name, *of(row)]]
  if before is not None and before.results:
    lines.append([before.name, *of(before)])
  return table(lines)


def _metric(config: Any) -> str:
  metric = plan.last_stage(config).evaluation.metric
  boxes = metric in scoring.BOX_METRICS
  return "Average precision" if boxes else "Right answers"


def _per_class(filled: Sequence[Filled]) -> str:
  """VOC07 AP, or a classifier's share of right answers; mean over seeds."""
  rows = [row for row in filled if row.results]
  names: dict[str, None] = {}
  for row in rows:
    for found in row.results.values():
      names.update(dict.fromkeys(found.get("per_class", ())))
  lines: list[list[Any]] = [["class", *(row.name for row in rows)]]
  for name in names:
    cells: list[Any] = [name]
    for row in rows:
      known = [r["per_class"].get(name) for r in row.results.values()]
      known = [k.get("VOC07 AP") if isinstance(k, dict) else k for k in known]
      known = [100 * value for value in known if value is not None]
      cells.append(float(np.mean(known)) if known else "")
    lines.append(cells)
  return table(lines, colour=True)


def _detections(config: Any, ends: Mapping[str, Path]) -> list[str]:
  """The first pictures of the test split, each with a picture for every row."""
  last = plan.last_stage(config)
  boxes = {
    name: path
    for name, path in ends.items()
    if (path / "detections.json").exists()
  }
  if not boxes or last.evaluation.metric not in scoring.BOX_METRICS:
    return ["<p>None.</p>"]
  try:
    data = build.test_data(last, build.read_classes(last.data))
  except (DataError, OSError, ValueError) as error:
    return [f"<p>The pictures cannot be read: {text(error)}</p>"]
  ids = list(data.category_ids or range(len(data.class_names)))
  parts = [f"<p>Scores above {plots.SHOWN_SCORE}.</p>"]
  found = {
    name: _by_file(path / "detections.json") for name, path in boxes.items()
  }
  for record in data.records[:PICTURES]:
    picture = data.read_image(record)
    names = [data.class_names[label] for label in record.labels.tolist()]
    shown = drawing.draw(picture, record.boxes_px, record.labels, names)
    _, code = cv2.imencode(".jpg", shown[..., ::-1])
    parts.append(image(code.tobytes(), "jpeg", "truth"))
    for name, by_file in found.items():
      rows = by_file.get(record.path, [])
      edges = np.array([row["bbox"] for row in rows]).reshape(-1, 4)
      edges[:, 2:] += edges[:, :2]
      labels = np.array([ids.index(row["category_id"]) for row in rows], int)
      texts = [
        f"{data.class_names[label]} {row['score']:.2f}"
        for label, row in zip(labels, rows, strict=True)
      ]
      shown = drawing.draw(picture, edges, labels, texts)
      _, code = cv2.imencode(".jpg", shown[..., ::-1])
      parts.append(image(code.tobytes(), "jpeg", name))
    parts.append("<hr>")
  return parts


def _by_file(path: Path) -> dict[str, list[dict[str, Any]]]:
  """Detections that are worth showing, by their picture."""
  found: dict[str, list[dict[str, Any]]] = {}
  for row in json.loads(path.read_text()):
    if row["score"] > plots.SHOWN_SCORE:
      found.setdefault(row["file_name"], []).append(row)
  return found


def _curves(
  made: Plan,
  rows: Mapping[str, plan.Row],
  ends: Mapping[str, Path],
  workdir: Path,
) -> str:
  """The loss of every row's last training."""
  lines = {}
  for name in ends:
    trained = [k for k in rows[name].stages if made.stages[k].trains][-1]
    path = plan.folder(workdir, trained) / "metrics.jsonl"
    batch = made.stages[trained].config.run.batch_size
    lines[name] = [
      (line["step"] * batch, line["loss"])
      for line in read_json_lines(path)
      if "loss" in line
    ]

  def draw(file: io.BytesIO) -> str:
    plots.losses(file, lines)
    return "loss against pictures"

  return drawn(draw)


def _trade_off(config: Any, filled: Sequence[Filled]) -> str:
  """Accuracy against speed, where speed was measured: Table 3's figure."""
  figure = results.figures_of(filled)[0]
  ours, paper = {}, {}
  for row in filled:
    if row.speed and row.values(figure):
      ours[row.name] = (row.speed, float(np.mean(row.values(figure))))
    theirs = row.of_paper("images/s", first=False)
    accuracy = row.of_paper(figure, first=True)
    if theirs is not None and accuracy is not None:
      size = row.of_paper("size", first=False)
      name = row.name if size is None else f"size {size:.0f}"
      paper[name] = (theirs, accuracy)
  if not ours:
    return ""
  label = "this miniature" if results.frame(config).setting else "ours"

  def draw(file: io.BytesIO) -> str:
    labels = (label, "paper, on a Titan X")
    plots.trade_off(file, ours, paper, labels=labels, title=figure)
    return f"{figure} against images per second; heights and speeds differ"

  return drawn(draw)


def _stages(made: Plan, workdir: Path) -> str:
  """Every stage: what it needs, saw and took, with which code and where."""
  head = ["stage", "from", "GFLOP a picture", "pictures", "minutes"]
  head += ["commit", "hardware"]
  lines = [head]
  for key, stage in made.stages.items():
    run, path = stage.config.run, plan.folder(workdir, key) / "results.json"
    pictures = run.total_steps * run.batch_size if stage.trains else 0
    cells = [key, stage.parent or ""]
    if path.exists():
      found = json.loads(path.read_text())
      count, minutes = (
        found["operations_per_picture"],
        found["training_minutes"],
      )
      cells += [f"{count / 1e9:.4g}" if count else "", f"{pictures:,}"]
      cells += [f"{minutes:.1f}", found["commit"], found["hardware"]]
    else:
      cells += ["", f"{pictures:,}", "not run", "", ""]
    lines.append(cells)
  return table(lines)
