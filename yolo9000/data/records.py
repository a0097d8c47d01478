"""What a reader returns, whether a task can use it, and how files are read."""

from __future__ import annotations

import io
import logging
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import PIL.Image
from etils import epath

from yolo9000.types import Bool, Float, Int, UInt8

logger = logging.getLogger("yolo9000")

# One picture per thread is faster than one picture over all threads.
cv2.setNumThreads(0)

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
# More than any camera takes; a few bytes of PNG can claim to be gigapixels.
MAX_PIXELS = 100_000_000
SCHEMES = ("gs", "s3", "az", "hf")  # of remote roots, each a package of its own
ROTATED = (5, 6, 7, 8)  # EXIF orientations that exchange width and height


class DataError(ValueError):
  """Input that cannot be used: names the file and what was expected.

  Args:
    message: with the file's name.
    kind: of flaw, a key of `flaws.KINDS`, where it is a picture's.
  """

  def __init__(self, message: str, kind: str = "unreadable picture"):
    super().__init__(message)
    self.kind = kind


class Record(NamedTuple):
  """One picture and what is known about it.

  Boxes are on the stored pixels; EXIF's orientation is not applied, unless the
  size says that it was when the boxes were drawn.
  """

  path: str  # of the file; names the picture in messages
  width: int  # 0, as is the height: not known, for a picture without boxes
  height: int
  boxes_px: Float[np.ndarray, "M 4"]  # xyxy, continuous edges in pixels
  labels: Int[np.ndarray, " M"]  # contiguous, from 0
  difficult: Bool[
    np.ndarray, " M"
  ]  # VOC's difficult, COCO's crowd: not counted
  image_label: int = -1  # class of a picture without boxes; -1: none
  areas_px: Float[np.ndarray, " M"] | None = None  # of masks; None: of boxes
  image_id: int | str = -1  # its name in the data set's own files

  @property
  def edges_px(self) -> Float[np.ndarray, " 4"]:
    """What boxes in [0, 1] are multiplied with to be in pixels."""
    return np.array([self.width, self.height] * 2, np.float64)

  @property
  def boxes(self) -> Float[np.ndarray, "M 4"]:
    """xyxy in [0, 1]."""
    if not len(self.boxes_px):
      return self.boxes_px
    return (self.boxes_px / self.edges_px).astype(np.float32)


class Dataset(NamedTuple):
  """Records of one split, their classes, and how to see a picture.

  `flaws`, each a `flaws.Flaw`, are annotations that the reader mended or left
  out. `notes` counts what is no flaw but good to know, such as objects marked
  truncated.
  `category_ids` are the classes' numbers in the data set's own files, if any.
  """

  records: list[Record]
  class_names: tuple[str, ...]
  read_image: Callable[[Record], UInt8[np.ndarray, "H W 3"]]
  flaws: list[Any]
  notes: Mapping[str, int] = {}
  category_ids: tuple[int, ...] = ()


def shown(name: str) -> str:
  r"""A file's name for people: bytes that are not UTF-8 as \xff."""
  return os.fsencode(name).decode("utf-8", "backslashreplace")


def open_path(name: str) -> Any:
  """A local Path, or for gs:// and the like what etils makes of it.

  Raises:
    DataError: for another scheme.
  """
  scheme, remote, _ = name.partition("://")
  if not remote:
    return Path(name)
  if scheme not in SCHEMES:
    raise DataError(
      f"{name}: {scheme}:// is unknown; allowed are {', '.join(SCHEMES)}"
    )
  return epath.Path(name)


def read_bytes(name: str) -> bytes:
  """Everything in a file, local or remote.

  Raises:
    DataError: if it cannot be read.
  """
  try:
    return _checked(name).read_bytes()
  except (OSError, ImportError, ValueError) as error:
    raise _cannot_be_read(name, error) from None


def _checked(name: str) -> Any:
  """The path, if it is a file; a named pipe would be waited for."""
  path = open_path(name)
  if isinstance(path, Path) and not stat.S_ISREG(path.stat().st_mode):
    raise OSError("it is no file")
  return path


def _cannot_be_read(name: str, error: Exception) -> DataError:
  if isinstance(error, DataError):
    return error
  kind = "missing picture" if isinstance(error, FileNotFoundError) else ""
  return DataError(
    f"{shown(name)}: cannot be read: "
    f"{getattr(error, 'strerror', None) or error}",
    kind or "unreadable picture",
  )


def _is_cut_off(data: bytes) -> bool:
  """Whether a JPEG or PNG lacks its end marker.

  OpenCV fills the lost part with grey and says nothing. The marker cannot occur
  inside a JPEG's last scan; before it, it may belong to a thumbnail. Damage in
  the middle of a JPEG is not seen.
  """
  if data.startswith(b"\x89PNG"):
    return b"IEND\xaeB`\x82" not in data
  if not data.startswith(b"\xff\xd8") or data.endswith(b"\xff\xd9"):
    return False
  return data.find(b"\xff\xd9", data.rfind(b"\xff\xda")) < 0


class Header(NamedTuple):
  """What a picture's first bytes say."""

  width: int  # of the stored pixels
  height: int
  orientation: int  # EXIF's, 1 to 8; 1: as stored


def read_header(file: Any, name: str) -> Header:
  """Size and orientation of a picture, without decoding it.

  Raises:
    DataError: if it is no picture or claims more than MAX_PIXELS.
  """
  try:
    with PIL.Image.open(file) as image:
      width, height = image.size
      orientation = 1
      if "exif" in image.info:
        orientation = image.getexif().get(0x0112, 1)
  except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning):
    width = height = MAX_PIXELS
  except Exception:  # PIL's readers raise whatever their format suggests
    raise DataError(f"{shown(name)}: not a picture that can be read") from None
  if width * height > MAX_PIXELS:
    raise DataError(
      f"{shown(name)}: the picture claims more than {MAX_PIXELS:,} pixels"
    )
  return Header(width, height, orientation)


def picture_size(name: str) -> tuple[int, int]:
  """Width and height of a file's stored pixels.

  Raises:
    DataError: if the file is missing, or as `read_header`.
  """
  try:
    with _checked(name).open("rb") as file:
      return read_header(file, name)[:2]
  except (OSError, ImportError, ValueError) as error:
    raise _cannot_be_read(name, error) from None


def decode(
  data: bytes, name: str, *, oriented: bool
) -> UInt8[np.ndarray, "H W 3"]:
  """The bytes of a picture file as RGB; grey and CMYK pictures too.

  Args:
    data: the file's content.
    name: of the file, for messages.
    oriented: whether to turn it as its EXIF orientation says.

  Raises:
    DataError: if it is truncated, larger than MAX_PIXELS or no picture.
  """
  read_header(io.BytesIO(data), name)
  if _is_cut_off(data):
    raise DataError(
      f"{shown(name)}: the picture ends before its end marker",
      "truncated picture",
    )
  flags = cv2.IMREAD_COLOR_RGB
  if not oriented:
    flags |= cv2.IMREAD_IGNORE_ORIENTATION
  try:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
  except cv2.error:
    image = None
  if image is None:
    raise DataError(f"{shown(name)}: not a picture that OpenCV can decode")
  return image


def decode_picture(path: str) -> UInt8[np.ndarray, "H W 3"]:
  """A picture file as people see it, turned as its EXIF orientation says.

  Raises:
    DataError: if the file is missing, or as `decode`.
  """
  return decode(read_bytes(path), path, oriented=True)


def read_picture(record: Record) -> UInt8[np.ndarray, "H W 3"]:
  """The picture of a record.

  Raises:
    DataError: as `decode_picture`, or if its size is not the record's.
  """
  return check_size(record, read_bytes(record.path))


def check_size(record: Record, data: bytes) -> UInt8[np.ndarray, "H W 3"]:
  """The picture in these bytes, which must have the record's size.

  Raises:
    DataError: as `decode`, or for another size.
  """
  image = decode(data, record.path, oriented=False)
  size, found = (record.width, record.height), image.shape[1::-1]
  if found != size and found[::-1] == size:
    image = decode(data, record.path, oriented=True)
  if image.shape[1::-1] != size and size != (0, 0):
    raise DataError(
      f"{shown(record.path)}: the picture is {found[0]}x{found[1]}, but its "
      f"annotation says {record.width}x{record.height}",
      "wrong size",
    )
  return image


def check_objects(records: Sequence[Record], max_objects: int) -> int:
  """Counts, and says, the objects that do not fit into max_objects."""
  surplus = [len(record.labels) - max_objects for record in records]
  lost = sum(count for count in surplus if count > 0)
  if lost:
    logger.warning(
      "%d of %d pictures have more than max_objects = %d objects: a random "
      "choice of that many is used each time, %d are left out",
      *(sum(n > 0 for n in surplus), len(surplus), max_objects, lost),
    )
  return lost


def check_labels(datasets: Sequence[Dataset], *, alone: bool) -> None:
  """Raises ValueError for pictures that a detector cannot be trained on.

  A picture has boxes or an image label, not both. Without a rule for labels
  alone, a picture that has one would be taken for one without objects.

  Args:
    datasets: to be trained on.
    alone: there is such a rule.
  """
  labelled = 0
  for dataset in datasets:
    for record in dataset.records:
      if record.image_label < 0:
        continue
      labelled += 1
      name = dataset.class_names[record.image_label]
      if len(record.labels):
        raise ValueError(
          f"{shown(record.path)} has the image label {name!r} and "
          f"{len(record.labels)} boxes; expected one of the two"
        )
      if not alone:
        raise ValueError(
          f"{shown(record.path)} has the image label {name!r} and no boxes; "
          f"this detector learns from boxes alone"
        )
  if alone and not labelled:
    logger.warning(
      "no training picture has an image label alone: options for those, as "
      "in task.joint, have no effect"
    )


def check_image_labels(records: Sequence[Record]) -> None:
  """Raises ValueError unless each picture has a label and no box."""
  for record in records:
    if record.image_label < 0 or len(record.labels):
      raise ValueError(
        f"{shown(record.path)} has {len(record.labels)} boxes and image label "
        f"{record.image_label}; classifiers need pictures with a label alone"
      )
