"""The few types that everything shares, and the key to every shape.

Dimension key, used by each signature and docstring of the package:

  B images    H W pixels      Y X grid cells    A priors
  N slots (Y * X * A)         M truths, padded  K kept detections
  C classes (or tree nodes)   F numbers of one slot, 5 + C
  G groups of siblings in a tree      P proposals, padded
  S side of a mask

`boxes` without a suffix are xyxy (left, top, right, bottom) as fractions of the
picture; anything else says so: `_cxcywh`, `_px` (pixels), `_cells`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
  import jaxtyping
  from jaxtyping import Bool, Float, Int, Shaped, UInt8
else:
  try:
    import jaxtyping
    from jaxtyping import Bool, Float, Int, Shaped, UInt8
  except ImportError:
    # Shapes are documentation at run time; the tests install jaxtyping and
    # check them. Annotations are never evaluated, so any name will do.
    jaxtyping = None
    Bool = Float = Int = Shaped = UInt8 = Any

__all__ = [
  "Batch",
  "Bool",
  "Detections",
  "Float",
  "Int",
  "Shaped",
  "Step",
  "Task",
  "UInt8",
  "open_sides",
]


@contextlib.contextmanager
def open_sides() -> Iterator[None]:
  """Shapes are not checked: jaxtyping cannot compare sides that are open."""
  config = getattr(jaxtyping, "config", None)
  if config is None or config.jaxtyping_disable:
    yield
    return
  config.update("jaxtyping_disable", True)
  try:
    yield
  finally:
    config.update("jaxtyping_disable", False)


class Batch(NamedTuple):
  """Pictures and what is known about them, padded to fixed shapes.

  A picture with boxes and a picture with only an image label are the same
  Batch. Arrays are NumPy on the host and jax.Array inside a step.

  A mask covers the frame of its truth's own box, row 0 at its top: how much of
  each of S x S equal cells the object fills, from 0 to 255. One without any
  coverage is not known. None: no masks are wanted.
  """

  image: UInt8[Any, "B H W 3"]  # RGB
  boxes: Float[Any, "B M 4"]  # xyxy in [0, 1]; rows beyond mask are zero
  labels: Int[Any, "B M"]
  mask: Bool[Any, "B M"]  # true for real objects
  image_label: Int[Any, " B"]  # -1: none
  valid: Bool[Any, " B"]  # false: padding of an evaluation's last batch
  index: Int[Any, " B"]  # which record of the data set: names a picture
  # Boxes from elsewhere, xyxy in [0, 1]; those without area are padding. None
  # where the data has none, which costs nothing.
  proposals: Float[Any, "B P 4"] | None = None
  masks: UInt8[Any, "B M S S"] | None = None


class Detections(NamedTuple):
  """The K best detections; batch axes may lead.

  They come best first: by their scores, or with `class_agnostic` by objectness.
  A `detector.Detector` gives boxes in pixels of the picture.
  """

  boxes: Float[Any, "*B K 4"]  # xyxy in [0, 1] of the network's input
  scores: Float[Any, "*B K"]  # how sure it is of the class
  labels: Int[Any, "*B K"]
  mask: Bool[Any, "*B K"]  # false: fewer than K were found
  # Probabilities in the frame of each box; None: of a detector of boxes alone.
  masks: Float[Any, "*B K S S"] | None = None

  def take(self, index: Any) -> Detections:
    """Those of an index, a slice or a mask along the first axis."""
    return Detections(
      *(None if column is None else column[index] for column in self)
    )


class Step(NamedTuple):
  """Where a training is.

  Attributes:
    images_seen: by the whole run, this batch's images included.
    key: of this step's randomness, a function of the run's seed and the step.
  """

  images_seen: Int[Any, ""]
  key: Any


class Task(NamedTuple):
  """All that the rest of the package knows of a detector: pure functions.

  Attributes:
    init: (key, size) -> variables, a dict of params and batch_stats. size is
      (height, width) in pixels.
    loss: (variables, batch, step) -> (scalar, (new batch_stats, parts)), the
      mean over the batch's images; parts are scalars by name that sum to it.
    predict: (variables, images) -> Detections, of uint8 images (B, H, W, 3).
      With needs_proposals: (variables, images, proposals).
    check_size: (size) -> None; ValueError for a size that the network does not
      take, saying which it takes.
    learns_from: "boxes", "image labels" or "both"; pictures that have nothing
      else are refused before the training begins.
    needs_proposals: whether loss reads `Batch.proposals`, and predict takes
      them.
  """

  init: Callable[..., Any]
  loss: Callable[..., Any]
  predict: Callable[..., Any]
  check_size: Callable[[tuple[int, int]], None]
  learns_from: str = "boxes"
  needs_proposals: bool = False

  def inputs(self, batch: Batch) -> tuple[Any, ...]:
    """What predict takes of a batch, beside the variables."""
    if self.needs_proposals:
      return batch.image, batch.proposals
    return (batch.image,)
