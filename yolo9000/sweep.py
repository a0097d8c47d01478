"""Rows of a table: each row is a run, each adds to the row before it."""

from __future__ import annotations

import contextlib
import csv
import json
import logging
import platform
import subprocess
import traceback
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from yolo9000 import metrics, plots, train
from yolo9000.log import read_lines, write_whole

logger = logging.getLogger("yolo9000")


def with_changes(config: Any, changes: Any) -> Any:
  """A copy with values set by dotted names: (("task.width", .5), ..).

  Raises:
    AttributeError: for a name that the config does not have.
    TypeError: for a value of another type.
  """
  config = ConfigDict(config.to_dict()).lock()
  for name, value in changes:
    parts = name.split(".")
    holder = section = config
    for part in parts:
      if part not in section:
        raise AttributeError(
          f"{name}: there is no {part!r}; there are {', '.join(section)}"
        )
      holder, section = section, section[part]
    holder[parts[-1]] = value
  return config


def row_configs(config: Any) -> dict[str, Any]:
  """The full config of every row by the row's name.

  A row has its own changes and those of all rows above it; changes win over
  what the command line sets.
  """
  configs: dict[str, Any] = {}
  changes: list[tuple[str, Any]] = []
  for name, _, more in config.rows:
    changes += more
    configs[name] = with_changes(config, [*changes, ("rows", ())])
  return configs


def as_json(config: Any) -> dict[str, Any]:
  """A config as it is written to disk and compared with what is there."""
  return json.loads(json.dumps(config.to_dict()))


def _differences(old: Any, new: Any, name: str = "") -> list[str]:
  if isinstance(old, dict) and isinstance(new, dict):
    return [
      line
      for key in sorted({*old, *new})
      for line in _differences(old.get(key), new.get(key), f"{name}.{key}")
    ]
  return [] if old == new else [f"{name[1:]}: {old!r} there, {new!r} now"]


def commit() -> str:
  """The code's git commit, with + if files differ from it; or "unknown"."""
  folder = Path(__file__).parent

  def git(*words: str) -> str:
    return subprocess.run(
      ["git", "-C", str(folder), *words],
      capture_output=True,
      text=True,
      check=True,
    ).stdout.strip()

  try:
    dirty = git("status", "--porcelain", "--untracked-files=no")
    return git("rev-parse", "--short", "HEAD") + ("+" if dirty else "")
  except (OSError, subprocess.CalledProcessError):
    return "unknown"


def hardware() -> str:
  """Devices that a run computed on, in words."""
  device = jax.devices()[0]
  return f"{jax.device_count()} x {device.device_kind} on {platform.machine()}"


def _training(config: Any) -> dict[str, Any]:
  """What a run's weights depend on: everything but how they are evaluated."""
  return {k: v for k, v in as_json(config).items() if k != "evaluation"}


def run_row(
  config: Any,
  workdir: Path,
  trained: dict[Path, Any],
  *,
  start_from: str | None = None,
) -> dict[str, Any]:
  """One run in its own folder; a finished one is taken as it is.

  Args:
    config: of this run.
    workdir: of this run; holds config.json and, once finished, results.json.
    trained: folders and configs of finished runs. If one differs from this run
      in its evaluation alone, its weights are evaluated and nothing is trained.
    start_from: in place of the config's, where that names a row.

  Returns:
    The content of results.json.

  Raises:
    ValueError: if the folder holds a run of another config.
  """
  workdir.mkdir(parents=True, exist_ok=True)
  config_path, results_path = workdir / "config.json", workdir / "results.json"
  begun = (
    any(workdir.glob("checkpoints/latest/[0-9]*")) or results_path.exists()
  )
  if begun and config_path.exists():
    differs = _differences(json.loads(config_path.read_text()), as_json(config))
    if differs:
      raise ValueError(
        f"{workdir} holds a run of another config; remove it or choose another "
        f"--workdir. It differs in\n  " + "\n  ".join(differs)
      )
  write_whole(config_path, json.dumps(as_json(config), indent=1))
  if results_path.exists():
    logger.info("%s: finished before, kept", workdir)
    return json.loads(results_path.read_text())

  same = [d for d, c in trained.items() if _training(c) == _training(config)]
  if same:
    figures = train.evaluate_run(config, same[0], workdir)
  else:
    if start_from is not None:
      config = with_changes(config, (("run.start_from", start_from),))
    figures = train.train(config, workdir)
  lines = read_lines(workdir / "metrics.jsonl")
  results = {
    **figures,
    "training_minutes": sum(line.get("seconds", 0.0) for line in lines) / 60,
    "weights_of": same[0].name if same else workdir.name,
    "commit": commit(),
    "hardware": hardware(),
  }
  write_whole(results_path, json.dumps(results, indent=1))
  (workdir / "error.txt").unlink(missing_ok=True)
  return results


def report_failure(workdir: Path, error: Exception) -> None:
  """Says what went wrong, and keeps the traceback in workdir/error.txt."""
  logger.error("%s: %s: %s", workdir, type(error).__name__, error)
  with contextlib.suppress(OSError):  # a full disk must not hide the error
    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / "error.txt").write_text(
      "".join(traceback.format_exception(error))
    )


ROW = "row "  # run.start_from = "row NAME": from that row's weights


def _folder(workdir: Path, row: str) -> Path:
  """Where a row's run is."""
  return workdir / row.replace(" ", "_")


def _row_folder(workdir: Path, row: str, results: dict[str, Any]) -> str:
  """The run of a row that is finished; ValueError otherwise."""
  if row not in results:
    raise ValueError(
      f"run.start_from is {ROW + row!r}, a row that did not finish before; "
      f"those that did: {', '.join(results) or 'none'}"
    )
  return str(_folder(workdir, row))


def run_rows(config: Any, workdir: Path) -> int:
  """Runs every row, then writes table.md, table.csv and table.png.

  A row that fails is reported and the others still run.

  Returns:
    The number of rows that failed.
  """
  results: dict[str, dict[str, Any]] = {}
  errors: dict[str, str] = {}
  trained: dict[Path, Any] = {}
  for name, row_config in row_configs(config).items():
    logger.info("row %s", name)
    folder = _folder(workdir, name)
    try:
      start = row_config.run.start_from
      if start.startswith(ROW):
        start = _row_folder(workdir, start.removeprefix(ROW), results)
      results[name] = run_row(row_config, folder, trained, start_from=start)
      if results[name]["weights_of"] == folder.name:
        trained[folder] = row_config
    except train.Preempted:
      raise
    except Exception as error:
      errors[name] = f"{type(error).__name__}: {error}"
      report_failure(folder, error)
  write_table(config, workdir, results, errors)
  return len(errors)


# Of a run's results, those that a table shows where there are any.
FIGURES = (
  *("VOC07 AP", "VOC10 AP", "COCO AP"),
  *("top-1", "top-5", "hierarchical"),
)


def write_table(
  config: Any,
  workdir: Path,
  results: dict[str, dict[str, Any]],
  errors: dict[str, str],
) -> None:
  """table.md, table.csv and table.png: the paper's number beside ours."""
  figures = [n for n in FIGURES if any(n in r for r in results.values())]
  figures = figures or ["metric"]
  groups = list(config.task.to_dict().get("groups", ()))
  columns = [
    *("row", figures[0], "paper", *figures[1:]),
    *("training minutes", "weights of", *groups),
  ]
  rows = []
  for name, paper, _ in config.rows:
    found, theirs = results.get(name), "" if paper is None else f"{paper:.1f}"
    if found is None:
      rows.append((name, "failed", theirs, *[""] * (len(columns) - 3)))
      continue
    first, *others = (_percent(found.get(figure)) for figure in figures)
    rows.append(
      (
        *(name, first, theirs, *others),
        *(f"{found['training_minutes']:.1f}", found["weights_of"]),
        *(_percent(found["groups"].get(group)) for group in groups),
      )
    )
  lines = [
    "| " + " | ".join(cells) + " |"
    for cells in (columns, ["---"] * len(columns), *rows)
  ]
  of_boxes = ""
  if "score_threshold" in config.task:
    of_boxes = (
      f" AP is the mean over classes; VOC's at IoU .5; scores above "
      f"{config.task.score_threshold}, at most {config.task.max_detections} "
      f"detections per picture."
    )
  notes = [
    f"Each row adds to the one above it. Data: {config.data.test.format} "
    f"{config.data.test.split}; paper: {config.paper}. In percent.{of_boxes}",
    *(
      f"{name}, {group}: {extremes}."
      for name, found in results.items()
      for group, names in config.task.to_dict().get("groups", {}).items()
      if (extremes := metrics.extremes(found["per_class"], names, count=5))
    ),
    *(f"{name} failed: {error}" for name, error in errors.items()),
    *(
      f"Commit {code}, {device}."
      for code, device in sorted(
        {(r["commit"], r["hardware"]) for r in results.values()}
      )
    ),
  ]
  text = "\n".join([*lines, "", "\n\n".join(notes)]) + "\n"
  (workdir / "table.md").write_text(text)
  with (workdir / "table.csv").open("w", newline="") as file:
    csv.writer(file).writerows([columns, *rows])
  plots.bar_chart(
    workdir / "table.png",
    [name for name, _, _ in config.rows],
    [_times_100(results.get(name)) for name, _, _ in config.rows],
    [paper for _, paper, _ in config.rows],
  )
  print(text)


def _times_100(found: dict[str, Any] | None) -> float | None:
  return None if found is None else 100 * found["metric"]


def _percent(value: float | None) -> str:
  return "none" if value is None else f"{100 * value:.1f}"
