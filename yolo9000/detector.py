"""A trained detector as a function of pictures.

from yolo9000.detector import Detector

detector = Detector.from_run("runs/voc")
found = detector("photo.jpg")
for name, score, box in zip(found.names, found.scores, found.boxes_px):
  print(name, score, box)  # pixels: left, top, right, bottom
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import PIL.Image
import PIL.ImageOps

from yolo9000 import boxes as box
from yolo9000 import tiles
from yolo9000.boxes import masks
from yolo9000.data import fitting, proposals
from yolo9000.data.disk import DataError
from yolo9000.data.images import decode_picture
from yolo9000.data.pictures import Item
from yolo9000.data.selective_search import Search, felzenszwalb, propose
from yolo9000.export import engines
from yolo9000.export.engines import ENGINES, Exported
from yolo9000.training.trained import Trained, from_darknet, from_run
from yolo9000.types import Detections, Float, Int, UInt8

__all__ = ["Detector", "Found", "detect_all", "from_darknet", "from_run"]

# What a person wants to see, of the options that a detector has; a table's own
# options keep the weak boxes too.
USERS = {
  "score_threshold": 0.5,
  "iou_threshold": 0.45,
  "max_candidates": 1000,
  "max_detections": 100,
  "walk": "paths",
  "tree_threshold": 0.5,
}
OVERLAP = 0.2  # of tiles
SAME = 0.6  # of the smaller box, if two of different tiles are of one object


def for_users(trained: Trained | Exported) -> dict[str, Any]:
  """Those of USERS that a detector has; of a file those that it can have."""
  options = {name: USERS[name] for name in USERS if name in trained.detect}
  if isinstance(trained, Exported):
    return (
      {}
      if trained.detect.get("class_agnostic")
      else {
        name: limit(options[name], trained.detect[name])
        for name, limit in (("score_threshold", max), ("max_detections", min))
        if name in options
      }
    )
  if trained.tree is None or trained.classes.tree is None:
    options.pop("walk", None)
  return options


class Objects(NamedTuple):
  """What is on a picture, the best first."""

  boxes_px: Float[np.ndarray, "N 4"]  # left, top, right, bottom
  scores: Float[np.ndarray, " N"]
  labels: Int[np.ndarray, " N"]
  names: tuple[str, ...]  # of the labels
  # Probabilities in the frame of each box, which `boxes.masks.paste` lays on
  # the picture; None: of a detector of boxes alone.
  masks: Float[np.ndarray, "N S S"] | None = None


class Prepared(NamedTuple):
  """A picture at the network's size, and where it lies on it."""

  input: UInt8[np.ndarray, "Y X 3"]
  placement: fitting.Placement
  shape: tuple[int, int]  # width and height of the picture
  proposals_px: Float[np.ndarray, "P 4"] | None = None  # if they are needed


class Detector:
  """Finds boxes in pictures of any size; one compiled program per batch size.

  It is the Task's predict, by which tables are measured, with a resize around
  it: on the pictures of an evaluation it gives the evaluation's AP.

  Args:
    trained: from `from_run`, `from_darknet` or `engines.read`.
    size: (height, width) of the network's input; None for its own.
    resize: "letterbox" or "stretch"; None for its own.
    engine: "jax", or "onnx" for ONNX Runtime, which is faster on CPUs; a file
      has its own.
    **detect: options of detection in place of its own, such as score_threshold
      and iou_threshold; see `task.detect` in the run's config.json. Those of a
      run are what its AP was measured with, so most take many weak boxes.

  A detector that looks at proposals alone has those of selective search, which
  takes its time for each picture. If what finds them is not installed, the
  first picture raises MissingExtra.

  Raises:
    ValueError: for a value that cannot be, saying what can.
  """

  def __init__(
    self,
    trained: Trained | Exported,
    *,
    size: tuple[int, int] | None = None,
    resize: str | None = None,
    engine: str = "jax",
    **detect: Any,
  ):
    if engine not in ENGINES:
      raise ValueError(
        f"engine is {engine!r}; allowed are {', '.join(ENGINES)}"
      )
    self.class_names = trained.classes.names
    self.size = size or trained.size
    self.resize = resize or trained.resize
    fitting.check_resize(self.resize)
    limits = {**trained.detect, **detect}
    self._most = limits.get("max_detections", sys.maxsize)
    self._search: Search | None = None
    if isinstance(trained, Exported):
      trained.check_size(self.size)
      self._predict = trained.predict(detect)
      return
    task = trained.make_task(detect)
    task.check_size(self.size)
    if task.needs_proposals:
      self._search = Search(most=trained.max_proposals)
    if engine == "onnx":
      self._predict = engines.of_trained(trained, self.size, detect).predict({})
    else:
      variables = jax.device_put(trained.variables)
      self._predict = partial(jax.jit(task.predict), variables)

  @classmethod
  def from_run(
    cls, workdir: str | Path, *, which: str = "latest", **options: Any
  ) -> Detector:
    """The detector of a run, with thresholds for people.

    Args:
      workdir: of the run.
      which: "latest" or "best" checkpoint.
      **options: of the constructor, in place of these thresholds, `USERS`.
    """
    trained = from_run(workdir, which=which)
    return cls(trained, **{**for_users(trained), **options})

  @classmethod
  def from_darknet(
    cls, cfg: str | Path, weights: str | Path, *, names: Any = None, **options
  ) -> Detector:
    """The detector of the original program's files, with thresholds for people.

    Args:
      cfg, weights: the two files.
      names: class names, one on each line; None for the tree's ids or numbers.
      **options: of the constructor, in place of these thresholds, `USERS`.
    """
    trained = from_darknet(cfg, weights, names=names)
    return cls(trained, **{**for_users(trained), **options})

  @classmethod
  def from_file(cls, path: str | Path, **options: Any) -> Detector:
    """The detector of an exported file, with thresholds for people.

    Args:
      path: of an .onnx or .stablehlo file of ours.
      **options: of the constructor. Of those of detection a file takes only
        stricter ones than those inside.
    """
    exported = engines.read(path)
    return cls(exported, **{**for_users(exported), **options})

  def __call__(self, picture: Any, *, tile: int = 0) -> Objects:
    """What is on one picture.

    Args:
      picture: its path; a PIL picture; or an array, uint8 RGB (H, W, 3).
      tile: side in pixels of tiles that are looked at beside the whole, for
        small things on large pictures; 0 for none.

    Raises:
      DataError: for a file that cannot be read.
      ValueError: for an array that is no picture.
    """
    found = self.detect(as_array(picture), tile=tile)
    labels = found.labels.tolist()
    names = tuple(self.class_names[label] for label in labels)
    return Objects(found.boxes, found.scores, found.labels, names, found.masks)

  def detect(self, image: np.ndarray, *, tile: int = 0) -> Detections:
    """As `__call__`: detections without padding, boxes in pixels."""
    if not tile:
      prepared = self.prepare(image)
      return self.finish(self.start([prepared], 1), [prepared])[0]
    places = tiles.cut(*image.shape[:2], tile, OVERLAP)
    found = []
    for left, top, right, bottom in places.tolist():
      found.append(self.detect(image[top:bottom, left:right]))
    return tiles.join(found, places, threshold=SAME, most=self._most)

  def prepare(
    self, image: np.ndarray, proposals_px: np.ndarray | None = None
  ) -> Prepared:
    """The picture as the network takes it.

    Args:
      image: uint8 RGB.
      proposals_px: boxes in its pixels that may hold an object, for a detector
        that needs some; None: they are searched.

    Raises:
      ValueError: unless it is uint8 RGB.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
      raise ValueError(
        f"a picture is {image.dtype} {image.shape}; expected uint8 RGB, "
        f"(H, W, 3)"
      )
    input_, placement = fitting.RESIZES[self.resize](image, self.size[::-1])
    if self._search and proposals_px is None:
      proposals_px = propose(image, self._search, felzenszwalb())
    return Prepared(input_, placement, image.shape[1::-1], proposals_px)

  def start(self, prepared: Sequence[Prepared], batch_size: int) -> Detections:
    """Begins a batch on the device, padded by its last picture."""
    padding = [prepared[-1]] * (batch_size - len(prepared))
    rows = [*prepared, *padding]
    inputs = np.stack([one.input for one in rows])
    if not self._search:
      return self._predict(inputs)
    boxes = np.zeros((len(rows), self._search.most, 4), np.float32)
    for place, one in zip(boxes, rows, strict=True):
      assert one.proposals_px is not None
      edges = np.array([*one.shape] * 2, np.float32)
      proposals.lay(
        place,
        one.proposals_px / edges,
        one.placement,
        min_side=1 / max(self.size),
      )
    return self._predict(inputs, boxes)

  def finish(
    self, found: Detections, prepared: Sequence[Prepared]
  ) -> list[Detections]:
    """Waits for a batch and brings its boxes back to the pictures' pixels.

    What of a box lies outside its picture is cut off, of its mask too.
    """
    found = jax.device_get(found)
    results = []
    for number, one in enumerate(prepared):
      kept = found.take(number).take(found.mask[number])
      frames = fitting.unplace_boxes(kept.boxes, one.placement)
      boxes = box.clip(frames)
      if kept.masks is not None:
        kept = kept._replace(masks=masks.cut(kept.masks, frames, boxes))
      edges = np.array([*one.shape] * 2, np.float32)
      results.append(kept._replace(boxes=boxes * edges))
    return results


def as_array(picture: Any) -> np.ndarray:
  """A path, a PIL picture or an array as an array; EXIF's turn is applied."""
  if isinstance(picture, str | Path):
    return decode_picture(str(picture))
  if isinstance(picture, PIL.Image.Image):
    return np.asarray(PIL.ImageOps.exif_transpose(picture).convert("RGB"))
  return np.asarray(picture)


class Found(NamedTuple):
  """A picture and what is on it."""

  item: Item
  image: UInt8[np.ndarray, "H W 3"]
  detections: Detections


def detect_all(
  detector: Detector,
  items: Iterable[Item],
  *,
  batch_size: int,
  num_threads: int,
  tile: int = 0,
) -> Iterator[Found | DataError]:
  """What is on each item, in order; an error for one that cannot be read.

  The next batch is read and resized while the device works on one. With tiles,
  see `Detector.__call__`, it is one picture after the other.
  """
  items = iter(items)
  if tile:
    for item in items:
      try:
        image = item.load()
      except DataError as error:
        yield error
      else:
        yield Found(item, image, detector.detect(image, tile=tile))
    return

  def ready(item: Item) -> tuple[Item, Any, Prepared] | DataError:
    try:
      image = item.load()
    except DataError as error:
      return error
    return item, image, detector.prepare(image, item.proposals_px)

  def next_batch() -> list[Any]:
    return list(readers.map(ready, islice(items, batch_size)))

  def good(batch: list[Any]) -> list[Prepared]:
    return [one[2] for one in batch if not isinstance(one, DataError)]

  def finish(batch: list[Any], started: Any) -> Iterator[Found | DataError]:
    results = iter(detector.finish(started, good(batch)) if started else ())
    for one in batch:
      if isinstance(one, DataError):
        yield one
      else:
        yield Found(one[0], one[1], next(results))

  with (
    ThreadPoolExecutor(num_threads) as readers,
    ThreadPoolExecutor(1) as feeder,
  ):
    before: tuple[list[Any], Any] | None = None
    batch = feeder.submit(next_batch).result()
    while batch:
      following = feeder.submit(next_batch)
      prepared = good(batch)
      started = detector.start(prepared, batch_size) if prepared else None
      if before:
        yield from finish(*before)
      before, batch = (batch, started), following.result()
    if before:
      yield from finish(*before)
