"""Pictures with one label each: a folder per class, or a list of them.

So ImageNet comes: train/<wnid>/*.JPEG, and the flat folder of validation
pictures with its list.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np

from yolo9000.data.disk import DataError, open_path
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats.reading import (
  Classes,
  Listing,
  Source,
  inside,
  number,
  read_lines,
  walk,
)
from yolo9000.data.images import PICTURES
from yolo9000.data.records import Dataset, Record, read_picture

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
  names = []
  for folder in sorted(p for p in open_path(root).iterdir() if p.is_dir()):
    if any(p.is_dir() for p in folder.iterdir()):
      names.append(folder.name)
  return names or [""]


def labelled(path: Any, label: int) -> Record:
  """A record of a picture with a label and no boxes; its size is not read."""
  return Record(str(path), 0, 0, *NO_OBJECTS, image_label=label)


def _read_folders(path: Any, source: Source, flaws: Flaws) -> Dataset:
  folders = sorted(p for p in path.iterdir() if p.is_dir())
  classes = Classes(source.class_names)
  notes: Counter[str] = Counter()
  records = []
  for folder in folders:
    label = classes.label(folder.name, flaws, folder, 0)
    if label is None:
      continue
    for file in walk(folder, flaws):
      flaws.met.add(str(file))
      if file.suffix.lower() in PICTURES:
        records.append(labelled(file, label))
      else:
        notes["files that are no pictures"] += 1
  if not records:
    flaws.error("empty split", path, 0, "no folder of it has pictures")
  return Dataset(records, classes.names, read_picture, flaws.found, notes)


def _read_list(path: Any, source: Source, flaws: Flaws) -> Dataset:
  classes = Classes(source.class_names)
  there = Listing()
  records: dict[Any, Record] = {}
  for line, text in read_lines(path, flaws):
    name, _, class_name = text.rpartition(" ")
    if not name:
      message = f"{text!r}; expected a path, a blank and a class"
      flaws.error("bad annotation", path, line, message)
      continue
    picture = inside(source, name.strip(), flaws, path, line)
    if picture is None:
      continue
    if not there.has(picture):
      picture = open_path(source.root) / path.stem / name.strip()
    if not there.has(picture):
      message = f"{name.strip()} is not there"
      flaws.error("missing picture", path, line, message)
      continue
    if class_name not in source.class_names and not math.isnan(
      number(class_name)
    ):
      label = int(number(class_name))
      if not 0 <= label < len(source.class_names):
        message = (
          f"class number {class_name}, but there are {len(source.class_names)} "
          f"class_names"
        )
        flaws.error("unknown class", path, line, message)
        continue
    else:
      label = classes.label(class_name, flaws, path, line)
    flaws.met.add(str(picture))
    if picture in records and records[picture].image_label != label:
      message = f"{name.strip()} has another class already"
      flaws.error("bad annotation", path, line, message)
      flaws.incomplete.add(str(picture))
    elif picture in records:
      message = f"{name.strip()} is listed already; left out"
      flaws.mended("listed twice", path, line, message)
    elif label is not None:
      records[picture] = labelled(picture, label)
  if not records:
    flaws.error("empty split", path, 0, "the list has no picture")
  return Dataset(
    *(list(records.values()), classes.names, read_picture, flaws.found)
  )
