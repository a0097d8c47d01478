"""Exported files, and what runs them.

ONNX Runtime for .onnx; JAX for .stablehlo, which needs none of our code.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.export
import numpy as np

from yolo9000 import extras
from yolo9000.export import shipped
from yolo9000.export.stablehlo import DESCRIPTION
from yolo9000.files import FileError
from yolo9000.training.trained import Trained
from yolo9000.types import Detections
from yolo9000.wordtree import Classes, WordTree

ENGINES = ("jax", "onnx")
ENDINGS = (".onnx", ".stablehlo")

# Pictures to arrays by the names of `shipped.OUTPUTS`.
Run = Callable[[np.ndarray], dict[str, np.ndarray]]


class Exported(NamedTuple):
  """An exported detector.

  Attributes:
    run: uint8 pictures (B, H, W, 3) -> arrays by names of `shipped.OUTPUTS`.
    path: of the file, for errors.
    classes: of the labels.
    size: (height, width) that pictures are brought to.
    steps: of how many pixels the sides must be multiples; 0: fixed.
    resize: how: "letterbox", "stretch" or "centre_crop".
    detect: options of detection that are inside, by name.
    learns_from: as a Task's.
    masks: whether detections have some.
  """

  run: Run
  path: str
  classes: Classes
  size: tuple[int, int]
  steps: tuple[int, int]
  resize: str
  detect: Mapping[str, Any]
  learns_from: str
  masks: bool

  def check_size(self, size: tuple[int, int]) -> None:
    """Raises ValueError for a size that the file does not take."""
    for side, own, step in zip(size, self.size, self.steps, strict=True):
      if side <= 0 or side % step if step else side != own:
        allowed = f"a multiple of {step}" if step else str(own)
        raise ValueError(
          f"image size {size[0]}x{size[1]}: {self.path} takes {allowed} for "
          f"the side of {side}"
        )

  def predict(
    self, detect: Mapping[str, Any]
  ) -> Callable[[np.ndarray], Detections]:
    """A Task's predict, with a stricter threshold or fewer detections.

    Raises:
      ValueError: for other options than those inside.
    """
    threshold, most = self._limits(detect)

    def predict(images: np.ndarray) -> Detections:
      found = self.run(images)
      place = np.arange(found["scores"].shape[1])[None]
      mask = place < found["count"][:, None]
      if threshold is not None:
        mask &= found["scores"] > threshold
      if most is not None:
        mask &= np.cumsum(mask, axis=1) <= most
      return Detections(
        found["boxes"],
        found["scores"],
        found["labels"],
        mask,
        masks=found.get("masks"),
      )

    return predict

  def _limits(self, detect: Mapping[str, Any]) -> tuple[Any, Any]:
    limits = {"score_threshold": None, "max_detections": None}
    for name, value in detect.items():
      own = self.detect.get(name)
      if value == own:
        continue
      stricter = (
        (name == "score_threshold" and own is not None and value > own)
        or (name == "max_detections" and own is not None and value < own)
      ) and not self.detect.get("class_agnostic")
      if not stricter:
        raise ValueError(
          f"{self.path}: was exported with {name} {own}, and {value} is asked "
          f"for; expected {own}, a higher score_threshold or lower "
          f"max_detections, or another export"
        )
      limits[name] = value
    return limits["score_threshold"], limits["max_detections"]


def of_trained(
  trained: Trained, size: tuple[int, int], detect: Mapping[str, Any]
) -> Exported:
  """A trained detector in ONNX Runtime, without a file.

  Args:
    trained: the detector.
    size: (height, width) of pictures.
    detect: options of `task.detect` in place of its own.

  Raises:
    MissingExtra: without onnx and onnxruntime.
    CannotExport: for a program that has no ONNX form here.
  """
  extras.load("onnx", "export", "the engine onnx")
  from yolo9000.export import onnx as writer

  what = shipped.ship(trained, size=size, **detect)
  model = writer.make(what).SerializeToString()
  run, _ = _onnx_runner(model)
  return _exported(run, "the network", what.description)


def read(path: str | Path) -> Exported:
  """An exported file.

  Raises:
    FileError: for a file that is not one of ours.
    MissingExtra: for an .onnx without onnxruntime.
  """
  path = Path(path)
  if path.suffix not in ENDINGS:
    raise FileError(f"{path}: expected a file that ends with .onnx, .stablehlo")
  try:
    content = path.read_bytes()
  except OSError as error:
    raise FileError(f"{path}: cannot be read: {error.strerror}") from None
  if path.suffix == ".onnx":
    run, texts = _onnx_runner(content, path)
    return _exported(run, str(path), _described(path, texts))
  try:
    with zipfile.ZipFile(path) as archive:
      found = json.loads(archive.read(DESCRIPTION))
    exported = jax.export.deserialize(bytearray(content))
  except Exception as error:  # what a damaged file raises differs
    raise FileError(f"{path}: is no StableHLO file of ours ({error})") from None
  call = jax.jit(exported.call)
  return _exported(
    lambda images: jax.device_get(call(images)),
    str(path),
    _checked(path, found),
  )


def _onnx_runner(content: bytes, path: Path | None = None) -> tuple[Run, Any]:
  """What ONNX Runtime makes of a file, and the texts inside it."""
  runtime = extras.load("onnxruntime", "export", "an ONNX file")
  try:
    session = runtime.InferenceSession(
      content, providers=runtime.get_available_providers()
    )
  except Exception as error:  # its errors have no class in common
    reason = str(error).splitlines()[0]
    raise FileError(f"{path}: ONNX Runtime cannot read it: {reason}") from None

  names = [output.name for output in session.get_outputs()]

  def run(images: np.ndarray) -> dict[str, np.ndarray]:
    found = session.run(names, {shipped.INPUT: images})
    return dict(zip(names, found, strict=True))

  return run, session.get_modelmeta().custom_metadata_map


def _described(path: Path, found: Mapping[str, str]) -> dict[str, Any]:
  """The description from its texts."""
  try:
    return _checked(path, {key: json.loads(x) for key, x in found.items()})
  except json.JSONDecodeError:
    raise FileError(_foreign(path)) from None


def _checked(path: Path, found: dict[str, Any]) -> dict[str, Any]:
  if found.get("form") != shipped.FORM:
    raise FileError(_foreign(path))
  return found


def _foreign(path: Path) -> str:
  return (
    f"{path}: is not written by this package: it has no description "
    f"{shipped.FORM!r}; expected a file of `python -m yolo9000.export`"
  )


def _exported(run: Run, path: str, description: dict[str, Any]) -> Exported:
  tree = description["tree"]
  classes = Classes(
    tuple(description["names"]),
    tree and WordTree(tuple(tree["ids"]), tuple(tree["parents"])),
  )
  height, width = description["size"]
  return Exported(
    run,
    path,
    classes,
    (height, width),
    tuple(description["steps"]),
    description["resize"],
    description["detect"],
    description["learns_from"],
    description.get("masks", False),  # files of before have none
  )
