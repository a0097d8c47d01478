"""CSV: a table of one's own with a line per box."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

from yolo9000.data.disk import DataError, open_path, read_text
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats import unread
from yolo9000.data.formats.places import Listing, entries, find_picture
from yolo9000.data.formats.reading import (
  Classes,
  Source,
  Truths,
  finished,
  is_size,
  measured,
  number,
)
from yolo9000.data.images import PICTURES
from yolo9000.data.records import Dataset

# Our name of a column, and others that are understood.
COLUMNS = {
  "image": ("image", "filename", "file_name", "path", "image_path"),
  "label": ("label", "class", "class_name", "name", "category"),
  "xmin": ("xmin", "x1", "x_min", "left"),
  "ymin": ("ymin", "y1", "y_min", "top"),
  "xmax": ("xmax", "x2", "x_max", "right"),
  "ymax": ("ymax", "y2", "y_max", "bottom"),
  "width": ("width", "image_width", "img_width"),
  "height": ("height", "image_height", "img_height"),
}
SIDES = ("xmin", "ymin", "xmax", "ymax")
FOUR = unread.is_four_numbers
SAMPLE = 100  # lines by which columns are judged


def read(source: Source, flaws: Flaws) -> Dataset:
  """Reads a CSV file with a line per box, and a first line of `COLUMNS`.

  Boxes are continuous edges in pixels from 0. A line with a label but without a
  box gives the picture's image label; one without either, a picture without
  objects. Width and height are the picture's, and compared with it. Other
  columns are counted; one that could be a box is an error if there is no box.

  Args:
    source: split is the file below root, such as "train.csv"; pictures' paths
      start at root.
    flaws: where they go.

  Raises:
    DataError: for a missing file or column, no line, and flaws if they are
      strict.
  """
  root = open_path(source.root)
  path = root / source.split
  header, rows, lost = read_table(path, flaws)
  column = _columns(header, path)
  sample = list(islice(rows, SAMPLE))
  doubtful = _pass_over(header, column, sample, path, flaws)
  boxed = "xmin" in column
  classes = Classes(source.class_names)
  pictures = Pictures(source, flaws, [root, path.parent, root / "images"])
  image_labels: dict[Any, int] = {}
  for line, row in chain(sample, rows):
    texts = [row[column[side]] if boxed else "" for side in SIDES]
    size = [row[column[s]] if s in column else "" for s in ("width", "height")]
    found = pictures.get(row[column["image"]], size, path, line)
    if found is None:
      continue
    picture, truths = found
    name = row[column["label"]]
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
  if lost or doubtful:
    flaws.incomplete.update(record.path for record in records)
  return finished(records, classes, flaws, path)


def _pass_over(
  header: list[str],
  column: dict[str, str],
  sample: list[tuple[int, dict[str, str]]],
  path: Any,
  flaws: Flaws,
) -> bool:
  """Counts the columns that are not read; whether any could be of a box.

  One is, by its name and by cells that are not words; or by cells of four
  numbers; or as one of four columns of numbers in a table without boxes. A
  single side is none.

  Raises:
    DataError: for such a column in a table without boxes.
  """
  missing = {side for side in SIDES if side not in column}
  ours = frozenset([*column.values(), *missing])
  found = unread.sort_out(frozenset(header), ours, frozenset())
  rest = [name for name in header if name not in ours]
  cells = {name: [row[name] for _, row in sample if row[name]] for name in rest}
  boxes = [n for n in found.boxes if any(map(_has_digit, cells[n]))]
  if len(boxes) == 1 and unread.is_a_side(boxes[0]):
    boxes = []
  boxes += [n for n in rest if cells[n] and all(map(FOUR, cells[n]))]
  numbers = [n for n in rest if cells[n] and all(map(_is_number, cells[n]))]
  if missing and len(numbers) > 3:
    boxes += numbers
  boxes = list(dict.fromkeys(boxes))
  messages = [*found.misspelt, *map(unread.not_read, boxes)]
  for message in messages:
    if missing:
      raise DataError(
        f"{path}:1: the column {message}; expected {', '.join(SIDES)}, in "
        f"pixels; the columns are {', '.join(header)}"
      )
    flaws.error("not read", path, 1, f"the column {message}")
  told = {*boxes, *(message.split("'")[1] for message in found.misspelt)}
  flaws.passed.update(f"column {name}" for name in rest if name not in told)
  return bool(messages)


def _has_digit(text: str) -> bool:
  return any(map(str.isdigit, text))


def _is_number(text: str) -> bool:
  return number(text) == number(text)


def _columns(header: list[str], path: Any) -> dict[str, str]:
  """The table's name of each of our columns that it has."""
  column = {}
  for ours, others in COLUMNS.items():
    found = [name for name in header if name.lower() in others]
    if len(found) > 1 or (not found and ours in ("image", "label")):
      raise DataError(
        f"{path}:1: expected one column {ours} (or {', '.join(others[1:])}); "
        f"the columns are {', '.join(header)}"
      )
    if found:
      column[ours] = found[0]
  missing = [side for side in SIDES if side not in column]
  if 0 < len(missing) < 4:
    raise DataError(
      f"{path}:1: a box needs {', '.join(missing)} too; the columns are "
      f"{', '.join(header)}"
    )
  return column


def splits(root: str) -> list[str]:
  """The .csv files of root."""
  base, unused = open_path(root), Flaws(strict=False)
  inside = entries(base, unused)
  deeper = [p for f in inside if f.is_dir() for p in entries(f, unused)]
  for paths in (inside, deeper):
    if found := [p for p in paths if p.suffix.lower() == ".csv"]:
      return [str(p.relative_to(base)) for p in found]
  return []


class Pictures:
  """The pictures of a table, in the order in which they come up."""

  def __init__(self, source: Source, flaws: Flaws, folders: Any = ()):
    self._source, self._flaws, self._there = source, flaws, Listing()
    self._folders = folders or [open_path(source.root)]
    self._paths: dict[str, Any] = {}
    self._all: dict[Any, Truths | None] = {}

  @property
  def found(self) -> dict[Any, Truths]:
    """Those that are there."""
    return {path: t for path, t in self._all.items() if t is not None}

  def get(
    self, name: str, size: list[str], path: Any, line: int
  ) -> tuple[Any, Truths] | None:
    """The picture of a name; None, once reported, if it cannot be used.

    Args:
      name: as the table has it.
      size: width and height as the table has them; blank or 0: measured.
      path, line: of the table.
    """
    if name not in self._paths:
      self._paths[name] = picture = find_picture(
        self._source,
        name,
        self._folders,
        self._there,
        self._flaws,
        path,
        line,
      )
      if picture is not None and picture not in self._all:
        self._flaws.met.add(str(picture))
        self._all[picture] = self._begin(picture, size, path, line)
    picture = self._paths[name]
    truths = self._all.get(picture)
    if truths is None:
      return None
    written = zip(map(number, size), truths.size, strict=False)
    if any(side > 0 and side != known for side, known in written):
      message = f"width and height are {size}, and before {truths.size}"
      truths.error("bad annotation", path, line, message)
      return None
    return picture, truths

  def _begin(
    self, picture: Any, size: list[str], path: Any, line: int
  ) -> Truths | None:
    if all(not text or number(text) == 0 for text in size):
      return measured(picture, self._flaws)
    if not is_size(*size):
      message = f"width and height are {size}; expected pixels"
      return self._flaws.error("bad number", path, line, message)
    width, height = map(number, size)
    return Truths(int(width), int(height), self._flaws)


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


def _is_picture(name: str) -> bool:
  return name.lower().endswith(PICTURES)


def read_table(
  path: Any, flaws: Flaws
) -> tuple[list[str], Iterator[tuple[int, dict[str, str]]], list[int]]:
  """The columns; the lines as dicts with their numbers; those left out.

  Cells are without blanks around them. Between cells stands a comma, semicolon
  or tabulator, the one of which the first line has most. Lines of nothing are
  passed over. The list of those left out is complete once all lines are read.

  Raises:
    DataError: for a missing file, or one whose first line is none of columns.
  """
  if not path.is_file():
    raise DataError(f"{path}: no such file")
  text = read_text(str(path))
  skipped = re.match(r"(sep=(.)\n|[\s,;]*\n|#[^\n]*\n)*", text)
  first = text[skipped.end() :].partition("\n")[0]
  delimiter = skipped[2] or max(",;\t", key=first.count)
  file = io.StringIO(text, newline="")
  for _ in range(skipped[0].count("\n")):
    file.readline()
  reader = csv.reader(file, delimiter=delimiter)
  before = skipped[0].count("\n")
  lost: list[int] = []
  try:
    header = [cell.strip() for cell in next(reader, [])]
  except csv.Error as error:
    raise DataError(f"{path}:1: {error}") from None
  while header and not header[-1]:
    header.pop()
  if any(number(c) == number(c) or _is_picture(c) for c in header):
    raise DataError(
      f"{path}:1: the first line is {', '.join(header)}; expected a head line "
      f"with the columns' names, such as image,label,xmin,ymin,xmax,ymax"
    )
  if len(set(header)) < len(header):
    raise DataError(f"{path}:1: a column is there twice: {', '.join(header)}")

  def rows():
    while True:
      try:
        cells = [cell.strip() for cell in next(reader)]
      except StopIteration:
        return
      except csv.Error as error:
        flaws.error(
          "bad annotation", path, before + reader.line_num, str(error)
        )
        lost.append(before + reader.line_num)
        continue
      if not any(cells):
        continue
      while len(cells) > len(header) and not cells[-1]:
        cells.pop()
      if len(cells) != len(header):
        message = f"{len(cells)} cells, but {len(header)} columns"
        flaws.error("bad annotation", path, before + reader.line_num, message)
        lost.append(before + reader.line_num)
        continue
      yield before + reader.line_num, dict(zip(header, cells, strict=True))

  return header, rows(), lost
