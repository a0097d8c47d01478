"""What is in a data set, and what is wrong with it.

Readers find the flaws of annotations; here every picture is opened, pictures
are compared with each other, and files that nothing mentions are looked for.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from yolo9000.boxes import priors
from yolo9000.data import sources, unmentioned
from yolo9000.data.disk import DataError, read_bytes, shown, told
from yolo9000.data.flaws import Flaw, Flaws
from yolo9000.data.formats import jsonl
from yolo9000.data.formats.reading import Source
from yolo9000.data.images import ROTATED, deep_picture, read_header
from yolo9000.data.records import Dataset, Record, read_picture

MOST_SHAPES = 20_000  # boxes that priors are fitted to; more change nothing


class Findings(NamedTuple):
  """Everything that `examine` learned."""

  datasets: dict[str, Dataset]  # by split
  flaws: list[Flaw]
  clean: dict[str, list[Record]]  # by split, see `examine`
  sizes: list[tuple[int, int]]  # of the pictures that could be read
  notes: Mapping[str, int]  # what is no flaw but good to know, of the pictures
  passed: Mapping[str, int]  # files and folders that were not looked at


class Boxes(NamedTuple):
  """Statistics of all boxes."""

  quantiles: dict[str, list[float]]  # by name: least, 10, 50, 90 %, greatest
  priors: priors.Priors  # fitted, in cells
  published_iou: float  # average IoU of YOLOv2's own priors for VOC


def examine(
  format: str,
  root: str,
  splits: Sequence[str],
  *,
  class_names: Sequence[str],
  outside: bool,
  masks: bool = False,
  threads: int,
) -> Findings:
  """Reads all splits of a data set and opens every picture.

  A record is clean if its picture can be read, no object was left out but
  second copies and boxes without area, and it is the only one of its picture;
  of two splits that share a picture it stays in the smaller one, for that is
  the one to test on.

  Args:
    format, root: as in a Source.
    splits: to read; none means all that there are, and then pictures and
      annotations that no split mentions are flaws too.
    class_names: others are flaws; none means whatever comes up.
    outside: whether paths may leave the root.
    masks: whether those of objects are read, where a format has some.
    threads: that open pictures.

  Raises:
    DataError: if nothing can be read at all.
  """
  flaws = Flaws(strict=False)
  every = not splits
  splits = splits or sources.splits(format, root)
  if not splits:
    raise DataError(
      f"{root}: no split of a {format} data set is there; expected "
      f"{sources.EXPECTED[format]}"
    )
  datasets: dict[str, Dataset] = {}
  errors: list[DataError] = []
  for split in splits:
    source = Source(
      format,
      root,
      split,
      tuple(class_names),
      outside=outside,
      masks=masks,
    )
    try:
      datasets[split] = sources.read(source, flaws)
    except DataError as error:
      errors.append(error)
      flaws.mended("bad split", root, 0, str(error))
  if not datasets:
    raise errors[0]
  looks = _look_at_all(datasets, threads)
  notes: Counter[str] = Counter()
  bad = _picture_flaws(datasets, looks, flaws, notes)
  bad |= _copies(datasets, looks, flaws)
  passed = unmentioned.look(root, flaws) if every else Counter()
  clean = {
    split: [
      record
      for number, record in enumerate(dataset.records)
      if (split, number) not in bad and record.path not in flaws.incomplete
    ]
    for split, dataset in datasets.items()
  }
  unique = dict.fromkeys(flaws.found)  # splits may share files
  sizes = [look.size for look in looks.values() if look.error is None]
  return Findings(datasets, list(unique), clean, sizes, notes, passed)


class _Look(NamedTuple):
  """What opening a picture shows."""

  error: DataError | None
  digest: bytes  # of the file, or of the picture if it is no file
  size: tuple[int, int]
  orientation: int
  bits: int  # of each colour that are used


def _look(dataset: Dataset, record: Record) -> _Look:
  try:
    image = dataset.read_image(record)
  except DataError as error:
    return _Look(error, b"", (0, 0), 1, 8)
  bits = 8
  try:
    data = read_bytes(record.path)
    orientation = read_header(io.BytesIO(data), record.path).orientation
    if deep := deep_picture(data, oriented=False):
      _, bits = deep
  except DataError:  # a picture inside of something else
    data, orientation = image.tobytes(), 1
  digest = hashlib.blake2b(data, digest_size=16).digest()
  return _Look(None, digest, image.shape[1::-1], orientation, bits)


def _look_at_all(
  datasets: Mapping[str, Dataset], threads: int
) -> dict[tuple[str, int], _Look]:
  """What each picture shows, by split and number of the record."""
  jobs = [
    (split, number, dataset, record)
    for split, dataset in datasets.items()
    for number, record in enumerate(dataset.records)
  ]
  with ThreadPoolExecutor(threads) as pool:
    looks = pool.map(lambda job: _look(*job[2:]), jobs)
    shown_looks = tqdm(looks, total=len(jobs), unit="picture", mininterval=0.5)
    return {job[:2]: look for job, look in zip(jobs, shown_looks, strict=True)}


def _picture_flaws(
  datasets, looks, flaws: Flaws, notes: Counter[str]
) -> set[tuple[str, int]]:
  """Reports pictures that cannot be used, and says which records have them."""
  bad = set()
  for (split, number), look in looks.items():
    record = datasets[split].records[number]
    if look.error is not None:
      kind, path = look.error.kind, record.path
      flaws.mended(kind, path, *told(look.error, path))
      bad.add((split, number))
    if look.bits > 8:
      notes[f"pictures of {look.bits} bits, read as 8"] += 1
    if look.orientation not in range(2, 9) or not len(record.labels):
      continue
    # A size that the annotation tells is either of the picture as it is stored
    # or as it is turned, unless the turn leaves the size as it is.
    sides_tell = look.orientation in ROTATED and record.width != record.height
    if sides_tell and record.path not in flaws.measured:
      notes[
        "pictures that EXIF turns; their size says how boxes are meant"
      ] += 1
      continue
    message = (
      f"its EXIF orientation is {look.orientation}; do the boxes belong to "
      f"the picture before or after that turn?"
    )
    flaws.mended("turned picture", record.path, 0, message)
    bad.add((split, number))
  return bad


def _copies(datasets, looks, flaws: Flaws) -> set[tuple[str, int]]:
  """Reports equal pictures, and says which records are not to be used."""
  groups = defaultdict(list)
  for key, look in looks.items():
    if look.error is None:
      groups[look.digest].append(key)
  bad = set()
  for keys in groups.values():
    first: dict[str, str] = {}
    for split, number in keys:
      path = datasets[split].records[number].path
      if split in first:
        message = f"the same file as {shown(first[split])}"
        flaws.mended("duplicate picture", path, 0, message)
        bad.add((split, number))
      else:
        first[split] = path
    if len(first) > 1:
      smallest = min(first, key=lambda split: len(datasets[split].records))
      for split, path in first.items():
        if split != smallest:
          message = f"of split {split}, is in split {smallest} too"
          flaws.mended("leak", path, 0, message)
          bad |= {key for key in keys if key[0] == split}
  return bad


def class_counts(
  datasets: Mapping[str, Dataset],
) -> dict[str, dict[str, int]]:
  """Class name -> split -> objects and image labels; most frequent first."""
  counts: dict[str, Counter[str]] = defaultdict(Counter)
  for split, dataset in datasets.items():
    for name in dataset.class_names:
      counts[name][split] += 0
    for record in dataset.records:
      for label in record.labels.tolist():
        counts[dataset.class_names[label]][split] += 1
      if record.image_label >= 0:
        counts[dataset.class_names[record.image_label]][split] += 1
  order = sorted(counts, key=lambda name: (-counts[name].total(), name))
  return {name: dict(counts[name]) for name in order}


def size_histogram(sizes: Sequence[tuple[int, int]]) -> dict[str, int]:
  """How many pictures have a longer side of up to 32, 64, 128, .. pixels."""
  steps = Counter(max(5, int(np.ceil(np.log2(max(size))))) for size in sizes)
  return {f"up to {2**step}": steps[step] for step in sorted(steps)}


def box_statistics(
  datasets: Mapping[str, Dataset], *, image_size: int, resize: str
) -> Boxes | None:
  """Statistics of the boxes; None if there are none.

  Args:
    datasets: by split.
    image_size, resize: of the network's input, see `priors.shapes_in_cells`.
  """
  records = [r for d in datasets.values() for r in d.records if len(r.labels)]
  if not records:
    return None
  boxes = np.concatenate([r.boxes for r in records]).astype(np.float64)
  width, height = (boxes[:, 2:] - boxes[:, :2]).T
  shapes = priors.shapes_in_cells(records, image_size=image_size, resize=resize)
  rng = np.random.default_rng(0)
  some = rng.permutation(shapes)[:MOST_SHAPES]
  count = min(5, len(np.unique(some, axis=0)))
  values = {
    "width, part of the picture": width,
    "height, part of the picture": height,
    "width over height": width / height * _aspects(records),
    "boxes on a picture": np.array([len(r.labels) for r in records], float),
  }
  return Boxes(
    {
      name: np.quantile(row, [0, 0.1, 0.5, 0.9, 1]).tolist()
      for name, row in values.items()
    },
    priors.kmeans(some, count, seed=0, restarts=3),
    priors.average_iou(some, np.array(priors.VOC)),
  )


def _aspects(records: Sequence[Record]) -> np.ndarray:
  """Each box's picture's width over height."""
  return np.concatenate(
    [np.full(len(r.labels), r.width / r.height) for r in records]
  )


def write_clean(
  findings: Findings, root: str, folder: Path
) -> list[tuple[Path, int]]:
  """clean_<split>.jsonl for each split; format jsonl reads them in training.

  Lists of an earlier run are removed. Pictures that are no files of their own,
  as in an archive, have no list.

  Returns:
    The paths, and how many records each has.
  """
  for old in folder.glob("clean_*.jsonl"):
    old.unlink()
  written = []
  for split, records in findings.clean.items():
    dataset = findings.datasets[split]
    if dataset.read_image is not read_picture:
      continue
    name = "".join(c if c.isalnum() else "_" for c in split).strip("_") or "all"
    path, again = folder / f"clean_{name}.jsonl", 1
    while path.exists():
      again += 1
      path = folder / f"clean_{name}_{again}.jsonl"
    jsonl.write(path, dataset._replace(records=records), root)
    written.append((path, len(records)))
  return written


def lines(
  findings: Findings, boxes: Boxes | None, *, image_size: int, shown_flaws: int
) -> Iterator[str]:
  """The report as text."""
  for split, dataset in findings.datasets.items():
    records = dataset.records
    empty = sum(not len(r.labels) and r.image_label < 0 for r in records)
    yield (
      f"{split or 'all'}: {len(records)} pictures, "
      f"{sum(len(r.labels) for r in records)} objects, "
      f"{sum(r.image_label >= 0 for r in records)} image labels, {empty} "
      f"pictures of neither"
      + "".join(f", {count} {note}" for note, count in dataset.notes.items())
    )
  for note, count in findings.notes.items():
    yield f"{count} {note}"
  counts = class_counts(findings.datasets)
  yield f"{len(counts)} classes, most frequent first:"
  for name, by_split in list(counts.items())[:30]:
    cells = ", ".join(f"{k or 'all'} {v}" for k, v in by_split.items())
    yield f"  {name}: {cells}"
  if len(counts) > 30:
    yield f"  and {len(counts) - 30} more"
  yield "longer sides of the pictures, in pixels:"
  for name, count in size_histogram(findings.sizes).items():
    yield f"  {name}: {count}"
  if boxes is not None:
    yield "boxes: least, 10 %, median, 90 %, greatest"
    for name, values in boxes.quantiles.items():
      yield f"  {name}: " + ", ".join(f"{v:.3g}" for v in values)
    fitted = tuple(map(tuple, boxes.priors.shapes.round(2).tolist()))
    yield (
      f"average IoU at {image_size} pixels: YOLOv2's priors for VOC "
      f"{100 * boxes.published_iou:.1f}, {len(fitted)} fitted to these boxes "
      f"{100 * boxes.priors.average_iou:.1f}: priors={fitted}"
    )
  passed = sum(
    (Counter(d.passed) for d in findings.datasets.values()),
    Counter(findings.passed),
  )
  if passed:
    yield "there and not used:"
    for what, count in sorted(passed.items()):
      yield f"  {what}: {count}"
  kinds = Counter(flaw.kind for flaw in findings.flaws)
  yield f"{len(findings.flaws)} flaws" + (":" if kinds else "")
  for kind, count in kinds.most_common():
    yield f"  {kind}: {count}"
    for flaw in [f for f in findings.flaws if f.kind == kind][:shown_flaws]:
      yield f"    {flaw}"
    if count > shown_flaws:
      yield f"    and {count - shown_flaws} more, in flaws.txt"
