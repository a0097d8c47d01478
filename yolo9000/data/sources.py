"""The formats by name, and data sets brought to the network's classes."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from yolo9000.data import proposals
from yolo9000.data.disk import DataError, open_path, read_text, shown
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats import (
  coco,
  csv_table,
  folders,
  jsonl,
  open_images,
  shapes,
  tfds,
  voc,
  yolo,
)
from yolo9000.data.formats.reading import Source, check_names
from yolo9000.data.records import Dataset

logger = logging.getLogger("yolo9000")

SHOWN = 20  # flaws of a data set, in a run's log

# Each has read(source, flaws) and splits(root).
FORMATS = {
  "coco": coco,
  "csv": csv_table,
  "folders": folders,
  "jsonl": jsonl,
  "open_images": open_images,
  "shapes": shapes,
  "tfds": tfds,
  "voc": voc,
  "yolo": yolo,
}


# What a reader looks for below a root.
EXPECTED = {
  "coco": "annotations/instances_*.json, or another .json file",
  "csv": "a .csv file, there or in a folder",
  "folders": "a folder for each class",
  "jsonl": "a .jsonl file",
  "open_images": "a file such as train-annotations-bbox.csv",
  "shapes": "nothing",
  "tfds": "the folder of a prepared set, with dataset_info.json",
  "voc": "ImageSets/Main/*.txt, Annotations, or XML files beside pictures",
  "yolo": "data.yaml, lists of pictures, or folders of them",
}


def needs_root(format: str) -> bool:
  """Whether a format reads files."""
  return format in FORMATS and format != "shapes"


def check(format: str, root: str) -> None:
  """Raises DataError for an unknown format or a folder that is not there."""
  if format not in FORMATS:
    raise DataError(
      f"data format {format!r} is unknown; there are {', '.join(FORMATS)}"
    )
  scheme, remote, _ = root.partition("://")
  if not remote and root and ("\0" in root or not Path(root).is_dir()):
    raise DataError(f"{shown(root)}: no such folder")
  if remote:
    import fsspec  # comes with etils' paths

    open_path(root)
    try:
      fsspec.get_filesystem_class("gcs" if scheme == "gs" else scheme)
    except ImportError as error:
      package = "-e '.[gcs]'" if scheme == "gs" else str(error).split()[1]
      raise DataError(
        f"{root}: {scheme}:// needs a package: pip install {package}"
      ) from None


def splits(format: str, root: str) -> list[str]:
  """The splits that a data set has, as its format names them."""
  check(format, root)
  return FORMATS[format].splits(root)


def read(source: Source, flaws: Flaws) -> Dataset:
  """Reads a data set by the name of its format.

  Raises:
    DataError: for an unknown format, a folder or a package that is missing, or
      by the reader.
  """
  check(source.format, source.root)
  notes, passed = flaws.notes.copy(), flaws.passed.copy()
  try:
    if source.root and needs_root(source.format):
      path = open_path(source.root) / source.split
      flaws.met.update([str(path)] if path.is_file() else [])
    dataset = FORMATS[source.format].read(source, flaws)
    return dataset._replace(  # of this data set alone
      notes=flaws.notes - notes, passed=flaws.passed - passed
    )
  except (ImportError, OSError) as error:  # gs:// needs a package
    raise DataError(f"{source}: {error}") from None


def read_for(
  name: str, source: Source, *, class_names: Sequence[str]
) -> Dataset:
  """Reads a data set for training or evaluation and reports its flaws.

  Args:
    name: what the config calls it.
    source: its description.
    class_names: the network's, to which it is brought by `to_classes`.

  Raises:
    DataError: by the reader, by `to_classes`, or for proposals of other
      pictures.
  """
  dataset = read(source, Flaws(strict=True))
  for flaw in dataset.flaws[:SHOWN]:
    logger.warning("%s", flaw)
  if (more := len(dataset.flaws) - SHOWN) > 0:
    logger.warning(
      "%s: and %d more flaws; python -m yolo9000.data names each", name, more
    )
  joined = read_map(source.map, dataset.class_names, class_names)
  dataset = to_classes(
    dataset, class_names, map=joined, name=f"{name} ({source})"
  )
  if source.proposals:
    dataset = proposals.attach(
      dataset, source.proposals, most=source.max_proposals
    )
  records = dataset.records
  logger.info(
    "%s (%s): %d pictures, %d objects, %d image labels, %d flaws in the "
    "annotations%s",
    name,
    source,
    len(records),
    sum(len(r.labels) for r in records),
    sum(r.image_label >= 0 for r in records),
    len(dataset.flaws),
    "".join(f", {n} {note}" for note, n in dataset.notes.items() if n),
  )
  if dataset.passed:
    logger.info("%s: not used: %s", name, counted(dataset.passed))
  return dataset


def counted(passed: Mapping[str, int]) -> str:
  """What was passed over, each with its count, for people."""
  return ", ".join(f"{what} ({n})" for what, n in sorted(passed.items()))


def read_map(
  map: str | Sequence[Sequence[str]],
  names: Sequence[str],
  class_names: Sequence[str],
) -> dict[str, str]:
  """A map of class names: pairs as they are, or of a file.

  The file is a CSV of pairs, or a .map of the original program: line i is the
  network's number for class i of the data set.

  Args:
    map: see above.
    names: classes of the data set.
    class_names: the network's.

  Raises:
    DataError: for a file that is missing or has another form, for a name that
      is mapped twice, and for a .map of another length.
  """
  pairs: Sequence[Sequence[str]] = map or ()
  where = "map"
  if isinstance(map, str):
    if not map:
      return {}
    where = map
    try:
      pairs = [row for row in csv.reader(io.StringIO(read_text(map))) if row]
    except csv.Error as error:
      raise DataError(f"{map}: {error}") from None
    if pairs and all(len(p) == 1 and p[0].strip().isdigit() for p in pairs):
      numbers = [int(number) for (number,) in pairs]
      return _read_numbers(map, numbers, names, class_names)
  result: dict[str, str] = {}
  for n, pair in enumerate(pairs, 1):
    if (
      len(pair) != 2
      or not all(isinstance(name, str) for name in pair)
      or pair[0] in result
    ):
      raise DataError(
        f"{where}:{n}: {pair!r}; expected a class of the data set, each "
        f"once, and a class of the network"
      )
    result[pair[0]] = pair[1]
  return result


def _read_numbers(
  where: str,
  numbers: Sequence[int],
  names: Sequence[str],
  class_names: Sequence[str],
) -> dict[str, str]:
  """The map of a file with a number on each line."""
  if len(numbers) != len(names):
    raise DataError(
      f"{where}: has {len(numbers)} lines for {len(names)} classes of the data "
      f"set, {_some(names)}; expected a line for each, in their order"
    )
  for line, number in enumerate(numbers, 1):
    if number >= len(class_names):
      raise DataError(
        f"{where}:{line}: {number}; expected a class of the network, 0 to "
        f"{len(class_names) - 1}"
      )
  return {
    name: class_names[number]
    for name, number in zip(names, numbers, strict=True)
  }


def to_classes(
  dataset: Dataset,
  class_names: Sequence[str],
  *,
  map: Mapping[str, str],
  name: str,
) -> Dataset:
  """The data set with the labels of other class names, such as a tree's nodes.

  Args:
    dataset: with its own class names.
    class_names: the network's.
    map: from names of the first to names of the second; without it they must
      be the same. A class mapped to "" is left out and counted in `notes`.
    name: for messages.

  Raises:
    DataError: if the data set has a class that the network, or the map, has
      not; it lists both sides.
  """
  check_names(class_names)
  numbers = {wanted: n for n, wanted in enumerate(class_names)}
  map = map or {c: c for c in dataset.class_names}
  wrong = [c for c in dataset.class_names if c not in map]
  wrong += [w for w in map.values() if w and w not in numbers]
  if wrong:
    taken = set(map.values()) | set(dataset.class_names)
    rest = [c for c in class_names if c not in taken]
    raise DataError(
      f"{name}: the classes do not match.\n"
      f"  only in the data set or its map: {_some(wrong)}\n"
      f"  only in the network: {_some(rest)}\n"
      f"A map of pairs (class of the data set, class of the network) joins "
      f'them; "" leaves a class out.' + _first_use(dataset, wrong)
    )
  if tuple(class_names) == dataset.class_names and all(
    c == wanted for c, wanted in map.items()
  ):
    return dataset
  new = [numbers.get(map[own], -1) for own in dataset.class_names]
  table = np.array([*new, -1], np.int32)  # the last entry serves the label -1
  records, lost = [], 0
  for record in dataset.records:
    labels = table[record.labels]
    kept = labels >= 0
    lost += int(np.sum(~kept))
    if record.image_label >= 0 and table[record.image_label] < 0:
      lost += 1
      continue
    records.append(
      record.take(kept)._replace(
        labels=labels[kept], image_label=int(table[record.image_label])
      )
    )
  # Classes that were joined have no one category any more.
  used = [map[own] for own in dataset.class_names if map[own]]
  joined = len(used) - len(set(used))
  ids = [-1] * len(class_names)
  for own, category in zip(
    dataset.class_names, dataset.category_ids, strict=bool(dataset.category_ids)
  ):
    if map[own]:
      ids[numbers[map[own]]] = category
  unused = set(map) - set(dataset.class_names)
  notes = {
    "classes of the map that the data set has not": len(unused),
    "classes joined with others by the map": joined,
    "labels left out by the map": lost,
  }
  return dataset._replace(
    records=records,
    class_names=tuple(class_names),
    notes={**dataset.notes, **{note: n for note, n in notes.items() if n}},
    category_ids=tuple(ids) if dataset.category_ids and not joined else (),
  )


def _some(names: Sequence[str]) -> str:
  """The names, at most fifty of them."""
  more = f" and {len(names) - 50} more" if len(names) > 50 else ""
  return (", ".join(names[:50]) or "none") + more


def _first_use(dataset: Dataset, wrong: Sequence[str]) -> str:
  """Where the first of these classes stands, if anywhere."""
  labels = {n for n, c in enumerate(dataset.class_names) if c in wrong}
  for record in dataset.records:
    for label in (*record.labels.tolist(), record.image_label):
      if label in labels:
        return f" {dataset.class_names[label]!r} is on {shown(record.path)}."
  return ""
