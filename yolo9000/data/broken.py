"""Pictures that cannot be read, each replaced by another of its data set."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Generator, Sequence
from typing import Any

from yolo9000.data.disk import DataError, shown
from yolo9000.data.records import Dataset, Record
from yolo9000.types import Batch

logger = logging.getLogger("yolo9000")


def find(datasets: Sequence[Dataset], index: int) -> tuple[int, int]:
  """The data set of an index that counts through all, and its first index."""
  first = 0
  for number, dataset in enumerate(datasets):
    if index < first + len(dataset.records):
      return number, first
    first += len(dataset.records)
  raise IndexError(index)


def watched(
  batches: Generator[Batch, None, None],
  make: Any,
  step: int,
  most: float,
) -> Generator[Batch, None, None]:
  """Says which pictures were replaced, and stops after too many.

  Raises:
    DataError: from the iterator, for more than `most` pictures.

  It compares what a batch has with what it should have, and so needs nothing
  from the threads or processes that made it.
  """
  broken: dict[int, int] = {}
  with contextlib.closing(batches):
    for batch in batches:
      for place, index in zip(make.places(step), batch.index, strict=True):
        wanted, index = int(make.order[place]), int(index)
        if index == wanted:
          continue
        number, first = find(make.datasets, wanted)
        dataset = make.datasets[number]
        why = reason(dataset, dataset.records[wanted - first])
        broken[wanted] = broken.get(wanted, 0) + 1
        logger.warning(
          "step %d: %s; replaced by %s (%d replaced so far, of %d pictures)",
          step,
          why,
          shown(dataset.records[index - first].path),
          sum(broken.values()),
          len(broken),
        )
        if len(broken) > most:
          raise DataError(
            f"{len(broken)} pictures cannot be read, and data.broken_share "
            f"allows {int(most)}; the last: {why}"
          )
      yield batch
      step += 1


def reason(dataset: Dataset, record: Record) -> str:
  """Why a picture could not be read."""
  try:
    dataset.read_image(record)
  except DataError as error:
    return str(error)
  return f"{shown(record.path)}: could not be read before, but now"
