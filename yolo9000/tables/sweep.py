"""Runs a plan: each stage once, whoever else works in the same folder."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
import uuid
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax

from yolo9000.files import write_whole
from yolo9000.tables import cost, plan, report, results, speed, table_files
from yolo9000.tables.plan import Plan, Stage
from yolo9000.tables.run import commit, locked, report_failure, run
from yolo9000.training import build, checks, loop, processes

logger = logging.getLogger("yolo9000")

LOOK_AGAIN = 2.0  # seconds, while other jobs run what this one waits for


def run_stage(stage: Stage, workdir: Path) -> dict[str, Any]:
  """One stage in its folder below the table's workdir; see `run`."""
  folder = plan.folder(workdir, stage.key)
  if stage.parent is None:
    return run(stage.config, stage.config, folder, None)
  parent = plan.folder(workdir, stage.parent)
  if stage.trains:
    start = (("run.start_from", str(parent)),)
    changed = plan.with_changes(stage.config, start)
    return run(stage.config, changed, folder, None)
  if processes.first():
    # The folder can be used as the run that it evaluates.
    for name in ("checkpoints", build.KEPT_TREE):
      if (parent / name).exists():
        link(folder / name, parent / name)
  return run(stage.config, stage.config, folder, parent)


def link(path: Path, target: Path) -> None:
  """A relative symbolic link; replaces one that is there.

  Raises:
    ValueError: if something else is there.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  if path.exists() and not path.is_symlink():
    raise ValueError(
      f"{path} is there and no link of this table; remove it or choose another "
      f"--workdir"
    )
  draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
  draft.symlink_to(os.path.relpath(target, path.parent))
  os.replace(draft, path)


def is_done(stage: Stage, workdir: Path) -> bool:
  """Whether a stage is finished."""
  return (plan.folder(workdir, stage.key) / "results.json").exists()


def _state(
  stage: Stage, workdir: Path, failed: dict[str, str], since: float
) -> str:
  """Whether it is done, failed, waiting for its parent, or ready."""
  folder = plan.folder(workdir, stage.key)
  if is_done(stage, workdir):
    failed.pop(stage.key, None)  # another job may have had more luck
    return "done"
  if stage.parent in failed:
    failed[stage.key] = failed[stage.parent]
  elif stage.key not in failed:
    error = folder / "error.txt"  # another job's, if as young as this one
    with contextlib.suppress(OSError, IndexError):
      if error.stat().st_mtime >= since:
        failed[stage.key] = error.read_text().splitlines()[0]
  if stage.key in failed:
    return "failed"
  parent = stage.parent and plan.folder(workdir, stage.parent)
  if parent and not (parent / "results.json").exists():
    return "waiting"
  return "ready"


class Turn(NamedTuple):
  """What to do next.

  Attributes:
    key: of the stage that this job has locked; "" if there is none.
    waits: whether others still have some.
  """

  key: str
  waits: bool


def next_turn(
  stages: list[Stage],
  workdir: Path,
  failed: dict[str, str],
  since: float,
  lock: contextlib.ExitStack,
) -> Turn:
  """Locks a stage that is ready and that no other job has; `lock` has it."""
  states = [(s, _state(s, workdir, failed, since)) for s in stages]
  for stage in [stage for stage, state in states if state == "ready"]:
    if not lock.enter_context(locked(workdir / "locks" / stage.key)):
      continue
    # It may have been finished between the look and the lock.
    if _state(stage, workdir, failed, since) == "ready":
      return Turn(stage.key, False)
    lock.close()
  return Turn("", any(s in ("ready", "waiting") for _, s in states))


class Progress:
  """How far a table is, and how long all of it will take.

  Times are estimated from operations, and corrected by the stages that were run
  here.
  """

  def __init__(self, stages: list[Stage], workdir: Path):
    self._stages, self._workdir = stages, workdir
    self._expected: dict[str, float] = {}
    for stage in stages:
      with contextlib.suppress(ValueError):  # it will fail, and say why
        trains = stage.trains and not is_done(stage, workdir)
        seconds = cost.seconds_here(stage.config) if trains else 0.0
        self._expected[stage.key] = seconds
    self._begun = time.monotonic()
    self._spent = self._estimated = 0.0

  def before(self, key: str) -> str:
    """What to say when a stage begins."""
    done = [s for s in self._stages if is_done(s, self._workdir)]
    keys = {s.key for s in self._stages} - {s.key for s in done}
    left = sum(self._expected.get(one, 0.0) for one in keys)
    if self._estimated:
      left *= self._spent / self._estimated
    self._begun = time.monotonic()
    return (
      f"stage {len(done) + 1} of {len(self._stages)}: {key}; to the end of all "
      f"about {cost.in_words(left)}, an estimate"
    )

  def after(self, key: str) -> None:
    """Learns from a stage that has ended."""
    expected = self._expected.get(key, 0.0)
    if expected > 0:  # neither unknown nor an evaluation
      self._spent += time.monotonic() - self._begun
      self._estimated += expected


def run_stages(stages: list[Stage], workdir: Path) -> dict[str, str]:
  """Runs all that are not done, with any other jobs that do the same.

  A stage that fails is reported, and those that need it are left out. A job of
  several processes ends at an error that not all of them must have had.

  Returns:
    What went wrong, by the stage's key; in the first process.
  """
  failed: dict[str, str] = {}
  since, told = time.time(), False
  progress = Progress(stages, workdir) if processes.first() else None
  by_key = {stage.key: stage for stage in stages}
  with processes.told_to_stop() as stop:
    while True:
      with contextlib.ExitStack() as lock:
        choose = partial(next_turn, stages, workdir, failed, since, lock)
        turn = Turn(*processes.on_first(choose))
        if turn.key:
          if progress:
            logger.info("%s", progress.before(turn.key))
          try:
            run_stage(by_key[turn.key], workdir)
          except loop.Preempted:
            raise
          except Exception as error:
            everywhere = isinstance(error, checks.Stopped)
            if not (processes.alone() or everywhere):
              raise
            failed[turn.key] = f"{type(error).__name__}: {error}"
            report_failure(plan.folder(workdir, turn.key), error)
          if progress:
            progress.after(turn.key)
          # The next stage needs none of its programs. With those of 42 stages
          # in one process, loading one more from the disk crashed XLA on CPU.
          jax.clear_caches()
      if not (turn.key or turn.waits):
        return failed
      if signal := stop():
        raise loop.Preempted(f"{workdir}: {signal} between two stages")
      if not turn.key:
        if not told:
          logger.info("waiting for other jobs in %s", workdir)
          told = True
        time.sleep(LOOK_AGAIN)


def measure_speeds(made: Plan, workdir: Path, *, rounds: int) -> None:
  """Writes the images per second of every row's detections, once."""
  path = workdir / results.SPEEDS
  ends = {r.name: made.stages[r.stages[-1]] for r in made.rows if r.stages}
  finished = all(is_done(stage, workdir) for stage in ends.values())
  known = json.loads(path.read_text()) if path.exists() else {}
  missing = not {stage.key for stage in ends.values()} <= set(known)
  with locked(workdir / "locks" / "speeds") as mine:
    if finished and missing and mine:
      configs = {stage.key: stage.config for stage in ends.values()}
      speeds = speed.prediction_speeds(configs, rounds=rounds)
      write_whole(path, json.dumps(speeds))


def run_rows(config: Any, workdir: Path) -> int:
  """Runs the rows that the config chooses, then writes table and report.

  They are written to workdir or, so that tables can share the stages in a
  workdir, to its folder config.output.

  Returns:
    The number of rows that failed.

  Raises:
    ValueError: if no row is what the config chooses.
  """
  commit()
  made = plan.make(config)
  chosen = plan.chosen(made, config)
  if not chosen and not any(row.error for row in made.rows):
    raise ValueError(
      f"row {config.only_row!r} has no stage {config.only_stage!r} of its own"
    )
  keys = {stage.key for stage in chosen}
  if processes.first():
    for row in made.rows:  # before the work: a name may be taken
      if row.stages and row.stages[-1] in keys:
        name = row.title.replace(" ", "_")
        link(workdir / name, plan.folder(workdir, row.stages[-1]))
  failed = run_stages(chosen, workdir)

  def finish() -> int:
    if "speed_rounds" in config:
      measure_speeds(made, workdir, rounds=config.speed_rounds)
    filled = results.fill(config, made, workdir, failed)
    out = workdir / (config.output if "output" in config else "")
    table_files.write(config, filled, out)
    report.write(config, made, filled, workdir, out)
    print(
      f"{out / 'report.html'}: the report; table.md and table.png beside it"
    )
    return sum(bool(row.error) for row in filled)

  return processes.on_first(finish)
