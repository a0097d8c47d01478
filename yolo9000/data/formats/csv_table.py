"""CSV: a table of one's own with a line per box."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

from yolo9000.data.disk import DataError, open_path, read_bytes
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats.reading import (
  Classes,
  Listing,
  Source,
  Truths,
  inside,
  measured,
  number,
)
from yolo9000.data.records import Dataset, read_picture

# Our name of a column, and others that are understood.
COLUMNS = {
  "image": ("image", "filename", "file_name", "path", "image_path"),
  "label": ("label", "class", "class_name", "name"),
  "xmin": ("xmin", "x1", "x_min", "left"),
  "ymin": ("ymin", "y1", "y_min", "top"),
  "xmax": ("xmax", "x2", "x_max", "right"),
  "ymax": ("ymax", "y2", "y_max", "bottom"),
}
SIDES = ("xmin", "ymin", "xmax", "ymax")


def read(source: Source, flaws: Flaws) -> Dataset:
  """Reads a CSV file with a line per box, and a first line of `COLUMNS`.

  Boxes are continuous edges in pixels from 0. A line with a label but without a
  box gives the picture's image label; one without either, a picture without
  objects. Sizes come from the pictures.

  Args:
    source: split is the file below root, such as "train.csv"; pictures' paths
      start at root.
    flaws: where they go.

  Raises:
    DataError: for a missing file or column, no line, and flaws if they are
      strict.
  """
  path = open_path(source.root) / source.split
  header, rows, lost = read_table(path, flaws)
  column = {}
  for ours, others in COLUMNS.items():
    found = [name for name in header if name.strip().lower() in others]
    if len(found) > 1 or (not found and ours in ("image", "label")):
      raise DataError(
        f"{path}:1: expected one column {ours} (or {', '.join(others[1:])}); "
        f"the columns are {', '.join(header)}"
      )
    column[ours] = found[0] if found else None
  missing = [side for side in SIDES if column[side] is None]
  if 0 < len(missing) < 4:
    raise DataError(f"{path}:1: a box needs {', '.join(missing)} too")
  classes = Classes(source.class_names)
  pictures = Pictures(flaws)
  image_labels: dict[Any, int] = {}
  for line, row in rows:
    picture = inside(source, row[column["image"]].strip(), flaws, path, line)
    truths = picture and pictures.get(picture, path, line)
    if not truths:
      continue
    texts = [row[column[side]] if column[side] else "" for side in SIDES]
    name = row[column["label"]].strip()
    if not name and not any(texts):
      continue
    label = classes.label(name, truths, path, line)
    if label is None:
      continue
    if any(texts):
      add_box(truths, texts, label, path, line)
    elif image_labels.setdefault(picture, label) != label:
      message = f"a second image label, {name!r}"
      truths.error("bad annotation", path, line, message)
  records = [
    truths.record(picture, image_label=image_labels.get(picture, -1))
    for picture, truths in pictures.found.items()
  ]
  if not records:
    flaws.error("empty split", path, 0, "no picture in it")
  if lost:
    flaws.incomplete.update(record.path for record in records)
  return Dataset(records, classes.names, read_picture, flaws.found)


def splits(root: str) -> list[str]:
  """The .csv files of root."""
  return sorted(p.name for p in open_path(root).glob("*.csv"))


class Pictures:
  """The pictures of a table, in the order in which they come up."""

  def __init__(self, flaws: Flaws):
    self._flaws, self._there = flaws, Listing()
    self._all: dict[Any, Truths | None] = {}

  @property
  def found(self) -> dict[Any, Truths]:
    """Those that are there."""
    return {path: t for path, t in self._all.items() if t is not None}

  def get(self, picture: Any, path: Any, line: int) -> Truths | None:
    """Its truths; None, once reported, for one that is not there or broken."""
    if picture not in self._all:
      self._all[picture] = None
      self._flaws.met.add(str(picture))
      if self._there.has(picture):
        self._all[picture] = measured(picture, self._flaws)
      else:
        message = f"{picture.name} is not in {picture.parent}"
        self._flaws.error("missing picture", path, line, message)
    return self._all[picture]


def add_box(
  truths: Truths,
  texts: list[str],
  label: int,
  path: Any,
  line: int,
  scale: tuple[int, ...] = (1, 1, 1, 1),
  difficult: bool = False,
) -> None:
  """Adds the box that four cells of a line give."""
  edges = [number(text) * s for text, s in zip(texts, scale, strict=True)]
  what = f"box ({', '.join(texts)})"
  if any(edge != edge for edge in edges):
    message = f"{what} is not four numbers"
    truths.error("bad number", path, line, message)
  else:
    truths.add(edges, label, path, line, what, difficult=difficult)


def read_table(
  path: Any, flaws: Flaws
) -> tuple[list[str], Iterator[tuple[int, dict[str, str]]], list[int]]:
  """The columns; the lines as dicts with their numbers; those left out.

  The last is complete once all lines are read.

  Raises:
    DataError: for a missing file, or one whose first line is none of columns.
  """
  if not path.is_file():
    raise DataError(f"{path}: no such file")
  content = read_bytes(str(path))
  try:
    text = content.decode("utf-8-sig")
  except UnicodeDecodeError as error:
    line = content[: error.start].count(b"\n") + 1
    flaws.mended("bad text", path, line, "not UTF-8; letters are replaced")
    text = content.decode("utf-8-sig", "backslashreplace")
  reader = csv.DictReader(io.StringIO(text, newline=""))
  lost: list[int] = []
  try:
    header = list(reader.fieldnames or ())
  except csv.Error as error:
    raise DataError(f"{path}:1: {error}") from None
  if len(set(header)) < len(header):
    raise DataError(f"{path}:1: a column is there twice: {', '.join(header)}")

  def rows():
    while True:
      message = ""
      try:
        row = next(reader)
      except StopIteration:
        return
      except csv.Error as error:
        message, row = str(error), {}
      if None in row or None in row.values():
        count = sum(v is not None for k, v in row.items() if k is not None)
        count += len(row.get(None) or ())
        message = f"{count} cells, but {len(header)} columns"
      if message:
        flaws.error("bad annotation", path, reader.line_num, message)
        lost.append(reader.line_num)
      else:
        yield reader.line_num, row

  return header, rows(), lost
