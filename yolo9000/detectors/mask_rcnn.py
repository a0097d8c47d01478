"""Mask R-CNN, arXiv 1703.06870: Faster R-CNN with a mask for each box.

The head of the masks, and how its numbers become masks; the rest is Faster
R-CNN's. The loss is in losses/masks.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from yolo9000 import losses, ranges
from yolo9000.boxes import sampling
from yolo9000.boxes.proposals import Amounts
from yolo9000.boxes.suppression import Suppression
from yolo9000.detectors import faster_rcnn
from yolo9000.detectors.faster_rcnn import (
  Loss,
  ProposalLoss,
  Raw,
  SampledRois,
)
from yolo9000.networks import input as pictures
from yolo9000.networks.conv import conv
from yolo9000.networks.norm import Norm
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

LAYERS = 4  # convolutions of the mask's head
FILTERS = 256  # of each


class Masks(NamedTuple):
  """In a config, `task.masks`.

  Attributes:
    bins: a roi becomes a grid of so many by so many; a mask has twice as many
      cells a side.
    aligned: how truths' masks are projected, see `losses.project_masks`.
    weight: of this loss.
  """

  bins: int = 14
  aligned: bool = True
  weight: float = 1.0


class Options(NamedTuple):
  """In a config, `task`; all but `masks` as in Faster R-CNN's Options.

  `data.mask_size` must be above 0, best twice the masks' cells a side: 56.
  """

  network: faster_rcnn.Network = faster_rcnn.Network()
  norm: Norm = Norm()
  train_proposals: Amounts = Amounts(2000, 2000)
  test_proposals: Amounts = Amounts(1000, 1000)
  proposal_loss: ProposalLoss = ProposalLoss()
  loss: Loss = Loss()
  masks: Masks = Masks()
  detect: Suppression = Suppression(0.5, 0.05, 2000, 100)


def check(options: Options) -> None:
  """Raises ValueError for options that cannot be, saying what can."""
  faster_rcnn.check(_of_boxes(options))
  how = options.masks
  if options.network.backbone == faster_rcnn.VGG:
    raise ValueError(
      f"task.network.backbone is {faster_rcnn.VGG!r}; expected a residual "
      f"network, whose rois are aligned"
    )
  ranges.check("task.masks", how, bins="[1, inf)", weight="(0, inf)")


def _of_boxes(options: Options) -> faster_rcnn.Options:
  """What Faster R-CNN has of these."""
  shared = options._asdict()
  del shared["masks"]
  return faster_rcnn.Options(**shared)


# The network.


class MaskHead(nn.Module):
  """Figure 4, right: 3 x 3 convolutions, and one that doubles the side.

  Attributes:
    outputs: masks for each roi.
    filters: of each convolution; 256 four times in the paper.
    doubled: of the transposed one.
    dtype: of the computation.
  """

  outputs: int
  filters: tuple[int, ...]
  doubled: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "R P P D"]) -> Float[Array, "R S S E"]:
    """Logits of a mask for each class; S = 2 P."""
    for number, filters in enumerate(self.filters):
      x = conv(x, filters, 3, name=f"conv_{number}", dtype=self.dtype)
      x = jax.nn.relu(x)
    x = nn.ConvTranspose(
      self.doubled,
      (2, 2),
      strides=(2, 2),
      kernel_init=nn.initializers.he_normal(),
      dtype=self.dtype,
      name="double",
    )(x)
    x = conv(jax.nn.relu(x), self.outputs, 1, name="answer", dtype=self.dtype)
    return x.astype(jnp.float32)


class Said(NamedTuple):
  """What the network says.

  Attributes:
    boxes: what Faster R-CNN says.
    chosen: what `choose_masks` gave.
    logits: of its rois, a mask for the background and for each class.
  """

  boxes: Raw
  chosen: Any
  logits: Float[Array, "B R S S D"]


class MaskRCNN(faster_rcnn.FasterRCNN):
  """Section 3: a branch for masks, in parallel to that for boxes.

  Attributes:
    bins: a side of the grid that a roi of the masks becomes.
  """

  bins: int = 14

  def setup(self) -> None:
    """Faster R-CNN's layers, and the head of the masks."""
    super().setup()
    filters = widened(FILTERS, self.how.width)
    self.mask_head = MaskHead(
      1 + self.num_classes,
      (filters,) * LAYERS,
      filters,
      pictures.dtype_of(self.how.dtype),
    )

  def __call__(
    self,
    x: Float[Array, "B H W 3"],
    *,
    train: bool,
    choose: faster_rcnn.Choose | None = None,
    dropout_keys: Array | None = None,
    choose_masks: Callable[[Raw], Any] | None = None,
  ) -> Said:
    """As Faster R-CNN's.

    Args:
      x, train, choose, dropout_keys: as there.
      choose_masks: from what is said of boxes to something with `rois`
        (B, R, 4), xyxy in [0, 1], that get masks. None: the same rois.
    """
    size = x.shape[1:3]
    levels = self.features(x, train=train)
    said = self.of_levels(
      levels, size, train=train, choose=choose, dropout_keys=dropout_keys
    )
    chosen = choose_masks(said) if choose_masks else said.chosen
    inside = self.crop(levels, chosen.rois, size, self.bins)
    flat = self.mask_head(inside.reshape(-1, *inside.shape[2:]))
    return Said(said, chosen, flat.reshape(*inside.shape[:2], *flat.shape[1:]))


def probabilities(
  logits: Float[Array, "R S S E"], labels: Int[Array, " R"]
) -> Float[Array, "R S S"]:
  """The mask of each roi's class; section 3.1, "Inference"."""
  own = logits.transpose(0, 3, 1, 2)[jnp.arange(len(labels)), labels]
  return jax.nn.sigmoid(own)


# Losses.


class Positives(NamedTuple):
  """The sampled rois that have a truth, of one picture or of all.

  Attributes:
    rois: xyxy in [0, 1].
    mask: false for padding.
    truth: of each.
  """

  rois: Float[Array, "*B R 4"]
  mask: Bool[Array, "*B R"]
  truth: Int[Array, "*B R"]


def positives_of(rois: SampledRois, *, how: Loss) -> Positives:
  """Of the sampled rois of one picture; masks are learned from no others."""
  most = max(1, int(how.samples * how.positives))
  positive = rois.sample.positive
  none = jnp.zeros_like(positive)
  index, real = sampling.in_order(sampling.Sample(positive, none), most)
  return Positives(rois.rois[index], real, rois.truth[index])


def masks_loss(
  logits: Float[Array, "R S S D"],
  found: Positives,
  boxes: Float[Array, "M 4"],
  labels: Int[Array, " M"],
  masks: UInt8[Array, "M T T"],
  *,
  how: Masks,
) -> tuple[dict[str, Float[Array, ""]], Int[Array, ""]]:
  """`losses.mask_loss` of one picture, and its counted rois' number."""
  targets = losses.project_masks(
    masks.astype(jnp.float32) / 255,
    boxes,
    found.rois,
    found.truth,
    side=logits.shape[1],
    aligned=how.aligned,
  )
  known = jnp.any(masks > 0, axis=(1, 2))[found.truth]
  counted = found.mask & known
  error = losses.mask_loss(logits, targets, labels[found.truth] + 1, counted)
  return {"mask": how.weight * error}, jnp.sum(counted)


def mask_parts(
  said: Said, batch: Batch, *, how: Masks
) -> dict[str, Float[Array, ""]]:
  """The loss of the masks, of a batch.

  Raises:
    ValueError: for a batch without masks.
  """
  if batch.masks is None:
    raise ValueError(
      "the batch has no masks; expected data.mask_size above 0, such as 56"
    )
  sums = jax.vmap(partial(masks_loss, how=how))(
    said.logits, said.chosen, batch.boxes, batch.labels, batch.masks
  )
  return losses.over_counted(*sums, batch.valid)


class Best(NamedTuple):
  """Detections, and their boxes as rois."""

  rois: Float[Array, "B K 4"]
  detections: Detections


def best_of(raw: Raw, *, how: Suppression) -> Best:
  """What gets masks when nothing is learned: the detections."""
  rois = raw.chosen
  found = jax.vmap(partial(faster_rcnn.detections, how=how))(
    raw.logits, raw.codes, rois.rois, rois.mask
  )
  return Best(found.boxes, found)


def make_task(options: Options, classes: Classes) -> Task:
  """Mask R-CNN for these classes.

  A picture's loss is that of its anchors, its rois and their masks. Boxes are
  found first, and the best of them get masks.

  Args:
    options: each is documented and checked where it is defined.
    classes: C of them.

  Raises:
    ValueError: for an option that cannot be, saying what can; and by the loss
      for a batch without masks.
  """
  check(options)
  how = options.network._replace(ratios=tuple(options.network.ratios))
  network = MaskRCNN(
    how, options.norm, len(classes.names), bins=options.masks.bins
  )
  check_size = partial(faster_rcnn.check_sides, how)

  init = partial(pictures.begin, network, check_size)

  def loss(variables: Any, batch: Batch, step: Step) -> tuple[Array, Any]:
    of_anchors, of_rois, of_dropout = faster_rcnn.keys_of(step, batch)
    positives = partial(positives_of, how=options.loss)
    said, stats = pictures.train(
      network,
      variables,
      batch.image,
      choose=faster_rcnn.training_rois(
        batch,
        of_rois,
        how=how,
        amounts=options.train_proposals,
        loss=options.loss,
      ),
      dropout_keys=of_dropout,
      choose_masks=lambda raw: jax.vmap(positives)(raw.chosen),
    )
    first = options.proposal_loss
    parts = {
      **faster_rcnn.first_parts(
        said.boxes, batch, of_anchors, how=how, loss=first
      ),
      **faster_rcnn.second_parts(said.boxes, batch, loss=options.loss),
      **mask_parts(said, batch, how=options.masks),
    }
    return sum(parts.values()), (stats, parts)

  def predict(variables: Any, images: UInt8[Array, "B H W 3"]) -> Detections:
    amounts = options.test_proposals
    said = pictures.predict(
      network,
      variables,
      images,
      choose=faster_rcnn.shown_rois(
        images.shape[1:3], how=how, amounts=amounts
      ),
      choose_masks=partial(best_of, how=options.detect),
    )
    found = said.chosen.detections
    masks = jax.vmap(probabilities)(said.logits, found.labels + 1)
    shown = found.mask[..., None, None]
    return found._replace(masks=jnp.where(shown, masks, 0.0))

  return Task(init, loss, predict, check_size)
