"""What an exported file holds: one function, its input and its description.

The function is a Task's predict with the weights inside: from uint8 pictures
(B, H, W, 3) to "boxes" (B, K, 4), xyxy in [0, 1] of the input, "scores" (B, K),
"labels" (B, K), the best first, and "count" (B), how many of the K there are;
of a detector of masks also "masks" (B, K, S, S), probabilities in the frame of
each box.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from jax.extend.core import InconclusiveDimensionOperation

from yolo9000.tables.run import commit
from yolo9000.training.trained import Trained
from yolo9000.types import Detections, open_sides

logger = logging.getLogger("yolo9000")

INPUT = "images"
OUTPUTS = ("boxes", "scores", "labels", "count", "masks")
FORM = "yolo9000 1"  # of the description
LARGEST_STEP = 128  # pixels, between image sizes that a network takes


class Shipped(NamedTuple):
  """What is written.

  Attributes:
    function: images -> arrays by their names.
    outputs: these names, of OUTPUTS.
    images: their shape and dtype; B is open, and H and W where the network
      takes more than one size.
    description: what a user of the file needs to know, of JSON's types.
  """

  function: Callable[[Any], dict[str, Any]]
  outputs: tuple[str, ...]
  images: jax.ShapeDtypeStruct
  description: dict[str, Any]


def ship(
  trained: Trained,
  *,
  size: tuple[int, int] | None = None,
  resize: str | None = None,
  **detect: Any,
) -> Shipped:
  """A trained detector as it is written.

  Args:
    trained: the detector.
    size: (height, width) that pictures are to be brought to; None for its own.
    resize: how; None for its own.
    **detect: options of `task.detect` in place of its own.

  Raises:
    ValueError: for an option or size that cannot be.
  """
  task = trained.make_task(detect)
  if task.needs_proposals:
    raise ValueError(
      "this detector looks at proposals, which are found outside of it, and "
      "cannot be exported; expected one that takes pictures alone"
    )
  size = size or trained.size
  task.check_size(size)
  variables = jax.device_get(trained.variables)
  steps = [step_of_side(task.check_size, size, axis) for axis in (0, 1)]

  def function(images: Any) -> dict[str, Any]:
    with open_sides():
      found: Detections = task.predict(variables, images)
    mask = found.mask
    more = {}
    if found.masks is not None:
      more["masks"] = found.masks.astype(jnp.float32)
    return {
      **more,
      "boxes": found.boxes.astype(jnp.float32),
      "scores": found.scores.astype(jnp.float32),
      "labels": found.labels.astype(jnp.int32),
      "count": jnp.sum(mask.astype(jnp.int32), axis=1, dtype=jnp.int32),
    }

  images = open_images(size, steps)
  try:
    given = jax.eval_shape(function, images)
  except (TypeError, ValueError, InconclusiveDimensionOperation):
    steps = [0, 0]  # it asks how large the picture is
    logger.warning("the file takes pictures of %d x %d pixels alone", *size)
    images = open_images(size, steps)
    given = jax.eval_shape(function, images)
  outputs = tuple(name for name in OUTPUTS if name in given)
  tree = trained.classes.tree
  description = {
    "form": FORM,
    "names": list(trained.classes.names),
    "tree": tree and {"ids": list(tree.ids), "parents": list(tree.parents)},
    "size": list(size),
    "steps": steps,
    "resize": resize or trained.resize,
    "learns_from": task.learns_from,
    "masks": "masks" in outputs,
    "detect": {**trained.detect, **detect},
    "seen": trained.seen,
    "commit": commit(),
  }
  return Shipped(function, outputs, images, description)


def open_images(
  size: tuple[int, int], steps: Sequence[int]
) -> jax.ShapeDtypeStruct:
  """Pictures (B, H, W, 3) of which B is open, and sides that have a step."""
  sides = [
    f"{step}*{name}" if step else str(side)
    for name, step, side in zip("hw", steps, size, strict=True)
  ]
  shape = jax.export.symbolic_shape(
    f"b, {sides[0]}, {sides[1]}, 3", constraints=["b >= 1"]
  )
  return jax.ShapeDtypeStruct(shape, np.uint8)


def with_ending(path: Path, ending: str) -> Path:
  """The path of a file with this ending, in a folder that is there."""
  if path.suffix != ending:
    path = path.with_name(path.name + ending)
  path.parent.mkdir(parents=True, exist_ok=True)
  return path


def step_of_side(
  check_size: Callable[[tuple[int, int]], None],
  size: tuple[int, int],
  axis: int,
) -> int:
  """Of how many pixels a side must be a multiple; 0 if it is fixed."""
  for step in range(1, LARGEST_STEP + 1):
    other = list(size)
    other[axis] += step
    try:
      check_size((other[0], other[1]))
    except ValueError:
      continue
    return step if size[axis] % step == 0 else 0
  return 0
