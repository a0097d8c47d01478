"""Records as lines of JSON: what the doctor found clean, for training."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from yolo9000.data.disk import DataError, open_path
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats import unread
from yolo9000.data.formats.places import Listing, entries, find_picture
from yolo9000.data.formats.reading import (
  Classes,
  Source,
  Truths,
  check_names,
  finished,
  flag,
  number,
  read_lines,
)
from yolo9000.data.records import Dataset, Record

KEYS = frozenset(
  "path size boxes_px labels difficult image_id image_label areas_px".split()
)


def write(path: Path, dataset: Dataset, root: str) -> None:
  """Writes a data set: a line for all of it, and one for each record.

  Paths are below root where they can be, and absolute otherwise.
  """
  base = root if "://" in root else os.path.abspath(root)
  first = {
    "root": base,
    "class_names": list(dataset.class_names),
    "category_ids": list(dataset.category_ids),
  }
  rows = (_to_json(r, dataset.class_names, base) for r in dataset.records)
  with path.open("w") as file:
    for row in (first, *rows):
      file.write(json.dumps(row) + "\n")


def _to_json(
  record: Record, class_names: Sequence[str], base: str
) -> dict[str, Any]:
  name = record.path if "://" in base else os.path.abspath(record.path)
  row: dict[str, Any] = {
    "path": name.removeprefix(base.rstrip("/") + "/"),
    "size": [record.width, record.height],
    "boxes_px": record.boxes_px.tolist(),
    "labels": [class_names[label] for label in record.labels.tolist()],
    "difficult": record.difficult.tolist(),
    "image_id": record.image_id,
  }
  if record.image_label >= 0:
    row["image_label"] = class_names[record.image_label]
  if record.areas_px is not None:
    row["areas_px"] = record.areas_px.tolist()
  return row


class _Row(NamedTuple):
  """A line, with every value of the type that it must have."""

  path: str
  size: tuple[int, int]
  boxes_px: list[list[float]]
  labels: list[str]
  difficult: list[bool]
  areas_px: list[float]
  image_label: str
  image_id: int | str
  keys: frozenset[str]


def read(source: Source, flaws: Flaws) -> Dataset:
  """Reads what `write` wrote.

  Args:
    source: root is the file's folder, split its name. Pictures lie below the
      root that the file's first line names, relative to source.root.
    flaws: where they go.

  Raises:
    DataError: for a missing or broken file, and flaws if they are strict.
  """
  path = open_path(source.root) / source.split
  lines = read_lines(path, flaws)
  root, names, category_ids = _first(path, lines)
  classes = Classes(source.class_names or names)
  below = source._replace(root=str(open_path(source.root) / root))
  there, records, folders = Listing(), [], [open_path(below.root)]
  for line, text in lines[1:]:
    try:
      row = _parse(text)
    except (ValueError, TypeError, LookupError, RecursionError) as error:
      message = f"no record: {type(error).__name__} {error}"
      flaws.error("bad annotation", path, line, message)
      continue
    where = find_picture(below, row.path, folders, there, flaws, path, line)
    if where is None:
      continue
    truths = Truths(*row.size, flaws)
    unread.pass_over(
      row.keys, KEYS, what="key", to=truths, flaws=flaws, path=path, line=line
    )
    for n, edges in enumerate(row.boxes_px):
      label = classes.label(row.labels[n], truths, path, line)
      if label is not None:
        truths.add(
          edges,
          label,
          path,
          line,
          f"box {n + 1} {edges}",
          difficult=row.difficult[n],
          area_px=row.areas_px[n],
        )
    image_label = -1
    if row.image_label:
      label = classes.label(row.image_label, flaws, path, line)
      if label is None:
        continue
      image_label = label
    records.append(
      truths.record(where, image_label=image_label, image_id=row.image_id)
    )
  ids = category_ids if classes.names == names else ()
  return finished(records, classes, flaws, path, category_ids=ids)


def splits(root: str) -> list[str]:
  """The .jsonl files of root."""
  found = entries(open_path(root), Flaws(strict=False))
  return [p.name for p in found if p.suffix == ".jsonl"]


def _first(
  path: Any, lines: list[tuple[int, str]]
) -> tuple[str, tuple[str, ...], tuple[int, ...]]:
  """Root, class names and category ids of the first line."""
  try:
    first = json.loads(lines[0][1])
    root, names, ids = (
      first[key] for key in ("root", "class_names", "category_ids")
    )
    if not isinstance(root, str) or "\0" in root or not isinstance(names, list):
      raise TypeError
    check_names(names)
    if ids and len(ids) != len(names):
      raise ValueError
    return root, tuple(names), tuple(int(number) for number in ids)
  except DataError as error:
    raise DataError(f"{path}:1: {error}") from None
  except (LookupError, TypeError, ValueError, RecursionError):
    raise DataError(
      f"{path}:1: expected root, class_names and category_ids, as the doctor "
      f"writes them"
    ) from None


def _parse(text: str) -> _Row:
  """A line's values; raises one of several errors if they are others."""
  row = json.loads(text)
  width, height = (_integer(side) for side in row["size"])
  boxes = [[number(edge) for edge in box] for box in row["boxes_px"]]
  labels = [_text(name) for name in row["labels"]]
  difficult = [flag(value) for value in row["difficult"]]
  areas = [number(area) for area in row.get("areas_px", [None] * len(boxes))]
  if any(len(box) != 4 for box in boxes) or None in difficult:
    raise ValueError("boxes_px or difficult")
  if not len(boxes) == len(labels) == len(difficult) == len(areas):
    raise ValueError("lists of different lengths")
  if boxes and min(width, height) < 1:
    raise ValueError(f"size {width}x{height}")
  image_id = row["image_id"]
  return _Row(
    path=_text(row["path"]),
    size=(width, height),
    boxes_px=boxes,
    labels=labels,
    difficult=[bool(value) for value in difficult],
    areas_px=areas,
    image_label=_text(row.get("image_label", "")),
    image_id=image_id if isinstance(image_id, str) else _integer(image_id),
    keys=frozenset(row),
  )


def _integer(value: Any) -> int:
  if type(value) is not int or abs(value) > 2**53:
    raise ValueError(f"{value!r} is no whole number")
  return value


def _text(value: Any) -> str:
  if not isinstance(value, str):
    raise TypeError(f"{value!r} is no text")
  return value
