"""A table's files for people: table.md, table.csv, table.png."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from yolo9000.files import write_whole
from yolo9000.tables import plots, sentences
from yolo9000.tables.results import (
  Filled,
  below,
  by_iou,
  cells,
  figures_of,
  frame,
  gain_of_paper,
  heading,
  in_pairs,
)


def in_markdown(cells: Sequence[Sequence[str]]) -> list[str]:
  """Lines of a table, its head first."""
  head, *rows = cells
  lines = [head, ["---"] * len(head), *rows]
  return ["| " + " | ".join(line) + " |" for line in lines]


def draw(config: Any, filled: Sequence[Filled], file: io.BytesIO) -> str:
  """The table's chart; returns what it shows.

  Of a miniature's steps the gains, beside the paper's; its other tables without
  the paper's numbers, which cannot be compared.
  """
  how, figure = frame(config), figures_of(filled)[0]
  if how.kind == "steps" and how.setting and len(filled) > 1:
    pairs = [
      (before, row)
      for before, row in zip(below(config, filled), filled, strict=True)
      if before is not None
    ]
    gains = [np.subtract(*in_pairs(*p, figure)[::-1]) for p in pairs]
    plots.bar_chart(
      file,
      [row.name for _, row in pairs],
      [float(np.mean(gain)) if len(gain) else None for gain in gains],
      [gain_of_paper(*pair, figure) for pair in pairs],
      spreads=[float(np.std(g, ddof=1)) if len(g) > 1 else 0.0 for g in gains],
      labels=("this miniature", "paper"),
      title=f"gain of each step, points of {figure}",
    )
    return f"what each step gains, in points of {figure}, beside the paper's"
  values = [row.values(figure) for row in filled]
  papers = [row.of_paper(figure, first=True) for row in filled]
  plots.bar_chart(
    file,
    [row.name for row in filled],
    [float(np.mean(v)) if v else None for v in values],
    [] if how.setting else papers,
    spreads=[float(np.std(v, ddof=1)) if len(v) > 1 else 0.0 for v in values],
    labels=("this miniature" if how.setting else "ours", "paper"),
    title=f"{figure}, %",
  )
  return figure if how.setting else f"{figure} beside the paper's"


def write(config: Any, filled: Sequence[Filled], workdir: Path) -> None:
  """table.md, table.csv and table.png: the paper's number beside ours."""
  workdir.mkdir(parents=True, exist_ok=True)
  made = cells(config, filled)
  steps = sentences.steps_in_words(config, filled)
  if any(len(row.results) > 1 for row in filled):
    steps.append(sentences.EACH_BY_ITSELF)
  title = f"# {heading(config)}"
  text = "\n".join(
    [
      title,
      "",
      *in_markdown(made),
      "",
      "\n\n".join([*sentences.notes(config, filled), *steps]),
    ]
  )
  for name, table in by_iou(filled).items():
    text += "\n\n".join(["", f"{name}:", "\n".join(in_markdown(table))])
  write_whole(workdir / "table.md", text + "\n")
  file = io.StringIO()
  csv.writer(file).writerows(made)
  write_whole(workdir / "table.csv", file.getvalue())
  draft = io.BytesIO()
  draw(config, filled, draft)
  write_whole(workdir / "table.png", draft.getvalue())
  print(text)
