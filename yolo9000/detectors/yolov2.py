"""YOLOv2: YOLO9000, arXiv 1612.08242, section 2.

The network, how its numbers become boxes, its loss. The formulas are in
losses/detection.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from yolo9000 import losses, ranges
from yolo9000.boxes import suppression
from yolo9000.boxes.suppression import Suppression
from yolo9000.losses.detection import check_location
from yolo9000.networks import input as pictures
from yolo9000.networks.backbone import backbone
from yolo9000.networks.chain import Chain
from yolo9000.networks.norm import Norm
from yolo9000.networks.rows import (
  STRIDE,
  Conv,
  Layer,
  Region,
  Reorg,
  Route,
  check_priors,
  widen,
)
from yolo9000.types import Batch, Detections, Float, Step, Task, UInt8
from yolo9000.wordtree import Classes

# What follows each backbone, by `passthrough`.
HEADS: dict[str, dict[str, tuple[Layer, ...]]] = {
  # Section 2, training for detection: three 3 x 3 convolutions of 1024 filters,
  # the last one after the passthrough from layer 16, "the final 3 x 3 x 512".
  "darknet19": {
    "none": (Conv(1024, 3), Conv(1024, 3), Conv(1024, 3)),
    "paper": (
      *(Conv(1024, 3), Conv(1024, 3)),
      *(Route((16,)), Reorg(), Route((-1, 24))),
      Conv(1024, 3),
    ),
    # From March 2017 the program first narrows the passthrough to 64 channels.
    "program": (
      *(Conv(1024, 3), Conv(1024, 3)),
      *(Route((16,)), Conv(64, 1), Reorg(), Route((-1, 24))),
      Conv(1024, 3),
    ),
    # YOLO9000 has no convolution here, in the program's yolo9000.cfg.
    "bare": (),
  },
  # Tiny YOLOv2, in the program's yolov2-tiny-voc.cfg.
  "tiny": {"none": (Conv(1024, 3),)},
}
# What follows any other: YOLO's last four, none halves the picture.
PLAIN_HEADS = {"none": (Conv(1024, 3),) * 4}


class Network(NamedTuple):
  """In a config, `task.network`.

  Attributes:
    backbone: see `networks.backbone`.
    passthrough: "paper" (512 channels become 2048), "program" (64 become 256),
      "none", or "bare": none and no other convolution of the head. Backbones
      other than Darknet-19 have "none".
    program_reorg: see `rows.Reorg`; released weights need it.
    priors: A pairs (w, h) in cells.
    location: "direct" or "offset", see `losses.decode`.
    classes: "softmax" for classes that exclude each other, "logistic" for each
      on its own; "tree" for YOLO9000's.
    width: 1 is the paper's network.
    dtype: of the computation, "float32" or "bfloat16".
  """

  backbone: str = "darknet19"
  passthrough: str = "paper"
  program_reorg: bool = False
  priors: Any = ()
  location: str = "direct"
  classes: str = "softmax"
  width: float = 1.0
  dtype: str = "float32"


class Loss(NamedTuple):
  """In a config, `task.loss`; see `losses.detection_loss`.

  prior_pull lasts while fewer than prior_pull_images images have been seen.
  The paper names no weights; the defaults are the program's.
  """

  weights: losses.Weights = losses.Weights(1.0, 5.0, 1.0, 1.0)
  ignore_iou: float = 0.6
  small_box_weight: bool = True
  prior_pull: float = 0.01
  prior_pull_images: int = 12_800
  rescore: bool = True
  match_predicted_shape: bool = False

  def check(self) -> None:
    """Raises ValueError for an option that cannot be, saying what can."""
    self.weights.check()
    ranges.check(
      "task.loss",
      self,
      ignore_iou="[0, 1]",
      prior_pull="[0, inf)",
      prior_pull_images="[0, inf)",
    )


class Detect(NamedTuple):
  """In a config, `task.detect`; it changes no training.

  Attributes:
    iou_threshold, score_threshold, max_candidates, max_detections: see
      `suppression.Suppression`.
    class_agnostic: boxes suppress each other by objectness, whatever their
      classes.
    classes: names or labels of those that can be answers, none for all. A
      softmax is taken over these alone.
  """

  iou_threshold: float = 0.45
  score_threshold: float = 0.5
  max_candidates: int = 1000
  max_detections: int = 100
  class_agnostic: bool = False
  classes: Sequence[str] = ()

  @property
  def suppression(self) -> Suppression:
    """The options of suppression alone."""
    return Suppression(*self[:4])


class Options(NamedTuple):
  """In a config, `task`."""

  network: Network = Network()
  norm: Norm = Norm()
  loss: Loss = Loss()
  detect: Detect = Detect()


def network_rows(options: Options, classes: Classes) -> tuple[Layer, ...]:
  """The network: (H, W, 3) to A * (5 + C) numbers for each cell of 32 pixels.

  The last row says how they are read.

  Source: section 2. Differs: the paper takes a pooling layer out of YOLO's
  network; here it is the stride of a later convolution, because every pool lies
  in what was trained as a classifier.
  """
  how = options.network
  if how.classes not in ("softmax", "logistic"):
    raise ValueError(
      f"task.network.classes is {how.classes!r}; allowed are 'softmax' and "
      f"'logistic'"
    )
  exclusive = how.classes == "softmax"
  return layers(how, Region((), len(classes.names), exclusive))


def layers(how: Network, region: Region) -> tuple[Layer, ...]:
  """The network's rows; `region` still lacks priors and location."""
  check_priors(how.priors)
  check_location(how.location)
  first = backbone(how.backbone, batch_norm=True, width=how.width)
  heads = HEADS.get(how.backbone, PLAIN_HEADS)
  if how.passthrough not in heads:
    raise ValueError(
      f"task.network.passthrough is {how.passthrough!r}; allowed with backbone "
      f"{how.backbone!r} are {', '.join(heads)}"
    )
  head = tuple(
    Reorg(program_order=how.program_reorg) if isinstance(row, Reorg) else row
    for row in heads[how.passthrough]
  )
  priors = tuple((float(w), float(h)) for w, h in how.priors)
  outputs = len(priors) * (5 + region.num_classes)
  last = Conv(outputs, 1, batch_norm=False, activation="linear")
  region = region._replace(priors=priors, location=how.location)
  return (*first, *widen(head, how.width), last, region)


def make_task(
  options: Options,
  classes: Classes,
  rows: Sequence[Layer] | None = None,
) -> Task:
  """YOLOv2 for these classes.

  Args:
    options: each is documented and checked where it is defined.
    classes: C of them.
    rows: the network, such as a .cfg's; None for that of the options.

  Raises:
    ValueError: for an option that cannot be, saying what can.
  """
  options.norm.check()
  options.loss.check()
  options.detect.suppression.check()
  rows = tuple(rows or network_rows(options, classes))
  head: Any = rows[-1]
  network = Chain(rows, pictures.dtype_of(options.network.dtype), options.norm)
  priors = jnp.asarray(head.priors, jnp.float32)
  error = losses.softmax_error if head.exclusive else losses.logistic_error
  of_boxes = boxes_loss(options.loss, head, error)
  nodes = classes.labels(options.detect.classes, "task.detect.classes")
  of_picture = partial(
    detections,
    probabilities=class_probabilities(head.exclusive, nodes),
    how=options.detect,
  )

  check_size = partial(pictures.check_multiple, STRIDE)
  init = partial(pictures.begin, network, check_size)

  def loss(variables: Any, batch: Batch, step: Step) -> tuple[Array, Any]:
    output, stats = pictures.train(network, variables, batch.image)
    parts = jax.vmap(partial(of_boxes, images_seen=step.images_seen))(
      slots(output, len(priors)), batch.boxes, batch.labels, batch.mask
    )
    parts = losses.over_pictures(parts, batch.valid)
    return sum(parts.values()), (stats, parts)

  def predict(variables: Any, images: UInt8[Array, "B H W 3"]) -> Detections:
    output = pictures.predict(network, variables, images)
    raw = slots(output, len(priors))
    found = jax.vmap(partial(all_slots, priors=priors, location=head.location))
    return jax.vmap(of_picture)(found(raw))

  return Task(init, loss, predict, check_size)


def boxes_loss(
  how: Loss, region: Region, error: Callable[..., Array]
) -> Callable[..., dict[str, Array]]:
  """`losses.detection_loss` with these options; it takes images_seen."""
  partly = partial(
    losses.detection_loss,
    priors=jnp.asarray(region.priors, jnp.float32),
    location=region.location,
    class_error=error,
    weights=how.weights,
    ignore_iou=how.ignore_iou,
    small_box_weight=how.small_box_weight,
    rescore=how.rescore,
    match_predicted_shape=how.match_predicted_shape,
  )

  def of_picture(*truth: Array, images_seen: Array, **more: Any) -> Any:
    pulled = images_seen < how.prior_pull_images
    pull = jnp.where(pulled, how.prior_pull, 0.0)
    return partly(*truth, prior_pull=pull, **more)

  return of_picture


def slots(
  output: Float[Array, "B Y X D"], num_priors: int
) -> Float[Array, "B Y X A F"]:
  """The network's output as `raw`, the numbers of each slot."""
  return output.reshape(*output.shape[:3], num_priors, -1)


class Candidates(NamedTuple):
  """Slots that may become detections.

  Attributes:
    boxes: xyxy in [0, 1], not clipped.
    objectness: sigmoid(t_o).
    logits: of the classes.
  """

  boxes: Float[Array, "N 4"]
  objectness: Float[Array, " N"]
  logits: Float[Array, "N C"]


def all_slots(
  raw: Float[Array, "Y X A F"], priors: Float[Array, "A 2"], *, location: str
) -> Candidates:
  """Every slot; priors in cells, location as in `losses.decode`."""
  numbers = raw.reshape(-1, raw.shape[-1])
  return Candidates(
    losses.decode(raw, priors, location=location).reshape(-1, 4),
    jax.nn.sigmoid(numbers[:, 4]),
    numbers[:, 5:],
  )


def class_probabilities(
  exclusive: bool, labels: Sequence[int] | None
) -> Callable[[Array], Array]:
  """From logits (N, C) the probability of each class.

  Args:
    exclusive: a softmax over the classes; otherwise each on its own.
    labels: of the classes that can be answers, None for all. A softmax is taken
      over these alone; the others have probability 0.
  """
  rule = jax.nn.softmax if exclusive else jax.nn.sigmoid

  def probabilities(logits: Float[Array, "N C"]) -> Float[Array, "N C"]:
    if labels is None:
      return rule(logits)
    few = jnp.asarray(labels)
    return jnp.zeros_like(logits).at[:, few].set(rule(logits[:, few]))

  return probabilities


def detections(
  candidates: Candidates,
  *,
  probabilities: Callable[[Array], Array],
  how: Any,
) -> Detections:
  """Detections of one picture.

  Args:
    candidates: from `all_slots`.
    probabilities: of the classes that can be answers, from logits (N, C).
    how: a `Detect`, or what has its suppression and class_agnostic.
  """
  boxes, objectness, logits = candidates
  of_class = probabilities(logits)
  if how.class_agnostic:
    return suppression.class_agnostic(
      boxes, objectness, of_class, how=how.suppression
    )
  scores = objectness[:, None] * of_class
  return suppression.per_class(boxes, scores, how=how.suppression)
