"""What a finished run tells on the screen, and its page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yolo9000 import command_line
from yolo9000.files import write_whole
from yolo9000.tables import plan
from yolo9000.tables.html_parts import SCROLLS, image, page, table, text
from yolo9000.tables.results import FIGURES

# What is in a run's folder, for people.
FILES = {
  "report.html": "all of this to look at",
  "curves.png": "loss and AP on the way",
  "precision_recall.png": "precision and recall of each class",
  "detections.png": "test pictures with detections and truth",
  "detections.json": "all detections, as COCO lists results",
  "results.json": "every figure",
  "checkpoints": "the latest two states, and the best",
}


def summary(results: Mapping[str, Any], config: Any, workdir: Path) -> str:
  """A table of each class and group, where everything lies, what to do next.

  Args:
    results: the content of results.json.
    config: of the run.
    workdir: its folder.
  """
  rows = cells(results)
  lines = [
    f"{workdir}: {results.get('steps', config.run.total_steps):,} steps in "
    f"{results['training_minutes']:.1f} minutes. In percent:",
    *columns(rows),
    f"In {workdir}/ are",
    *(
      f"  {name:22}{what}"
      for name, what in FILES.items()
      if (workdir / name).exists()
    ),
  ]
  if len(config.task.to_dict().get("detect", {})) > 1:  # finds boxes
    detect = command_line.typed("yolo9000.detect")
    lines.append("Find boxes on pictures of yours:")
    lines.append(f"  {detect} --run={workdir} PICTURES")
  lines.append("Go on with it for 1,000 steps more: the same command with")
  longer = results.get("extended_by", 0) + 1000
  lines.append(f"  --config.run.extend={longer}")
  return "\n".join(lines)


def write_page(config: Any, found: Mapping[str, Any], workdir: Path) -> None:
  """Writes report.html of a single run to its folder.

  Args:
    config: of the run.
    found: the content of its results.json.
    workdir: where that is, and its pictures.
  """
  test = config.data.test
  parts = [
    f"<h1>{text(config.name)}</h1>",
    f"<p>In percent, on {text(test.format)} {text(test.split)}; "
    f"{found.get('steps', config.run.total_steps):,} steps in "
    f"{found['training_minutes']:.1f} minutes. "
    f"Commit {text(found['commit'])}, {text(found['hardware'])}.</p>",
    table(cells(found)),
  ]
  for name in ("detections.png", "curves.png", "precision_recall.png"):
    if (workdir / name).exists():
      chart = image((workdir / name).read_bytes(), "png", FILES[name])
      parts.append(f'{SCROLLS}<div class="wide">{chart}</div>')
  content = json.dumps(plan.as_json(config), indent=1)
  parts.append(f"<h2>Config</h2><pre>{text(content)}</pre>")
  write_whole(workdir / "report.html", page(config.name, parts))


def cells(results: Mapping[str, Any]) -> list[list[str]]:
  """A row for each class and group, and for all; the head first."""
  figures = [n for n in FIGURES if isinstance(results.get(n), float)]
  rows = [["", *figures, "truths"]]
  for name, found in results["per_class"].items():
    found = found if isinstance(found, Mapping) else {figures[0]: found}
    numbers = [_percent(found.get(figure)) for figure in figures]
    rows.append([name, *numbers, str(found.get("truths", ""))])
  for name, value in (results.get("groups") or {}).items():
    rows.append([f"group {name}", _percent(value)])
  numbers = [_percent(results.get(figure)) for figure in figures]
  return [*rows, ["all", *numbers, str(results.get("truths", ""))]]


def _percent(value: float | None) -> str:
  return "" if value is None else f"{100 * value:.1f}"


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
  """Lines of a table: the first column to the left, the others to the right."""
  count = max(map(len, rows))
  full = [[*row, *[""] * (count - len(row))] for row in rows]
  widths = [max(len(row[n]) for row in full) for n in range(count)]
  lines = []
  for first, *others in full:
    cells = [first.ljust(widths[0])]
    cells += [c.rjust(w) for c, w in zip(others, widths[1:], strict=True)]
    lines.append(f"  {'  '.join(cells)}".rstrip())
  return lines
