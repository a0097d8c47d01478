"""What every reader needs: its Source, where flaws go, checked boxes, lines.

A reader is a function of a Source and of Flaws that returns a Dataset. It hands
every flaw to Flaws, which raises in training and collects for the doctor.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from yolo9000.data.disk import DataError, read_text, shown, told
from yolo9000.data.flaws import Flaws
from yolo9000.data.images import MAX_PIXELS, picture_size
from yolo9000.data.masks import Mask
from yolo9000.data.records import Dataset, Record, read_picture

NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
# More than in COCO (93), Open Images (742) and SKU-110K (718).
MOST_BOXES = 1000
SIZE_TAKEN = "sizes that are not written, taken from the picture"
UNKNOWN_SIDE = 100_000  # of a picture that is not there, see `measured`


class Source(NamedTuple):
  """One description of a data set, as it stands in a config."""

  format: str  # a key of `sources.FORMATS`
  root: str  # its folder or file
  split: str  # what each format calls so, see its reader
  class_names: tuple[str, ...] = ()  # as it has them; (): those that it tells
  map: str | tuple[tuple[str, str], ...] = ()  # see `sources.read_map`
  weight: float = 1.0  # its share of the training pictures
  outside: bool = False  # whether its paths may leave root
  proposals: str = ""  # a file of them, see `data.proposals`; "": none
  max_proposals: int = 2000  # of a picture, the first so many
  masks: bool = False  # whether they are read; in a config, data.mask_size

  def __str__(self) -> str:
    """For messages."""
    return " ".join(filter(None, [self.format, shown(self.root), self.split]))


def check_names(names: Sequence[Any]) -> None:
  """Raises DataError unless the class names are different, non-empty texts."""
  seen = set()
  for name in names:
    if not isinstance(name, str) or not name.strip() or name in seen:
      again = "there twice" if name in seen else "no name"
      raise DataError(f"class names {tuple(names)}: {name!r} is {again}")
    seen.add(name)


class Classes:
  """The labels of class names: given ones, or those that come up."""

  def __init__(self, names: Sequence[str]):
    check_names(names)
    self._numbers = {name: number for number, name in enumerate(names)}
    self.fixed = bool(names)

  @property
  def names(self) -> tuple[str, ...]:
    """In the order of the labels."""
    return tuple(self._numbers)

  def label(
    self, name: str, to: Any, path: Any, line: int, what: str = ""
  ) -> int | None:
    """The number of a class; an unknown one is an error, and None.

    Args:
      name: of the class.
      to: Flaws or Truths, to which the error goes.
      path, line, what: where the name stands and what has it.
    """
    if name not in self._numbers:
      if self.fixed or not name:
        known = (
          ", ".join(self._numbers)
          if len(self._numbers) < 100
          else (f"{len(self._numbers)} others")
        )
        to.error(
          "unknown class",
          path,
          line,
          f"{what}unknown class {name!r}; known are {known}",
        )
        return None
      self._numbers[name] = len(self._numbers)
    return self._numbers[name]


class Truths:
  """The objects of one picture, each checked as it is added."""

  def __init__(self, width: int, height: int, flaws: Flaws):
    self.size, self._flaws = (width, height), flaws
    self._complete, self._flat = True, 0
    self._objects: list[tuple[float, ...]] = []
    self._masks: list[Mask] = []
    self._there: set[tuple[float, ...]] = set()

  def error(
    self,
    kind: str,
    path: Any,
    line: int,
    message: str,
    box_px: tuple[float, ...] = (),
  ) -> None:
    """Reports an object that is left out."""
    self._complete = False
    self._flaws.error(kind, path, line, message, box_px)

  def add(
    self,
    edges_px: Sequence[float],
    label: int,
    path: Any,
    line: int,
    what: str,
    *,
    difficult: bool = False,
    area_px: float = math.nan,
    mask: Mask = None,
  ) -> None:
    """Adds a box with continuous edges (left, top, right, bottom).

    One that sticks out is cut; one that is no box, and a second one of the same
    class at the same place, is left out. All this is reported. If the flaws are
    not to be mended, boxes without area, those that stick out and second ones
    are reported and stay as they are.

    Args:
      edges_px: in pixels.
      label: contiguous.
      path, line: where it stands.
      what: the box as it is written there, for messages.
      difficult: whether it counts in no evaluation.
      area_px: of its mask, if known.
      mask: if known.
    """
    left, top, right, bottom = edges = tuple(map(float, edges_px))
    width, height = self.size
    if not all(map(math.isfinite, edges)):
      message = f"{what} has an edge that is no finite number"
      return self.error("bad number", path, line, message)
    if right < left or bottom < top:
      message = f"{what} has its maximum before its minimum"
      return self.error("reversed box", path, line, message, edges)
    if right == left or bottom == top:
      self._flat += 1
      message = f"{what} has no area; left out"
      self._flaws.mended("no area", path, line, message, edges)
      if not self._flaws.mends:
        self._objects.append((label, *edges, difficult, area_px))
        self._masks.append(mask)
      return None
    if max(right, bottom) < 2 < min(width, height):
      message = (
        f"{what} lies within the first two pixels of the {width}x{height} "
        f"picture; are these fractions of it? Expected pixels"
      )
      return self.error("like fractions", path, line, message, edges)
    cut = (
      max(left, 0.0),
      max(top, 0.0),
      min(right, width),
      min(bottom, height),
    )
    if cut[0] >= cut[2] or cut[1] >= cut[3]:
      message = f"{what} lies outside the {width}x{height} picture"
      return self.error("outside", path, line, message, edges)
    # Rounding of a written number is no flaw: a hundredth of a pixel.
    if max(cut[0] - left, cut[1] - top, right - cut[2], bottom - cut[3]) > 0.01:
      message = f"{what} sticks out of the {width}x{height} picture; cut"
      self._flaws.mended("out of range", path, line, message, edges)
    if min(cut[2] - cut[0], cut[3] - cut[1]) < 0.99:
      message = (
        f"{what} is thinner than a pixel of the {width}x{height} picture"
      )
      self._flaws.mended("thin box", path, line, message, edges)
    again = (label, *cut) in self._there
    if again:
      message = f"{what} is there already; left out"
      self._flaws.mended("duplicate box", path, line, message, edges)
    self._there.add((label, *cut))
    if not self._flaws.mends or not again:
      kept = cut if self._flaws.mends else edges
      self._objects.append((label, *kept, difficult, area_px))
      self._masks.append(mask)
    return None

  def record(
    self,
    path: Any,
    *,
    image_label: int = -1,
    image_id: int | str = -1,
    masks: bool = False,
  ) -> Record:
    """The picture with its objects, and their masks if these were read."""
    self._flaws.met.add(str(path))
    count = len(self._objects)
    if not self._complete or (self._flat and not count):
      self._flaws.incomplete.add(str(path))
    if count > MOST_BOXES:
      message = f"{count} boxes on one picture"
      self._flaws.mended("many boxes", path, 0, message)
    rows = np.array(self._objects, np.float64).reshape(-1, 7)
    return Record(
      path=str(path),
      width=self.size[0],
      height=self.size[1],
      boxes_px=rows[:, 1:5].astype(np.float32),
      labels=rows[:, 0].astype(np.int32),
      difficult=rows[:, 5] > 0,
      image_label=image_label,
      areas_px=None if np.isnan(rows[:, 6]).any() else rows[:, 6],
      image_id=image_id,
      masks=tuple(self._masks) if masks else None,
    )


def number(value: Any) -> float:
  """The number that a text or a JSON value is; nan for anything else."""
  if isinstance(value, str):
    value = float(value) if NUMBER.fullmatch(value.strip()) else math.nan
  elif isinstance(value, bool) or not isinstance(value, int | float):
    return math.nan
  try:
    return float(value) if math.isfinite(value) else math.nan
  except OverflowError:
    return math.nan


def flag(value: Any) -> bool | None:
  """What 0 or 1, false or true says; None for anything else."""
  if value in ("0", "1", 0, 1):  # nearly always
    return value in ("1", 1)
  text = str(value).strip().lower()
  if text in ("false", "true"):
    return text == "true"
  return {0.0: False, 1.0: True}.get(number(text))


def mark(value: Any, what: str, flaws: Flaws) -> bool | None:
  """As `flag`; a value that says "not known" is False, and counted.

  Args:
    value: blank, null, Unspecified (of makesense.ai) and -1 (of Open Images)
      are not known.
    what: is marked, for the count.
    flaws: where it is counted.
  """
  known = flag(value)
  if known is not None:
    return known
  text = str(value).strip().lower()
  if text in ("", "none", "unspecified", "unknown", "-1", "-1.0"):
    flaws.notes[f"objects whose {what} is {text or 'blank'}"] += 1
    return False
  return None


def is_size(width: Any, height: Any) -> bool:
  """Whether these can be a picture's width and height in pixels."""
  sides = number(width), number(height)
  return min(sides) >= 1 and sides[0] * sides[1] <= MAX_PIXELS


def read_names(path: Any) -> tuple[str, ...]:
  """A class name on each line.

  Raises:
    DataError: if the file cannot be read, for a line that is no name, for a
      blank one before the last, since it would shift the numbers, and for names
      that are there twice.
  """
  lines = read_lines(path, Flaws(strict=True))
  for place, (line, _) in enumerate(lines, 1):
    if line != place:
      raise DataError(f"{path}:{place}: blank; expected a class name")
  names = tuple(text for _, text in lines)
  try:
    check_names(names)
  except DataError as error:
    raise DataError(f"{path}: {error}") from None
  return names


def read_lines(path: Any, to: Any) -> list[tuple[int, str]]:
  """The lines of a text file that are not blank, with their numbers from 1.

  A file that cannot be read, or is of another encoding, is an error of `to`,
  Flaws or Truths, and has no lines.
  """
  try:
    text = read_text(str(path))
  except DataError as error:
    kind = error.kind if error.kind == "bad text" else "bad annotation"
    to.error(kind, path, *told(error, path))
    return []
  lines = enumerate(map(str.strip, text.split("\n")), 1)
  return [(number, line) for number, line in lines if line]


def measured(
  path: Any, flaws: Flaws, *, in_pixels: bool = False
) -> Truths | None:
  """Truths for a picture whose annotation does not tell its size.

  A picture that cannot be read is an error, and None. If boxes are in pixels
  and pictures are not needed, one that is not there is as large as can be.
  """
  flaws.measured.add(str(path))
  try:
    return Truths(*picture_size(str(path)), flaws)
  except DataError as error:
    if in_pixels and not flaws.pictures and error.kind == "missing picture":
      flaws.notes[SIZE_TAKEN] -= 1
      flaws.notes["pictures of a size that is not known"] += 1
      return Truths(UNKNOWN_SIDE, UNKNOWN_SIDE, flaws)
    return flaws.error("unreadable picture", path, *told(error, path))


def _check_records(records: Sequence[Record], flaws: Flaws) -> None:
  """A picture is there once, and has boxes or an image label."""
  seen: set[str] = set()
  for record in records:
    if record.path in seen:
      flaws.incomplete.add(record.path)
      message = "is there already, by another name"
      flaws.error("listed twice", record.path, 0, message)
    seen.add(record.path)
    if record.image_label >= 0 and len(record.labels):
      flaws.incomplete.add(record.path)
      message = f"has an image label and {len(record.labels)} boxes"
      flaws.error("bad annotation", record.path, 0, message)


def finished(
  records: list[Record],
  classes: Classes,
  flaws: Flaws,
  path: Any,
  *,
  category_ids: tuple[int, ...] = (),
) -> Dataset:
  """What a reader returns; a split without a picture is an error.

  Class names that came up are sorted, so that their labels do not depend on the
  order of the files.
  """
  if not records:
    flaws.error("empty split", path, 0, "no picture in it")
  _check_records(records, flaws)
  names = classes.names
  if not classes.fixed and names != tuple(sorted(names)):
    order = sorted(names)
    table = np.array([*map(order.index, names), -1], np.int32)
    records = [
      record._replace(
        labels=table[record.labels],
        image_label=int(table[record.image_label]),
      )
      for record in records
    ]
    names = tuple(order)
  return Dataset(
    records,
    names,
    read_picture,
    flaws.found,
    flaws.notes,
    category_ids=category_ids,
    passed=flaws.passed,
  )
