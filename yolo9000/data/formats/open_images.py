"""Open Images: boxes of a split in one CSV file."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

from yolo9000.data.disk import DataError, open_path, read_text
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats import unread
from yolo9000.data.formats.csv_table import Pictures, add_box, read_table
from yolo9000.data.formats.reading import Classes, Source, finished, mark
from yolo9000.data.records import Dataset

SIDES = ("XMin", "YMin", "XMax", "YMax")
NEEDED = ("ImageID", "LabelName", *SIDES)
READ = frozenset((*NEEDED, "IsGroupOf"))
KNOWN = frozenset(
  (
    *("Source", "Confidence", "IsOccluded", "IsTruncated", "IsDepiction"),
    *("IsInside", *(f"XClick{n}{axis}" for n in range(1, 5) for axis in "XY")),
  )
)
# train-annotations-bbox.csv of v4 and v5, oidv6-train-annotations-bbox.csv, and
# challenge-2019-train-detection-bbox.csv.
BOX_FILE = re.compile(
  r"(.+-)?(train|validation|test)-(annotations|detection)-(human-)?bbox\.csv"
)
# class-descriptions-boxable.csv of v4 and v5, with oidv7- before it of v7,
# oidv6-class-descriptions.csv, challenge-2019-classes-description-500.csv.
NAMES_FILE = re.compile(r"(.+-)?class(es)?-descriptions?(-.+)?\.csv")


def read(source: Source, flaws: Flaws) -> Dataset:
  """Reads a split of Open Images, of v4 to v7 or of a challenge.

  A box that stands for a group is marked difficult: neither a hit nor a miss.
  Only pictures with a box are read; labels of whole pictures are not.

  Args:
    source: split is "train", "validation" or "test": the boxes are in the file
      of root of that split, with its official name, such as
      oidv6-train-annotations-bbox.csv; the pictures in the split's folder, or
      in the folder images, or in images' folder of the split. Classes are the
      display names of the file of class descriptions where that is there, and
      otherwise the codes such as /m/01g317.
    flaws: where they go.

  Raises:
    DataError: for a missing file or column, and flaws if they are strict.
  """
  root = open_path(source.root)
  found = _box_files(root).get(source.split, [])
  if len(found) != 1:
    there = ", ".join(p.name for p in found) or "none"
    raise DataError(
      f"{root}: expected one file such as {source.split}-annotations-bbox.csv "
      f"for the split {source.split!r}; there is {there}"
    )
  path = found[0]
  flaws.met.add(str(path))
  header, rows, lost = read_table(path, flaws)
  if missing := [name for name in NEEDED if name not in header]:
    raise DataError(
      f"{path}:1: the column {missing[0]} is missing; the columns are "
      f"{', '.join(header)}"
    )
  if "IsGroupOf" not in header:
    message = "the column IsGroupOf is missing; no box is taken for a group"
    flaws.mended("bad annotation", path, 1, message)
  doubtful = unread.pass_over(
    header,
    READ,
    KNOWN,
    **{"what": "column", "to": flaws, "flaws": flaws, "path": path, "line": 1},
  )
  names, boxable = _display_names(root, flaws)
  classes = Classes(source.class_names or boxable)
  split = source.split
  folders = [root / split, root / "images" / split, root / "images"]
  pictures = Pictures(source, flaws, folders)
  for line, row in rows:
    found = pictures.get(f"{row['ImageID']}.jpg", [], path, line)
    if found is None:
      continue
    _, truths = found
    code = row["LabelName"]
    label = classes.label(names.get(code, code), truths, path, line)
    group = mark(row.get("IsGroupOf", "0"), "IsGroupOf", flaws)
    if group is None:
      message = f"IsGroupOf is {row['IsGroupOf']!r}; expected 0, 1 or -1"
      truths.error("bad number", path, line, message)
      continue
    flaws.notes["objects marked group"] += group
    if label is not None:
      texts = [row[side] for side in SIDES]
      add_box(truths, texts, label, path, line, truths.size * 2, group)
  records = [
    truths.record(picture, image_id=picture.stem)
    for picture, truths in pictures.found.items()
  ]
  if lost or doubtful:
    flaws.incomplete.update(record.path for record in records)
  return finished(records, classes, flaws, path)


def splits(root: str) -> list[str]:
  """The splits whose boxes are in root."""
  return list(_box_files(open_path(root)))


def _box_files(root: Any) -> dict[str, list[Any]]:
  """The files of boxes by split."""
  found: dict[str, list[Any]] = {}
  for path in sorted(root.iterdir()):
    if match := BOX_FILE.fullmatch(path.name):
      found.setdefault(match[2], []).append(path)
  return found


def _display_names(
  root: Any, flaws: Flaws
) -> tuple[dict[str, str], tuple[str, ...]]:
  """The name of each code, and the classes that have boxes, if a file tells.

  A head line of LabelName,DisplayName is no class. The lists of all 20,000
  classes do not tell which have boxes; then it is those that come up.
  """
  found = sorted(p for p in root.iterdir() if NAMES_FILE.fullmatch(p.name))
  found = [p for p in found if "boxable" in p.name] or found
  if not found:
    return {}, ()
  path = found[0]
  flaws.met.add(str(path))
  names = {}
  reader = csv.reader(io.StringIO(read_text(str(path))))
  for row in reader:
    cells = [cell.strip() for cell in row]
    if not any(cells) or cells == ["LabelName", "DisplayName"]:
      continue
    if len(cells) != 2:
      raise DataError(
        f"{path}:{reader.line_num}: {','.join(row)!r}; expected a code, a "
        f"comma, a name"
      )
    names[cells[0]] = cells[1]
  if re.search(r"class-descriptions\.csv$", path.name):
    return names, ()
  return names, tuple(dict.fromkeys(names.values()))
