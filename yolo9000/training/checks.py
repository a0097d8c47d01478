"""What stops a run that has gone wrong, and says why."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

import jax
import numpy as np

from yolo9000.data.records import Dataset
from yolo9000.training import processes
from yolo9000.types import Batch

logger = logging.getLogger("yolo9000")

FIRST, MOST = 5, 100  # batches after which objects are asked for
FEW = 0.5  # share of the annotated objects


class Stopped(Exception):
  """What stops a run in all of its processes at the same step."""


class NonFiniteLoss(Stopped, FloatingPointError):
  """A part of the loss is not a number; says where."""


class NoObjects(Stopped, ValueError):
  """Pictures have objects, but none of them reaches the network."""


def check_finite(
  step: int,
  parts: dict[str, float],
  batch: Batch,
  data: Iterable[Dataset],
  workdir: Path,
) -> None:
  """Stops the run at a loss that is not finite, and keeps the batch.

  Raises:
    NonFiniteLoss: naming the step, the parts and the pictures.
  """
  if all(np.isfinite(value) for value in parts.values()):
    return
  own = f"_process_{jax.process_index()}" if jax.process_count() > 1 else ""
  path = workdir / f"nonfinite_step_{step}{own}.npz"
  arrays = {k: v for k, v in batch._asdict().items() if v is not None}
  np.savez(path, **arrays)
  records = [record for dataset in data for record in dataset.records]
  pictures = "\n  ".join(records[n].path for n in batch.index)
  raise NonFiniteLoss(
    f"step {step}: the loss is not finite: {parts}\n"
    f"The batch is in {path}; its pictures are\n  {pictures}\n"
    f"A lower schedule.rate, more schedule.burn_in_steps or "
    f"optimizer.clip_norm often help."
  )


class Objects:
  """Counts the objects of the first batches, of sets that have objects."""

  def __init__(self, data: Iterable[Dataset]):
    self._records = [record for one in data for record in one.records]
    self._expected = any(len(record.labels) for record in self._records)
    self._batches = self._annotated = self._seen = 0

  def see(self, batch: Batch) -> None:
    """Takes a batch, of which this process has its rows.

    Warns when few of the annotated objects reach the network.

    Raises:
      NoObjects: when no process has seen any object in MOST batches.
    """
    if not self._expected or self._batches >= MOST:
      return
    self._batches += 1
    self._seen += int(np.sum(batch.mask))
    self._annotated += sum(
      len(self._records[n].labels) for n in np.asarray(batch.index)
    )
    if self._batches == FIRST and self._seen < FEW * self._annotated:
      logger.warning("%s", self._told())
    if self._batches == MOST:
      if not np.sum(processes.gather(np.array([self._seen]))):
        raise NoObjects(f"{self._told()}. Nothing can be learned from them")

  def _told(self) -> str:
    return (
      f"of {self._annotated} objects annotated on the pictures of the first "
      f"{self._batches} batches {self._seen} reach the network; the others are "
      f"difficult, cut away, or smaller than data.augment.min_side"
    )
