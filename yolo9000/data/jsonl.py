"""Records as lines of JSON: what the doctor found clean, for training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from yolo9000.data.reading import (
  Classes,
  Flaws,
  Listing,
  Source,
  Truths,
  inside,
  read_lines,
)
from yolo9000.data.records import (
  DataError,
  Dataset,
  Record,
  open_path,
  read_picture,
)


def write(
  path: Path, records: Sequence[Record], class_names: Sequence[str], root: str
) -> None:
  """Writes records, a line each, with paths below root.

  The first line holds the root and the class names.
  """
  first = {"root": root, "class_names": list(class_names)}
  with path.open("w") as file:
    for row in (first, *(_row(r, class_names, root) for r in records)):
      file.write(json.dumps(row) + "\n")


def _row(
  record: Record, class_names: Sequence[str], root: str
) -> dict[str, Any]:
  row: dict[str, Any] = {
    "path": record.path.removeprefix(root).lstrip("/"),
    "size": [record.width, record.height],
    "boxes_px": record.boxes_px.tolist(),
    "labels": [class_names[label] for label in record.labels],
    "difficult": record.difficult.tolist(),
    "image_id": record.image_id,
  }
  if record.image_label >= 0:
    row["image_label"] = class_names[record.image_label]
  if record.areas_px is not None:
    row["areas_px"] = record.areas_px.tolist()
  return row


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
  try:
    first = json.loads(lines[0][1])
    root, names = first["root"], tuple(map(str, first["class_names"]))
  except (IndexError, KeyError, TypeError, ValueError):
    raise DataError(
      f"{path}:1: expected a line with root and class_names, as the doctor "
      f"writes it"
    ) from None
  classes = Classes(source.class_names or names)
  below = source._replace(root=str(open_path(source.root) / root))
  there, records = Listing(), []
  for line, text in lines[1:]:
    try:
      row = json.loads(text)
      size = [int(side) for side in row["size"]]
      boxes = np.array(row["boxes_px"], np.float64).reshape(-1, 4)
      picture, labels = str(row["path"]), [str(x) for x in row["labels"]]
      difficult = [bool(flag) for flag in row["difficult"]]
      areas = row.get("areas_px") or [np.nan] * len(boxes)
      if not len(boxes) == len(labels) == len(difficult) == len(areas):
        raise ValueError("lists of different lengths")
    except (KeyError, TypeError, ValueError) as error:
      message = f"no record: {error!r}"
      flaws.error("bad annotation", path, line, message)
      continue
    where = inside(below, picture, flaws, path, line)
    if where is None:
      continue
    if not there.has(where):
      message = f"{picture} is not there"
      flaws.error("missing picture", path, line, message)
      continue
    truths = Truths(size[0], size[1], flaws)
    for n, edges in enumerate(boxes.tolist()):
      label = classes.label(labels[n], truths, path, line)
      if label is not None:
        what = f"box {n + 1} {edges}"
        truths.add(
          *(edges, label, path, line, what),
          difficult=difficult[n],
          area_px=float(areas[n]),
        )
    whole = row.get("image_label")
    label = -1 if whole is None else classes.label(whole, flaws, path, line)
    if label is not None:
      image_id = row.get("image_id", -1)
      records.append(truths.record(where, image_label=label, image_id=image_id))
  return Dataset(records, classes.names, read_picture, flaws.found)


def splits(root: str) -> list[str]:
  """The .jsonl files of root."""
  return sorted(p.name for p in open_path(root).glob("*.jsonl"))
