"""Pictures, videos and cameras that are looked at, without annotations."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from yolo9000.data.disk import DataError
from yolo9000.data.formats.places import is_hidden
from yolo9000.data.images import PICTURES, decode_picture, picture_size
from yolo9000.types import Float, UInt8

VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".mpg", ".mpeg")


class Item(NamedTuple):
  """A picture or a frame that is to be looked at."""

  source: str  # file or camera
  name: str  # of what is written about it, unique to the source
  number: int  # among all pictures and frames
  frame: int | None  # number in its video
  rate: float  # frames per second of its video
  load: Callable[[], UInt8[np.ndarray, "H W 3"]]
  # In its pixels, if they are known; None: to be searched, if they are needed.
  proposals_px: Float[np.ndarray, "P 4"] | None = None


def find_files(inputs: Sequence[str]) -> tuple[list[Path], list[Path]]:
  """Pictures and videos: files, those in folders, and those of a pattern.

  A file that is named is taken for one. Of a folder or a pattern those are
  taken whose suffix, or whose first bytes, say so.

  Returns:
    The files, and what of folders and patterns was passed over.

  Raises:
    DataError: for an input that gives none.
  """
  found: list[Path] = []
  passed: list[Path] = []
  for given in inputs:
    path, paths = Path(given), []
    if path.is_file():
      files = [path]
    else:
      deep = sorted(glob.glob(given, recursive=True))
      paths = [p for p in map(Path, deep) if not p.is_dir()]
      if path.is_dir():
        paths = sorted(path.iterdir())
      files = [p for p in paths if _can_be_read(p)]
      passed += [p for p in paths if p not in set(files)]
    if not files:
      raise DataError(
        f"{given}: no picture or video there"
        + (f" ({len(paths)} others are)" if paths else "")
        + f"; expected a file such as {PICTURES[0]} or {VIDEOS[0]}, a folder "
        f"with some in it or a pattern of some"
      )
    found += files
  return list(dict.fromkeys(found)), passed


def _can_be_read(path: Path) -> bool:
  if is_hidden(path) or not path.is_file():
    return False
  if path.suffix.lower() in (*PICTURES, *VIDEOS):
    return True
  try:
    picture_size(str(path))
  except DataError:
    return False
  return True


def is_video(path: Path) -> bool:
  """Whether a file's name says that it is a video."""
  return path.suffix.lower() in VIDEOS


def all_items(paths: Sequence[Path], camera: int | None) -> Iterator[Item]:
  """The pictures, and the frames of the videos, of these files and a camera."""
  used: set[str] = set()
  numbers = count()
  for path in paths:
    name, again = path.stem, 1
    while name in used:
      again += 1
      name = f"{path.stem}_{again}"
    used.add(name)
    if is_video(path):
      yield from _frames(str(path), name, numbers)
    else:
      load = partial(decode_picture, str(path))
      yield Item(str(path), name, next(numbers), None, 0.0, load)
  if camera is not None:
    yield from _frames(camera, f"camera {camera}", numbers)


def _frames(
  source: str | int, name: str, numbers: Iterator[int]
) -> Iterator[Item]:
  """The frames of a video file or, for a number, of a camera.

  If there is none, an item that says so when it is loaded.
  """
  video = cv2.VideoCapture(source)
  rate, frame = video.get(cv2.CAP_PROP_FPS) or 25.0, 0
  label = name if isinstance(source, int) else source
  try:
    while video.isOpened():
      good, image = video.read()
      if not good:
        break
      rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
      yield Item(
        label, name, next(numbers), frame, rate, lambda image=rgb: image
      )
      frame += 1
  finally:
    video.release()
  if not frame:

    def fail() -> Any:
      raise DataError(f"{label}: no frame that OpenCV can read")

    yield Item(label, name, next(numbers), 0, rate, fail)
