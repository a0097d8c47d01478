"""Detections that somebody's program wrote, in COCO's form or in VOC's."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np

from yolo9000.data import masks
from yolo9000.data.formats import segmentation
from yolo9000.data.records import Dataset, Record
from yolo9000.files import FileError, read_text
from yolo9000.scoring import devkit, runs
from yolo9000.scoring.voc import Found

FIELDS = ("image_id", "category_id", "bbox", "score")


class Given(NamedTuple):
  """The detections of a file, in its order, uncut and unrounded.

  `rows` have the ids of the data set's own files; `told` is what the protocol
  says of them.
  """

  found: Found
  rows: list[dict[str, Any]]
  told: dict[str, Any]


def read(path: Any, dataset: Dataset, *, ordered: bool) -> Given:
  """Reads a list of results for a data set, or files of VOC's devkit.

  An entry's picture is told by file_name, if all entries have one, and else by
  image_id; its class by category_name, if all have one, and else by category_id
  (see `_pictures` and `_labels`).

  Args:
    path: of the file.
    dataset: of the truths.
    ordered: whether the order of its class names means something, so that a
      class can be told by its number.

  Raises:
    FileError: naming the entry, counted from 1, the field, the value and what
      is expected.
  """
  if Path(path).is_dir() or Path(path).suffix == ".txt":
    entries, places = devkit.read(path, dataset.class_names)
  else:
    entries = _entries(path)
    places = [f"{path}: entry {n}" for n in range(1, len(entries) + 1)]
  boxes, scores = _numbers(places, entries)
  image, by_image = _pictures(places, entries, dataset.records)
  label, by_class = _labels(path, places, entries, dataset, ordered)
  edges = np.array(boxes, np.float64).reshape(-1, 4)
  edges[:, 2:] += edges[:, :2]
  found = Found(
    np.array(image, np.int64),
    np.array(label, np.int64),
    edges,
    np.array(scores, np.float64),
    np.zeros(len(entries), bool),
  )
  ids = dataset.category_ids or tuple(range(len(dataset.class_names)))
  segmentations, told_masks = _masks(places, entries, dataset.records, image)
  rows = [
    {
      "image_id": _own_id(dataset.records, number),
      "category_id": ids[kind],
      "bbox": bbox,
      "score": score,
      **mask,
    }
    for number, kind, bbox, score, mask in zip(
      image, label, boxes, scores, segmentations, strict=True
    )
  ]
  same = Counter(
    (number, kind, *bbox, score)
    for number, kind, bbox, score in zip(
      image, label, boxes, scores, strict=True
    )
  )
  told = {
    "detections": f"{len(entries)} of {path}",
    "picture of a detection": by_image,
    "class of a detection": by_class,
    "entries that are there again, and count again": len(entries) - len(same),
    **told_masks,
    **_spread(found, len(dataset.records)),
  }
  return Given(found, rows, told)


def _masks(
  places: Sequence[str],
  entries: Sequence[Mapping[str, Any]],
  records: Sequence[Record],
  image: Sequence[int],
) -> tuple[list[dict[str, Any]], dict[str, str]]:
  """The segmentation of each entry if all have one, and what is told of it."""
  values = [entry.get("segmentation") for entry in entries]
  count = sum(bool(value) for value in values)
  if count < len(entries) or not entries:
    told = f"{count} of {len(entries)} have one: not compared"
    return [{}] * len(entries), {"masks of detections": told} if count else {}
  found = []
  for place, value, number in zip(places, values, image, strict=True):
    size = records[number].width, records[number].height
    mask, wrong = segmentation.read(value, size, (0.0, 0.0, *map(float, size)))
    if wrong not in ("", segmentation.EMPTY):
      wanted = f"a mask of a picture of {size[0]}x{size[1]}: {wrong}"
      raise _wrong(place, "segmentation", value, wanted)
    found.append(runs.segmentation(masks.as_runs(mask, size), size))
  return [{"segmentation": one} for one in found], {}


def _own_id(records: Sequence[Record], number: int) -> int | str:
  own = records[number].image_id
  return number if own == -1 else own


def _spread(found: Found, pictures: int) -> dict[str, Any]:
  """Whether somebody has cut the list before."""
  most = Counter(found.image.tolist()).most_common(1)
  least = float(found.score.min()) if len(found.score) else None
  return {
    "pictures without a detection": pictures - len(np.unique(found.image)),
    "least score": least,
    "most detections on a picture": most[0][1] if most else 0,
  }


def _wrong(place: str, field: str, value: Any, wanted: str) -> FileError:
  text = repr(value)
  text = text if len(text) <= 80 else f"{text[:77]}..."
  return FileError(f"{place}: {field} is {text}; expected {wanted}")


def _entries(path: Any) -> list[Mapping[str, Any]]:
  """The file's entries, each with all `FIELDS`."""
  try:
    content = json.loads(read_text(path))
  except (ValueError, RecursionError) as error:
    if isinstance(error, FileError):
      raise
    line = getattr(error, "lineno", 0)
    raise FileError(f"{path}:{line}: not valid JSON: {error}") from None
  if not isinstance(content, list):
    kind = "an object" if isinstance(content, dict) else repr(content)[:80]
    raise FileError(
      f"{path}: is {kind}; expected a list of results, each an object with "
      f"{', '.join(FIELDS)}"
    )
  for n, entry in enumerate(content, 1):
    if not isinstance(entry, dict):
      raise FileError(
        f"{path}: entry {n} is {repr(entry)[:80]}; expected an object with "
        f"{', '.join(FIELDS)}"
      )
    for field in FIELDS:
      if field not in entry:
        raise FileError(
          f"{path}: entry {n} has no {field}; it has "
          f"{', '.join(entry) or 'nothing'}; expected {', '.join(FIELDS)}"
        )
  return content


def _is_finite(value: Any) -> bool:
  if isinstance(value, bool) or not isinstance(value, int | float):
    return False
  try:
    return math.isfinite(value)
  except OverflowError:
    return False


def _numbers(places: Sequence[str], entries: Sequence[Mapping[str, Any]]):
  """The boxes and the scores."""
  boxes, scores = [], []
  for place, entry in zip(places, entries, strict=True):
    bbox, score = entry["bbox"], entry["score"]
    if (
      not isinstance(bbox, list)
      or len(bbox) != 4
      or not all(map(_is_finite, bbox))
    ):
      wanted = "four finite numbers, x, y, width, height"
      raise _wrong(place, "bbox", bbox, wanted)
    if min(bbox[2:]) < 0:
      wanted = "x, y, width, height, the last two at least 0"
      raise _wrong(place, "bbox", bbox, wanted)
    if not _is_finite(score):
      raise _wrong(place, "score", score, "a finite number")
    boxes.append([float(number) for number in bbox])
    scores.append(float(score))
  return boxes, scores


def _key(value: Any) -> str | None:
  """An id as a text; None for what is no id."""
  if isinstance(value, bool):
    return None
  if isinstance(value, float) and value.is_integer():
    value = int(value)
  return str(value) if isinstance(value, int | str) else None


def _whole(text: str | None) -> str | None:
  """12 of 000012; None if it is no number."""
  if text is None or not (text.isascii() and text.isdigit()):
    return None
  return str(int(text))


def _unique(keys: Iterator[str | None]) -> dict[str, int | None]:
  """The number of each key; None for one that is there twice."""
  table: dict[str, int | None] = {}
  for number, key in enumerate(keys):
    if key is not None:
      table[key] = None if key in table else number
  return table


def _have(entries: Sequence[Mapping[str, Any]], field: str) -> bool:
  """Whether each entry has a text there."""
  return bool(entries) and all(
    isinstance(entry.get(field), str) and entry[field] for entry in entries
  )


def _pictures(
  places: Sequence[str],
  entries: Sequence[Mapping[str, Any]],
  records: Sequence[Record],
) -> tuple[list[int], str]:
  """The record of each entry, and the rule by which it was found.

  One rule serves all entries, the first of these that knows them all:
  file_name, as a path or as a name alone; image_id as the data set's own files
  have it; as a number that theirs is, 12 for 000012; as the name of the
  picture's file, with or without its suffix; and if the data set has no ids, as
  the number of the picture, from 0. If all entries have a file_name, and one is
  of no picture, that is an error, whatever image_id says.
  """
  if _have(entries, "file_name"):
    names = [entry["file_name"] for entry in entries]
    whole = _unique(record.path for record in records)
    short = _unique(PurePath(record.path).name for record in records)
    found = [whole.get(n, short.get(PurePath(n).name)) for n in names]
    if None not in found:
      return [n for n in found if n is not None], "by file_name"
    for place, name, number in zip(places, names, found, strict=True):
      if number is None and PurePath(name).name not in short:
        raise _wrong(place, "file_name", name, _some(list(short)))
  own = [r.image_id for r in records if r.image_id != -1]
  ids = [_key(entry["image_id"]) for entry in entries]
  wholes = [_whole(key) for key in ids]
  rules = {}
  if own:
    rules["by image_id, the data set's own"] = (
      ids,
      _unique(_key(r.image_id) for r in records),
    )
    rules["by image_id, as the number that the data set's own is"] = (
      wholes,
      _unique(_whole(_key(r.image_id)) for r in records),
    )
  for rule, part in (("with", "name"), ("without", "stem")):
    rules[f"by image_id, the name of the picture's file {rule} suffix"] = (
      ids,
      _unique(getattr(PurePath(r.path), part) for r in records),
    )
  if not own:
    numbers = {str(n): n for n in range(len(records))}
    rules["by image_id, the number of the picture from 0"] = wholes, numbers
  best: tuple[list[int | None], str, dict[str, int | None]] | None = None
  for rule, (keys, table) in rules.items():
    found = [table.get(key) if key is not None else None for key in keys]
    if None not in found:
      return [n for n in found if n is not None], rule
    if best is None or found.count(None) < best[0].count(None):
      best = found, rule, table
  assert best is not None
  n = best[0].index(None)
  wanted = f"{_some(list(best[2]))} ({best[1]})"
  raise _wrong(places[n], "image_id", entries[n]["image_id"], wanted)


def _some(names: Sequence[Any]) -> str:
  more = f" or {len(names) - 3} more" if len(names) > 3 else ""
  return "one of the data set, such as " + ", ".join(map(str, names[:3])) + more


def _labels(
  path: Any,
  places: Sequence[str],
  entries: Sequence[Mapping[str, Any]],
  dataset: Dataset,
  ordered: bool,
) -> tuple[list[int], str]:
  """The label of each entry, and the rule by which it was found.

  category_name, if all entries have one; category_id as the data set's own
  files have it; or if they have none, as the number of the class from 0.
  """
  names = dataset.class_names
  if _have(entries, "category_name"):
    known = {name: number for number, name in enumerate(names)}
    called: dict[Any, str] = {}
    for place, entry in zip(places, entries, strict=True):
      name, key = entry["category_name"], _key(entry["category_id"])
      if name not in known:
        wanted = f"a class of the data set: {', '.join(names)}"
        raise _wrong(place, "category_name", name, wanted)
      if called.setdefault(key, name) != name:
        wanted = f"{called[key]}, as in an earlier entry of category_id {key}"
        raise _wrong(place, "category_name", name, wanted)
    return [known[e["category_name"]] for e in entries], "by category_name"
  ids = dataset.category_ids
  rule = "by category_id, the data set's own"
  if not ids:
    if entries and not ordered:
      raise FileError(
        f"{path}: entries have no category_name, and the data set has no "
        f"numbers for its classes; expected names, or --classes=FILE with a "
        f"class on each line, in the order of category_id from 0"
      )
    ids = tuple(range(len(names)))
    rule = f"by category_id, from 0: {', '.join(names)}"
  table = {str(number): label for label, number in enumerate(ids)}
  labels = []
  for place, entry in zip(places, entries, strict=True):
    label = table.get(_key(entry["category_id"]) or "")
    if label is None:
      pairs = [f"{i} ({name})" for i, name in zip(ids, names, strict=True)]
      wanted = f"one of {', '.join(pairs)}"
      raise _wrong(place, "category_id", entry["category_id"], wanted)
    labels.append(label)
  return labels, rule
