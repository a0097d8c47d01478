"""COCO's instances_*.json."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from yolo9000.data.disk import DataError, open_path, read_text
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats import segmentation, unread
from yolo9000.data.formats.places import Listing, find_picture, is_hidden
from yolo9000.data.formats.reading import (
  SIZE_TAKEN,
  Classes,
  Source,
  Truths,
  finished,
  is_size,
  mark,
  measured,
  number,
)
from yolo9000.data.records import Dataset

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
# Of larger files, in characters, it is not asked whether an object has a key
# twice, which would take a third longer.
MOST_CHECKED = 20_000_000
LISTS = frozenset(("images", "annotations", "categories"))
# Of each list the keys that are read, and those that COCO's own files have too.
READ = {
  "images": frozenset(("id", "file_name", "width", "height")),
  "annotations": frozenset(
    ("id", "image_id", "category_id", "bbox", "iscrowd", "area")
  ),
  "categories": frozenset(("id", "name", "supercategory")),
}
KNOWN = frozenset(
  "segmentation keypoints num_keypoints skeleton attributes ignore license "
  "coco_url flickr_url date_captured deleted".split()
)


def read(source: Source, flaws: Flaws) -> Dataset:
  """Reads a split of COCO, or any file in its form.

  Category ids become labels in the order of class_names or, without these, of
  the ids. A crowd is marked difficult: neither a hit nor a miss. Ids that are
  equal as numbers are equal: "1", 1 and 1.0.

  Args:
    source: masks are read of segmentation, if it asks for them; split is a
      name such as "train2017", of the file
      annotations/instances_train2017.json and the pictures in train2017,
      images/train2017, images or root; or a .json file below root, with the
      pictures in the folder images or data beside it, or beside itself.
    flaws: where they go.

  Raises:
    DataError: for a missing or broken file, and flaws if they are strict.
  """
  path, folders = _where(source)
  flaws.met.add(str(path))
  content, doubtful = _parse(path, flaws)
  names = _categories(content, path, flaws)
  try:
    classes = Classes(source.class_names or tuple(names.values()))
  except DataError as error:
    raise DataError(f"{path}: {error}") from None
  pictures = _images(content, path, folders, source, flaws)
  named = _Names(names, classes, source.masks)
  lost = _annotations(content, path, named, pictures, flaws)
  records = [
    picture.truths.record(
      picture.path, image_id=picture.image_id, masks=source.masks
    )
    for picture in pictures.values()
    if picture.truths is not None
  ]
  if lost or doubtful:  # perhaps these are theirs
    flaws.incomplete.update(
      r.path for r in records if doubtful or not len(r.labels)
    )
  ids = {name: number for number, name in names.items()}
  categories = tuple(ids.get(name, -1) for name in classes.names)
  return finished(records, classes, flaws, path, category_ids=categories)


def splits(root: str) -> list[str]:
  """The names in annotations, or else the .json files anywhere below root."""
  base = open_path(root)
  names = sorted(
    p.stem for p in (base / "annotations").glob("instances_*.json")
  )
  if names:
    return [name.removeprefix("instances_") for name in names]
  found = [p.relative_to(base) for p in base.glob("**/*.json")]
  hidden = (
    any(is_hidden(part) for part in (p, *p.parents[:-1])) for p in found
  )
  return sorted(
    str(p) for p, skip in zip(found, hidden, strict=True) if not skip
  )


def annotation_file(source: Source) -> Any:
  """The file that a Source means; see `read`."""
  return _where(source)[0]


def _where(source: Source) -> tuple[Any, list[Any]]:
  root = open_path(source.root)
  if source.split.endswith(".json"):
    path = root / source.split
    beside, name = path.parent, path.stem.removeprefix("instances_")
    folders = [beside / "images", beside / "data", beside]
    folders += [root / name, root / "images" / name, root / "images", root]
  else:
    path = root / "annotations" / f"instances_{source.split}.json"
    folders = [root / source.split, root / "images" / source.split]
    folders += [root / "images", root]
  if not path.is_file():
    found = ", ".join(splits(source.root)) or "none"
    raise DataError(f"{path}: no such file; splits found here: {found}")
  return path, list(dict.fromkeys(folders))


def _parse(path: Any, flaws: Flaws) -> tuple[dict[str, Any], bool]:
  """The file's content, and whether it could have boxes elsewhere."""
  text = read_text(str(path))
  hook = _unique if len(text) < MOST_CHECKED else None
  try:
    content = json.loads(text, object_pairs_hook=hook)
  except KeyError as error:
    raise DataError(f"{path}: the key {error} is twice in one object") from None
  except (ValueError, RecursionError) as error:
    line = getattr(error, "lineno", 0)
    raise DataError(f"{path}:{line}: not valid JSON: {error}") from None
  for key in ("images", "annotations", "categories"):
    value = content.get(key) if isinstance(content, dict) else None
    if not isinstance(value, list):
      raise DataError(f"{path}: {key} is no list; is it a COCO instances file?")
  return content, _pass_over(content, LISTS, "key", flaws, flaws, path)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  """An object of JSON; KeyError for a key that is there twice."""
  found = dict(pairs)
  if len(found) < len(pairs):
    keys = [key for key, _ in pairs]
    raise KeyError(next(key for key in keys if keys.count(key) > 1))
  return found


def _pass_over(row, read, what: str, to: Any, flaws: Flaws, path: Any) -> bool:
  """Counts the keys of an object that are not read; whether any is suspect.

  The place of a camera, or the speed of a car, is a text or a number; a box is
  a list, an object, or four numbers in a text.
  """
  if row.keys() <= read:
    return False

  def is_box(name: str) -> bool:
    value = row[name]
    return isinstance(value, list | dict) or (
      isinstance(value, str) and unread.is_four_numbers(value)
    )

  where = {"to": to, "flaws": flaws, "path": path, "line": 0}
  return unread.pass_over(row, read, KNOWN, what=what, is_box=is_box, **where)


def _rows(content, key: str, path, flaws: Flaws) -> Iterator[dict[str, Any]]:
  """The entries of a list that are objects; others are errors."""
  for n, row in enumerate(content[key]):
    if isinstance(row, dict):
      yield row
    else:
      message = f"{key}[{n}] is {row!r}; expected an object"
      flaws.error("bad annotation", path, 0, message)


def _id(value: Any) -> int | str | None:
  """An id, texts of digits and 1.0 as numbers; None for anything else."""
  if isinstance(value, str) and (whole := number(value)).is_integer():
    return int(whole)
  if isinstance(value, float) and value.is_integer():
    return int(value)
  return value if type(value) in (int, str) else None


def _categories(content, path, flaws: Flaws) -> dict[int, str]:
  """The name of each category, by increasing id.

  Raises:
    DataError: for one without an id or a name, and for two that share one.
      Roboflow's group, which has no annotation and may be called as a class
      below it, is passed over then.
  """
  names: dict[int, str] = {}
  groups = set()
  for row in content["categories"]:
    category = _id(row.get("id")) if isinstance(row, dict) else None
    name = row.get("name") if isinstance(row, dict) else None
    if not isinstance(category, int) or not isinstance(name, str):
      raise DataError(f"{path}: category {row!r} lacks a numeric id or a name")
    if category in names:
      raise DataError(
        f"{path}: category {category} is there twice, as {names[category]!r} "
        f"and as {name!r}"
      )
    names[category] = name
    groups.add(str(row.get("supercategory")))
    _pass_over(row, READ["categories"], "category's key", flaws, flaws, path)
  for name, count in Counter(names.values()).items():
    if count > 1:
      same = [category for category in names if names[category] == name]
      rows = (r for r in content["annotations"] if isinstance(r, dict))
      used = {_id(row.get("category_id")) for row in rows}
      empty = [category for category in same if category not in used]
      if name not in groups or len(same) - len(empty) != 1:
        raise DataError(
          f"{path}: categories {', '.join(map(str, same))} are all called "
          f"{name!r}; expected different names"
        )
      for category in empty:
        del names[category]
        passed = f"category {category} {name!r}, a group without annotations"
        flaws.passed[passed] += 1
  return dict(sorted(names.items()))


class _Picture(NamedTuple):
  """An image of the file."""

  image_id: int | str  # as it stands there
  path: Any
  truths: Truths | None  # None: left out, and that reported


def _images(
  content, path, folders, source: Source, flaws: Flaws
) -> dict[Any, _Picture]:
  """The pictures by image id."""
  pictures: dict[Any, _Picture] = {}
  of_name: dict[str, _Picture] = {}
  there = Listing()
  for row in _rows(content, "images", path, flaws):
    image, name = _id(row.get("id")), row.get("file_name")
    if name is None and not flaws.pictures:
      name = str(image)
    what = f"image {row.get('id')!r}: "
    if image is None or not isinstance(name, str) or not name:
      message = f"{what}id or file_name {name!r} is missing"
      flaws.error("bad annotation", path, 0, message)
      continue
    if again := pictures.get(image) or of_name.get(name):
      message = f"{what}its id or its file {name!r} is there already"
      (again.truths or flaws).error("listed twice", path, 0, message)
      pictures.setdefault(image, _Picture(image, None, None))
      continue
    where = find_picture(
      source, name, folders, there, flaws, path, 0, what=what
    )
    truths = where and _truths(row, where, path, what, flaws)
    kept = row["id"] if isinstance(row["id"], str) else image
    pictures[image] = of_name[name] = _Picture(kept, where, truths)
    if truths is not None:
      flaws.met.add(str(where))
      _pass_over(row, READ["images"], "image's key", truths, flaws, path)
  return pictures


def _truths(row, where, path, what: str, flaws: Flaws) -> Truths | None:
  """Of the size that is written or, without one, of the picture's."""
  size = row.get("width"), row.get("height")
  if all(side in (None, 0) for side in size):
    flaws.notes[SIZE_TAKEN] += 1
    return measured(where, flaws, in_pixels=True)
  width, height = (-1 if isinstance(x, str) else number(x) for x in size)
  if is_size(width, height):
    return Truths(int(width), int(height), flaws)
  message = f"{what}width and height are {size}; expected pixels"
  return flaws.error("bad number", path, 0, message)


class _Names(NamedTuple):
  """What an annotation's numbers mean, and what is read of it."""

  categories: dict[int, str]
  classes: Classes
  masks: bool


def _annotations(content, path, named: _Names, pictures, flaws: Flaws) -> int:
  """Adds the boxes to their pictures; how many belong to none."""
  lost = 0
  rows = list(_rows(content, "annotations", path, flaws))
  for n, row in enumerate(rows):
    what = f"annotation {row.get('id', f'number {n}')}: "
    picture = pictures.get(_id(row.get("image_id")))
    if picture is None:
      message = f"{what}there is no image {row.get('image_id')!r}"
      flaws.error("orphan annotation", path, 0, message)
      lost += 1
    elif picture.truths is not None:
      _add(row, what, picture.truths, path, named, flaws)
  for key in ("id", "iscrowd", "area"):
    without = sum(key not in row for row in rows)
    if without and (without < len(rows) or key == "id"):
      message = f"{without} of {len(rows)} annotations have no {key}"
      flaws.mended("bad annotation", path, 0, message)
  ids = [str(_id(row["id"])) for row in rows if "id" in row]
  if again := len(ids) - len(set(ids)):
    message = f"{again} annotations have the id of another"
    flaws.mended("bad annotation", path, 0, message)
  return lost


def _add(row, what: str, truths, path, named: _Names, flaws: Flaws) -> None:
  """Adds the box of an annotation, and its mask."""
  keys = READ["annotations"] | ({"segmentation"} if named.masks else set())
  _pass_over(row, keys, "annotation's key", truths, flaws, path)
  if row.get("deleted") in (True, 1, "true"):
    flaws.notes["annotations marked deleted, left out"] += 1
    return None
  name = named.categories.get(_id(row.get("category_id")))
  if name is None:
    message = f"{what}there is no category {row.get('category_id')!r}"
    return truths.error("unknown class", path, 0, message)
  label = named.classes.label(name, truths, path, 0, what)
  edges = _edges(row.get("bbox"))
  if edges is None:
    message = (
      f"{what}bbox is {row.get('bbox')!r}; expected [x, y, width, height]"
    )
    return truths.error("bad number", path, 0, message)
  crowd = mark(row.get("iscrowd", 0), "iscrowd", flaws)
  area = number(row.get("area"))
  if crowd is None or area < 0 or ("area" in row and area != area):
    message = (
      f"{what}iscrowd is {row.get('iscrowd')!r} and area "
      f"{row.get('area')!r}; expected 0 or 1, and pixels"
    )
    return truths.error("bad number", path, 0, message)
  flaws.notes["objects marked crowd"] += crowd
  if label is not None:
    mask = None
    if named.masks:
      value = row.get("segmentation")
      mask, wrong = segmentation.read(value, truths.size, edges)
      flaws.notes["objects without a mask"] += mask is None
      if wrong:
        flaws.mended("bad mask", path, 0, f"{what}{wrong}; left out")
    what += f"bbox {row['bbox']}"
    truths.add(
      edges,
      label,
      path,
      0,
      what,
      difficult=crowd,
      area_px=area,
      mask=mask,
    )
  return None


def _edges(bbox: Any) -> tuple[float, ...] | None:
  """Continuous edges of x, y, width, height; None if these are no numbers."""
  if not isinstance(bbox, list) or len(bbox) != 4:
    return None
  if str in map(type, bbox):
    return None
  x, y, width, height = map(number, bbox)
  if x != x or y != y or width != width or height != height:
    return None
  return x, y, x + width, y + height
