"""A table's rows as they are finished."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from yolo9000.scoring import coco
from yolo9000.tables import plan
from yolo9000.tables.plan import Plan

# Of a run's results, those that a table shows where there are any.
FIGURES = (
  *("VOC07 AP", "VOC10 AP", *coco.COCO_FIGURES, *coco.MASK_FIGURES),
  *("top-1", "top-5", "hierarchical"),
)
# What a row costs: the column's title, the name in the results, the unit.
COSTS = (
  ("million parameters", "parameters", 1e6),
  ("training GFLOP a picture", "operations_per_picture", 1e9),
)
SPEEDS = "speeds.json"  # images per second of rows, in a table's workdir
# What the rows of a table are to each other: config.table.
KINDS = {
  "steps": "Each row adds to the one above it, unless it says otherwise.",
  "sizes": "One set of weights, evaluated at several sizes of picture.",
  "alternatives": "The rows are alternatives; each names the one it is told "
  "beside.",
}


class Frame(NamedTuple):
  """What a table says about itself, in its experiment file.

  Attributes:
    kind: config.table, a key of KINDS.
    setting: config.setting, what makes its numbers another thing than the
      paper's, such as "a miniature: drawn shapes"; "" for the paper's setting.
    recorded: config.recorded, values of the first figure over seeds by row, of
      an earlier run.
    shown: config.shown, the rows' names in the order in which they are shown.
  """

  kind: str
  setting: str
  recorded: Mapping[str, Sequence[float]]
  shown: Sequence[str]


def frame(config: Any) -> Frame:
  """What a config says of its table.

  Raises:
    ValueError: for another kind, or if shown has other names than the rows.
  """
  kind = config.get("table", "steps")
  if kind not in KINDS:
    raise ValueError(f"table is {kind!r}; allowed are {', '.join(KINDS)}")
  recorded = config.get("recorded", {})
  names = [name for name, *_ in plan.rows_of(config)]
  shown = list(config.get("shown", ()) or names)
  if sorted(shown) != sorted(names):
    raise ValueError(
      f"shown has {', '.join(shown)}; expected the rows' names, "
      f"{', '.join(names)}"
    )
  return Frame(
    kind,
    config.get("setting", ""),
    {name: list(recorded[name]) for name in recorded},
    shown,
  )


def heading(config: Any) -> str:
  """The table's name, and whether it is a paper's or a miniature of it."""
  if not config.paper:
    return config.name
  paper = f"a miniature of {config.paper}"
  return f"{config.name}: {paper if frame(config).setting else config.paper}"


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

  def count(self, name: str) -> float | int | None:
    """One of COSTS, of the first seed that has it."""
    known = (found.get(name) for found in self.results.values())
    return next((value for value in known if value is not None), None)

  def values(self, figure: str) -> list[float]:
    """Of each seed that has it, in percent; groups by their names."""
    found = (
      {**r, **(r.get("groups") or {})}.get(figure)
      for r in self.results.values()
    )
    return [100 * value for value in found if value is not None]


def fill(
  config: Any, made: Plan, workdir: Path, failed: Mapping[str, str]
) -> list[Filled]:
  """The rows with what is finished in workdir, whoever ran it.

  Args:
    config: of the table.
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
  order = list(frame(config).shown)
  return sorted(filled.values(), key=lambda row: order.index(row.name))


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


def gain_of_paper(before: Filled, after: Filled, figure: str) -> float | None:
  """What the row adds in the paper; None if it has not both."""
  old, new = (row.of_paper(figure, first=True) for row in (before, after))
  return None if old is None or new is None else new - old


def below(config: Any, filled: Sequence[Filled]) -> list[Filled | None]:
  """The row that each row differs from; None for those on the config itself."""
  by_name = {row.name: row for row in filled}
  stands_on = plan.differs_from(config)
  return [by_name.get(stands_on[row.name]) for row in filled]


def cells(config: Any, filled: Sequence[Filled]) -> list[list[str]]:
  """The table as text, its head first."""
  figures = figures_of(filled)
  figures += [g for g in groups_of(config) if any(r.values(g) for r in filled)]
  first = figures[0]
  head = ["row"]
  table = [[row.name] for row in filled]
  how = frame(config)
  if any(row.of_paper("size", first=False) for row in filled):
    head.append("paper's size")
    for cells, row in zip(table, filled, strict=True):
      size = row.of_paper("size", first=False)
      cells.append("" if size is None else f"{size:.0f}")
  for figure in figures:
    theirs = [row.of_paper(figure, first=figure == first) for row in filled]
    told = any(value is not None for value in theirs)
    told |= figure == first and config.paper != ""
    head += [figure, "paper"] if told else [figure]
    for cells, row, paper in zip(table, filled, theirs, strict=True):
      cells.append(spread(row.values(figure)))
      if not row.results:
        missing = "failed" if row.error else "not run"
        cells[-1] = missing if figure == first else ""
      if figure == first and how.recorded:
        cells.append(spread(how.recorded.get(row.name, ())))
      if told:
        cells.append("" if paper is None else f"{paper:.1f}")
    if figure == first and how.recorded:
      count = max(map(len, how.recorded.values()))
      head.insert(head.index(figure) + 1, f"recorded, {count} seeds")
  if any(row.speed for row in filled):
    head += ["images/s", "paper"]
    for cells, row in zip(table, filled, strict=True):
      theirs = row.of_paper("images/s", first=False)
      cells.append(f"{row.speed:.0f}" if row.speed else "")
      cells.append("" if theirs is None else f"{theirs:.0f}")
  for title, name, unit in COSTS:
    counts = [row.count(name) for row in filled]
    if len({*counts} - {None}) > 1:  # what all rows share is no column
      head.append(title)
      for cells, count in zip(table, counts, strict=True):
        cells.append("" if count is None else f"{count / unit:.3g}")
  head.append("training minutes")
  for cells, row in zip(table, filled, strict=True):
    minutes = list(row.minutes.values())
    cells.append(f"{np.mean(minutes):.1f}" if minutes else "")
  return [head, *table]


def by_iou(filled: Sequence[Filled]) -> dict[str, list[list[str]]]:
  """Tables of AP by the IoU of a hit as text, their heads first, by title.

  A row is in a table if it has the figure.
  """
  made = {}
  for figure in coco.BY_IOU:
    found = {
      row.name: [r[figure] for r in row.results.values() if figure in r]
      for row in filled
    }
    every = [one for seeds in found.values() for one in seeds]
    ious = sorted(set().union(*every))

    def values(seeds: Sequence[Mapping[str, float]], iou: str) -> list[float]:
      return [100 * one[iou] for one in seeds if iou in one]

    table = [
      [name, *(spread(values(seeds, iou)) for iou in ious)]
      for name, seeds in found.items()
      if seeds
    ]
    if table:
      head = ["row", *(f"IoU {iou}" for iou in ious)]
      made[f"{figure} of a hit"] = [head, *table]
  return made


def groups_of(config: Any) -> dict[str, Sequence[str]]:
  """Groups of classes of the last stage."""
  return plan.last_stage(config).evaluation.to_dict()["groups"]
