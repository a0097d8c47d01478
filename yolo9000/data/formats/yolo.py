"""YOLO text: beside or parallel to each picture a .txt with a line per box."""

from __future__ import annotations

from typing import Any

from yolo9000.data.disk import DataError, open_path, read_text, shown
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats import yolo_yaml
from yolo9000.data.formats.places import (
  Listing,
  entries,
  find_picture,
  is_hidden,
  walk,
)
from yolo9000.data.formats.reading import (
  Classes,
  Source,
  Truths,
  finished,
  measured,
  number,
  read_lines,
  read_names,
)
from yolo9000.data.images import PICTURES
from yolo9000.data.records import Dataset

# What the original program replaces by "labels" in a picture's path.
FOLDERS = ("images", "JPEGImages", "raw")
SPLITS = ("train", "training", "valid", "val", "validation", "test", "testing")


def read(source: Source, flaws: Flaws) -> Dataset:
  """Reads a split of YOLO text.

  A line is `class x y w h`: the class's number, the box's centre and size as
  fractions of the picture. `class 0 0 0 0` is YOLO9000's image label: the
  picture has no boxes but is of this class. A file without lines is a picture
  without objects; a missing one is an error. A line of more points is a
  polygon, and the box around it is taken, unless data.yaml has kpt_shape: then
  what follows the box is keypoints, and passed over. Differs: for the program,
  any line with x = y = 0 is an image label.

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
  described = yolo_yaml.describe(root, flaws)
  names = source.class_names or (
    described.names if described else _class_names(root, flaws)
  )
  keypoints = described is not None and described.keypoints
  there = Listing()
  records, used = [], set()
  for picture in _pictures(root, source, flaws, there):
    path = label_path(root, picture)
    path = there.find(path) or path
    flaws.met.update((str(picture), str(path)))
    if not there.has(path):
      message = f"has no {path.name} in {shown(str(path.parent))}"
      flaws.error("missing annotation", picture, 0, message)
      continue
    if path in used:
      message = "is of another picture, too, of this name with another suffix"
      flaws.mended("listed twice", path, 0, message)
    used.add(path)
    truths = measured(picture, flaws)
    if truths is None:
      continue
    image_label = _read_labels(path, truths, names, keypoints, flaws)
    records.append(truths.record(picture, image_label=image_label))
  return finished(records, Classes(names), flaws, root / source.split)


def splits(root: str) -> list[str]:
  """What data.yaml names; or lists of pictures; or folders; or root itself.

  Folders are those in images, or those of which each has a folder images, or
  train, valid and test.
  """
  base, unused = open_path(root), Flaws(strict=False)
  described = yolo_yaml.describe(base, unused)
  if described and described.splits:
    return list(described.splits)
  below = entries(base, unused)
  stems = {p.stem for p in below if p.suffix.lower() in PICTURES}
  texts = [p for p in below if p.suffix == ".txt" and p.stem not in stems]
  if lists := [path.name for path in texts if _is_list(path)]:
    return lists
  folders = [p for p in below if p.is_dir()]
  found = [f"{p.name}/images" for p in folders if (p / "images").is_dir()]
  found += [
    p.name
    for p in folders
    if p.name.lower() in SPLITS and not (p / "images").is_dir() and not stems
  ]
  if (base / "images").is_dir():
    inner = entries(base / "images", unused)
    loose = any(p.suffix.lower() in PICTURES for p in inner)
    names = [f"images/{p.name}" for p in inner if p.is_dir()]
    are_splits = any(p.name.lower().startswith(SPLITS) for p in inner)
    found += names if names and (are_splits or not loose) else ["images"]
  return found or [""]


def _is_list(path: Any) -> bool:
  """Whether a text file is a list of pictures, and no README."""
  if path.name == "classes.txt" or path.stem.lower().startswith("readme"):
    return False
  try:
    lines = read_text(str(path)).lower().split("\n")
  except DataError:
    return True  # whoever reads it will say why not
  return any(line.strip().endswith(PICTURES) for line in lines)


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
  places = [p for p in sorted(root.iterdir()) if p.suffix == ".names"]
  places += [root / "classes.txt", root / "labels" / "classes.txt"]
  places += sorted(root.glob("*/_darknet.labels"))
  places += sorted(root.glob("*/labels/classes.txt"))
  found = [p for p in places if p.is_file() and not is_hidden(p)]
  lists = {read_names(path) for path in found}
  if len(lists) != 1:
    told = ", ".join(shown(str(path)) for path in found)
    raise DataError(
      f"{root}: the classes' names are not known; give class_names, or one of "
      f"data.yaml, classes.txt and *.names there"
      + (f". These differ: {told}" if lists else "")
    )
  flaws.met.update(map(str, found))
  return lists.pop()


def _pictures(root: Any, source: Source, flaws: Flaws, there: Listing):
  path = root / source.split
  if path.is_dir():
    return [p for p in walk(path, flaws) if p.suffix.lower() in PICTURES]
  if not path.is_file():
    raise DataError(f"{path}: neither a folder of pictures nor a list of them")
  flaws.met.add(str(path))
  listed: dict[Any, None] = {}
  for line, name in read_lines(path, flaws):
    picture = find_picture(source, name, [root], there, flaws, path, line)
    if picture in listed:
      message = f"{name} is listed already; left out"
      flaws.mended("listed twice", path, line, message)
    elif picture is not None:
      listed[picture] = None
  return list(listed)


def _read_labels(
  path: Any, truths: Truths, class_names, keypoints: bool, flaws: Flaws
) -> int:
  """Adds the boxes of a file; returns its image label, or -1."""
  image_labels: list[int] = []
  width, height = truths.size
  boxes = 0
  for line, text in read_lines(path, truths):
    label, *values = [number(word) for word in text.split()]
    sides = None
    if label == label and all(value == value for value in values):
      sides = _sides(values, keypoints, flaws)
    if sides is None:
      message = f"{text!r}; expected five numbers: class x y w h"
      truths.error("bad number", path, line, message)
      continue
    if label != int(label) or not 0 <= label < len(class_names):
      message = f"class {label:g}; there are 0 to {len(class_names) - 1}"
      truths.error("unknown class", path, line, f"{message}")
      continue
    if values == [0, 0, 0, 0]:
      image_labels.append(int(label))
      continue
    boxes += 1
    left, top, right, bottom = sides
    edges = (left * width, top * height, right * width, bottom * height)
    truths.add(edges, int(label), path, line, f"box {text}")
  if len(set(image_labels)) > 1 or (image_labels and boxes):
    message = "an image label (class 0 0 0 0) must be the only line"
    truths.error("bad annotation", path, 0, message)
    return -1
  return image_labels[0] if image_labels else -1


def _sides(
  values: list[float], keypoints: bool, flaws: Flaws
) -> tuple[float, float, float, float] | None:
  """Left, top, right and bottom of what follows a class; None if it is none."""
  if keypoints and len(values) > 4:
    flaws.passed["keypoints of a box"] += 1
    values = values[:4]
  if len(values) == 4:
    x, y, w, h = values
    return x - w / 2, y - h / 2, x + w / 2, y + h / 2
  if len(values) < 6 or len(values) % 2:
    return None
  flaws.notes["polygons, of which the box around them is taken"] += 1
  return (
    *(min(values[::2]), min(values[1::2])),
    *(max(values[::2]), max(values[1::2])),
  )
