"""One run in its folder: its config, its training, and its pictures."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import logging
import platform
import subprocess
import traceback
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax

from yolo9000.files import read_json_lines, write_whole
from yolo9000.scoring import coco, voc
from yolo9000.tables import plan, plots
from yolo9000.tables.plan import as_json
from yolo9000.training import (
  build,
  devices,
  evaluation,
  loop,
  processes,
  validation,
)
from yolo9000.training.checkpoint import Checkpoints

logger = logging.getLogger("yolo9000")


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
  """Says what went wrong; the first keeps the traceback in error.txt.

  Args:
    workdir: of the run or the stage.
    error: what it ended with.
  """
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

  A finished run goes on for config.run.extend steps more, if these are more
  than it was extended by before. Its schedule is that of a training of so many
  steps in all, from where it stands.

  Returns:
    The content of results.json.

  Raises:
    Refused: if the folder holds a run of another config, or another job is at
      work there.
  """
  longer = config.run.total_steps + config.run.extend
  whole = plan.with_changes(config, (("run.total_steps", longer),))
  missing = [p for p in (workdir, *workdir.parents) if not p.exists()]
  with contextlib.ExitStack() as lock:

    def take() -> None:
      check_same(config, workdir)
      if not lock.enter_context(locked(workdir / "locks" / "run")):
        raise Refused(
          f"{workdir}: another job is at work there; a config without rows is "
          f"the work of one"
        )

    processes.on_first(take)
    try:
      return run(config, whole, workdir, None)
    finally:
      if processes.first() and missing:
        leave_nothing(workdir, missing)


def leave_nothing(workdir: Path, made: Sequence[Path]) -> None:
  """Removes a run's folder, and those above it, if only its lock is there."""
  lock = workdir / "locks" / "run"
  if {*workdir.rglob("*")} == {lock.parent, lock}:
    lock.unlink()
    for folder in (lock.parent, *made):
      with contextlib.suppress(OSError):  # another job may use it
        folder.rmdir()


class Refused(ValueError):
  """What cannot be done in a folder of another run, which is not touched."""


def check_same(config: Any, workdir: Path) -> None:
  """Whether a run can go on in its folder with this config.

  What changes no result may differ, and the run's place.

  Raises:
    Refused: if workdir holds a run of another config.
  """
  path, results = workdir / "config.json", workdir / "results.json"
  begun = any(workdir.glob("checkpoints/latest/[0-9]*"))
  if not path.exists() or not (begun or results.exists()):
    return
  old, new = json.loads(path.read_text()), as_json(config)
  differs = plan.differences(old, new)
  allowed = tuple(f"{name}: " for name in (*plan.SPEED, *plan.MOVED))
  if wrong := [line for line in differs if not line.startswith(allowed)]:
    raise Refused(
      f"{workdir} holds a run of another config; remove it or choose another "
      f"--workdir. It differs in\n  " + "\n  ".join(wrong)
    )
  before, now = (c["run"]["extend"] for c in (old, new))
  if now < before and not results.exists():
    raise Refused(
      f"{workdir} is being extended by {before} steps, and run.extend is "
      f"{now}; add --config.run.extend={before} to go on"
    )
  for line in differs:
    logger.info("%s goes on with %s", workdir, line)


def run(
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
  extended = described.run.extend

  def begin() -> dict[str, Any] | None:
    known = json.loads(path.read_text()) if path.exists() else None
    if known is not None and known.get("extended_by", 0) >= extended:
      logger.info("%s: finished before, kept", workdir)
      return known
    if evaluated is not None:
      workdir.mkdir(parents=True, exist_ok=True)
      text = json.dumps(as_json(described), indent=1)
      write_whole(workdir / "config.json", text)
    return None

  def finish() -> dict[str, Any]:
    lines = read_json_lines(workdir / "metrics.jsonl")
    results = {
      **found.metrics,
      "steps": config.run.total_steps,
      "extended_by": extended,
      "parameters": found.parameters,
      "operations_per_picture": found.operations,
      "training_minutes": sum(line.get("seconds", 0.0) for line in lines) / 60,
      "commit": commit(),
      "hardware": hardware(),
    }
    if path.exists():  # of the run before it was extended
      path.rename(workdir / f"results_before_{extended}_more.json")
    write_whole(path, json.dumps(results, indent=1))
    (workdir / "error.txt").unlink(missing_ok=True)
    return results

  if finished := processes.on_first(begin):
    return finished
  if evaluated is None:
    found = loop.train(config, workdir, described)
  else:
    found = evaluate_run(config, evaluated)
  if processes.first():
    write_pictures(workdir, found)
  return processes.on_first(finish)


def evaluate_run(config: Any, source: Path) -> loop.Outcome:
  """The finished run in `source`, evaluated as `config` says."""
  classes = build.read_classes(config.data)
  task, tx = build.make_task(config, classes), build.make_optimizer(config)
  validation.check_config(config, task)
  data = build.test_data(config, classes)
  score = build.make_score(config, classes)
  like = jax.eval_shape(partial(loop.init_state, config, task, tx))
  with contextlib.closing(Checkpoints(source)) as checkpoints:
    state = checkpoints.restore_latest(
      devices.like_replicated(like, devices.make_mesh())
    )
  variables = state.average or state.variables
  found = evaluation.evaluate(config, task, score, data, variables)
  return loop.Outcome(*found, data, loop.num_parameters(state))


def write_pictures(folder: Path, outcome: loop.Outcome) -> None:
  """curves.png, detections.json and .png; precision_recall.png of boxes."""
  detections, dataset = outcome.detections, outcome.data
  folder.mkdir(parents=True, exist_ok=True)
  if lines := read_json_lines(folder / "metrics.jsonl"):
    plots.curves(folder / "curves.png", lines)
  coco.write_coco_json(folder / "detections.json", detections, dataset)
  found, truth = voc.collect(detections, dataset.records)
  if len(truth.label):
    curves = {
      name: voc.voc_curve(found, truth, label, iou_threshold=voc.VOC_IOU)
      for label, name in enumerate(dataset.class_names)
    }
    plots.precision_recall(folder / "precision_recall.png", curves)
  shown = range(min(12, len(dataset.records)))
  plots.picture_grid(
    folder / "detections.png",
    [dataset.read_image(dataset.records[n]) for n in shown],
    [detections[n] for n in shown],
    [dataset.records[n] for n in shown],
    dataset.class_names,
  )


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
