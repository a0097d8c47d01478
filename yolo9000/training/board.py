"""A run's event files for TensorBoard, from the lines of its metrics.jsonl."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from yolo9000.scoring.coco import BY_IOU


def check() -> None:
  """Raises ValueError, naming the install command, without tensorboardX."""
  if find_spec("tensorboardX") is None:
    raise ValueError(
      "run.tensorboard needs a package: pip install tensorboardX"
    )


class Board:
  """Writes the figures of metrics.jsonl as scalars, with the same steps."""

  def __init__(self, folder: Path, done: int, lines: Sequence[Any]):
    """Tells TensorBoard to forget what came after the checkpoint.

    Args:
      folder: of the event files; each start of a run adds one.
      done: steps of the checkpoint that the run starts from.
      lines: of metrics.jsonl until then. They are written if there is no event
        file yet, as in a run that began without.
    """
    from tensorboardX import SummaryWriter

    begun = any(folder.glob("events.*"))
    # A run that is killed loses what was not flushed. Two starts in one second
    # would have the same file without a suffix.
    self._writer = SummaryWriter(
      str(folder),
      purge_step=done + 1,
      flush_secs=1,
      filename_suffix=f".from_{done}",
    )
    for line in () if begun else lines:
      self.write(line)

  def write(self, line: Mapping[str, Any]) -> None:
    """Adds the figures of a line of metrics.jsonl."""
    for name, value in scalars(line):
      self._writer.add_scalar(name, value, line["step"])

  def close(self) -> None:
    """Writes out what is left."""
    self._writer.close()


def scalars(line: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
  """Name and value of each figure of a line.

  Losses and speed are below train/, an evaluation's figures below evaluation/.
  Figures of each class stay in metrics.jsonl: there may be thousands.
  """
  kind = "evaluation" if "metric" in line else "train"
  figures = dict(line)
  for section in ("parts", "groups", "diagnosis", *BY_IOU):
    for name, value in (line.get(section) or {}).items():
      figures[f"{section}/{name}"] = value
  for name, value in figures.items():
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and name not in ("step", "metric") and math.isfinite(value):
      yield f"{kind}/{name.replace(' ', '_')}", value
