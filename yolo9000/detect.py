"""Boxes on pictures, videos and cameras: python -m yolo9000.detect PICTURE ...

With the weights of a run of ours, or with files of the original program:

  python -m yolo9000.detect --run=runs/voc photos/ 'more/*.jpg' film.mp4
  python -m yolo9000.detect --cfg=yolov2-voc.cfg --weights=yolov2-voc.weights \
    --names=voc.names photo.jpg
  python -m yolo9000.detect --run=runs/voc --camera=0 --frames=100

Draws what it finds into --out, and writes detections.json there, COCO's list of
results with pixels of the picture. From Python: `Detector`.
"""

from __future__ import annotations

import argparse
import contextlib
import glob
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from yolo9000 import boxes as box
from yolo9000 import compilation, darknet_files, model, plots
from yolo9000.darknet_weights import cpu_deviation, gpu_deviation
from yolo9000.data import augment
from yolo9000.data.records import DataError, decode_picture
from yolo9000.detector import Detector, Prepared
from yolo9000.evaluate import coco_rows
from yolo9000.layers import Region
from yolo9000.log import write_whole
from yolo9000.types import Detections, UInt8

__all__ = ["Detector", "detect_all", "find_files"]

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".mpg", ".mpeg")
DEVIATIONS = {"gpu": gpu_deviation, "cpu": cpu_deviation}


class Item(NamedTuple):
  """A picture or a frame that is to be looked at."""

  source: str  # file or camera
  name: str  # of what is written about it, unique
  frame: int | None  # number in its video
  rate: float  # frames per second of its video
  load: Callable[[], UInt8[np.ndarray, "H W 3"]]


def find_files(inputs: Sequence[str]) -> list[Path]:
  """Pictures and videos: files, those in folders, and those of a pattern.

  Raises:
    DataError: for an input that gives none.
  """
  found: list[Path] = []
  for given in inputs:
    path = Path(given)
    if path.is_dir():
      files = sorted(p for p in path.iterdir() if p.is_file())
      files = [p for p in files if p.suffix.lower() in (*PICTURES, *VIDEOS)]
      expected = f"a folder with files such as {PICTURES[0]} or {VIDEOS[0]}"
    elif path.is_file():
      files, expected = [path], ""
    else:
      files = [Path(p) for p in sorted(glob.glob(given, recursive=True))]
      files = [p for p in files if p.is_file()]
      expected = "a file, a folder or a pattern such as 'photos/*.jpg'"
    if not files:
      raise DataError(
        f"{given}: no picture or video there; expected {expected}"
      )
    found += files
  return list(dict.fromkeys(found))


def file_items(paths: Sequence[Path]) -> Iterator[Item]:
  """The pictures, and the frames of the videos, of these files."""
  used: dict[str, int] = {}
  for path in paths:
    used[path.stem] = used.get(path.stem, 0) + 1
    again = used[path.stem]
    name = path.stem if again == 1 else f"{path.stem}_{again}"
    if path.suffix.lower() in VIDEOS:
      yield from video_items(str(path), name)
    else:
      load = partial(decode_picture, str(path))
      yield Item(str(path), name, None, 0.0, load)


def video_items(source: str | int, name: str) -> Iterator[Item]:
  """The frames of a video file or, for a number, of a camera.

  If there is none, an item that says so when it is loaded.
  """
  video = cv2.VideoCapture(source)
  rate, number = video.get(cv2.CAP_PROP_FPS) or 25.0, 0
  try:
    while video.isOpened():
      good, frame = video.read()
      if not good:
        break
      rgb = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
      each = f"{name}_{number:06d}"
      yield Item(str(source), each, number, rate, lambda image=rgb: image)
      number += 1
  finally:
    video.release()
  if not number:
    what = f"camera {source}" if isinstance(source, int) else source

    def fail() -> Any:
      raise DataError(f"{what}: no frame that OpenCV can read")

    yield Item(str(source), name, 0, rate, fail)


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
) -> Iterator[Found | DataError]:
  """What is on each item, in order; an error for one that cannot be read.

  The next batch is read and resized while the device works on one.
  """
  items = iter(items)

  def ready(item: Item) -> tuple[Item, Any, Prepared] | DataError:
    try:
      image = item.load()
    except DataError as error:
      return error
    return item, image, detector.prepare(image)

  def next_batch() -> list[Any]:
    return list(readers.map(ready, islice(items, batch_size)))

  def finish(batch: list[Any], started: Any) -> Iterator[Found | DataError]:
    prepared = [one[2] for one in batch if not isinstance(one, DataError)]
    results = iter(detector.finish(started, prepared) if prepared else ())
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
      prepared = [one[2] for one in batch if not isinstance(one, DataError)]
      started = detector.start(prepared, batch_size) if prepared else None
      if before:
        yield from finish(*before)
      before, batch = (batch, started), following.result()
    if before:
      yield from finish(*before)


class Output:
  """Writes drawn pictures and videos, label files and detections.json."""

  def __init__(
    self, folder: Path, class_names: Sequence[str], *, draw: bool, txt: bool
  ):
    self._folder, self._class_names = folder, class_names
    self._draw, self._txt = draw, txt
    self._rows: list[dict[str, Any]] = []
    self._videos: dict[str, cv2.VideoWriter] = {}
    self._count = 0
    (folder / "labels" if txt else folder).mkdir(parents=True, exist_ok=True)

  def add(self, found: Found) -> None:
    """Takes one picture's detections."""
    item, image, detections = found
    boxes, scores, labels, _ = detections
    rows = coco_rows(
      *(boxes, labels, scores), image_id=self._count, file_name=item.source
    )
    self._count += 1
    if item.frame is not None:
      rows = [{**row, "frame": item.frame} for row in rows]
    self._rows += rows
    if self._txt:
      edges = np.array([image.shape[1], image.shape[0]] * 2, np.float32)
      lines = [
        " ".join([str(label), *(f"{number:.6f}" for number in numbers)])
        for label, numbers in zip(
          labels.tolist(), box.xyxy_to_cxcywh(boxes / edges), strict=True
        )
      ]
      path = self._folder / "labels" / f"{item.name}.txt"
      path.write_text("".join(f"{line}\n" for line in lines))
    if self._draw:
      drawn = plots.draw(image, boxes, labels, scores, self._class_names)
      self._write(item, cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))

  def _write(self, item: Item, bgr: np.ndarray) -> None:
    if item.frame is None:
      cv2.imwrite(str(self._folder / f"{item.name}.jpg"), bgr)
      return
    if item.source not in self._videos:
      name = item.name.rpartition("_")[0]
      self._videos[item.source] = cv2.VideoWriter(
        str(self._folder / f"{name}.mp4"),
        cv2.VideoWriter.fourcc(*"mp4v"),
        *(item.rate, (bgr.shape[1], bgr.shape[0])),
      )
    self._videos[item.source].write(bgr)

  def close(self) -> None:
    """Finishes the videos and writes detections.json."""
    for video in self._videos.values():
      video.release()
    write_whole(self._folder / "detections.json", json.dumps(self._rows))


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    prog="python -m yolo9000.detect",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  add = parser.add_argument
  add("inputs", nargs="*", help="pictures, videos, folders, patterns")
  add("--camera", type=int, help="number of a camera to look through")
  add("--frames", type=int, help="stop after so many pictures and frames")
  add("--run", help="folder of a run")
  add("--checkpoint", choices=("latest", "best"), default="latest")
  add("--cfg", help="of the original program; with --weights")
  add("--weights")
  add("--names", help="class names for --cfg, one on each line")
  add("--map", help="nodes of the tree that are the classes, with --names")
  add("--batch_norm", choices=tuple(DEVIATIONS), default="gpu")
  add("--out", type=Path, default=Path("detections"))
  add("--size", help="of the network's input, such as 416 or 640x384")
  add("--resize", choices=tuple(augment.RESIZES))
  add("--threshold", type=float, default=0.5, help="weakest score shown")
  add("--iou", type=float, default=0.45, help="of boxes that exclude another")
  add("--tree_threshold", type=float, default=0.5)
  add("--batch_size", type=int, default=1)
  add("--threads", type=int, default=os.cpu_count(), help="that read pictures")
  add("--txt", action="store_true", help="YOLO label files in OUT/labels")
  add("--no_draw", action="store_true", help="write detections.json alone")
  return parser


def _load(args: argparse.Namespace) -> tuple[Detector, Sequence[str]]:
  """The detector that the arguments describe, and its class names.

  Raises:
    ValueError, OSError: for arguments or files that cannot be used.
  """
  if bool(args.run) == bool(args.cfg) or bool(args.cfg) != bool(args.weights):
    raise ValueError("expected --run, or --cfg and --weights")
  if args.run:
    trained = model.from_run(args.run, which=args.checkpoint)
  else:
    trained = model.from_darknet(
      *(args.cfg, args.weights),
      names=None if args.map else args.names,
      resize=None,
      deviation=DEVIATIONS[args.batch_norm],
    )
  names, nodes = trained.class_names, None
  if args.map:
    head = trained.head
    if not (isinstance(head, Region) and head.tree):
      raise ValueError(f"--map {args.map}: the network has no tree")
    num_nodes = len(head.tree.ids)
    nodes = darknet_files.read_map(args.map, num_nodes=num_nodes)
    names = tuple(head.tree.ids[node] for node in nodes)
    if args.names:
      names = darknet_files.read_names(args.names)
      if len(names) != len(nodes):
        raise ValueError(
          f"{args.names} has {len(names)} names, {args.map} {len(nodes)} nodes"
        )
  size = None
  if args.size:
    try:
      width, _, height = args.size.partition("x")
      size = (int(width), int(height or width))
    except ValueError:
      raise ValueError(f"--size {args.size}: expected 416 or 640x384") from None
  detector = Detector(
    trained,
    size=size,
    resize=args.resize,
    score_threshold=args.threshold,
    iou_threshold=args.iou,
    tree_threshold=args.tree_threshold,
    nodes=nodes,
  )
  return detector, names


def main(argv: Sequence[str] | None = None) -> int:
  """The command; returns 1 if a picture could not be read, 2 if nothing ran."""
  parser = _parser()
  args = parser.parse_args(argv)
  compilation.enable_cache()
  try:
    if not args.inputs and args.camera is None:
      raise ValueError("expected pictures, videos, folders or --camera")
    if args.batch_size < 1 or args.threads < 1:
      raise ValueError("--batch_size and --threads must be at least 1")
    paths = find_files(args.inputs)
    detector, class_names = _load(args)
  except (ValueError, OSError) as error:
    print(f"{parser.prog}: {error}", file=sys.stderr)
    return 2
  items = file_items(paths)
  if args.camera is not None:
    items = chain(items, video_items(args.camera, "camera"))
  pictures = args.camera is None and not any(
    path.suffix.lower() in VIDEOS for path in paths
  )
  total = args.frames or (len(paths) if pictures else None)
  output = Output(args.out, class_names, draw=not args.no_draw, txt=args.txt)
  done, boxes, failed = 0, 0, 0
  found_all = detect_all(
    detector,
    islice(items, args.frames),
    batch_size=args.batch_size,
    num_threads=args.threads,
  )
  with contextlib.closing(output):
    try:
      for found in tqdm(found_all, total=total, unit=" images", disable=None):
        if isinstance(found, DataError):
          failed += 1
          tqdm.write(str(found), file=sys.stderr)
          continue
        done, boxes = done + 1, boxes + len(found.detections.scores)
        output.add(found)
    except KeyboardInterrupt:  # of a camera, the usual end
      print("stopped", file=sys.stderr)
  print(
    f"{boxes} boxes on {done} pictures in {args.out}"
    + (f"; {failed} could not be read" if failed else "")
  )
  return 1 if failed else 0


if __name__ == "__main__":
  sys.exit(main())
