"""A table's rows as they are finished: table.md, table.csv, table.png."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from yolo9000 import scoring
from yolo9000.files import write_whole
from yolo9000.scoring import coco, trees
from yolo9000.tables import plan, plots
from yolo9000.tables.plan import Plan

# Of a run's results, those that a table shows where there are any.
FIGURES = (
  *("VOC07 AP", "VOC10 AP", *coco.COCO_FIGURES),
  *("top-1", "top-5", "hierarchical"),
)
SPEEDS = "speeds.json"  # images per second of rows, in a table's workdir
EACH_BY_ITSELF = (
  "Each step is judged by itself: of so many tests, one in twenty finds "
  "something where nothing is."
)
SIGNIFICANT = 0.05  # probability of such a difference by chance


class Filled(NamedTuple):
  """What is there of a row.

  Attributes:
    name, paper: as in config.rows.
    results: of its last stage, by seed; those that are finished.
    minutes: of training, of all its stages, by seed.
    error: why a seed failed, or "".
    speed: images per second, where it was measured; else None.
  """

  name: str
  paper: float | Mapping[str, float] | None
  results: dict[int, dict[str, Any]]
  minutes: dict[int, float]
  error: str
  speed: float | None = None

  def of_paper(self, figure: str, *, first: bool) -> float | None:
    """The paper's figure; a number alone is the table's first one."""
    if isinstance(self.paper, Mapping):
      return self.paper.get(figure)
    return self.paper if first else None

  def values(self, figure: str) -> list[float]:
    """Of each seed that has it, in percent; groups by their names."""
    found = (
      {**r, **(r.get("groups") or {})}.get(figure)
      for r in self.results.values()
    )
    return [100 * value for value in found if value is not None]


def fill(made: Plan, workdir: Path, failed: Mapping[str, str]) -> list[Filled]:
  """The rows with what is finished in workdir, whoever ran it.

  Args:
    made: of the table.
    workdir: of the table.
    failed: what went wrong, by the stage's key.
  """
  filled: dict[str, Filled] = {}
  path = workdir / SPEEDS
  speeds = json.loads(path.read_text()) if path.exists() else {}
  for row in made.rows:
    speed = speeds.get(row.stages[-1]) if row.stages else None
    empty = Filled(row.name, row.paper, {}, {}, "", speed)
    one = filled.setdefault(row.name, empty)
    error = row.error
    found: list[dict[str, Any]] = []
    for key in row.stages:
      path = plan.folder(workdir, key) / "results.json"
      if path.exists():
        found.append(json.loads(path.read_text()))
      else:
        error = error or failed.get(key, "")
    if error:
      filled[row.name] = one._replace(error=error)
    elif len(found) == len(row.stages):
      one.results[row.seed] = found[-1]
      one.minutes[row.seed] = sum(r["training_minutes"] for r in found)
  return list(filled.values())


def figures_of(filled: Sequence[Filled]) -> list[str]:
  """Names of the figures that any row has, those of the paper first."""
  known = [n for n in FIGURES if any(row.values(n) for row in filled)]
  papers = [row.paper for row in filled if isinstance(row.paper, Mapping)]
  known.sort(key=lambda n: bool(papers) and n not in papers[0])
  return known or ["metric"]


def spread(values: Sequence[float]) -> str:
  """Mean and standard deviation over seeds, "none" without a value."""
  if not values:
    return "none"
  mean = f"{np.mean(values):.1f}"
  if len(values) == 1:
    return mean
  return f"{mean} ± {np.std(values, ddof=1):.1f}"


def in_pairs(
  before: Filled, after: Filled, figure: str
) -> tuple[list[float], list[float]]:
  """The figure of both rows, in percent, for the seeds that have both."""
  pairs = [
    (100 * old, 100 * new)
    for seed in sorted(set(before.results) & set(after.results))
    if (old := before.results[seed].get(figure)) is not None
    and (new := after.results[seed].get(figure)) is not None
  ]
  return [old for old, _ in pairs], [new for _, new in pairs]


def step_in_words(before: Filled, after: Filled, figure: str) -> str:
  """What a row adds to the one it differs from, and whether by chance.

  The seeds of both are compared in pairs, by Student's t-test.
  """
  old, new = in_pairs(before, after, figure)
  gains = np.subtract(new, old)
  text = f"{after.name}: "
  if not old:
    return text + "not known."
  text += f"{gains.mean():+.1f}"
  theirs = [row.of_paper(figure, first=True) for row in (before, after)]
  if theirs[0] is not None and theirs[1] is not None:
    text += f" (paper {theirs[1] - theirs[0]:+.1f})"
  if len(old) == 1:
    return text + "; one seed, so it may be chance."
  text += ", by seed " + " ".join(f"{gain:+.1f}" for gain in gains)
  if np.ptp(gains) < 1e-9:
    return text + "."
  from scipy import stats  # takes half a second, and one seed needs none

  chance = float(stats.ttest_rel(new, old).pvalue)
  if chance < SIGNIFICANT:
    return text + f"; significant, p = {chance:.2g}."
  return text + (
    f"; cannot be told from chance with {len(old)} seeds, p = {chance:.2g}."
  )


def below(config: Any, filled: Sequence[Filled]) -> list[Filled | None]:
  """The row that each row differs from; None for those on the config itself."""
  by_name = {row.name: row for row in filled}
  stands_on = plan.differs_from(config)
  return [by_name.get(stands_on[row.name]) for row in filled]


def steps_in_words(config: Any, filled: Sequence[Filled]) -> list[str]:
  """A sentence for each row that differs from another."""
  figure = figures_of(filled)[0]
  return [
    step_in_words(before, after, figure)
    for before, after in zip(below(config, filled), filled, strict=True)
    if before is not None
  ]


def cells(config: Any, filled: Sequence[Filled]) -> list[list[str]]:
  """The table as text, its head first."""
  figures = figures_of(filled)
  figures += [g for g in _groups(config) if any(r.values(g) for r in filled)]
  first = figures[0]
  head = ["row"]
  table = [[row.name] for row in filled]
  for figure in figures:
    theirs = [row.of_paper(figure, first=figure == first) for row in filled]
    told = figure == first or any(value is not None for value in theirs)
    head += [figure, "paper"] if told else [figure]
    for cells, row, paper in zip(table, filled, theirs, strict=True):
      cells.append(spread(row.values(figure)))
      if not row.results:
        missing = "failed" if row.error else "not run"
        cells[-1] = missing if figure == first else ""
      if told:
        cells.append("" if paper is None else f"{paper:.1f}")
  if any(row.speed for row in filled):
    head += ["images/s", "paper"]
    for cells, row in zip(table, filled, strict=True):
      theirs = row.of_paper("images/s", first=False)
      cells.append(f"{row.speed:.0f}" if row.speed else "")
      cells.append("" if theirs is None else f"{theirs:.0f}")
  head.append("training minutes")
  for cells, row in zip(table, filled, strict=True):
    minutes = list(row.minutes.values())
    cells.append(f"{np.mean(minutes):.1f}" if minutes else "")
  return [head, *table]


def _groups(config: Any) -> dict[str, Sequence[str]]:
  """Groups of classes of the last stage."""
  return plan.last_stage(config).evaluation.to_dict()["groups"]


def notes(config: Any, filled: Sequence[Filled]) -> list[str]:
  """What must be known to read the table."""
  last = plan.last_stage(config)
  of_boxes = ""
  if last.evaluation.metric in scoring.BOX_METRICS:
    how = last.task.to_dict().get("detect", {})
    told = ", ".join(f"{k} {v}" for k, v in how.items() if v not in ((), ""))
    of_boxes = (
      f" AP is the mean over classes; VOC's at IoU .5. Detections: {told}."
    )
  several = max((len(row.results) for row in filled), default=0) > 1
  return [
    f"A row differs from the one above it unless it says otherwise. Data: "
    f"{last.data.test.format} {last.data.test.split}; paper: {config.paper}. "
    f"In percent"
    + (", mean and standard deviation over seeds." if several else ".")
    + of_boxes,
    *(
      f"{row.name}, {group}: {extremes}."
      for row in filled
      for found in list(row.results.values())[:1]
      for group, names in _groups(config).items()
      if (extremes := trees.extremes(found["per_class"], names, count=5))
    ),
    *(f"{row.name} failed: {row.error}" for row in filled if row.error),
    *(
      f"Commit {code}, {device}."
      for code, device in sorted(
        {
          (r["commit"], r["hardware"])
          for f in filled
          for r in f.results.values()
        }
      )
    ),
  ]


def write(config: Any, filled: Sequence[Filled], workdir: Path) -> None:
  """table.md, table.csv and table.png: the paper's number beside ours."""
  workdir.mkdir(parents=True, exist_ok=True)
  head, *rows = cells(config, filled)
  lines = [
    "| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)
  ]
  steps = steps_in_words(config, filled)
  if any(len(row.results) > 1 for row in filled):
    steps.append(EACH_BY_ITSELF)
  text = "\n".join([*lines, "", "\n\n".join([*notes(config, filled), *steps])])
  write_whole(workdir / "table.md", text + "\n")
  file = io.StringIO()
  csv.writer(file).writerows([head, *rows])
  write_whole(workdir / "table.csv", file.getvalue())
  values = [row.values(head[1]) for row in filled]
  draft = io.BytesIO()
  plots.bar_chart(
    draft,
    [row.name for row in filled],
    [float(np.mean(v)) if v else None for v in values],
    [row.of_paper(head[1], first=True) for row in filled],
    spreads=[float(np.std(v, ddof=1)) if len(v) > 1 else 0.0 for v in values],
    title=head[1],
  )
  write_whole(workdir / "table.png", draft.getvalue())
  print(text)
