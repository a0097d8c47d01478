"""A few steps of a training as jax.profiler sees them."""

from __future__ import annotations

import logging
from pathlib import Path

import jax

logger = logging.getLogger("yolo9000")

WARM_UP = 5  # steps before it; the first ones compile


class Profile:
  """Records steps into a folder, for TensorBoard, xprof or Perfetto.

  Args:
    folder: where the trace goes.
    first: the run's first step.
    count: of the steps to record; 0: none.
  """

  def __init__(self, folder: Path, first: int, count: int):
    self._folder, self._running = folder, False
    self._start, self._end = first + WARM_UP, first + WARM_UP + count

  def at(self, step: int) -> None:
    """Begins or ends the recording, before this step."""
    if step == self._start < self._end:
      jax.profiler.start_trace(str(self._folder))
      self._running = True
    elif step == self._end:
      self.close()

  def close(self) -> None:
    """Ends the recording; called at the run's end too."""
    if self._running:
      jax.profiler.stop_trace()
      self._running = False
      logger.info("%s: a profile, for TensorBoard or Perfetto", self._folder)
