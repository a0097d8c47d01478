"""Pictures with one label each: a folder per class, or a list of them.

So ImageNet comes: train/<wnid>/*.JPEG, and the flat folder of validation
pictures with its list.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from yolo9000.data.disk import DataError, open_path
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats.places import (
  Listing,
  entries,
  find_picture,
  walk,
)
from yolo9000.data.formats.reading import (
  Classes,
  Source,
  finished,
  number,
  read_lines,
)
from yolo9000.data.images import PICTURES
from yolo9000.data.records import Dataset, Record

SPLITS = ("train", "val", "test")
# Shared by a million records: boxes, labels, difficult.
NO_OBJECTS = (
  *(np.zeros((0, 4), np.float32), np.zeros(0, np.int32), np.zeros(0, bool)),
)


def read(source: Source, flaws: Flaws) -> Dataset:
  """Reads folders of labelled pictures.

  Args:
    source: split is a folder below root ("" is root itself) that has a folder
      for each class, such as "train"; pictures may lie deeper. Or a list, such
      as "val.txt", whose lines are a picture's path and its class or the number
      of its class; paths start at root, or at root's folder of the list's name.
    flaws: where they go.

  Raises:
    DataError: for a missing folder or list, one without pictures, and flaws if
      they are strict.
  """
  path = open_path(source.root) / source.split
  if path.is_dir():
    return _read_folders(path, source, flaws)
  if path.is_file():
    return _read_list(path, source, flaws)
  raise DataError(f"{path}: neither a folder of classes nor a list of pictures")


def splits(root: str) -> list[str]:
  """The folders below root that hold folders of pictures; else root itself."""
  unused = Flaws(strict=False)
  inside = {
    folder.name: entries(folder, unused)
    for folder in entries(open_path(root), unused)
    if folder.is_dir()
  }
  if any(
    any(p.suffix.lower() in PICTURES for p in paths)
    for name, paths in inside.items()
    if not name.lower().startswith(SPLITS)
  ):
    return [""]  # a class has its pictures there
  names = [n for n, paths in inside.items() if any(p.is_dir() for p in paths)]
  return names or [""]


def labelled(path: Any, label: int) -> Record:
  """A record of a picture with a label and no boxes; its size is not read."""
  return Record(str(path), 0, 0, *NO_OBJECTS, image_label=label)


def _read_folders(path: Any, source: Source, flaws: Flaws) -> Dataset:
  classes = Classes(source.class_names)
  records = []
  for folder in entries(path, flaws):
    if not folder.is_dir():
      continue
    label = classes.label(folder.name, flaws, folder, 0)
    if label is None:
      continue
    for file in walk(folder, flaws):
      flaws.met.add(str(file))
      if file.suffix.lower() in PICTURES:
        records.append(labelled(file, label))
      else:
        flaws.passed[f"files *{file.suffix or file.name}"] += 1
  return finished(records, classes, flaws, path)


def _read_list(path: Any, source: Source, flaws: Flaws) -> Dataset:
  classes = Classes(source.class_names)
  there = Listing()
  root = open_path(source.root)
  records: dict[Any, Record] = {}
  for line, text in read_lines(path, flaws):
    name, class_name = _parts(text)
    if not name:
      message = f"{text!r}; expected a path, a blank and a class"
      flaws.error("bad annotation", path, line, message)
      continue
    picture = find_picture(
      source, name, [root, root / path.stem], there, flaws, path, line
    )
    if picture is None:
      continue
    label = _label(class_name, classes, source.class_names, flaws, path, line)
    flaws.met.add(str(picture))
    if picture in records and records[picture].image_label != label:
      message = f"{name} has another class already"
      flaws.error("bad annotation", path, line, message)
      flaws.incomplete.add(str(picture))
    elif picture in records:
      message = f"{name} is listed already; left out"
      flaws.mended("listed twice", path, line, message)
    elif label is not None:
      records[picture] = labelled(picture, label)
  return finished(list(records.values()), classes, flaws, path)


def _parts(text: str) -> tuple[str, str]:
  """The path and the class of a line, between them a tabulator or a blank."""
  name, _, class_name = text.rpartition("\t" if "\t" in text else " ")
  return name.strip(), class_name.strip()


def _label(
  name: str, classes: Classes, names: Sequence[str], flaws, path, line: int
) -> int | None:
  """The label of a class, or of a class's number."""
  if name in names or math.isnan(number(name)):
    return classes.label(name, flaws, path, line)
  label = int(number(name))
  if 0 <= label < len(names):
    return label
  message = f"class number {name}, but there are {len(names)} class_names"
  return flaws.error("unknown class", path, line, message)
