"""A trained detector as an ONNX file, written from the program that JAX traced.

Everything is inside, from uint8 pictures to boxes; see `shipped`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
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
  steps = what.description["steps"]
  model = model_of(what.function, what.images, what.outputs, steps=steps)
  for key, value in what.description.items():
    model.metadata_props.add(key=key, value=json.dumps(value))
  return model


def model_of(
  function: Callable[[Any], dict[str, Any]],
  images: jax.ShapeDtypeStruct,
  names: Sequence[str],
  *,
  steps: Sequence[int] = (0, 0),
) -> onnx.ModelProto:
  """Any function of pictures as ONNX, without a description.

  Args:
    function: images -> arrays by name.
    images: (B, H, W, 3); a side that is open is called b, h or w.
    names: the outputs, in the order of the file.
    steps: of how many pixels H and W are multiples, where they are open.
  """
  closed = jax.make_jaxpr(function)(images)
  value = Value("", (), images.shape, images.dtype)
  outputs = convert(closed, [value], sides_of(value, steps))
  found = dict(zip(sorted(names), outputs, strict=True))  # as JAX has them
  model = Writer().model(
    {shipped.INPUT: value}, {name: found[name] for name in names}, "detector"
  )
  model.producer_name = "yolo9000"
  return model


def sides_of(images: Value, steps: Sequence[int]) -> Dimensions:
  """The open sides of the input: how many pictures, and steps of pixels."""
  names = {}
  for axis, (name, step) in enumerate(zip("bhw", (1, *steps), strict=True)):
    if step:
      side = Value("Shape", [images], (1,), np.int64, start=axis, end=axis + 1)
      side = Value("Squeeze", [side, np.array([0])], (), np.int64)
      divided = plain("Div", side, np.array(step), dtype=np.int64)
      names[name] = side if step == 1 else divided
  return Dimensions(names)
