"""What a reader returns, and how a picture file becomes an array."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from yolo9000.types import Bool, Float, Int, UInt8

# One picture per thread is faster than one picture over all threads.
cv2.setNumThreads(0)


class DataError(ValueError):
  """Input that cannot be used: names the file and what was expected."""


class Record(NamedTuple):
  """One picture and what is known about it."""

  path: str  # of the file; names the picture in messages
  width: int
  height: int
  boxes_px: Float[np.ndarray, "M 4"]  # xyxy, continuous edges in pixels
  labels: Int[np.ndarray, " M"]  # contiguous, from 0
  difficult: Bool[np.ndarray, " M"]  # not counted by the evaluation
  image_label: int = -1  # class of a picture without boxes; -1: none

  @property
  def edges_px(self) -> Float[np.ndarray, " 4"]:
    """What boxes in [0, 1] are multiplied with to be in pixels."""
    return np.array([self.width, self.height] * 2, np.float64)

  @property
  def boxes(self) -> Float[np.ndarray, "M 4"]:
    """xyxy in [0, 1]."""
    return (self.boxes_px / self.edges_px).astype(np.float32)


class Dataset(NamedTuple):
  """Records of one split, their classes, and how to see a picture.

  `flaws` are annotations that the reader mended or left out, one sentence each
  with the file's name.
  """

  records: list[Record]
  class_names: tuple[str, ...]
  read_image: Callable[[Record], UInt8[np.ndarray, "H W 3"]]
  flaws: list[str]


def _is_cut_off(data: bytes) -> bool:
  """Whether a JPEG lacks its end marker.

  OpenCV fills the lost part with grey and says nothing. The marker cannot occur
  inside the last scan; before it, it may belong to a thumbnail.
  """
  if not data.startswith(b"\xff\xd8") or data.endswith(b"\xff\xd9"):
    return False
  return data.find(b"\xff\xd9", data.rfind(b"\xff\xda")) < 0


def decode_picture(path: str) -> UInt8[np.ndarray, "H W 3"]:
  """A picture file as RGB; grey and CMYK pictures too.

  Raises:
    DataError: if the file is missing, truncated or no picture.
  """
  try:
    data = Path(path).read_bytes()
  except OSError as error:
    raise DataError(f"{path}: cannot be read: {error.strerror}") from None
  if _is_cut_off(data):
    raise DataError(f"{path}: the JPEG ends before its end marker")
  image = None
  if data:
    try:
      image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # such as more pixels than OpenCV allows
      pass
  if image is None:
    raise DataError(f"{path}: not a picture that OpenCV can decode")
  return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def read_picture(record: Record) -> UInt8[np.ndarray, "H W 3"]:
  """The picture of a record.

  Raises:
    DataError: as `decode_picture`, or if its size is not the record's.
  """
  image = decode_picture(record.path)
  height, width = image.shape[:2]
  if (width, height) != (record.width, record.height):
    raise DataError(
      f"{record.path}: the picture is {width}x{height}, but its annotation "
      f"says {record.width}x{record.height}"
    )
  return image
