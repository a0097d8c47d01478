"""metrics.jsonl and the live line of a run; TensorBoard, if it is asked for."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from yolo9000.files import read_json_lines, write_whole
from yolo9000.training import processes
from yolo9000.training.board import Board
from yolo9000.training.profile import Profile


class Log:
  """What a run writes down, and what it shows while it runs.

  Of several processes the first alone does so.
  """

  def __init__(
    self,
    workdir: Path,
    done: int,
    total: int,
    batch_size: int,
    *,
    rate: Callable[[int], Any],
    profile: int = 0,
    tensorboard: bool = False,
  ):
    """Forgets what an interrupted run wrote after its last checkpoint.

    Args:
      workdir: where metrics.jsonl is.
      done: steps of the checkpoint that the run starts from.
      total: steps of the whole run.
      batch_size: images per step.
      rate: from the number of an update, from 1 on, to its learning rate.
      profile: steps to be recorded by jax.profiler, see `Profile`.
      tensorboard: whether to write event files too, see `Board`.
    """
    writes = processes.first()
    count = profile if writes else 0
    self._profile = Profile(workdir / "profile", done, count)
    self._path = workdir / "metrics.jsonl"
    self.lines = [x for x in read_json_lines(self._path) if x["step"] <= done]
    self._writes, self._batch_size, self._rate = writes, batch_size, rate
    if writes:
      whole = "".join(json.dumps(x) + "\n" for x in self.lines)
      write_whole(self._path, whole)
    self._board = None
    if writes and tensorboard:
      self._board = Board(workdir / "tensorboard", done, self.lines)
    self._bar = tqdm(
      initial=done,
      total=total,
      desc=workdir.name,
      unit="step",
      dynamic_ncols=True,
      disable=not writes,
      mininterval=0.2 if sys.stderr.isatty() else 10,
    )
    self._begin()

  def _begin(self) -> None:
    self._steps: list[dict[str, float]] = []
    self._clock, self._waited = time.perf_counter(), 0.0

  def write(self, **line: Any) -> None:
    """Appends a line to metrics.jsonl."""
    self.lines.append(line)
    if not self._writes:
      return
    with self._path.open("a") as file:
      file.write(json.dumps(line) + "\n")
    if self._board:
      self._board.write(line)

  def add(self, parts: dict[str, float]) -> None:
    """Takes the loss and its parts of one step, and shows them."""
    self._steps.append(parts)
    seconds = time.perf_counter() - self._clock
    speed = len(self._steps) * self._batch_size / seconds
    shown = " ".join(f"{name} {value:.3g}" for name, value in parts.items())
    self._bar.set_postfix_str(f"{speed:.0f} images/s {shown}", refresh=False)
    self._bar.update()

  def write_mean(self, step: int) -> None:
    """Writes the means over the steps added since the last time."""
    if not self._steps:
      return
    seconds = time.perf_counter() - self._clock
    mean = {
      name: sum(parts[name] for parts in self._steps) / len(self._steps)
      for name in self._steps[0]
    }
    self.write(
      step=step,
      loss=mean.pop("loss"),
      parts=mean,
      learning_rate=float(self._rate(step)),
      seconds=seconds,
      images_per_s=len(self._steps) * self._batch_size / seconds,
      waited_for_data=self._waited / seconds,
    )
    self._begin()

  @contextlib.contextmanager
  def waiting(self, step: int) -> Iterator[None]:
    """Begins a step, and counts the time inside as waiting for data."""
    self._profile.at(step)
    start = time.perf_counter()
    yield
    self._waited += time.perf_counter() - start

  @contextlib.contextmanager
  def paused(self) -> Iterator[None]:
    """Leaves the time inside out of images_per_s."""
    start = time.perf_counter()
    yield
    self._clock += time.perf_counter() - start

  @property
  def best(self) -> float:
    """The highest metric so far; -1 before the first."""
    return max([x["metric"] for x in self.lines if "metric" in x] + [-1.0])

  def close(self) -> None:
    """Ends the live line."""
    if self._board:
      self._board.close()
    self._profile.close()
    self._bar.close()
