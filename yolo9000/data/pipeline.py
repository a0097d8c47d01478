"""From a Dataset to Batches, by grain, in threads.

Which record comes at which place, and how it is augmented, is a function of
(seed, place) alone. So a run can start at any step, with any number of threads,
and sees the same batches.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from yolo9000.data import augment as aug
from yolo9000.data import shapes, voc
from yolo9000.data.records import DataError, Dataset, Record
from yolo9000.types import Batch

logger = logging.getLogger("yolo9000")

READERS = {"shapes": shapes.read, "voc": voc.read}


def read(
  name: str, root: str, split: str, class_names: Sequence[str]
) -> Dataset:
  """Reads a data set by the name of its format and reports its flaws.

  Raises:
    DataError: for an unknown format, or by the reader.
  """
  if name not in READERS:
    raise DataError(
      f"data format {name!r} is unknown; there are {', '.join(READERS)}"
    )
  dataset = READERS[name](root, split, class_names)
  for flaw in dataset.flaws[:20]:
    logger.warning("%s", flaw)
  objects = sum(len(record.labels) for record in dataset.records)
  logger.info(
    "%s %s: %d pictures, %d objects, %d flaws in the annotations",
    *(name, split, len(dataset.records), objects, len(dataset.flaws)),
  )
  return dataset


def check_objects(dataset: Dataset, max_objects: int) -> int:
  """Counts, and says, the objects that do not fit into max_objects."""
  surplus = [len(record.labels) - max_objects for record in dataset.records]
  lost = sum(count for count in surplus if count > 0)
  if lost:
    logger.warning(
      "%d of %d pictures have more than max_objects = %d objects: a random "
      "choice of that many is used each time, %d are left out",
      *(sum(n > 0 for n in surplus), len(surplus), max_objects, lost),
    )
  return lost


def image_size(
  step: int, *, sizes: Sequence[int], every: int, seed: int
) -> int:
  """Multi-scale training: a random one of sizes, drawn anew every few steps.

  Source: section 2, multi-scale training (320, 352, .., 608, every 10 batches).
  """
  if len(sizes) == 1:
    return sizes[0]
  rng = np.random.default_rng((seed, step // every))
  return sizes[int(rng.integers(len(sizes)))]


def _row(
  image: np.ndarray,
  record: Record,
  boxes: np.ndarray,
  kept: np.ndarray,
  max_objects: int,
  index: int,
) -> Batch:
  """One picture of a Batch: the kept truths, padded, in the order of `kept`."""
  kept = kept[:max_objects]
  padded_boxes = np.zeros((max_objects, 4), np.float32)
  padded_boxes[: len(kept)] = boxes[kept]
  labels = np.zeros(max_objects, np.int32)
  labels[: len(kept)] = record.labels[kept]
  return Batch(
    image=image,
    boxes=padded_boxes,
    labels=labels,
    mask=np.arange(max_objects) < len(kept),
    image_label=np.int32(record.image_label),
    valid=np.bool_(True),
    index=np.int32(index),
  )


def empty_batch(batch_size: int, *, size: int, max_objects: int) -> Batch:
  """A batch of nothing, of the shapes that `train_batches` gives."""
  return Batch(
    image=np.zeros((batch_size, size, size, 3), np.uint8),
    boxes=np.zeros((batch_size, max_objects, 4), np.float32),
    labels=np.zeros((batch_size, max_objects), np.int32),
    mask=np.zeros((batch_size, max_objects), bool),
    image_label=np.full(batch_size, -1, np.int32),
    valid=np.ones(batch_size, bool),
    index=np.zeros(batch_size, np.int32),
  )


def _stack(rows: Sequence[Batch]) -> Batch:
  return Batch(*(np.stack(column) for column in zip(*rows, strict=True)))


def train_batches(
  dataset: Dataset,
  *,
  augmentation: aug.Augmentation,
  train_on_difficult: bool,
  batch_size: int,
  size_of_step: Callable[[int], int],
  max_objects: int,
  seed: int,
  start_step: int,
  num_threads: int,
) -> Iterator[Batch]:
  """Endless training batches from start_step on, each pass in a new order.

  The truths of a picture come in random order, so that of two in one slot each
  gets its turn. Differs: the original program draws pictures with replacement;
  here every picture is seen once per pass.

  Args:
    dataset: the pictures.
    augmentation: what happens to each.
    train_on_difficult: whether objects that VOC marks difficult are truths.
      Differs: the paper does not say; the program's converter leaves them out.
    batch_size: pictures per batch.
    size_of_step: side of the network's input at a step.
    max_objects: truths per picture; see `check_objects`.
    seed, start_step: order and randomness follow from these two.
    num_threads: that read and augment.

  Raises:
    ValueError: for a batch larger than the data set.
  """
  import grain

  if not 0 < batch_size <= len(dataset.records):
    raise ValueError(
      f"batch_size {batch_size} must be from 1 to the number of training "
      f"pictures, {len(dataset.records)}"
    )
  check_objects(dataset, max_objects)

  def make(place: int, index: int) -> Batch:
    rng = np.random.default_rng((seed, place))
    record = dataset.records[index]
    size = size_of_step(place // batch_size)
    image, placement, flip = aug.augment(
      rng, dataset.read_image(record), size, augmentation
    )
    boxes, big = aug.place_boxes(
      record.boxes, placement, flip=flip, min_side=augmentation.min_side
    )
    wanted = big if train_on_difficult else big & ~record.difficult
    kept = rng.permutation(np.flatnonzero(wanted))
    return _row(image, record, boxes, kept, max_objects, index)

  order = grain.MapDataset.range(len(dataset.records)).seed(seed).shuffle()
  stream = order.repeat().map_with_index(make)[start_step * batch_size :]
  threads = grain.ReadOptions(
    num_threads=num_threads, prefetch_buffer_size=4 * batch_size
  )
  return iter(
    stream.to_iter_dataset(threads).batch(batch_size, batch_fn=_stack)
  )


def eval_batches(
  dataset: Dataset,
  *,
  resize: str,
  size: int,
  batch_size: int,
  num_threads: int,
) -> Iterator[tuple[Batch, list[aug.Placement]]]:
  """Every picture once, in order; the last batch is padded by its last picture.

  Yields batches without truths, and each picture's Placement on the input.

  Raises:
    ValueError: for an unknown resize.
  """
  aug.check_resize(resize)
  import grain

  none = np.zeros(0, int)

  def make(index: int) -> tuple[Batch, aug.Placement]:
    record = dataset.records[index]
    picture = dataset.read_image(record)
    image, placement = aug.RESIZES[resize](picture, (size, size))
    return _row(image, record, record.boxes, none, 1, index), placement

  def join(rows) -> tuple[Batch, list[aug.Placement]]:
    count = len(rows)
    rows = [*rows, *[rows[-1]] * (batch_size - count)]
    batch = _stack([row for row, _ in rows])
    valid = np.arange(batch_size) < count
    return batch._replace(valid=valid), [where for _, where in rows[:count]]

  threads = grain.ReadOptions(
    num_threads=num_threads, prefetch_buffer_size=4 * batch_size
  )
  pictures = grain.MapDataset.range(len(dataset.records)).map(make)
  return iter(
    pictures.to_iter_dataset(threads).batch(batch_size, batch_fn=join)
  )
