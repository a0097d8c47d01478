"""Sets that TensorFlow Datasets has prepared on disk; without TensorFlow.

TensorFlow is needed to prepare the official ones, once, and as ArrayRecord:

  pip install -e '.[prepare]'
  tfds build voc/2007 --file_format=array_record --data_dir=FOLDER
"""

from __future__ import annotations

import functools
import io
import math
from collections import Counter
from typing import Any

import numpy as np

from yolo9000.data.reading import Flaws, Source, Truths
from yolo9000.data.records import (
  DataError,
  Dataset,
  Record,
  check_size,
  read_header,
)
from yolo9000.types import UInt8


def read(source: Source, flaws: Flaws) -> Dataset:
  """Reads a detection or a classification set.

  Of the features, the image, the objects (bbox, label, and if there are any
  is_crowd, is_difficult, is_truncated, area) or the label are used. Boxes lie
  beside the pictures in the files, so that all their bytes are read once.

  Args:
    source: root is the folder of a version, with dataset_info.json; split is
      in TFDS's words, such as "train" or "train[:80%]".
    flaws: where they go.

  Raises:
    DataError: for a folder without a prepared set, files of another form than
      ArrayRecord, an unknown split, unusable features, and flaws if they are
      strict.
  """
  data, features = _open(source.root, source.split)
  classes = _classes(features)
  if source.class_names not in ((), classes):
    raise DataError(
      f"{source}: class_names {', '.join(source.class_names)} are not those of "
      f"the set, {', '.join(classes)}"
    )
  notes: Counter[str] = Counter()
  records = []
  for n in range(len(data)):
    path = f"{source.root}/{source.split}#{n}"
    records.append(_record(data[n], path, features, flaws, notes))
  read_image = functools.partial(_read_image, source.root, source.split)
  found = [record for record in records if record is not None]
  return Dataset(found, classes, read_image, flaws.found, notes)


def splits(root: str) -> list[str]:
  """The splits that are on disk."""
  return sorted(_builder(root).info.splits)


def _builder(root: str) -> Any:
  import tensorflow_datasets as tfds

  try:
    return tfds.builder_from_directory(root)
  except Exception as error:  # of many kinds, by what is missing or broken
    raise DataError(
      f"{root}: no set that TensorFlow Datasets has prepared; expected the "
      f"folder with dataset_info.json ({error})"
    ) from None


@functools.lru_cache
def _open(root: str, split: str) -> tuple[Any, Any]:
  """The records of a split, pictures as their files' bytes, and the features.

  Once per process: worker processes open their own.
  """
  import tensorflow_datasets as tfds

  builder = _builder(root)
  features = builder.info.features
  if "image" not in features:
    raise DataError(f"{root}: the set has no feature named image")
  skip = {"image": tfds.decode.SkipDecoding()}
  try:
    data = builder.as_data_source(split, decoders=skip)
  except NotImplementedError:
    raise DataError(
      f"{root}: the set is not prepared as ArrayRecord, which alone is read "
      f"without TensorFlow; convert it, with it, by: tfds convert_format "
      f"--dataset_version_dir={root} --out_dir=FOLDER "
      f"--out_file_format=array_record"
    ) from None
  except (ValueError, KeyError, AssertionError) as error:
    known = ", ".join(builder.info.splits)
    raise DataError(
      f"{root}: no split {split!r}; there are {known} ({error})"
    ) from None
  return data, features


def _classes(features: Any) -> tuple[str, ...]:
  if "objects" in features:
    feature = features["objects"].feature["label"]
  elif "label" in features:
    feature = features["label"]
  else:
    raise DataError(
      f"features are {', '.join(features)}; expected objects or label"
    )
  return tuple(feature.names)


def _record(
  row: dict[str, Any], path: str, features: Any, flaws: Flaws, notes: Counter
) -> Record | None:
  try:
    width, height, _ = read_header(io.BytesIO(row["image"]), path)
  except DataError as error:
    return flaws.error("unreadable picture", path, 0, str(error))
  truths = Truths(width, height, flaws)
  if "objects" not in features:
    return truths.record(path, image_label=int(row["label"]))
  objects = row["objects"]
  boxes = np.asarray(objects["bbox"], np.float64).reshape(-1, 4)
  none = [0] * len(boxes)
  crowd = objects.get("is_crowd", none), objects.get("is_difficult", none)
  for n, (top, left, bottom, right) in enumerate(boxes.tolist()):
    difficult = bool(crowd[0][n] or crowd[1][n])
    notes["objects marked crowd or difficult"] += difficult
    notes["objects marked truncated"] += bool(
      objects.get("is_truncated", none)[n]
    )
    truths.add(
      (left * width, top * height, right * width, bottom * height),
      int(objects["label"][n]),
      *(path, 0, f"object {n + 1}: box {boxes[n].tolist()}"),
      difficult=difficult,
      area_px=float(objects["area"][n]) if "area" in objects else math.nan,
    )
  return truths.record(path, image_id=_image_id(row))


def _image_id(row: dict[str, Any]) -> int | str:
  value = row.get("image/id", row.get("image/filename", -1))
  return value.decode() if isinstance(value, bytes) else int(value)


def _read_image(
  root: str, split: str, record: Record
) -> UInt8[np.ndarray, "H W 3"]:
  number = int(record.path.rpartition("#")[2])
  return check_size(record, _open(root, split)[0][number]["image"])
