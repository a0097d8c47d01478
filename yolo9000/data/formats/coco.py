"""COCO's instances_*.json."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from yolo9000.data.disk import DataError, open_path, read_bytes
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats.reading import (
  Classes,
  Listing,
  Source,
  Truths,
  flag,
  inside,
  is_size,
  number,
)
from yolo9000.data.records import Dataset, read_picture

# Of the 80 categories, in the order of their ids.
CLASS_NAMES = tuple(
  (
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,"
    "traffic light,fire hydrant,stop sign,parking meter,bench,bird,cat,"
    "dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,"
    "handbag,tie,suitcase,frisbee,skis,snowboard,sports ball,kite,"
    "baseball bat,baseball glove,skateboard,surfboard,tennis racket,"
    "bottle,wine glass,cup,fork,knife,spoon,bowl,banana,apple,sandwich,"
    "orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,"
    "potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,"
    "keyboard,cell phone,microwave,oven,toaster,sink,refrigerator,book,"
    "clock,vase,scissors,teddy bear,hair drier,toothbrush"
  ).split(",")
)


def read(source: Source, flaws: Flaws) -> Dataset:
  """Reads a split of COCO, or any file in its form.

  Category ids become labels in the order of class_names or, without these, of
  the file. A crowd is marked difficult: neither a hit nor a miss.

  Args:
    source: split is a name such as "train2017", of the file
      annotations/instances_train2017.json and the pictures in train2017 or
      images/train2017; or a .json file below root, with the pictures in the
      folder images beside it, or beside itself.
    flaws: where they go.

  Raises:
    DataError: for a missing or broken file, and flaws if they are strict.
  """
  path, folders = _where(source)
  content = _parse(path)
  category_names = _categories(content, path)
  classes = Classes(source.class_names or tuple(category_names.values()))
  truths, paths = _images(content, path, folders, source, flaws)
  notes: Counter[str] = Counter()
  for n, row in enumerate(_rows(content, "annotations", path, flaws)):
    what = f"annotation {row.get('id', f'number {n}')}: "
    image, category = _id(row, "image_id"), _id(row, "category_id")
    if image is None or image not in paths:
      message = f"{what}there is no image {row.get('image_id')!r}"
      flaws.error("orphan annotation", path, 0, message)
      continue
    if image not in truths:  # the picture was left out, and that reported
      continue
    name = category_names.get(category)
    if name is None:
      message = f"{what}there is no category {row.get('category_id')!r}"
      truths[image].error("unknown class", path, 0, message)
      continue
    label = classes.label(name, truths[image], path, 0, what)
    edges = _edges(row.get("bbox"))
    if edges is None:
      message = (
        f"{what}bbox is {row.get('bbox')!r}; expected [x, y, width, height]"
      )
      truths[image].error("bad number", path, 0, message)
      continue
    crowd, area = flag(row.get("iscrowd", 0)), number(row.get("area"))
    if crowd is None or area < 0 or ("area" in row and area != area):
      message = (
        f"{what}iscrowd is {row.get('iscrowd')!r} and area "
        f"{row.get('area')!r}; expected 0 or 1, and pixels"
      )
      truths[image].error("bad number", path, 0, message)
      continue
    notes["objects marked crowd"] += crowd
    if label is not None:
      truths[image].add(
        *(edges, label, path, 0, f"{what}bbox {row['bbox']}"),
        difficult=crowd,
        area_px=area,
      )
  records = [
    truth.record(paths[image], image_id=image)
    for image, truth in truths.items()
  ]
  if not records:
    flaws.error("empty split", path, 0, "no picture in it")
  ids = {name: number for number, name in category_names.items()}
  return Dataset(
    records,
    classes.names,
    read_picture,
    flaws.found,
    notes,
    tuple(ids.get(name, -1) for name in classes.names),
  )


def splits(root: str) -> list[str]:
  """The names in annotations, or else the .json files anywhere below root."""
  folder = open_path(root) / "annotations"
  names = sorted(p.stem for p in folder.glob("instances_*.json"))
  if names:
    return [name.removeprefix("instances_") for name in names]
  found = open_path(root).glob("**/*.json")
  return sorted(str(p.relative_to(open_path(root))) for p in found)


def _where(source: Source) -> tuple[Any, list[Any]]:
  root = open_path(source.root)
  if source.split.endswith(".json"):
    path = root / source.split
    folders = [path.parent / "images", path.parent]
  else:
    path = root / "annotations" / f"instances_{source.split}.json"
    folders = [root / source.split, root / "images" / source.split]
  if not path.is_file():
    found = ", ".join(splits(source.root)) or "none"
    raise DataError(f"{path}: no such file; splits found here: {found}")
  return path, folders


def _parse(path) -> dict[str, Any]:
  try:
    content = json.loads(read_bytes(str(path)))
  except UnicodeDecodeError as error:
    raise DataError(f"{path}: not UTF-8: {error}") from None
  except (ValueError, RecursionError) as error:
    line = getattr(error, "lineno", 0)
    raise DataError(f"{path}:{line}: not valid JSON: {error}") from None
  for key in ("images", "annotations", "categories"):
    value = content.get(key) if isinstance(content, dict) else None
    if not isinstance(value, list):
      raise DataError(f"{path}: {key} is no list; is it a COCO instances file?")
  return content


def _rows(content, key: str, path, flaws: Flaws):
  """The entries of a list that are objects; others are errors."""
  for n, row in enumerate(content[key]):
    if isinstance(row, dict):
      yield row
    else:
      message = f"{key}[{n}] is {row!r}; expected an object"
      flaws.error("bad annotation", path, 0, message)


def _id(row: dict[str, Any], key: str) -> int | str | None:
  """A number or text; None for anything else, also true and false."""
  value = row.get(key)
  return value if type(value) in (int, str) else None


def _categories(content, path) -> dict[Any, str]:
  names: dict[Any, str] = {}
  for row in content["categories"]:
    category = _id(row, "id") if isinstance(row, dict) else None
    name = row.get("name") if isinstance(row, dict) else None
    if not isinstance(category, int) or not isinstance(name, str):
      raise DataError(f"{path}: category {row!r} lacks a numeric id or a name")
    if category in names or name in names.values():
      raise DataError(f"{path}: category {category} {name!r} is there twice")
    names[category] = name
  return names


def _images(
  content, path, folders, source: Source, flaws: Flaws
) -> tuple[dict[Any, Truths], dict[Any, Any]]:
  """By image id: what collects its boxes, and the picture's path.

  A picture that is left out, and so reported, has a path alone.
  """
  truths: dict[Any, Truths] = {}
  paths: dict[Any, Any] = {}
  there, names = Listing(), set()
  folder = None
  for row in _rows(content, "images", path, flaws):
    image, name = _id(row, "id"), row.get("file_name")
    what = f"image {row.get('id')!r}: "
    if image is None or not isinstance(name, str) or not name:
      message = f"{what}id or file_name {name!r} is missing"
      flaws.error("bad annotation", path, 0, message)
      continue
    if image in paths or name in names:
      message = f"{what}its id or its file {name!r} is there already"
      flaws.error("listed twice", path, 0, message)
      continue
    paths[image] = None
    names.add(name)
    size = row.get("width"), row.get("height")
    width, height = (-1 if isinstance(x, str) else number(x) for x in size)
    if not is_size(width, height):
      message = f"{what}width and height are {size}; expected pixels"
      flaws.error("bad number", path, 0, message)
      continue
    if inside(source, name, flaws, path, 0) is None:
      continue
    if folder is None:
      folder = next((f for f in folders if there.has(f / name)), None)
    if folder is None or not there.has(folder / name):
      looked = " or ".join(map(str, [folder] if folder else folders))
      message = f"{what}{name} is not in {looked}"
      flaws.error("missing picture", path, 0, message)
      continue
    paths[image] = folder / name
    flaws.met.add(str(folder / name))
    truths[image] = Truths(int(width), int(height), flaws)
  return truths, paths


def _edges(bbox: Any) -> tuple[float, ...] | None:
  """Continuous edges of x, y, width, height; None if these are no numbers."""
  if not isinstance(bbox, list) or len(bbox) != 4:
    return None
  if any(isinstance(value, str) for value in bbox):
    return None
  x, y, width, height = map(number, bbox)
  if x != x or y != y or width != width or height != height:
    return None
  return x, y, x + width, y + height
