"""Runs a plan: each stage once, whoever else works in the same folder."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import logging
import os
import platform
import subprocess
import time
import traceback
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax

from yolo9000.benchmarks import speed
from yolo9000.files import read_json_lines, write_whole
from yolo9000.tables import plan, report
from yolo9000.tables import results as table
from yolo9000.tables.plan import Plan, Stage, as_json
from yolo9000.training import loop, processes, trained

logger = logging.getLogger("yolo9000")

LOOK_AGAIN = 2.0  # seconds, while other jobs run what this one waits for


@functools.cache  # of the code that runs, whatever is committed meanwhile
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


def report_failure(workdir: Path, error: Exception) -> None:
  """Says what went wrong; the first keeps the traceback in error.txt."""
  logger.error("%s: %s: %s", workdir, type(error).__name__, error)
  if not processes.first():
    return
  with contextlib.suppress(OSError):  # a full disk must not hide the error
    workdir.mkdir(parents=True, exist_ok=True)
    message = " ".join(f"{type(error).__name__}: {error}".split("\n"))
    lines = traceback.format_exception(error)
    write_whole(workdir / "error.txt", "".join([message, "\n", *lines]))


def run_alone(config: Any, workdir: Path) -> dict[str, Any]:
  """A config without rows, in its folder; a finished run is taken as it is.

  Returns:
    The content of results.json.

  Raises:
    ValueError: if the folder holds a run of another config, or another job is
      at work there.
  """
  with contextlib.ExitStack() as lock:

    def take() -> None:
      check_same(config, workdir)
      if not lock.enter_context(locked(workdir / "locks" / "run")):
        raise ValueError(
          f"{workdir}: another job is at work there; a config without rows is "
          f"the work of one"
        )

    processes.on_first(take)
    return _run(config, config, workdir, None)


def check_same(config: Any, workdir: Path) -> None:
  """Raises ValueError if workdir holds a run of another config."""
  path = workdir / "config.json"
  begun = any(workdir.glob("checkpoints/latest/[0-9]*"))
  if path.exists() and (begun or (workdir / "results.json").exists()):
    differs = plan.differences(json.loads(path.read_text()), as_json(config))
    if differs:
      raise ValueError(
        f"{workdir} holds a run of another config; remove it or choose another "
        f"--workdir. It differs in\n  " + "\n  ".join(differs)
      )


def _run(
  described: Any, config: Any, workdir: Path, evaluated: Path | None
) -> dict[str, Any]:
  """Trains, or evaluates a finished run; results.json says that it is done.

  Args:
    described: config as it is written to the folder.
    config: with what it starts from.
    workdir: of this run.
    evaluated: the finished run; None to train.
  """
  path = workdir / "results.json"

  def begin() -> dict[str, Any] | None:
    if path.exists():
      logger.info("%s: finished before, kept", workdir)
      return json.loads(path.read_text())
    workdir.mkdir(parents=True, exist_ok=True)
    text = json.dumps(as_json(described), indent=1)
    write_whole(workdir / "config.json", text)
    return None

  def finish() -> dict[str, Any]:
    lines = read_json_lines(workdir / "metrics.jsonl")
    results = {
      **figures,
      "training_minutes": sum(line.get("seconds", 0.0) for line in lines) / 60,
      "commit": commit(),
      "hardware": hardware(),
    }
    write_whole(path, json.dumps(results, indent=1))
    (workdir / "error.txt").unlink(missing_ok=True)
    return results

  if finished := processes.on_first(begin):
    return finished
  if evaluated is None:
    figures = loop.train(config, workdir)
  else:
    figures = loop.evaluate_run(config, evaluated, workdir)
  return processes.on_first(finish)


def run_stage(stage: Stage, workdir: Path) -> dict[str, Any]:
  """One stage in its folder below the table's workdir; see `_run`."""
  folder = plan.folder(workdir, stage.key)
  if stage.parent is None:
    return _run(stage.config, stage.config, folder, None)
  parent = plan.folder(workdir, stage.parent)
  if stage.trains:
    start = (("run.start_from", str(parent)),)
    changed = plan.with_changes(stage.config, start)
    return _run(stage.config, changed, folder, None)
  if processes.first():
    # The folder can be used as the run that it evaluates.
    for name in ("checkpoints", trained.KEPT_TREE):
      if (parent / name).exists():
        link(folder / name, parent / name)
  return _run(stage.config, stage.config, folder, parent)


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


@contextlib.contextmanager
def locked(path: Path) -> Iterator[bool]:
  """Whether this job alone has the file; false if another one has it.

  The system frees the file of a job that dies, whatever it dies of: at once on
  one machine, on a shared file system when it gives up the machine. There the
  file system must know flock, as NFS does. Of a job of several processes the
  first has it; the others end soon after that one, see `processes.HEARTBEAT`.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  with path.open("a") as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      yield False
      return
    yield True


def _state(
  stage: Stage, workdir: Path, failed: dict[str, str], since: float
) -> str:
  """Whether it is done, failed, waiting for its parent, or ready."""
  folder = plan.folder(workdir, stage.key)
  if (folder / "results.json").exists():
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


def run_stages(stages: list[Stage], workdir: Path) -> dict[str, str]:
  """Runs all that are not done, with any other jobs that do the same.

  A stage that fails is reported, and those that need it are left out. A job of
  several processes ends at an error that not all of them must have had.

  Returns:
    What went wrong, by the stage's key; in the first process.
  """
  failed: dict[str, str] = {}
  since, told = time.time(), False
  by_key = {stage.key: stage for stage in stages}
  with processes.sigterm() as stop:
    while True:
      with contextlib.ExitStack() as lock:
        choose = partial(next_turn, stages, workdir, failed, since, lock)
        turn = Turn(*processes.on_first(choose))
        if turn.key:
          logger.info("stage %s", turn.key)
          try:
            run_stage(by_key[turn.key], workdir)
          except loop.Preempted:
            raise
          except Exception as error:
            everywhere = isinstance(error, loop.NonFiniteLoss)
            if not (processes.alone() or everywhere):
              raise
            failed[turn.key] = f"{type(error).__name__}: {error}"
            report_failure(plan.folder(workdir, turn.key), error)
          # The next stage needs none of its programs. With those of 42 stages
          # in one process, loading one more from the disk crashed XLA on CPU.
          jax.clear_caches()
      if not (turn.key or turn.waits):
        return failed
      if stop():
        raise loop.Preempted(f"{workdir}: SIGTERM between two stages")
      if not turn.key:
        if not told:
          logger.info("waiting for other jobs in %s", workdir)
          told = True
        time.sleep(LOOK_AGAIN)


def measure_speeds(made: Plan, workdir: Path, *, rounds: int) -> None:
  """Writes the images per second of every row's detections, once."""
  path = workdir / table.SPEEDS
  ends = {r.name: made.stages[r.stages[-1]] for r in made.rows if r.stages}
  finished = all(
    (plan.folder(workdir, stage.key) / "results.json").exists()
    for stage in ends.values()
  )
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
    filled = table.fill(made, workdir, failed)
    out = workdir / (config.output if "output" in config else "")
    table.write(config, filled, out)
    report.write(config, made, filled, workdir, out)
    return sum(bool(row.error) for row in filled)

  return processes.on_first(finish)
