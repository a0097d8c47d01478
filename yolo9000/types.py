"""The few types that everything shares, and the key to every shape.

Dimension key, used by each signature and docstring of the package:

  B images    H W pixels      Y X grid cells    A priors
  N slots (Y * X * A)         M truths, padded  K kept detections
  C classes (or tree nodes)   F numbers of one slot, 5 + C
  G groups of siblings in a tree

`boxes` without a suffix are xyxy (left, top, right, bottom) as fractions of the
picture; anything else says so: `_cxcywh`, `_px` (pixels), `_cells`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
  from jaxtyping import Bool, Float, Int, Shaped, UInt8
else:
  try:
    from jaxtyping import Bool, Float, Int, Shaped, UInt8
  except ImportError:
    # Shapes are documentation at run time; the tests install jaxtyping and
    # check them. Annotations are never evaluated, so any name will do.
    Bool = Float = Int = Shaped = UInt8 = Any

__all__ = [
  "Batch",
  "Bool",
  "Detections",
  "Float",
  "Int",
  "Shaped",
  "Task",
  "UInt8",
]


class Batch(NamedTuple):
  """Pictures and what is known about them, padded to fixed shapes.

  A picture with boxes and a picture with only an image label are the same
  Batch. Arrays are NumPy on the host and jax.Array inside a step.
  """

  image: UInt8[Any, "B H W 3"]  # RGB
  boxes: Float[Any, "B M 4"]  # xyxy in [0, 1]; rows beyond mask are zero
  labels: Int[Any, "B M"]
  mask: Bool[Any, "B M"]  # true for real objects
  image_label: Int[Any, " B"]  # -1: none
  valid: Bool[Any, " B"]  # false: padding of an evaluation's last batch
  index: Int[Any, " B"]  # which record of the data set: names a picture


class Detections(NamedTuple):
  """The K best detections, in the order of nms.py; batch axes may lead.

  A `detector.Detector` gives boxes in pixels of the picture.
  """

  boxes: Float[Any, "*B K 4"]  # xyxy in [0, 1] of the network's input
  scores: Float[Any, "*B K"]  # objectness x class probability
  labels: Int[Any, "*B K"]
  mask: Bool[Any, "*B K"]  # false: fewer than K were found


class Task(NamedTuple):
  """What the training loop knows of a model: four pure functions.

  init(key, image_size) -> variables, a dict of params and batch_stats.
  loss(variables, batch, images_seen) -> (scalar, (new batch_stats, parts)):
    the mean over the batch's images; parts is a dict of scalars that sum to
    it. images_seen counts this batch's images as well.
  predict(variables, images) -> Detections, for uint8 images (B, H, W, 3).
  evaluate(detections, records) -> dict of metrics; one Detections per record,
    without padding, boxes in [0, 1] of the record's picture. NumPy only. The
    entry "metric" is the number by which checkpoints and rows are compared.
  """

  init: Callable[..., Any]
  loss: Callable[..., Any]
  predict: Callable[..., Any]
  evaluate: Callable[..., dict[str, Any]]
