"""Open Images: boxes of a split in one CSV file."""

from __future__ import annotations

from collections import Counter
from typing import Any

from yolo9000.data.disk import DataError, open_path
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats.csv_table import Pictures, add_box, read_table
from yolo9000.data.formats.reading import (
  Classes,
  Source,
  flag,
  inside,
  read_lines,
)
from yolo9000.data.records import Dataset, read_picture

BOXES = "annotations-bbox.csv"
COLUMNS = ("ImageID", "LabelName", "XMin", "YMin", "XMax", "YMax")


def read(source: Source, flaws: Flaws) -> Dataset:
  """Reads a split of Open Images.

  A box that stands for a group is marked difficult: neither a hit nor a miss.
  Only pictures with a box are read; labels of whole pictures are not.

  Args:
    source: split is "train", "validation" or "test": the boxes are in the file
      of root that begins with the split and ends in "annotations-bbox.csv", the
      pictures in the split's folder. Classes are the display names of
      class-descriptions-boxable.csv where that is there, and otherwise the
      codes such as /m/01g317.
    flaws: where they go.

  Raises:
    DataError: for a missing file or column, and flaws if they are strict.
  """
  root = open_path(source.root)
  found = [p for p in _box_files(root) if p.name.startswith(source.split)]
  if len(found) != 1:
    raise DataError(
      f"{root}: expected one file {source.split}*{BOXES}, there are "
      f"{len(found)}"
    )
  path = found[0]
  header, rows, lost = read_table(path, flaws)
  if missing := [name for name in COLUMNS if name not in header]:
    raise DataError(f"{path}:1: the column {missing[0]} is missing")
  names = _display_names(root)
  classes = Classes(source.class_names or tuple(names.values()))
  pictures = Pictures(flaws)
  notes: Counter[str] = Counter()
  for line, row in rows:
    picture = inside(source, f"{row['ImageID']}.jpg", flaws, path, line)
    picture = picture and root / source.split / f"{row['ImageID']}.jpg"
    truths = picture and pictures.get(picture, path, line)
    if not truths:
      continue
    code = row["LabelName"]
    label = classes.label(names.get(code, code), truths, path, line)
    group = flag(row.get("IsGroupOf", "0"))
    if group is None:
      message = f"IsGroupOf is {row['IsGroupOf']!r}; expected 0 or 1"
      truths.error("bad number", path, line, message)
      continue
    notes["objects marked group"] += group
    if label is not None:
      texts = [row[side] for side in COLUMNS[2:]]
      add_box(truths, texts, label, path, line, truths.size * 2, group)
  records = [
    truths.record(picture, image_id=picture.stem)
    for picture, truths in pictures.found.items()
  ]
  if not records:
    flaws.error("empty split", path, 0, "no picture in it")
  if lost:
    flaws.incomplete.update(record.path for record in records)
  return Dataset(records, classes.names, read_picture, flaws.found, notes)


def splits(root: str) -> list[str]:
  """The splits whose boxes are in root."""
  found = _box_files(open_path(root))
  return [p.name.removesuffix(BOXES).rstrip("-") for p in found]


def _box_files(root: Any) -> list[Any]:
  return sorted(p for p in root.iterdir() if p.name.endswith(BOXES))


def _display_names(root: Any) -> dict[str, str]:
  path = root / "class-descriptions-boxable.csv"
  if not path.is_file():
    return {}
  names = {}
  for line, text in read_lines(path, Flaws(strict=True)):
    code, comma, name = text.partition(",")
    if not comma:
      raise DataError(
        f"{path}:{line}: {text!r}; expected a code, a comma, a name"
      )
    names[code] = name.strip('"')
  return names
