"""Boxes that may hold an object, computed once and kept in a file.

The file is an .npz with the boxes of each picture of a data set, the likeliest
first, and the fingerprint of the set. Any program may write one; ours is
`python -m yolo9000.proposals`.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from yolo9000.data import fitting
from yolo9000.data.disk import DataError, read_bytes, shown
from yolo9000.data.records import Dataset, Record
from yolo9000.files import write_whole
from yolo9000.types import Batch, Float

DAMAGES = zipfile.BadZipFile, zlib.error, NotImplementedError
KEYS = ("boxes_px", "counts", "fingerprint", "method")


class Proposals(NamedTuple):
  """Of the pictures of a data set.

  Attributes:
    boxes_px: of each picture, xyxy, edges in pixels as a record's boxes.
    method: how they were found, in words.
  """

  boxes_px: Sequence[Float[np.ndarray, "P 4"]]
  method: str


def fingerprint(records: Sequence[Record]) -> str:
  """Of the names and the sizes of pictures, in their order.

  Neither folders nor annotations are part of it: a data set may be moved, and
  its boxes corrected. The pictures themselves are not read.
  """
  lines = [
    f"{Path(record.path).name} {record.width}x{record.height}\n"
    for record in records
  ]
  data = "".join(lines).encode("utf-8", "surrogateescape")
  return hashlib.sha256(data).hexdigest()[:16]


def write(path: Path, proposals: Proposals, records: Sequence[Record]) -> None:
  """Writes the proposals of these pictures, whole or not at all."""
  counts = np.array([len(one) for one in proposals.boxes_px], np.int64)
  every = np.concatenate([np.zeros((0, 4)), *proposals.boxes_px])
  file = io.BytesIO()
  np.savez_compressed(
    file,
    boxes_px=every.astype(np.float32),
    counts=counts,
    fingerprint=np.array(fingerprint(records)),
    method=np.array(proposals.method),
  )
  write_whole(path, file.getvalue())


def read(path: str, records: Sequence[Record]) -> Proposals:
  """The proposals of these pictures.

  Raises:
    DataError: for a file that cannot be read, is of other pictures, or has
      boxes that are none.
  """
  data = read_bytes(path)
  if not zipfile.is_zipfile(io.BytesIO(data)):
    raise DataError(f"{shown(path)}: is no .npz file")
  try:
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
      arrays = {name: file[name] for name in file.files}
  except (OSError, ValueError, EOFError, *DAMAGES) as error:
    raise DataError(f"{shown(path)}: is no .npz file: {error}") from None
  if missing := [name for name in KEYS if name not in arrays]:
    raise DataError(
      f"{shown(path)}: has no {', '.join(missing)}; expected a file that "
      f"python -m yolo9000.proposals wrote, with {', '.join(KEYS)}"
    )
  counts, ours = arrays["counts"], fingerprint(records)
  if counts.dtype.kind not in "iu" or counts.ndim != 1 or (counts < 0).any():
    raise DataError(
      f"{shown(path)}: counts is {counts.dtype} {counts.shape}; expected a "
      f"whole number from 0 for each picture"
    )
  theirs = str(arrays["fingerprint"])
  if theirs != ours or len(counts) != len(records):
    raise DataError(
      f"{shown(path)}: has proposals for {len(counts)} pictures with the "
      f"fingerprint {theirs}; this data set has {len(records)} pictures and "
      f"{ours}; expected a file of the same pictures in the same order: "
      f"python -m yolo9000.proposals writes it"
    )
  boxes = arrays["boxes_px"]
  _check_boxes(path, boxes, counts)
  each = np.split(boxes.astype(np.float32), np.cumsum(counts)[:-1])
  return Proposals(each, str(arrays["method"]))


def _check_boxes(path: str, boxes: Any, counts: Any) -> None:
  """Raises DataError unless they are so many boxes with an area."""
  if boxes.shape != (int(np.sum(counts)), 4):
    raise DataError(
      f"{shown(path)}: boxes_px has the shape {boxes.shape}; expected "
      f"({int(np.sum(counts))}, 4), the sum of counts"
    )
  good = np.isfinite(boxes).all(1) & (boxes[:, 2:] > boxes[:, :2]).all(1)
  if not good.all():
    first = int(np.argmin(good))
    raise DataError(
      f"{shown(path)}: box {first} is {boxes[first].tolist()}; expected left, "
      f"top, right and bottom in pixels, of a box with an area"
    )


def attach(dataset: Dataset, path: str, *, most: int) -> Dataset:
  """The data set with the proposals of a file, at most so many of a picture.

  Raises:
    DataError: as `read`, or for pictures whose size is not known.
  """
  check_sizes(dataset.records)
  found = read(path, dataset.records)
  records = [
    record._replace(proposals_px=boxes_px[:most])
    for record, boxes_px in zip(dataset.records, found.boxes_px, strict=True)
  ]
  return dataset._replace(records=records)


def check_sizes(records: Sequence[Record]) -> None:
  """Raises DataError for a picture whose size is not known."""
  for record in records:
    if not record.width:
      raise DataError(
        f"{shown(record.path)}: has no known size; expected one for a picture "
        f"with proposals"
      )


def at_random(batch: Batch) -> Batch:
  """The batch with proposals at random places, for what only takes time."""
  if batch.proposals is None:
    return batch
  rng = np.random.default_rng(0)
  ends = rng.uniform(0, 1, (2, *batch.proposals.shape[:2], 2))
  boxes = np.concatenate([ends.min(0), ends.max(0)], axis=-1)
  return batch._replace(proposals=boxes.astype(np.float32))


def place(
  batch: Batch,
  row: int,
  record: Record,
  placement: fitting.Placement,
  *,
  flip: bool = False,
  min_side: float,
) -> None:
  """Writes a picture's proposals into its row of a batch; see `lay`."""
  if batch.proposals is not None:
    lay(
      batch.proposals[row],
      record.proposals,
      placement,
      flip=flip,
      min_side=min_side,
    )


def lay(
  rows: Float[np.ndarray, "P 4"],
  boxes: Float[np.ndarray, "N 4"],
  placement: fitting.Placement,
  *,
  flip: bool = False,
  min_side: float,
) -> None:
  """Writes the first boxes of a picture that are on the input, in [0, 1]."""
  placed, big = fitting.place_boxes(
    boxes, placement, flip=flip, min_side=min_side
  )
  kept = placed[big][: len(rows)]
  rows[: len(kept)] = kept
