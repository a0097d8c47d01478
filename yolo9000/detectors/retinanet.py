"""RetinaNet: "Focal Loss for Dense Object Detection", arXiv 1708.02002.

The network, its anchors, how its numbers become boxes. The loss is in
losses/dense.py.

Classes are logistic, each on its own: that none is likely is how an anchor says
that there is no object. A tree's softmax has no such answer, because of a group
of siblings one is always likely, and RetinaNet has no objectness beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, core

from yolo9000 import boxes as box
from yolo9000 import losses, ranges
from yolo9000.boxes import anchors as grids_of_boxes
from yolo9000.boxes import coding, suppression
from yolo9000.boxes.suppression import Suppression
from yolo9000.losses.dense import WEIGHTS, check_box_error
from yolo9000.networks import input as pictures
from yolo9000.networks.conv import conv
from yolo9000.networks.fpn import FeaturePyramid
from yolo9000.networks.norm import Norm
from yolo9000.networks.resnet import resnet
from yolo9000.networks.rows import widened
from yolo9000.types import Batch, Detections, Float, Step, Task, UInt8
from yolo9000.wordtree import Classes

STRIDES = (8, 16, 32, 64, 128)  # pixels per cell of the levels P3 to P7
MULTIPLE = 32  # of which sides of pictures are
PRIOR_PROBABILITY = 0.01  # of every class of every anchor to begin with
DEVIATION = 0.01  # of weights to begin with


class Network(NamedTuple):
  """In a config, `task.network`.

  Attributes:
    backbone: "resnet50" or "resnet101".
    frozen_norm: the backbone's batch norm stays as the run starts. For a run
      that starts from a classifier, as the published ones do.
    beyond: where P6 is from, see `FeaturePyramid`: "c5" as in the paper, or
      "p5" as in torchvision's first version.
    anchor_scale: side of a level's smallest square anchor, in cells.
    scales: so many sizes of anchors from there to twice that side.
    ratios: of the anchors, height / width.
    deviation: of the weights of each tower's four convolutions, to begin with.
      The one that answers begins with the paper's .01 always, so that the first
      answers are near its bias. With .01 the signal becomes a third with each
      layer; in a narrow network nearly nothing is left of it, and it needs
      more, about .01 / width.
    width: 1 is the paper's network.
    dtype: of the computation, "float32" or "bfloat16".
  """

  backbone: str = "resnet50"
  frozen_norm: bool = True
  beyond: str = "c5"
  anchor_scale: float = 4.0
  scales: int = 3
  ratios: Sequence[float] = (0.5, 1.0, 2.0)
  deviation: float = DEVIATION
  width: float = 1.0
  dtype: str = "float32"


class Loss(NamedTuple):
  """In a config, `task.loss`; see `losses.dense_loss`."""

  high: float = 0.5
  low: float = 0.4
  keep_best: bool = True
  alpha: float | None = 0.25
  gamma: float = 2.0
  box_error: str = "smooth_l1"
  beta: float = 1 / 9


class Options(NamedTuple):
  """In a config, `task`.

  detect: see `Suppression`; max_candidates are of each level.
  """

  network: Network = Network()
  norm: Norm = Norm()
  loss: Loss = Loss()
  detect: Suppression = Suppression(0.5, 0.05, 1000, 100)


def check(options: Options) -> None:
  """Raises ValueError for options that cannot be, saying what can."""
  options.norm.check()
  options.detect.check()
  check_box_error(options.loss.box_error)
  how, loss = options.network, options.loss
  pictures.dtype_of(how.dtype)
  resnet(how.backbone, width=how.width)
  if how.beyond not in ("c5", "p5"):
    raise ValueError(
      f"task.network.beyond is {how.beyond!r}; allowed are 'c5' and 'p5'"
    )
  ranges.check(
    "task.network",
    how,
    scales="[1, inf)",
    anchor_scale="(0, inf)",
    ratios="(0, inf)",
    deviation="[0, inf)",
  )
  ranges.check("task.loss", loss, gamma="[0, inf)", beta="[0, inf)")
  if loss.alpha is not None:
    ranges.check("task.loss", loss, alpha="[0, 1]")
  if not 0 <= loss.low <= loss.high <= 1:
    raise ValueError(
      f"task.loss.low is {loss.low} and high {loss.high}; expected 0 <= low "
      f"<= high <= 1"
    )


class Tower(nn.Module):
  """Section 4: four 3 x 3 convolutions with ReLU, and one that answers.

  Its weights are shared by all levels: it is called with each.

  Attributes:
    filters: of the four.
    deviation: of the four's weights, to begin with.
    dtype: of the computation.
    outputs: of the last, for each cell.
    bias: of the last, to begin with.
  """

  filters: int
  deviation: float
  dtype: Any
  outputs: int
  bias: float

  @nn.compact
  def __call__(self, x: Float[Array, "B Y X D"]) -> Float[Array, "B Y X E"]:
    """What the last convolution answers, float32."""
    normal = nn.initializers.normal
    layer = partial(conv, size=3, dtype=self.dtype)
    for number in range(4):
      kernel = normal(self.deviation)
      x = layer(x, self.filters, name=f"conv_{number}", kernel_init=kernel)
      x = jax.nn.relu(x)
    x = layer(
      x,
      self.outputs,
      name="answer",
      kernel_init=normal(DEVIATION),
      bias_init=nn.initializers.constant(self.bias),
    )
    return x.astype(jnp.float32)


class Heads(nn.Module):
  """The two towers: classes, and boxes whatever the class.

  Attributes:
    num_anchors: A, of a cell.
    num_classes: C.
    filters, deviation, dtype: of the towers.
  """

  num_anchors: int
  num_classes: int
  filters: int
  deviation: float
  dtype: Any

  @nn.compact
  def __call__(
    self, levels: Sequence[Float[Array, "B ..."]]
  ) -> tuple[Float[Array, "B N C"], Float[Array, "B N 4"]]:
    """Logits and codes of all anchors, in their order."""
    rare = -math.log((1 - PRIOR_PROBABILITY) / PRIOR_PROBABILITY)
    found = []
    for name, numbers, bias in (
      ("classes", self.num_classes, rare),
      ("boxes", 4, 0.0),
    ):
      tower = Tower(
        self.filters,
        self.deviation,
        self.dtype,
        outputs=self.num_anchors * numbers,
        bias=bias,
        name=name,
      )
      answers = [
        tower(level).reshape(level.shape[0], -1, numbers) for level in levels
      ]
      found.append(jnp.concatenate(answers, axis=1))
    return found[0], found[1]


class RetinaNet(nn.Module):
  """Figure 3: a residual network, a pyramid, two towers.

  Attributes:
    how: the options.
    norm: of the residual network.
    num_classes: C.
  """

  how: Network
  norm: Norm
  num_classes: int

  @nn.compact
  def __call__(
    self, x: Float[Array, "B H W 3"], *, train: bool
  ) -> tuple[Float[Array, "B N C"], Float[Array, "B N 4"]]:
    """Logits and codes of all anchors, from pictures in [0, 1]."""
    how = self.how
    dtype = pictures.dtype_of(how.dtype)
    filters = widened(256, how.width)
    backbone = resnet(
      how.backbone,
      width=how.width,
      norm=self.norm,
      frozen=how.frozen_norm,
      dtype=dtype,
      name="backbone",
    )
    _, *maps = backbone(pictures.standardise(x), train=train)
    pyramid = FeaturePyramid(filters, how.beyond, dtype, name="pyramid")
    heads = Heads(
      how.scales * len(how.ratios),
      self.num_classes,
      filters,
      how.deviation,
      dtype,
      name="heads",
    )
    return heads(pyramid(maps))


def grids(size: tuple[int, int]) -> list[tuple[int, int]]:
  """Rows and columns of each level for pictures of a size."""
  return [(-(-size[0] // s), -(-size[1] // s)) for s in STRIDES]


def anchors(size: tuple[int, int], how: Network) -> Float[Array, "N 4"]:
  """Of all levels, for pictures of this (height, width); xyxy in [0, 1].

  Source: section 4, "Anchors". Differs: a level's stride is a power of 2 also
  where that does not divide the picture; torchvision takes the whole number of
  pixels by which it does, and cuts sizes to whole pixels.
  """
  growth = [2 ** (n / how.scales) for n in range(how.scales)]
  boxes = grids_of_boxes.anchors(
    size,
    grids(size),
    strides=STRIDES,
    sizes_px=[[how.anchor_scale * s * x for x in growth] for s in STRIDES],
    ratios=[how.ratios] * len(STRIDES),
  )
  return jnp.asarray(boxes)


def make_task(options: Options, classes: Classes) -> Task:
  """RetinaNet for these classes.

  Args:
    options: each is documented and checked where it is defined.
    classes: C of them.

  Raises:
    ValueError: for an option that cannot be, saying what can.
  """
  check(options)
  how = options.network._replace(ratios=tuple(options.network.ratios))
  network = RetinaNet(how, options.norm, len(classes.names))

  check_size = partial(pictures.check_multiple, MULTIPLE)
  init = partial(pictures.begin, network, check_size)

  def loss(variables: Any, batch: Batch, step: Step) -> tuple[Array, Any]:
    del step
    output, stats = pictures.train(network, variables, batch.image)
    of_picture = partial(
      losses.dense_loss,
      anchors=anchors(batch.image.shape[1:3], how),
      **options.loss._asdict(),
    )
    parts = jax.vmap(of_picture)(*output, batch.boxes, batch.labels, batch.mask)
    parts = losses.over_pictures(parts, batch.valid)
    return sum(parts.values()), (stats, parts)

  def predict(variables: Any, images: UInt8[Array, "B H W 3"]) -> Detections:
    size = images.shape[1:3]
    of_picture = partial(
      detections,
      anchors=anchors(size, how),
      levels=[y * x * how.scales * len(how.ratios) for y, x in grids(size)],
      how=options.detect,
    )
    return jax.vmap(of_picture)(*pictures.predict(network, variables, images))

  return Task(init, loss, predict, check_size)


def detections(
  logits: Float[Array, "N C"],
  codes: Float[Array, "N 4"],
  *,
  anchors: Float[Array, "N 4"],
  levels: Sequence[int],
  how: Suppression,
) -> Detections:
  """Detections of one picture, their boxes within it.

  Args:
    logits, codes: of the anchors.
    anchors: xyxy in [0, 1].
    levels: number of anchors of each.
    how: its max_candidates are of each level, by score; all levels suppress
      each other, each class only itself.

  Source: section 4.1, "Inference".
  """
  num_classes = logits.shape[1]
  scores, places, start = [], [], 0
  for count in levels:
    of_level = jax.nn.sigmoid(logits[start : start + count]).reshape(-1)
    most = core.min_dim(how.max_candidates, of_level.shape[0])
    top, place = jax.lax.top_k(of_level, most)
    scores.append(top)
    places.append(place + start * num_classes)
    start += count
  score, order = jax.lax.top_k(jnp.concatenate(scores), sum(map(len, scores)))
  best = jnp.concatenate(places)[order]
  anchor, label = best // num_classes, best % num_classes
  boxes = box.clip(coding.decode(codes[anchor], anchors[anchor], WEIGHTS))
  return suppression.labelled(boxes, score, label, how=how)
