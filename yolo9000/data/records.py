"""What a reader returns, and whether a task can use it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from yolo9000.data.disk import DataError, read_bytes, shown
from yolo9000.data.images import decode
from yolo9000.data.masks import Mask
from yolo9000.types import Bool, Float, Int, UInt8

logger = logging.getLogger("yolo9000")


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
  # Boxes from elsewhere that may hold an object, see proposals.py; None: none.
  proposals_px: Float[np.ndarray, "P 4"] | None = None
  masks: tuple[Mask, ...] | None = None  # of each object; None: not read

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

  @property
  def proposals(self) -> Float[np.ndarray, "P 4"]:
    """xyxy in [0, 1]."""
    if self.proposals_px is None or not len(self.proposals_px):
      return np.zeros((0, 4), np.float32)
    return (self.proposals_px / self.edges_px).astype(np.float32)

  def take(self, index: Any) -> Record:
    """The picture with these of its objects, by numbers or by a mask."""
    masks, areas = self.masks, self.areas_px
    if masks is not None:
      chosen = np.arange(len(masks))[index]
      masks = tuple(masks[number] for number in chosen)
    return self._replace(
      labels=self.labels[index],
      boxes_px=self.boxes_px[index],
      difficult=self.difficult[index],
      areas_px=None if areas is None else areas[index],
      masks=masks,
    )


class Dataset(NamedTuple):
  """Records of one split, their classes, and how to see a picture.

  `flaws`, each a `flaws.Flaw`, are annotations that the reader mended or left
  out. `notes` counts what is no flaw but good to know, such as objects marked
  truncated, and `passed` what is there and was not used, such as a column.
  `category_ids` are the classes' numbers in the data set's own files, if any.
  """

  records: list[Record]
  class_names: tuple[str, ...]
  read_image: Callable[[Record], UInt8[np.ndarray, "H W 3"]]
  flaws: list[Any]
  notes: Mapping[str, int] = {}
  category_ids: tuple[int, ...] = ()
  passed: Mapping[str, int] = {}


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
      sum(n > 0 for n in surplus),
      len(surplus),
      max_objects,
      lost,
    )
  return lost


def check_masks(records: Sequence[Record], wanted: str) -> None:
  """Raises ValueError if masks were not read, or no object has one.

  Args:
    records: of a data set.
    wanted: what asks for masks, for the message: an option and its value.
  """
  known = objects = 0
  for record in records:
    if len(record.labels) and record.masks is None:
      raise ValueError(
        f"{shown(record.path)} has {len(record.labels)} objects and no masks, "
        f"and {wanted} asks for them; expected a format that has masks, coco "
        f"or shapes"
      )
    objects += len(record.labels)
    known += sum(mask is not None for mask in record.masks or ())
  if objects and not known:
    raise ValueError(
      f"{shown(records[0].path)} and {len(records) - 1} other pictures have "
      f"{objects} objects, none with a mask, and {wanted} asks for masks; "
      f"expected a data set that has some"
    )


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


def most_proposals(datasets: Sequence[Dataset]) -> int:
  """The most that a picture has; 0 where none has any.

  Raises:
    ValueError: if some have, and others have not.
  """
  records = [record for dataset in datasets for record in dataset.records]
  have = [record for record in records if record.proposals_px is not None]
  if have and len(have) != len(records):
    without = next(r for r in records if r.proposals_px is None)
    raise ValueError(
      f"{shown(without.path)} has no proposals, and {len(have)} other pictures "
      f"of {len(records)} have; expected all data sets to have a file of them"
    )
  counts = [len(r.proposals_px) for r in have if r.proposals_px is not None]
  return max(1, *counts) if counts else 0


def check_image_labels(records: Sequence[Record]) -> None:
  """Raises ValueError unless each picture has a label and no box."""
  for record in records:
    if record.image_label < 0 or len(record.labels):
      raise ValueError(
        f"{shown(record.path)} has {len(record.labels)} boxes and image label "
        f"{record.image_label}; classifiers need pictures with a label alone"
      )
