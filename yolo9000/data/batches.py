"""From Datasets to Batches, by grain, in threads or worker processes.

Which record comes at which place, and how it is augmented, is a function of
(seed, place) alone. So a run can start at any step, with any number of threads
or processes, and sees the same batches. Of several processes that train as one,
each makes its own rows of every batch.

Prefetch to the device needs no code here: a jitted step returns at once, and
the loop hands over the next batch while the device still computes.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from yolo9000.data import augment as aug
from yolo9000.data import fitting, masks, proposals
from yolo9000.data.broken import find, reason, watched
from yolo9000.data.disk import DataError
from yolo9000.data.records import (
  Dataset,
  check_image_labels,
  check_masks,
  check_objects,
  most_proposals,
)
from yolo9000.types import Batch

MOST_TRIES = 100  # to find a picture in place of a broken one


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


def empty_batch(
  batch_size: int,
  *,
  size: int,
  max_objects: int,
  max_proposals: int = 0,
  mask_size: int = 0,
) -> Batch:
  """A batch of nothing, of the shapes that `train_batches` gives.

  max_proposals is that of pictures that have proposals, mask_size that of
  objects that have masks; 0 where they have none.
  """
  proposals_shape = batch_size, max_proposals, 4
  masks_shape = batch_size, max_objects, mask_size, mask_size
  return Batch(
    image=np.zeros((batch_size, size, size, 3), np.uint8),
    boxes=np.zeros((batch_size, max_objects, 4), np.float32),
    labels=np.zeros((batch_size, max_objects), np.int32),
    mask=np.zeros((batch_size, max_objects), bool),
    image_label=np.full(batch_size, -1, np.int32),
    valid=np.ones(batch_size, bool),
    index=np.zeros(batch_size, np.int32),
    proposals=np.zeros(proposals_shape, np.float32) if max_proposals else None,
    masks=np.zeros(masks_shape, np.uint8) if mask_size else None,
  )


class Workers(NamedTuple):
  """Who reads and augments.

  Attributes:
    threads: of this process, if there are no others.
    processes: others; 0 for none, which is faster on few cores.
  """

  threads: int
  processes: int = 0


class Wanted(NamedTuple):
  """Which objects of a picture are truths, and what is told of them.

  Attributes:
    most: truths per picture; see `check_objects`.
    difficult: whether objects that VOC marks difficult, and crowds of COCO, are
      truths. Differs: the paper does not say; the program's converter leaves
      VOC's out.
    mask_size: S of their masks; 0 for none.
  """

  most: int
  difficult: bool = False
  mask_size: int = 0


class _TrainBatches(NamedTuple):
  """The batch of a step; can be sent to a worker process."""

  datasets: Sequence[Dataset]
  order: Any  # grain's: place -> index among all records
  augmentations: Sequence[aug.Augmentation | aug.Classification]
  wanted: Wanted
  batch_size: int
  rows: range
  size_of_step: Callable[[int], int]
  max_proposals: int
  seed: int
  replace: bool  # broken pictures by others

  def __call__(self, step: int) -> Batch:
    batch = empty_batch(
      len(self.rows),
      size=self.size_of_step(step),
      max_objects=self.wanted.most,
      max_proposals=self.max_proposals,
      mask_size=self.wanted.mask_size,
    )
    for row, place in enumerate(self.places(step)):
      self._fill(batch, row, place)
    return batch

  def places(self, step: int) -> range:
    """Of the batch's rows, in the order of all pictures of the run."""
    start = step * self.batch_size
    return range(start + self.rows.start, start + self.rows.stop)

  def _fill(self, batch: Batch, row: int, place: int) -> None:
    index = int(self.order[place])
    number, first = find(self.datasets, index)
    dataset, how = self.datasets[number], self.augmentations[number]
    image = self._read(dataset, index - first)
    tries = 0
    while image is None:
      tries += 1
      if tries > MOST_TRIES:
        why = reason(dataset, dataset.records[index - first])
        raise DataError(
          f"{tries} pictures drawn in turn cannot be read; the last: {why}"
        )
      draw = np.random.default_rng((self.seed, place, tries))
      index = first + int(draw.integers(len(dataset.records)))
      image = self._read(dataset, index - first)
    record = dataset.records[index - first]
    rng = np.random.default_rng((self.seed, place))
    truths = self.wanted.difficult | ~record.difficult
    out, placement, flip = aug.augment(
      rng, image, batch.image.shape[1], how, record.boxes[truths]
    )
    batch.image[row] = out
    batch.image_label[row] = record.image_label
    batch.index[row] = index
    if isinstance(how, aug.Classification):
      return
    place_boxes = partial(
      fitting.place_boxes, flip=flip, min_side=how.min_side, centred=how.centred
    )
    boxes, big = place_boxes(record.boxes, placement)
    kept = rng.permutation(np.flatnonzero(big & truths))[: self.wanted.most]
    batch.boxes[row, : len(kept)] = boxes[kept]
    batch.labels[row, : len(kept)] = record.labels[kept]
    batch.mask[row, : len(kept)] = True
    proposals.place(
      batch, row, record, placement, flip=flip, min_side=how.min_side
    )
    if batch.masks is not None and record.masks is not None:
      batch.masks[row, : len(kept)] = masks.placed(
        [record.masks[number] for number in kept],
        boxes[kept],
        placement,
        size=(record.width, record.height),
        flip=flip,
        side=self.wanted.mask_size,
      )

  def _read(self, dataset: Dataset, index: int) -> np.ndarray | None:
    try:
      return dataset.read_image(dataset.records[index])
    except DataError:
      if not self.replace:
        raise
      return None


def _order(counts: Sequence[int], weights: Sequence[float], seed: int) -> Any:
  """Place -> index, endless: each set in a new order at each of its passes."""
  import grain

  first = np.cumsum([0, *counts]).tolist()
  orders = [
    grain.MapDataset.range(start, end).seed(seed).shuffle().repeat()
    for start, end in zip(first, first[1:], strict=False)
  ]
  if len(orders) == 1:
    return orders[0]
  return grain.MapDataset.mix(orders, weights)


def train_batches(
  datasets: Sequence[Dataset],
  *,
  weights: Sequence[float],
  augmentations: Sequence[aug.Augmentation | aug.Classification],
  wanted: Wanted,
  batch_size: int,
  rows: range,
  size_of_step: Callable[[int], int],
  seed: int,
  start_step: int,
  broken_share: float,
  workers: Workers,
) -> Generator[Batch, None, None]:
  """Endless training batches from start_step on, each pass in a new order.

  Proposals lie where the picture does, as its truths; they keep their order.

  The truths of a picture come in random order, so that of two in one slot each
  gets its turn. Differs: the original program draws pictures with replacement;
  here every picture of a set is seen once per pass through it.

  Args:
    datasets: the pictures; `Batch.index` counts through all of them.
    weights: of each data set: its share of the pictures, as in 4 to 1.
    augmentations: what happens to each picture, for each data set.
    wanted: which objects are truths.
    batch_size: pictures per batch, over all processes that train as one.
    rows: those of each batch that this process makes.
    size_of_step: side of the network's input at a step.
    seed, start_step: order and randomness follow from these two.
    broken_share: 0: a picture that cannot be read is an error. Above: it is
      replaced by one of the same data set, drawn by (seed, place), and logged;
      more than this share of all pictures is an error, or of rows in
      proportion. Counted from start_step.
    workers: that read and augment. At most two batches for each are ready at
      any time.

  Raises:
    ValueError: for a batch larger than the data sets, weights that do not fit
      them, a share or number that cannot be, a data set with boxes and
      augmentation for a classifier, one without the masks that are wanted, or
      if some pictures have proposals and others have not.
    DataError: from the iterator, for broken pictures.
  """
  import grain

  records = [record for dataset in datasets for record in dataset.records]
  if not 0 < batch_size <= len(records):
    raise ValueError(
      f"batch_size {batch_size} must be from 1 to the number of training "
      f"pictures, {len(records)}"
    )
  if len(weights) != len(datasets) or not all(
    isinstance(w, int | float) and 0 < w < np.inf for w in weights
  ):
    raise ValueError(
      f"weights {tuple(weights)} must be {len(datasets)} numbers above 0"
    )
  if len(augmentations) != len(datasets):
    raise ValueError(
      f"{len(augmentations)} augmentations for {len(datasets)} data sets"
    )
  if not all(dataset.records for dataset in datasets):
    counts = [len(dataset.records) for dataset in datasets]
    raise ValueError(f"data sets of {counts} pictures; none may be empty")
  if not 0 <= broken_share <= 1 or workers.processes < 0:
    raise ValueError(
      f"broken_share {broken_share} must be from 0 to 1, and num_processes "
      f"{workers.processes} at least 0"
    )
  for dataset, how in zip(datasets, augmentations, strict=True):
    if isinstance(how, aug.Classification):
      check_image_labels(dataset.records)
  if wanted.mask_size:
    check_masks(records, f"data.mask_size {wanted.mask_size}")
  check_objects(records, wanted.most)
  make = _TrainBatches(
    datasets=datasets,
    order=_order([len(d.records) for d in datasets], weights, seed),
    augmentations=augmentations,
    wanted=wanted,
    batch_size=batch_size,
    rows=rows,
    size_of_step=size_of_step,
    max_proposals=most_proposals(datasets),
    seed=seed,
    replace=broken_share > 0,
  )
  steps = grain.MapDataset.range(start_step, sys.maxsize)
  batches = _in_parallel(steps.map(make), workers)
  if not broken_share:
    return batches
  most = broken_share * len(records) * len(rows) / batch_size
  return watched(batches, make, start_step, most)


def _in_parallel(batches: Any, workers: Workers) -> Generator[Any, None, None]:
  """A MapDataset's elements in order, made ahead of time.

  Closing it ends the threads or processes.
  """
  import grain

  threads, processes = workers
  threads = 1 if processes else max(1, threads)
  reading = grain.ReadOptions(
    num_threads=threads, prefetch_buffer_size=threads + 1
  )
  stream = batches.to_iter_dataset(reading)
  if not processes:
    yield from iter(stream)
    return
  from absl import flags

  if not flags.FLAGS.is_parsed():  # grain asks them; not every program has any
    flags.FLAGS.mark_as_parsed()
  options = grain.MultiprocessingOptions(num_workers=processes)
  yield from iter(
    stream.mp_prefetch(options, worker_init_fn=_ignore_interrupts)
  )


def _ignore_interrupts(*_: int) -> None:
  """Ctrl-C reaches all processes; the first one stops the others, and saves."""
  signal.signal(signal.SIGINT, signal.SIG_IGN)


class _EvalBatches(NamedTuple):
  """The batch of a number and its placements; see `eval_batches`."""

  dataset: Dataset
  resize: str
  size: int
  batch_size: int
  rows: range
  max_proposals: int

  def __call__(self, number: int) -> tuple[Batch, list[fitting.Placement]]:
    batch = empty_batch(
      len(self.rows),
      size=self.size,
      max_objects=1,
      max_proposals=self.max_proposals,
    )
    start = number * self.batch_size + self.rows.start
    records = self.dataset.records[start : start + len(self.rows)]
    places = []
    for row, record in enumerate(records):
      picture = self.dataset.read_image(record)
      image, place = fitting.RESIZES[self.resize](
        picture, (self.size, self.size)
      )
      batch.image[row] = image
      batch.index[row] = start + row
      batch.image_label[row] = record.image_label
      proposals.place(batch, row, record, place, min_side=1 / self.size)
      places.append(place)
    batch.valid[len(records) :] = False
    return batch, places


def eval_batches(
  dataset: Dataset,
  *,
  resize: str,
  size: int,
  batch_size: int,
  rows: range,
  num_threads: int,
) -> Generator[tuple[Batch, list[fitting.Placement]], None, None]:
  """Every picture once, in order; the last batch is padded with black ones.

  rows are those of each batch that this process makes.

  Yields batches without truths, and each picture's Placement on the input.

  Raises:
    ValueError: for an unknown resize.
    DataError: from the iterator, for a picture that cannot be read: leaving it
      out would change the score.
  """
  fitting.check_resize(resize)
  import grain

  most = most_proposals([dataset])
  make = _EvalBatches(dataset, resize, size, batch_size, rows, most)
  count = -(-len(dataset.records) // batch_size)
  return _in_parallel(
    grain.MapDataset.range(count).map(make), Workers(num_threads)
  )
