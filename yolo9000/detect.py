"""Boxes on pictures, videos and cameras, drawn, and as COCO's detections.json.

python -m yolo9000.detect --run=runs/voc photos/ 'more/*.jpg' film.mp4
python -m yolo9000.detect --cfg=F.cfg --weights=F.weights a.jpg
python -m yolo9000.detect detector.onnx a.jpg
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from yolo9000 import arguments, command_line
from yolo9000 import boxes as box
from yolo9000.data import drawing
from yolo9000.data.disk import DataError
from yolo9000.data.pictures import Item, all_items, find_files, is_video
from yolo9000.detector import Detector, Found, detect_all, for_users
from yolo9000.export.engines import ENGINES
from yolo9000.extras import MissingExtra
from yolo9000.files import write_list, write_whole
from yolo9000.scoring.coco import coco_rows
from yolo9000.scoring.runs import of_detections
from yolo9000.training import compilation


class Output:
  """Writes drawn pictures and videos, label files and detections.json.

  What is written about an input has its name: name.jpg or name.mp4, and
  labels/name.txt or, for a video, labels/name/000012.txt. Beside the labels are
  classes.txt and images/, links to the pictures, so that the folder is a data
  set of YOLO's text. detections.json is replaced once all is done.
  """

  def __init__(
    self, folder: Path, class_names: Sequence[str], *, draw: bool, txt: bool
  ):
    self._folder, self._class_names = folder, class_names
    self._draw, self._txt = draw, txt
    self._rows: list[dict[str, Any]] = []
    self._videos: dict[str, cv2.VideoWriter] = {}
    self.pictures = 0
    self.boxes: Counter[str] = Counter()  # by class
    self.pictures_with: Counter[str] = Counter()
    folder.mkdir(parents=True, exist_ok=True)
    if txt:
      write_list(folder / "classes.txt", class_names)

  def add(self, found: Found) -> None:
    """Takes one picture's detections.

    Raises:
      OSError: if they cannot be written.
    """
    item, image, detections = found
    boxes_px, scores, labels, _, masks = detections
    names = [self._class_names[label] for label in labels.tolist()]
    size = image.shape[1], image.shape[0]
    rows = coco_rows(
      boxes_px,
      labels,
      scores,
      **{"image_id": item.number, "file_name": item.source, "names": names},
      masks=of_detections(detections, boxes_px, size),
    )
    self.pictures += 1
    self.boxes.update(names)
    self.pictures_with.update(set(names))
    if item.frame is not None:
      rows = [{**row, "frame": item.frame} for row in rows]
    self._rows += rows
    if self._txt:
      edges = np.array([image.shape[1], image.shape[0]] * 2, np.float32)
      boxes = box.xyxy_to_cxcywh(boxes_px / edges).tolist()
      lines = [
        " ".join([str(label), *(f"{number:.6f}" for number in numbers)])
        for label, numbers in zip(labels.tolist(), boxes, strict=True)
      ]
      path = self._folder / "labels" / f"{item.name}.txt"
      if item.frame is not None:
        path = path.with_suffix("") / f"{item.frame:06d}.txt"
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_text("".join(f"{line}\n" for line in lines))
      if item.frame is None:
        source = Path(item.source)
        link = self._folder / "images" / (item.name + source.suffix)
        link.parent.mkdir(exist_ok=True)
        if link.is_symlink():  # never a picture of the user's
          link.unlink()
        link.symlink_to(source.resolve())
    if self._draw:
      texts = [
        f"{self._class_names[label]} {score:.2f}"
        for label, score in zip(labels, scores, strict=True)
      ]
      drawn = drawing.draw(image, boxes_px, labels, texts, masks)
      self._write(item, cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))

  def _write(self, item: Item, bgr: np.ndarray) -> None:
    path = self._folder / f"{item.name}.jpg"
    if item.frame is None:
      # Not imwrite: a name may be no text, and its error says nothing.
      try:
        path.write_bytes(cv2.imencode(".jpg", bgr)[1].tobytes())
      except OSError as error:
        reason = error.strerror
        raise OSError(f"{path}: cannot be written: {reason}") from None
      return
    if item.name not in self._videos:
      path = path.with_suffix(".mp4")
      code, size = cv2.VideoWriter.fourcc(*"mp4v"), bgr.shape[1::-1]
      video = cv2.VideoWriter(str(path), code, item.rate, size)
      if not video.isOpened():
        raise OSError(f"{path}: cannot be written")
      self._videos[item.name] = video
    self._videos[item.name].write(bgr)

  def close(self) -> None:
    """Finishes the videos."""
    for video in self._videos.values():
      video.release()

  def write(self) -> None:
    """Writes detections.json, if anything was looked at."""
    if self.pictures:
      write_whole(self._folder / "detections.json", json.dumps(self._rows))

  def told(self) -> Iterator[str]:
    """What was found, a line for each class."""
    where = f"on {self.pictures} pictures in {self._folder}"
    yield f"{self.boxes.total()} boxes {where}"
    for name, count in self.boxes.most_common(20):
      yield f"  {name}: {count} on {self.pictures_with[name]} pictures"
    if len(self.boxes) > 20:
      yield f"  and of {len(self.boxes) - 20} classes more"


def _parser() -> argparse.ArgumentParser:
  parser = command_line.parser(
    "yolo9000.detect", __doc__, "[options] [INPUT ...]"
  )
  add = parser.add_argument_group("what is looked at, and written").add_argument
  inputs = "pictures, videos, folders, patterns"
  number: dict[str, Any] = {"type": int, "metavar": "N"}
  add("inputs", nargs="*", metavar="INPUT", help=inputs)
  add("--camera", **number, help="number of a camera")
  add("--frames", **number, help="stop after so many pictures and frames")
  add("--out", type=Path, default=Path("detections"), help="folder")
  add("--tile", **number, help="side of tiles, for small objects")
  add("--batch_size", **number, default=1)
  add("--threads", **number, default=os.cpu_count(), help="that read files")
  add("--engine", choices=ENGINES, help="default jax; CPUs run onnx faster")
  add("--txt", action="store_true", help="label files of YOLO in OUT/labels")
  add("--no_draw", action="store_true", help="write detections.json alone")
  arguments.add_model(parser)
  arguments.add_detect(parser)
  return parser


def _check(args: argparse.Namespace) -> None:
  """Raises ValueError for arguments that cannot be, or that say nothing."""
  arguments.take_file(args)
  arguments.check(args)
  if not args.inputs and args.camera is None:
    raise ValueError("expected pictures, videos, folders or --camera")
  for name in ("batch_size", "threads", "frames", "tile"):
    value = getattr(args, name)
    if value is not None and value < 1:
      raise ValueError(f"--{name} must be at least 1")


def _load(args: argparse.Namespace) -> Detector:
  """The detector that the arguments describe, with thresholds for people."""
  trained = arguments.read_model(args)
  return Detector(
    trained,
    size=arguments.read_size(args),
    resize=args.resize,
    engine=args.engine or "jax",
    **{**for_users(trained), **arguments.read_detect(args, trained)},
  )


def main(argv: Sequence[str] | None = None) -> int:
  """The command.

  Returns 1 if a picture could not be read, 2 if what is asked for, or writing
  it, cannot be done.
  """
  parser = _parser()
  args = parser.parse_intermixed_args(argv)
  compilation.set_up()
  try:
    return _run(args)
  except (ValueError, OSError, MissingExtra) as error:
    print(f"{parser.prog}: {error}", file=sys.stderr)
    return 2


def _run(args: argparse.Namespace) -> int:
  _check(args)
  paths, passed = find_files(args.inputs)
  for path in paths:
    taken = [args.out.resolve()]
    if args.txt:
      taken.append(args.out.resolve() / "images")
    if path.resolve().parent in taken or path.absolute().parent in taken:
      raise ValueError(
        f"--out {args.out} holds {path.name}, an input that would be "
        f"overwritten; expected another folder"
      )
  detector = _load(args)
  output = Output(
    args.out, detector.class_names, draw=not args.no_draw, txt=args.txt
  )
  still = args.camera is None and not any(map(is_video, paths))
  found_all = detect_all(
    detector,
    islice(all_items(paths, args.camera), args.frames),
    batch_size=args.batch_size,
    num_threads=args.threads,
    tile=args.tile or 0,
  )
  failed = 0
  with contextlib.closing(output):
    try:
      for found in tqdm(
        found_all,
        total=args.frames or (len(paths) if still else None),
        unit=" images",
        disable=None,
      ):
        if isinstance(found, DataError):
          failed += 1
          tqdm.write(str(found), file=sys.stderr)
          continue
        output.add(found)
    except KeyboardInterrupt:  # of a camera, the usual end
      print("stopped", file=sys.stderr)
    output.write()
  first, *rest = output.told()
  print(first + (f"; {failed} could not be read" if failed else ""))
  print("".join(f"{line}\n" for line in rest), end="")
  if passed:
    names = ", ".join(path.name for path in passed[:10])
    more = f" and {len(passed) - 10} more" if len(passed) > 10 else ""
    print(f"{len(passed)} passed over, no pictures: {names}{more}")
  return 1 if failed else 0


if __name__ == "__main__":
  sys.exit(main())
