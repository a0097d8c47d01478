"""R-FCN: "Object Detection via Region-based Fully Convolutional Networks",
arXiv 1605.06409.

Faster R-CNN without layers behind the rois: the last convolution says for each
class, and for each of 7 x 7 parts of an object, whether it is there. Each part
of a roi is looked up in that part's own map; the roi has the mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, core

from yolo9000 import losses, ranges
from yolo9000.boxes import roi, sampling, suppression
from yolo9000.boxes.proposals import Amounts
from yolo9000.boxes.sampling import SampledRois
from yolo9000.boxes.suppression import Suppression
from yolo9000.detectors import faster_rcnn
from yolo9000.detectors.faster_rcnn import WEIGHTS, Raw
from yolo9000.networks import input as pictures
from yolo9000.networks.conv import conv
from yolo9000.networks.norm import Norm
from yolo9000.networks.regions import ProposalHead
from yolo9000.networks.resnet import resnet
from yolo9000.networks.rows import widened
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
    backbone: "resnet101" or "resnet50"; its last stage keeps 16 pixels a cell.
    frozen_norm: the backbone's batch norm stays as the run starts.
    anchor_scale: side of the smallest square anchor, in cells; there are those
      of twice and of four times that side.
    ratios: of the anchors, height / width.
    bins: parts of a roi, so many by so many.
    deviation: of the new layers' weights to begin with.
    width: 1 is the paper's network.
    dtype: of the computation, "float32" or "bfloat16".
  """

  backbone: str = "resnet101"
  frozen_norm: bool = True
  anchor_scale: float = 8.0
  ratios: Sequence[float] = (0.5, 1.0, 2.0)
  bins: int = 7
  deviation: float = 0.01
  width: float = 1.0
  dtype: str = "float32"

  @property
  def strides(self) -> tuple[int, ...]:
    """Pixels per cell of the map that anchors are on."""
    return (16,)

  @property
  def sizes(self) -> int:
    """Of the anchors of a place."""
    return 3


class Loss(NamedTuple):
  """In a config, `task.loss`; see `losses.region_loss`.

  Attributes:
    foreground: least IoU of a roi that has a truth; the others have none.
    hard: of a picture the so many rois of the highest loss are learned from.
    beta: see `losses.smooth_l1`.
  """

  foreground: float = 0.5
  hard: int = 128
  beta: float = 1.0


class Options(NamedTuple):
  """In a config, `task`; otherwise as in `faster_rcnn.Options`."""

  network: Network = Network()
  norm: Norm = Norm()
  train_proposals: Amounts = Amounts(6000, 300)
  test_proposals: Amounts = Amounts(6000, 300)
  proposal_loss: faster_rcnn.ProposalLoss = faster_rcnn.ProposalLoss()
  loss: Loss = Loss()
  detect: Suppression = Suppression(0.3, 0.05, 2000, 100)


def check(options: Options) -> None:
  """Raises ValueError for options that cannot be, saying what can."""
  how, loss = options.network, options.loss
  pictures.dtype_of(how.dtype)
  resnet(how.backbone, width=how.width)
  faster_rcnn.check(
    faster_rcnn.Options(
      faster_rcnn.Network(anchor_scale=how.anchor_scale, ratios=how.ratios),
      options.norm,
      options.train_proposals,
      options.test_proposals,
      options.proposal_loss,
      faster_rcnn.Loss(loss.foreground),
      options.detect,
    )
  )
  ranges.check("task.network", how, bins="[1, inf)", deviation="[0, inf)")
  ranges.check("task.loss", loss, hard="[1, inf)", beta="[0, inf)")


class RFCN(nn.Module):
  """Figure 2: features, proposals, and maps of the parts of objects.

  Attributes:
    num_classes: C.
    how: the options.
    norm: of the residual network.
  """

  num_classes: int
  how: Network
  norm: Norm

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B H W 3"],
    *,
    train: bool,
    choose: faster_rcnn.Choose = faster_rcnn.whole,
  ) -> Raw:
    """From pictures in [0, 1]; what is said of boxes is whatever the class.

    Source: section 2. The proposals are of the fourth stage's map; the last
    stage has no stride but a dilation of 2.
    """
    how, dtype = self.how, pictures.dtype_of(self.how.dtype)
    backbone = resnet(
      how.backbone,
      width=how.width,
      norm=self.norm,
      frozen=how.frozen_norm,
      dtype=dtype,
      dilated=True,
      name="backbone",
    )
    *_, fourth, last = backbone(pictures.standardise(x), train=train)
    objectness, proposal_codes = ProposalHead(
      how.sizes * len(how.ratios),
      widened(512, how.width),
      two_way=True,
      deviation=how.deviation,
      dtype=dtype,
      name="proposals",
    )((fourth,))
    chosen = choose(objectness, proposal_codes)

    layer = partial(
      conv, dtype=dtype, kernel_init=nn.initializers.normal(how.deviation)
    )
    filters = widened(1024, how.width)
    shared = jax.nn.relu(layer(last, filters, 1, name="shared"))
    parts = how.bins**2
    edges = jnp.asarray((*x.shape[2:0:-1], *x.shape[2:0:-1]), jnp.float32)
    rois_cells = chosen.rois * edges[None, None] / how.strides[0]
    vote = jax.vmap(partial(roi.position_pool, bins=(how.bins, how.bins)))

    def said(name: str, outputs: int) -> Float[Array, "B R E"]:
      maps = layer(shared, parts * outputs, 1, name=name)
      votes = vote(maps.astype(jnp.float32), rois_cells)
      return jnp.mean(votes, axis=(2, 3))

    logits = said("classes", 1 + self.num_classes)
    # Of the background and of objects; the background's are not used.
    codes = said("boxes", 8).reshape(*logits.shape[:2], 2, 4)[:, :, 1:]
    return Raw(objectness, proposal_codes, chosen, logits, codes)


def hard_loss(
  logits: Float[Array, "R D"],
  codes: Float[Array, "R 1 4"],
  boxes: Float[Array, "M 4"],
  labels: Int[Array, " M"],
  rois: SampledRois,
  *,
  how: Loss,
) -> tuple[dict[str, Float[Array, ""]], Int[Array, ""]]:
  """`losses.region_loss` of the hardest rois of one picture, and their number.

  Source: section 2, "Training": online hard example mining, of all proposals
  those of the highest loss.
  """

  def of_roi(*one: Any) -> dict[str, Float[Array, ""]]:
    logits, codes, *chosen = jax.tree.map(lambda part: part[None], one)
    of_rois, truth, sample = chosen
    return losses.region_loss(
      logits,
      codes,
      boxes,
      labels,
      rois=of_rois,
      truth=truth,
      sample=sample,
      weights=WEIGHTS,
      beta=how.beta,
    )

  each = jax.vmap(of_roi)(logits, codes, rois.rois, rois.truth, rois.sample)
  hard = hardest(each["label"] + each["coord"], rois.mask, how.hard)
  sums = {
    name: jnp.sum(jnp.where(hard, part, 0.0)) for name, part in each.items()
  }
  return sums, jnp.sum(hard)


def hardest(
  loss: Float[Array, " R"], mask: Bool[Array, " R"], count: int
) -> Bool[Array, " R"]:
  """The so many of the highest loss, or all if there are fewer."""
  loss = jnp.where(mask, jax.lax.stop_gradient(loss), -jnp.inf)
  _, index = jax.lax.top_k(loss, core.min_dim(count, loss.shape[0]))
  return jnp.zeros_like(mask).at[index].set(True) & mask


def make_task(options: Options, classes: Classes) -> Task:
  """R-FCN for these classes.

  Args:
    options: each is documented and checked where it is defined.
    classes: C of them.

  Raises:
    ValueError: for an option that cannot be, saying what can.
  """
  check(options)
  how = options.network._replace(ratios=tuple(options.network.ratios))
  network = RFCN(len(classes.names), how, options.norm)
  check_size = partial(faster_rcnn.check_sides, how)

  init = partial(pictures.begin, network, check_size)

  def loss(variables: Any, batch: Batch, step: Step) -> tuple[Array, Any]:
    of_anchors, *_ = faster_rcnn.keys_of(step, batch)
    size, amounts = batch.image.shape[1:3], options.train_proposals
    propose = faster_rcnn.shown_rois(size, how=how, amounts=amounts)
    every = partial(sampling.every_roi, foreground=options.loss.foreground)

    def choose(objectness: Array, codes: Array) -> SampledRois:
      found = propose(objectness, codes)
      return jax.vmap(every)(*found, batch.boxes, batch.mask)

    raw, stats = pictures.train(network, variables, batch.image, choose=choose)
    parts = faster_rcnn.first_parts(
      raw, batch, of_anchors, how=how, loss=options.proposal_loss
    )
    sums = jax.vmap(partial(hard_loss, how=options.loss))(
      raw.logits, raw.codes, batch.boxes, batch.labels, raw.chosen
    )
    parts |= losses.over_counted(*sums, batch.valid)
    return sum(parts.values()), (stats, parts)

  def predict(variables: Any, images: UInt8[Array, "B H W 3"]) -> Detections:
    size, amounts = images.shape[1:3], options.test_proposals
    raw = pictures.predict(
      network,
      variables,
      images,
      choose=faster_rcnn.shown_rois(size, how=how, amounts=amounts),
    )
    scores = jax.nn.softmax(raw.logits, axis=-1)[..., 1:]
    of_picture = partial(
      suppression.of_classes, weights=WEIGHTS, how=options.detect
    )
    rois = raw.chosen
    return jax.vmap(of_picture)(scores, raw.codes, rois.rois, rois.mask)

  return Task(init, loss, predict, check_size)
