"""Faster R-CNN: "Towards Real-Time Object Detection with Region Proposal
Networks", arXiv 1506.01497; with a pyramid: FPN, arXiv 1612.03144.

A picture becomes features, these proposals, some of them are sampled, each
becomes a class and a box. The losses of the two stages are in
losses/proposals.py and losses/regions.py, the heads in networks/regions.py;
proposals, samples and what lies in a roi in boxes/.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from yolo9000 import losses, ranges
from yolo9000.boxes import anchors as grids_of_boxes
from yolo9000.boxes import coding, matching, roi, sampling
from yolo9000.boxes.proposals import Amounts, Proposals, propose
from yolo9000.boxes.sampling import Rois, SampledRois, sample_rois
from yolo9000.boxes.suppression import Suppression
from yolo9000.detectors.fast_rcnn import (
  WEIGHTS,
  detections,
  second_stage_loss,
)
from yolo9000.networks import input as pictures
from yolo9000.networks.chain import Chain
from yolo9000.networks.fpn import FeaturePyramid
from yolo9000.networks.norm import Norm
from yolo9000.networks.regions import Predictor, ProposalHead, TwoLayers
from yolo9000.networks.resnet import resnet
from yolo9000.networks.rows import widen, widened
from yolo9000.networks.vgg import CONV5_3, VGG16
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

LEARNS = ("both", "proposals", "detector")
VGG = "vgg16"


class Network(NamedTuple):
  """In a config, `task.network`.

  Attributes:
    backbone: "vgg16", to conv5_3, as in the paper; "resnet50" or "resnet101"
      with a feature pyramid.
    frozen_norm: the residual network's batch norm stays as the run starts.
    anchor_scale: side of a level's smallest square anchor, in cells. Of VGG-16
      each place has squares of once, twice and four times that side, of a
      pyramid's level one.
    ratios: of the anchors, height / width.
    hidden: numbers of each of the two connected layers; 0: 4096 with VGG-16,
      1024 with a pyramid.
    dropout: of these layers in training; .5 in the paper's program.
    bins: a roi becomes a grid of so many by so many.
    aligned: see `boxes.roi.align`. Rois of VGG-16 are pooled.
    deviation: of the proposal head's weights to begin with.
    width: 1 is the paper's network.
    dtype: of the computation, "float32" or "bfloat16".

  Differs: FPN's paper pools rois on its levels; its program and torchvision
  align them.
  """

  backbone: str = "resnet50"
  frozen_norm: bool = True
  anchor_scale: float = 8.0
  ratios: Sequence[float] = (0.5, 1.0, 2.0)
  hidden: int = 0
  dropout: float = 0.0
  bins: int = 7
  aligned: bool = False
  deviation: float = 0.01
  width: float = 1.0
  dtype: str = "float32"

  @property
  def strides(self) -> tuple[int, ...]:
    """Pixels per cell of the levels that anchors are on."""
    return (16,) if self.backbone == VGG else (4, 8, 16, 32, 64)

  @property
  def sizes(self) -> int:
    """Of the anchors of a place."""
    return 3 if self.backbone == VGG else 1


class ProposalLoss(NamedTuple):
  """In a config, `task.proposal_loss`; see `losses.proposal_loss`.

  Attributes:
    high, low: see `boxes.matching.match`.
    samples: anchors of a picture that are learned from.
    positives: at most so large a part of them has a truth.
    inside: anchors that leave the picture are not learned from. Differs: true
      in the paper, false in FPN's.
    beta: see `losses.smooth_l1`.
  """

  high: float = 0.7
  low: float = 0.3
  samples: int = 256
  positives: float = 0.5
  inside: bool = False
  beta: float = 1 / 9


class Loss(NamedTuple):
  """In a config, `task.loss`; see `losses.region_loss`.

  Attributes:
    foreground: least IoU of a roi that has a truth.
    background: the least IoU of one that has none; it is below foreground.
      Differs: .1 in Fast R-CNN, 0 in this paper's program.
    samples: rois of a picture that are learned from; 128 in the program.
    positives: at most so large a part of them has a truth.
    beta: see `losses.smooth_l1`; 1 in the paper, 1/9 in torchvision.
  """

  foreground: float = 0.5
  background: float = 0.0
  samples: int = 512
  positives: float = 0.25
  beta: float = 1.0


class Options(NamedTuple):
  """In a config, `task`.

  Attributes:
    train_proposals, test_proposals: see `boxes.proposals.Amounts`.
    detect: see `Suppression`; max_candidates are pairs of a roi and a class.
    learns: "both"; or which stage's loss counts, "proposals" or "detector", for
      the paper's four steps (section 3.2): proposals, detector, proposals with
      optimizer.held the features, detector with the same held, each started
      from the run before it.
  """

  network: Network = Network()
  norm: Norm = Norm()
  train_proposals: Amounts = Amounts(2000, 2000)
  test_proposals: Amounts = Amounts(1000, 1000)
  proposal_loss: ProposalLoss = ProposalLoss()
  loss: Loss = Loss()
  detect: Suppression = Suppression(0.5, 0.05, 2000, 100)
  learns: str = "both"


# The paper's own network, its numbers of proposals and its samples.
VGG_OPTIONS = Options(
  Network(VGG, dropout=0.5),
  train_proposals=Amounts(12000, 2000, min_side=16.0),
  test_proposals=Amounts(6000, 300, min_side=16.0),
  proposal_loss=ProposalLoss(inside=True),
  loss=Loss(samples=128),
  detect=Suppression(0.3, 0.05, 2000, 100),
)


def check(options: Options) -> None:
  """Raises ValueError for options that cannot be, saying what can."""
  options.norm.check()
  options.detect.check()
  options.train_proposals.check("task.train_proposals")
  options.test_proposals.check("task.test_proposals")
  _check_network(options.network)
  first = options.proposal_loss
  if not 0 <= first.low <= first.high <= 1:
    raise ValueError(
      f"task.proposal_loss.low is {first.low} and high {first.high}; expected "
      f"0 <= low <= high <= 1"
    )
  ranges.check(
    "task.proposal_loss",
    first,
    samples="[1, inf)",
    positives="[0, 1]",
    beta="[0, inf)",
  )
  sampling.check(options.loss)
  if options.learns not in LEARNS:
    raise ValueError(
      f"task.learns is {options.learns!r}; allowed are {', '.join(LEARNS)}"
    )


def _check_network(how: Network) -> None:
  """The part of `check` that is the network's."""
  pictures.dtype_of(how.dtype)
  if how.backbone == VGG:
    widen(VGG16, how.width)
  else:
    try:
      resnet(how.backbone, width=how.width)
    except ValueError as error:
      raise ValueError(f"{error}; and {VGG}") from None
  ranges.check(
    "task.network",
    how,
    anchor_scale="(0, inf)",
    ratios="(0, inf)",
    bins="[1, inf)",
    hidden="[0, inf)",
    dropout="[0, 1)",
    deviation="[0, inf)",
  )


# Features.


class Features(nn.Module):
  """From pictures in [0, 1] to the levels that anchors are on.

  Attributes:
    how: the options.
    norm: of a residual network.
  """

  how: Network
  norm: Norm

  @nn.compact
  def __call__(
    self, x: Float[Array, "B H W 3"], *, train: bool
  ) -> tuple[Float[Array, "B _ _ _"], ...]:
    """conv5_3, or P2 to P6."""
    how, dtype = self.how, pictures.dtype_of(self.how.dtype)
    if how.backbone == VGG:
      rows = widen(VGG16[: CONV5_3 + 1], how.width)
      chain = Chain(rows, dtype, self.norm, name="backbone")
      return (chain(pictures.as_caffe(x), train=train),)
    backbone = resnet(
      how.backbone,
      width=how.width,
      norm=self.norm,
      frozen=how.frozen_norm,
      dtype=dtype,
      name="backbone",
    )
    maps = backbone(pictures.standardise(x), train=train)
    pyramid = FeaturePyramid(
      widened(256, how.width), "pool", dtype, name="pyramid"
    )
    return pyramid(maps)


def crop(
  levels: Sequence[Float[Array, "_ _ _"]],
  rois: Float[Array, "R 4"],
  *,
  image_size: tuple[int, int],
  how: Network,
  bins: int,
) -> Float[Array, "R P Q D"]:
  """What the levels of one picture hold inside rois, xyxy in [0, 1].

  Pooled on conv5_3; of a pyramid each roi is aligned on a level of P2 to P5.
  """
  edges = jnp.asarray((*image_size[::-1], *image_size[::-1]), jnp.float32)
  rois_px = rois * edges[None]
  if how.backbone == VGG:
    rois_cells = rois_px / how.strides[0]
    return roi.pool(levels[0], rois_cells, bins=(bins, bins))
  level = roi.level_of(rois_px, lowest=2, highest=5)
  stride = jnp.asarray(how.strides, jnp.float32)[level]
  return roi.align_levels(
    levels[:4],
    rois_px / stride[:, None],
    level,
    bins=(bins, bins),
    samples=2,
    aligned=how.aligned,
  )


# The network.


def proposal_head(how: Network) -> ProposalHead:
  """What says proposals."""
  is_vgg = how.backbone == VGG
  return ProposalHead(
    how.sizes * len(how.ratios),
    widened(512 if is_vgg else 256, how.width),
    two_way=is_vgg,
    deviation=how.deviation,
    dtype=pictures.dtype_of(how.dtype),
  )


def box_head(how: Network) -> TwoLayers:
  """What makes a vector of a roi."""
  published = 4096 if how.backbone == VGG else 1024
  hidden = how.hidden or widened(published, how.width)
  return TwoLayers(hidden, how.dropout, pictures.dtype_of(how.dtype))


Choose = Callable[[Any, Any], Any]


class Raw(NamedTuple):
  """What the network says.

  Attributes:
    objectness, proposal_codes: of all anchors.
    chosen: what `choose` gave.
    logits: of the rois, background first; D = 1 + C.
    codes: of the rois, for the background and each class, E = D; or whatever
      the class, E = 1.
  """

  objectness: Float[Array, "B N"]
  proposal_codes: Float[Array, "B N 4"]
  chosen: Any
  logits: Float[Array, "B R D"]
  codes: Float[Array, "B R E 4"]


class FasterRCNN(nn.Module):
  """Figure 2: features, the region proposal network, the detector of rois.

  Attributes:
    how: the options.
    norm: of a residual network.
    num_classes: C.
  """

  how: Network
  norm: Norm
  num_classes: int

  def setup(self) -> None:
    """Its parts, which what extends it calls too."""
    how, dtype = self.how, pictures.dtype_of(self.how.dtype)
    self.features = Features(how, self.norm)
    nn.share_scope(self, self.features)  # its layers are named as if here
    self.proposals = proposal_head(how)
    self.box_head = box_head(how)
    self.predictor = Predictor(self.num_classes, dtype=dtype)

  def __call__(
    self,
    x: Float[Array, "B H W 3"],
    *,
    train: bool,
    choose: Choose | None = None,
    dropout_keys: Array | None = None,
  ) -> Raw:
    """From pictures in [0, 1].

    Args:
      x: the pictures.
      train: whether they are learned from.
      choose: from objectness and codes of all anchors to something with
        `rois` (B, R, 4), xyxy in [0, 1]. None: one roi, the whole picture.
      dropout_keys: of each picture.
    """
    levels = self.features(x, train=train)
    how = dict(train=train, choose=choose, dropout_keys=dropout_keys)
    return self.of_levels(levels, x.shape[1:3], **how)

  def of_levels(
    self,
    levels: Sequence[Float[Array, "B _ _ _"]],
    image_size: tuple[int, int],
    *,
    train: bool,
    choose: Choose | None,
    dropout_keys: Array | None,
  ) -> Raw:
    """As `__call__`, from the features of pictures of a size."""
    objectness, codes = self.proposals(levels)
    chosen = (choose or whole)(objectness, codes)
    inside = self.crop(levels, chosen.rois, image_size, self.how.bins)
    vectors = self.box_head(inside, train=train, dropout_keys=dropout_keys)
    return Raw(objectness, codes, chosen, *self.predictor(vectors))

  def crop(
    self,
    levels: Sequence[Float[Array, "B _ _ _"]],
    rois: Float[Array, "B R 4"],
    image_size: tuple[int, int],
    bins: int,
  ) -> Float[Array, "B R P Q D"]:
    """As `crop`, of all pictures."""
    of_picture = partial(crop, image_size=image_size, how=self.how, bins=bins)
    return jax.vmap(of_picture)(levels, rois)


# Anchors and proposals.

# A network's options that have strides, sizes, anchor_scale and ratios.
Anchored = Any


def grids(size: tuple[int, int], how: Anchored) -> list[tuple[int, int]]:
  """Rows and columns of each level for pictures of a size."""
  return [(-(-size[0] // s), -(-size[1] // s)) for s in how.strides]


def counts(size: tuple[int, int], how: Anchored) -> tuple[int, ...]:
  """Anchors of each level."""
  return tuple(y * x * how.sizes * len(how.ratios) for y, x in grids(size, how))


def anchors(size: tuple[int, int], how: Anchored) -> Float[Array, "N 4"]:
  """Of all levels, for pictures of this (height, width); xyxy in [0, 1].

  Source: section 3.1.1; FPN, section 4.1. Differs: see `boxes.anchors.anchors`.
  """
  sides = [
    [how.anchor_scale * stride * 2**n for n in range(how.sizes)]
    for stride in how.strides
  ]
  boxes = grids_of_boxes.anchors(
    size,
    grids(size, how),
    strides=how.strides,
    sizes_px=sides,
    ratios=[how.ratios] * len(how.strides),
  )
  return jnp.asarray(boxes)


def whole(objectness: Array, codes: Array) -> Rois:
  """One roi of each picture, all of it: to begin the network with."""
  del codes
  count = len(objectness)
  every = jnp.asarray([[[0.0, 0.0, 1.0, 1.0]]])
  return Rois(
    jnp.broadcast_to(every, (count, 1, 4)), jnp.ones((count, 1), bool)
  )


def proposals_of(
  objectness: Float[Array, "B N"],
  codes: Float[Array, "B N 4"],
  *,
  size: tuple[int, int],
  how: Anchored,
  amounts: Amounts,
) -> Proposals:
  """The proposals of every picture of the batch."""
  of_picture = partial(
    propose,
    anchors=anchors(size, how),
    levels=counts(size, how),
    image_size=size,
    how=amounts,
  )
  return jax.vmap(of_picture)(objectness, codes)


# Losses.


def first_stage_loss(
  key: Array,
  logits: Float[Array, " N"],
  codes: Float[Array, "N 4"],
  boxes: Float[Array, "M 4"],
  mask: Bool[Array, " M"],
  *,
  anchors: Float[Array, "N 4"],
  how: ProposalLoss,
) -> tuple[dict[str, Float[Array, ""]], Int[Array, ""]]:
  """`losses.proposal_loss` of one picture, and its sampled anchors' number."""
  counted = jnp.ones(len(anchors), bool)
  if how.inside:
    counted = jnp.all((anchors >= 0) & (anchors <= 1), axis=1)
  found = matching.match(
    jnp.where(counted[:, None], anchors, 0.0),  # the others overlap nothing
    boxes,
    mask,
    high=how.high,
    low=how.low,
    keep_best=True,
  )
  sample = sampling.balanced(
    key,
    found.assigned & counted,
    ~found.assigned & ~found.ignored & counted,
    samples=how.samples,
    positives=int(how.samples * how.positives),
  )
  parts = losses.proposal_loss(
    logits,
    codes,
    boxes,
    anchors=anchors,
    truth=found.truth,
    sample=sample,
    beta=how.beta,
  )
  return parts, jnp.sum(sample.positive | sample.negative)


def keys_of(step: Step, batch: Batch) -> Array:
  """Of each picture's anchors, rois and dropout: a function of the picture."""
  keys = jax.vmap(partial(jax.random.fold_in, step.key))(batch.index)
  return jax.vmap(partial(jax.random.split, num=3), out_axes=1)(keys)


def training_rois(
  batch: Batch, keys: Array, *, how: Anchored, amounts: Amounts, loss: Loss
) -> Choose:
  """From what the first stage says to the rois that are learned from."""

  def choose(objectness: Array, codes: Array) -> SampledRois:
    size = batch.image.shape[1:3]
    found = proposals_of(objectness, codes, size=size, how=how, amounts=amounts)
    of_picture = partial(sample_rois, how=loss)
    return jax.vmap(of_picture)(keys, found, batch.boxes, batch.mask)

  return choose


def shown_rois(
  size: tuple[int, int], *, how: Anchored, amounts: Amounts
) -> Choose:
  """From what the first stage says to the rois that are looked at."""

  def choose(objectness: Array, codes: Array) -> Rois:
    found = proposals_of(objectness, codes, size=size, how=how, amounts=amounts)
    return Rois(found.boxes, found.mask)

  return choose


def first_parts(
  raw: Any, batch: Batch, keys: Array, *, how: Anchored, loss: ProposalLoss
) -> dict[str, Float[Array, ""]]:
  """The loss of the first stage, of a batch."""
  size = batch.image.shape[1:3]
  of_picture = partial(first_stage_loss, anchors=anchors(size, how), how=loss)
  sums = jax.vmap(of_picture)(
    keys, raw.objectness, raw.proposal_codes, batch.boxes, batch.mask
  )
  return losses.over_counted(*sums, batch.valid)


def second_parts(
  raw: Any, batch: Batch, *, loss: Loss, weights: coding.Weights = WEIGHTS
) -> dict[str, Float[Array, ""]]:
  """The loss of the second stage, of a batch.

  Args:
    raw: has the logits and codes of the rois `chosen`.
    batch: the truths.
    loss: options.
    weights: of the codes.
  """
  of_picture = partial(second_stage_loss, weights=weights, beta=loss.beta)
  sums = jax.vmap(of_picture)(
    raw.logits, raw.codes, batch.boxes, batch.labels, raw.chosen
  )
  return losses.over_counted(*sums, batch.valid)


def make_task(options: Options, classes: Classes) -> Task:
  """Faster R-CNN for these classes.

  Both stages are trained together (section 3.2, "Approximate joint training").
  No gradient goes through the proposals' boxes.

  Args:
    options: each is documented and checked where it is defined.
    classes: C of them.

  Raises:
    ValueError: for an option that cannot be, saying what can.
  """
  check(options)
  how = options.network._replace(ratios=tuple(options.network.ratios))
  network = FasterRCNN(how, options.norm, len(classes.names))
  check_size = partial(check_sides, how)

  init = partial(pictures.begin, network, check_size)

  def loss(variables: Any, batch: Batch, step: Step) -> tuple[Array, Any]:
    of_anchors, of_rois, of_dropout = keys_of(step, batch)
    amounts = options.train_proposals
    raw, stats = pictures.train(
      network,
      variables,
      batch.image,
      choose=training_rois(
        batch, of_rois, how=how, amounts=amounts, loss=options.loss
      ),
      dropout_keys=of_dropout,
    )
    parts = {}
    if options.learns != "detector":
      parts |= first_parts(
        raw, batch, of_anchors, how=how, loss=options.proposal_loss
      )
    if options.learns != "proposals":
      parts |= second_parts(raw, batch, loss=options.loss)
    return sum(parts.values()), (stats, parts)

  def predict(variables: Any, images: UInt8[Array, "B H W 3"]) -> Detections:
    size, amounts = images.shape[1:3], options.test_proposals
    raw = pictures.predict(
      network,
      variables,
      images,
      choose=shown_rois(size, how=how, amounts=amounts),
    )
    of_picture = partial(detections, how=options.detect)
    rois = raw.chosen
    return jax.vmap(of_picture)(raw.logits, raw.codes, rois.rois, rois.mask)

  return Task(init, loss, predict, check_size)


def check_sides(how: Anchored, size: tuple[int, int]) -> None:
  """Raises ValueError unless both sides are positive multiples of a cell."""
  pictures.check_multiple(min(32, how.strides[-1]), size)
