"""RefineDet: Single-Shot Refinement Neural Network, arXiv 1711.06897.

It extends SSD by a second look: the anchor refinement module (ARM) moves the
anchors and drops the easy ones, and the object detection module (ODM) starts
from what is left, on maps that the transfer connection blocks (TCB) make.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from yolo9000 import boxes as box
from yolo9000 import losses, ranges
from yolo9000.boxes import coding, suppression
from yolo9000.boxes.suppression import Suppression
from yolo9000.detectors import ssd
from yolo9000.networks import input as pictures
from yolo9000.networks.backbone import with_norm
from yolo9000.networks.chain import Chain
from yolo9000.networks.conv import conv
from yolo9000.networks.norm import L2Norm, Norm
from yolo9000.networks.rows import Conv, Layer, MaxPool, widen, widened
from yolo9000.networks.vgg import CONV4_3, CONV5_3, FC7, VGG16
from yolo9000.types import (
  Batch,
  Bool,
  Detections,
  Float,
  Int,
  Step,
  Task,
  UInt8,
)
from yolo9000.wordtree import Classes


class Network(NamedTuple):
  """In a config, `task.network`.

  Attributes:
    transferred: filters of the levels that the ODM looks at.
    batch_norm: in the trunk's convolutions, see `ssd.Network`.
    width: 1 is the paper's network.
    dtype: of the computation, "float32" or "bfloat16".
  """

  transferred: int = 256
  batch_norm: bool = False
  width: float = 1.0
  dtype: str = "float32"


class Loss(NamedTuple):
  """In a config, `task.loss`; see `ssd.Loss`, for both modules.

  Attributes:
    threshold, bipartite, negatives: see there.
    easy: an anchor whose probability of an object is at most this, by the ARM,
      is nothing to the ODM, in training and in detection. The paper's theta is
      1 minus it.
    keep_assigned: an easy anchor that a truth is assigned to teaches the ODM
      all the same. Differs: so in the program (`MineHardExamples`), which drops
      easy background alone; in the paper easy anchors are dropped.
  """

  threshold: float = 0.5
  bipartite: bool = True
  negatives: float = 3.0
  easy: float = 0.01
  keep_assigned: bool = False


class Options(NamedTuple):
  """In a config, `task`. In `detect`, candidates are those of each class."""

  network: Network = Network()
  default_boxes: ssd.DefaultBoxes = ssd.DefaultBoxes(
    size=320,
    sides=(32, 64, 128, 256),
    ratios=((2,),) * 4,
    steps=(8, 16, 32, 64),
  )
  norm: Norm = Norm()
  loss: Loss = Loss()
  detect: Suppression = Suppression(0.45, 0.01, 1000, 500)


REFINEDET320 = Options()
REFINEDET512 = Options(default_boxes=Options().default_boxes._replace(size=512))


def trunk(how: Network) -> tuple[tuple[Layer, ...], tuple[int, ...]]:
  """VGG-16 and two convolutions; numbers of the four rows that are levels.

  Source: the paper's "Backbone Network", and its program. fc7 has 32 pixels to
  a cell, so a pool of stride 2 comes before it and fc6's dilation is halved.
  """
  pool5, fc6, fc7 = VGG16[CONV5_3 + 1 :]
  rows = (
    *VGG16[: CONV5_3 + 1],
    *(MaxPool(), fc6._replace(dilation=3), fc7),
    Conv(256, 1, activation="relu"),
    Conv(512, 3, activation="relu", stride=2),
  )
  rows = with_norm(widen(rows, how.width), how.batch_norm)
  return rows, (CONV4_3, CONV5_3, FC7, len(rows) - 1)


class Transfer(nn.Module):
  """The transfer connection blocks, Figure 2: from the smallest map upwards.

  Attributes:
    filters: of every level.
    dtype: of the computation.
  """

  filters: int
  dtype: Any

  @nn.compact
  def __call__(self, maps: list[Float[Array, "B _ _ _"]]) -> list[Any]:
    """Levels, each of the size of its map."""
    layer = partial(conv, filters=self.filters, size=3, dtype=self.dtype)
    levels: list[Array] = []
    for number in reversed(range(len(maps))):
      x = jax.nn.relu(layer(maps[number], name=f"first_{number}"))
      x = layer(x, name=f"second_{number}")
      if levels:
        x += nn.ConvTranspose(
          self.filters,
          (2, 2),
          strides=(2, 2),
          padding="VALID",
          kernel_init=nn.initializers.he_normal(),
          dtype=self.dtype,
          name=f"larger_{number}",
        )(levels[0])
      x = layer(jax.nn.relu(x), name=f"third_{number}")
      levels.insert(0, jax.nn.relu(x))
    return levels


class RefineDet(ssd.OnBoxes):
  """From pictures to Raw of the ARM, which knows one class, and of the ODM.

  Source: Figure 1.
  """

  @nn.compact
  def __call__(
    self, x: Float[Array, "B H W 3"], *, train: bool
  ) -> tuple[ssd.Raw, ssd.Raw]:
    """Pictures, RGB in [0, 1]."""
    how, dtype = self.how, pictures.dtype_of(self.how.dtype)
    rows, levels = trunk(how)
    chain = Chain(rows, dtype, self.norm, name="trunk")
    outputs = chain.outputs(pictures.as_caffe(x), train=train)
    maps = [outputs[number] for number in levels]
    maps[0] = L2Norm(10.0, name="conv4_3_norm")(maps[0])
    maps[1] = L2Norm(8.0, name="conv5_3_norm")(maps[1])
    filters = widened(how.transferred, how.width)
    transferred = Transfer(filters, dtype, name="transfer")(maps)
    return (
      ssd.Heads(self.per_cell, 1, dtype, name="arm")(maps),
      ssd.Heads(self.per_cell, self.num_classes, dtype, name="odm")(
        transferred
      ),
    )


def make_task(options: Options, classes: Classes) -> Task:
  """RefineDet for these classes.

  Raises:
    ValueError: for an option that cannot be, saying what can.
  """
  shapes = options.default_boxes
  if shapes.size % 64:  # each level is to have half the cells of the one before
    raise ValueError(
      f"task.default_boxes.size is {shapes.size}; expected a multiple of 64"
    )
  ranges.check("task.loss", options.loss, easy="[0, 1)")
  ranges.check("task.network", options.network, transferred="[1, inf)")
  levels = len(trunk(options.network)[1])
  network = ssd.network_of(RefineDet, options, classes, levels=levels)
  check_size = partial(ssd.check_side, shapes.size)

  init = partial(pictures.begin, network, check_size)

  def loss(variables: Any, batch: Batch, step: Step) -> tuple[Array, Any]:
    (arm, odm), stats = pictures.train(network, variables, batch.image)
    of_picture = partial(
      picture_loss, anchors=shapes.on(arm.grids), how=options.loss
    )
    found = jax.vmap(of_picture)(
      arm.logits,
      arm.codes,
      odm.logits,
      odm.codes,
      batch.boxes,
      batch.labels,
      batch.mask,
    )
    parts = {
      f"{module}_{name}": part
      for module, sums in found.items()
      for name, part in losses.over_counted(*sums, batch.valid).items()
    }
    return sum(parts.values()), (stats, parts)

  def predict(variables: Any, images: UInt8[Array, "B H W 3"]) -> Detections:
    arm, odm = pictures.predict(network, variables, images)
    of_picture = partial(
      detections,
      anchors=shapes.on(arm.grids),
      easy=options.loss.easy,
      how=options.detect,
    )
    return jax.vmap(of_picture)(arm.logits, arm.codes, odm.logits, odm.codes)

  return Task(init, loss, predict, check_size)


def refine(
  logits: Float[Array, "N 2"],
  codes: Float[Array, "N 4"],
  anchors: Float[Array, "N 4"],
  *,
  easy: float,
) -> tuple[Float[Array, "N 4"], Bool[Array, " N"]]:
  """Where the ARM moves the anchors, and which of them it drops.

  No gradient goes back through either.
  """
  moved = coding.decode(codes, anchors, ssd.WEIGHTS)
  probability = jax.nn.softmax(logits, axis=1)[:, 1]
  return jax.lax.stop_gradient(moved), probability <= easy


def picture_loss(
  arm_logits: Float[Array, "N 2"],
  arm_codes: Float[Array, "N 4"],
  logits: Float[Array, "N D"],
  codes: Float[Array, "N 4"],
  boxes: Float[Array, "M 4"],
  labels: Int[Array, " M"],
  mask: Bool[Array, " M"],
  *,
  anchors: Float[Array, "N 4"],
  how: Loss,
) -> dict[str, tuple[dict[str, Float[Array, ""]], Int[Array, ""]]]:
  """Of one picture and for both modules `ssd.picture_loss`.

  To the ARM all truths are of one class. The ODM's anchors are those that it
  moved, matched anew, without the easy ones; see `Loss`.

  Source: the paper's "Loss Function", equation 1. Differs: in a port to
  PyTorch easy anchors stay among those that are mined for background.
  """
  moved, dropped = refine(arm_logits, arm_codes, anchors, easy=how.easy)
  of_arm = ssd.picture_loss(
    arm_logits,
    arm_codes,
    boxes,
    jnp.zeros_like(labels),
    mask,
    default_boxes=anchors,
    how=how,
  )
  of_odm = ssd.picture_loss(
    logits,
    codes,
    boxes,
    labels,
    mask,
    default_boxes=moved,
    how=how,
    ignored=dropped,
    keep_assigned=how.keep_assigned,
  )
  return {"arm": of_arm, "odm": of_odm}


def detections(
  arm_logits: Float[Array, "N 2"],
  arm_codes: Float[Array, "N 4"],
  logits: Float[Array, "N D"],
  codes: Float[Array, "N 4"],
  *,
  anchors: Float[Array, "N 4"],
  easy: float,
  how: Suppression,
) -> Detections:
  """Detections of one picture."""
  moved, dropped = refine(arm_logits, arm_codes, anchors, easy=easy)
  boxes = box.clip(coding.decode(codes, moved, ssd.WEIGHTS))
  scores = jax.nn.softmax(logits, axis=1)[:, 1:]
  scores = jnp.where(dropped[:, None], 0.0, scores)
  return suppression.each_class(boxes, scores, how=how)
