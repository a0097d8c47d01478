"""YOLO text: beside or parallel to each picture a .txt with a line per box."""

from __future__ import annotations

from typing import Any

import yaml

from yolo9000.data.disk import DataError, open_path, read_bytes, shown
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats.reading import (
  Listing,
  Source,
  check_names,
  inside,
  measured,
  number,
  read_lines,
  read_names,
  walk,
)
from yolo9000.data.images import PICTURES
from yolo9000.data.records import Dataset, read_picture

# What the original program replaces by "labels" in a picture's path.
FOLDERS = ("images", "JPEGImages", "raw")


def read(source: Source, flaws: Flaws) -> Dataset:
  """Reads a split of YOLO text.

  A line is `class x y w h`: the class's number, the box's centre and size as
  fractions of the picture. `class 0 0 0 0` is YOLO9000's image label: the
  picture has no boxes but is of this class. A file without lines is a picture
  without objects; a missing one is an error. Differs: for the program, any
  line with x = y = 0 is an image label.

  The labels of images/a/b.jpg are in labels/a/b.txt if there is a folder
  labels, and otherwise beside it. Differs: the program replaces the first
  "images" anywhere in the path; here it is the last folder of that name.

  Args:
    source: split is a folder of pictures below root ("" is root), or a list,
      such as "train.txt", with one path per line. Without class_names, they are
      those of root's data.yaml, classes.txt or one file *.names.
    flaws: where they go.

  Raises:
    DataError: for a missing folder, list or class names, an empty split, and
      flaws if they are strict.
  """
  root = open_path(source.root)
  class_names = source.class_names or _class_names(root, flaws)
  check_names(class_names)
  there = Listing()
  records = []
  for picture in _pictures(root, source, flaws, there):
    path = label_path(root, picture)
    flaws.met.update((str(picture), str(path)))
    if not there.has(path):
      message = f"has no {path.name} in {shown(str(path.parent))}"
      flaws.error("missing annotation", picture, 0, message)
      continue
    truths = measured(picture, flaws)
    if truths is None:
      continue
    image_label = _read_labels(path, truths, class_names, flaws)
    records.append(truths.record(picture, image_label=image_label))
  return Dataset(records, class_names, read_picture, flaws.found)


def splits(root: str) -> list[str]:
  """Lists of pictures, or the folders in images, or root itself."""
  base = open_path(root)
  lists = sorted(p.name for p in base.glob("*.txt") if p.name != "classes.txt")
  if (base / "images").is_dir():
    found = sorted(p.name for p in (base / "images").iterdir() if p.is_dir())
    return lists or [f"images/{name}" for name in found] or ["images"]
  return [""]


def label_path(root: Any, picture: Any) -> Any:
  """Where the labels of a picture are; see `read`."""
  parts = list(picture.parts)
  for n in range(len(parts) - 2, len(root.parts) - 1, -1):
    if parts[n] in FOLDERS:
      folder = type(picture)(*parts[:n], "labels")
      if folder.is_dir():
        return (folder.joinpath(*parts[n + 1 :])).with_suffix(".txt")
      break
  return picture.with_suffix(".txt")


def _class_names(root: Any, flaws: Flaws) -> tuple[str, ...]:
  path = root / "data.yaml"
  if path.is_file():
    try:
      names = yaml.safe_load(read_bytes(str(path)))["names"]
    except (yaml.YAMLError, LookupError, TypeError, RecursionError) as error:
      raise DataError(f"{path}: no names in it: {error}") from None
    if isinstance(names, dict):
      names = [names.get(n) for n in range(len(names))]
    if not isinstance(names, list) or not names:
      raise DataError(f"{path}: names must be a list, or numbered from 0")
    for name in names:
      if not isinstance(name, str | int) or isinstance(name, bool):
        raise DataError(f"{path}: {type(name)} in names; expected texts")
    flaws.met.add(str(path))
    return tuple(map(str, names))
  found = [root / "classes.txt"] if (root / "classes.txt").is_file() else []
  found += sorted(root.glob("*.names"))
  if len(found) != 1:
    raise DataError(
      f"{root}: the classes' names are not known; give class_names, or one of "
      f"data.yaml, classes.txt and *.names there"
    )
  flaws.met.add(str(found[0]))
  return read_names(found[0])


def _pictures(root: Any, source: Source, flaws: Flaws, there: Listing):
  path = root / source.split
  if path.is_dir():
    found = [p for p in walk(path, flaws) if p.suffix.lower() in PICTURES]
  elif path.is_file():
    flaws.met.add(str(path))
    listed: dict[Any, None] = {}
    for line, name in read_lines(path, flaws):
      picture = inside(source, name, flaws, path, line)
      if picture is not None and not there.has(picture):
        message = f"{name} is listed, but not there"
        flaws.error("missing picture", path, line, message)
      elif picture in listed:
        message = f"{name} is listed already; left out"
        flaws.mended("listed twice", path, line, message)
      elif picture is not None:
        listed[picture] = None
    found = list(listed)
  else:
    raise DataError(f"{path}: neither a folder of pictures nor a list of them")
  if not found:
    flaws.error("empty split", path, 0, "no picture there")
  return found


def _read_labels(path: Any, truths, class_names, flaws: Flaws) -> int:
  """Adds the boxes of a file; returns its image label, or -1."""
  image_labels: list[int] = []
  width, height = truths.size
  boxes = 0
  for line, text in read_lines(path, truths):
    values = [number(word) for word in text.split()]
    if len(values) != 5 or any(v != v for v in values):
      message = f"{text!r}; expected five numbers: class x y w h"
      truths.error("bad number", path, line, message)
      continue
    label, x, y, w, h = values
    if label != int(label) or not 0 <= label < len(class_names):
      message = f"class {label:g}; there are 0 to {len(class_names) - 1}"
      truths.error("unknown class", path, line, f"{message}")
      continue
    if x == y == w == h == 0:
      image_labels.append(int(label))
      continue
    boxes += 1
    edges = ((x - w / 2) * width, (y - h / 2) * height)
    edges += ((x + w / 2) * width, (y + h / 2) * height)
    truths.add(edges, int(label), path, line, f"box {text}")
  if len(set(image_labels)) > 1 or (image_labels and boxes):
    message = "an image label (class 0 0 0 0) must be the only line"
    truths.error("bad annotation", path, 0, message)
    return -1
  return image_labels[0] if image_labels else -1
