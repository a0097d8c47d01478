"""Sets that TensorFlow Datasets has prepared on disk; without TensorFlow.

TensorFlow is needed to prepare the official ones, once, and as ArrayRecord:

  pip install -e '.[prepare]'
  tfds build voc/2007 --file_format=array_record --data_dir=FOLDER
"""

from __future__ import annotations

import functools
import io
import math
from typing import Any

import numpy as np

from yolo9000.data.disk import DataError
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats import unread
from yolo9000.data.formats.reading import Source, Truths
from yolo9000.data.images import read_header
from yolo9000.data.records import Dataset, Record, check_size
from yolo9000.types import UInt8

READ = frozenset(("image", "image/id", "image/filename", "objects"))
READ_OBJECTS = frozenset(
  ("bbox", "label", "is_crowd", "is_difficult", "is_truncated", "area")
)


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
  classes = _classes(source.root, features)
  if source.class_names not in ((), classes):
    raise DataError(
      f"{source}: class_names {', '.join(source.class_names)} are not those of "
      f"the set, {', '.join(classes)}"
    )
  _pass_over(features, source.root, flaws)
  records = []
  for n in range(len(data)):
    path = f"{source.root}/{source.split}#{n}"
    try:
      row = _row(source.root, source.split, n)
    except DataError as error:
      flaws.error("bad annotation", path, 0, str(error))
    else:
      records.append(_record(row, path, classes, flaws))
  read_image = functools.partial(_read_image, source.root, source.split)
  found = [record for record in records if record is not None]
  if not found:
    flaws.error("empty split", source.root, 0, f"{source.split} has no picture")
  return Dataset(
    found,
    classes,
    read_image,
    flaws.found,
    flaws.notes,
    passed=flaws.passed,
  )


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
  features = dict(builder.info.features.items())
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


def _classes(root: str, features: Any) -> tuple[str, ...]:
  """The class names of a set whose features we understand."""
  import tensorflow_datasets as tfds

  boxes = getattr(features.get("objects"), "feature", None)
  boxes = None if boxes is None else dict(boxes.items())
  label = (features if boxes is None else boxes).get("label")
  if not isinstance(label, tfds.features.ClassLabel) or not (
    boxes is None or isinstance(boxes.get("bbox"), tfds.features.BBoxFeature)
  ):
    raise DataError(
      f"{root}: the features are {', '.join(sorted(features))}; expected "
      f"image and label, a ClassLabel, or objects with bbox and label"
    )
  return tuple(label.names)


def _row(root: str, split: str, number: int) -> dict[str, Any]:
  """A record of the files.

  Raises:
    DataError: if it cannot be read or decoded.
  """
  try:
    return _open(root, split)[0][number]
  except Exception as error:  # of array_record, protobuf or TFDS
    raise DataError(f"{root}/{split}#{number}: {error}") from None


def _pass_over(features: Any, root: str, flaws: Flaws) -> None:
  """Counts the features that are not read."""
  below = getattr(features.get("objects"), "feature", None)
  read = READ if below is not None else READ | {"label"}
  inner = dict(below.items()) if below is not None else {}
  for names, known in ((features, read), (inner, READ_OBJECTS)):
    found = unread.sort_out(frozenset(names), known, frozenset())
    for message in (*found.misspelt, *map(unread.not_read, found.boxes)):
      flaws.mended("not read", root, 0, f"the feature {message}")
    flaws.passed.update(f"feature {name}" for name in found.others)


def _record(
  row: dict[str, Any],
  path: str,
  classes: tuple[str, ...],
  flaws: Flaws,
) -> Record | None:
  try:
    width, height, _ = read_header(io.BytesIO(row["image"]), path)
  except DataError as error:
    return flaws.error("unreadable picture", path, 0, str(error))
  truths = Truths(width, height, flaws)
  if "objects" not in row:
    label = _label(row["label"], classes, truths, path)
    if label is None:
      return None
    return truths.record(path, image_label=label)
  objects = row["objects"]
  boxes = np.asarray(objects["bbox"], np.float64).reshape(-1, 4)
  none = [0] * len(boxes)
  crowd = objects.get("is_crowd", none), objects.get("is_difficult", none)
  for n, (top, left, bottom, right) in enumerate(boxes.tolist()):
    difficult = bool(crowd[0][n] or crowd[1][n])
    flaws.notes["objects marked crowd or difficult"] += difficult
    flaws.notes["objects marked truncated"] += bool(
      objects.get("is_truncated", none)[n]
    )
    label = _label(objects["label"][n], classes, truths, path)
    if label is None:
      continue
    truths.add(
      (left * width, top * height, right * width, bottom * height),
      label,
      path,
      0,
      f"object {n + 1}: box {boxes[n].tolist()}",
      difficult=difficult,
      area_px=float(objects["area"][n]) if "area" in objects else math.nan,
    )
  return truths.record(path, image_id=_image_id(row))


def _label(
  value: Any, classes: tuple[str, ...], truths: Truths, path: str
) -> int | None:
  """A label; None, once reported, for one that no class has."""
  if 0 <= int(value) < len(classes):
    return int(value)
  message = f"label {value}; there are 0 to {len(classes) - 1}"
  return truths.error("unknown class", path, 0, message)


def _image_id(row: dict[str, Any]) -> int | str:
  value = row.get("image/id", row.get("image/filename", -1))
  if isinstance(value, bytes):
    return value.decode("utf-8", "backslashreplace")
  return int(value)


def _read_image(
  root: str, split: str, record: Record
) -> UInt8[np.ndarray, "H W 3"]:
  number = int(record.path.rpartition("#")[2])
  return check_size(record, _row(root, split, number)["image"])
