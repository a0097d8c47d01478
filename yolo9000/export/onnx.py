"""A trained detector as an ONNX file, written from the program that JAX traced.

Everything is inside, from uint8 pictures to boxes; see `shipped`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import onnx

from yolo9000.export import shipped
from yolo9000.export.dimensions import Dimensions
from yolo9000.export.graph import Value, Writer, plain
from yolo9000.export.program import convert
from yolo9000.files import write_whole
from yolo9000.training.trained import Trained


def write(trained: Trained, path: Path, **options: Any) -> list[Path]:
  """Writes path, which has the ending .onnx afterwards.

  Args:
    trained: the detector.
    path: of the file.
    **options: of `shipped.ship`.

  Raises:
    ValueError: for an option that cannot be, or a program that has no ONNX
      form here.
  """
  model = make(shipped.ship(trained, **options))
  onnx.checker.check_model(model, full_check=True)
  path = shipped.with_ending(path, ".onnx")
  write_whole(path, model.SerializeToString())
  return [path]


def make(what: shipped.Shipped) -> onnx.ModelProto:
  """The file's content."""
  closed = jax.make_jaxpr(what.function)(what.images)
  names = sorted(shipped.OUTPUTS)  # in the order of the traced outputs
  shape = what.images.shape
  images = Value("", (), shape, np.uint8)
  outputs = convert(closed, [images], sides_of(images, what.description))
  found = dict(zip(names, outputs, strict=True))
  model = Writer().model(
    {shipped.INPUT: images},
    {name: found[name] for name in shipped.OUTPUTS},
    "detector",
  )
  model.producer_name = "yolo9000"
  for key, value in what.description.items():
    model.metadata_props.add(key=key, value=json.dumps(value))
  return model


def sides_of(images: Value, description: Mapping[str, Any]) -> Dimensions:
  """The open sides of the input: how many pictures, and steps of pixels."""
  steps = {"b": 1, "h": description["steps"][0], "w": description["steps"][1]}
  names = {}
  for axis, (name, step) in enumerate(steps.items()):
    if step:
      side = Value("Shape", [images], (1,), np.int64, start=axis, end=axis + 1)
      side = Value("Squeeze", [side, np.array([0])], (), np.int64)
      divided = plain("Div", side, np.array(step), dtype=np.int64)
      names[name] = side if step == 1 else divided
  return Dimensions(names)
