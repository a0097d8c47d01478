"""R-CNN: "Rich feature hierarchies ...", arXiv 1311.2524.

Each proposal is cut out of the picture, warped to a square and seen by a
network of its own. Two trainings, the second from the weights of the first:
`task.learns` is "softmax" to fine-tune the network on N + 1 classes, then "svm"
for one linear SVM of each class and the box regression, with the network held
still by optimizer.held = HELD. Proposals come with the pictures, see
data/proposals.py.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, core

from yolo9000 import losses, ranges
from yolo9000.boxes import coding, matching, sampling, suppression
from yolo9000.boxes.proposals import given
from yolo9000.boxes.sampling import SampledRois, sample_rois
from yolo9000.boxes.suppression import Suppression
from yolo9000.networks import input as pictures
from yolo9000.networks.backbone import with_norm
from yolo9000.networks.chain import Chain
from yolo9000.networks.norm import Norm
from yolo9000.networks.regions import TwoLayers
from yolo9000.networks.rows import Conv, Layer, MaxPool, widen, widened
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

LEARNS = ("softmax", "svm")
HELD = ("trunk/*", "head/*", "labels")  # while the SVMs learn
WEIGHTS = (1.0, 1.0, 1.0, 1.0)  # of the codes
NORM = 20.0  # of the features that the SVMs see
SAME = 0.999  # IoU of a region and a truth that are one box
SMALLEST = 67  # pixels, of which pool5 is 1 x 1


def _pool() -> MaxPool:
  return MaxPool(3, 2, 0)


# CaffeNet up to pool5. Differs: without its local response normalisation, and
# without its groups, in which a filter sees half of the channels.
CAFFENET: tuple[Layer, ...] = (
  *(Conv(96, 11, False, "relu", stride=4, padding=0), _pool()),
  *(Conv(256, 5, False, "relu"), _pool()),
  *(Conv(384, 3, False, "relu"), Conv(384, 3, False, "relu")),
  *(Conv(256, 3, False, "relu"), _pool()),
)


class Network(NamedTuple):
  """In a config, `task.network`.

  Attributes:
    side: of a warped region, in pixels.
    context: pixels of the picture around a region, at that size.
    batch_norm: in the convolutions. Not in the paper, which begins with a
      network trained on ImageNet; one that begins with nothing needs it.
    dropout: part of fc6's and fc7's numbers that fine-tuning leaves out.
    chunk: regions of a picture that are looked at together in prediction.
    width: 1 is the paper's network.
    dtype: of the computation, "float32" or "bfloat16".
  """

  side: int = 227
  context: int = 16
  batch_norm: bool = False
  dropout: float = 0.5
  chunk: int = 100
  width: float = 1.0
  dtype: str = "float32"


class Loss(NamedTuple):
  """In a config, `task.loss`.

  Attributes:
    foreground: least IoU of a region that is positive in fine-tuning. The SVMs
      and the box regression take their regions from the same sample.
    background: the least IoU of the others.
    samples: regions of a picture. Differs: the paper has 128 of a step, of all
      its pictures.
    positives: at most so large a part of them is positive: 32 of 128.
    svm_low: an SVM's negatives overlap its class less; its positives are the
      truths themselves.
    positive_weight: of an SVM's positives.
    ridge_high: the box regression's regions overlap their truth more.
    ridge: its penalty, beside the mean of half the squared error. Differs: the
      paper's lambda of 1000 is of the sum over a class's regions, whose
      features are not of length 1 as here; this one is ours.
  """

  foreground: float = 0.5
  background: float = 0.0
  samples: int = 128
  positives: float = 0.25
  svm_low: float = 0.3
  positive_weight: float = 2.0
  ridge_high: float = 0.6
  ridge: float = 1e-3


class Options(NamedTuple):
  """In a config, `task`; learns is one of LEARNS.

  In `detect`, candidates are those of all classes. A score is the softmax's
  probability, or the logistic function of an SVM's margin, which keeps their
  order; so score_threshold .5 is a margin of 0.
  """

  learns: str = "softmax"
  network: Network = Network()
  norm: Norm = Norm()
  loss: Loss = Loss()
  detect: Suppression = Suppression(0.3, 0.05, 1000, 100)


def check(options: Options) -> None:
  """Raises ValueError for options that cannot be, saying what can."""
  how = options.network
  pictures.dtype_of(how.dtype)
  options.norm.check()
  options.detect.check()
  widen(CAFFENET, how.width)
  if options.learns not in LEARNS:
    raise ValueError(
      f"task.learns is {options.learns!r}; allowed are {', '.join(LEARNS)}"
    )
  if how.side < SMALLEST or not 0 <= 2 * how.context < how.side:
    raise ValueError(
      f"task.network.side is {how.side} and context {how.context}; expected at "
      f"least {SMALLEST} pixels, and less than half of them"
    )
  ranges.check("task.network", how, dropout="[0, 1)", chunk="[1, inf)")
  sampling.check(options.loss)


class Said(NamedTuple):
  """What the network says of regions.

  Attributes:
    logits: of the background, then of the classes; D = 1 + C.
    margins: of the SVMs.
    codes: of each class, see `boxes.coding`.
  """

  logits: Float[Array, "*R D"]
  margins: Float[Array, "*R C"]
  codes: Float[Array, "*R C 4"]


class RCNN(nn.Module):
  """CaffeNet, and what stands on it: a softmax, SVMs on fc7, ridge on pool5.

  Attributes:
    num_classes: C.
    how: the options.
    norm: of the convolutions, if they have any.
  """

  num_classes: int
  how: Network
  norm: Norm

  @nn.compact
  def __call__(
    self,
    regions: Float[Array, "B R S S 3"],
    *,
    train: bool,
    dropout_keys: Array | None = None,
  ) -> Said:
    """Of warped regions, the mean colour 0.

    Args:
      regions: see `warp`.
      train: whether the network learns, which the SVMs' training does not want.
      dropout_keys: one for each picture, in training.
    """
    how, dtype = self.how, pictures.dtype_of(self.how.dtype)
    axes = regions.shape[:2]
    rows = with_norm(widen(CAFFENET, how.width), how.batch_norm)
    trunk = Chain(rows, dtype, self.norm, name="trunk")
    x = trunk(regions.reshape(-1, *regions.shape[2:]), train=train)
    x = x.reshape(*axes, *x.shape[1:])  # (B, R, P, Q, D)
    filters = widened(4096, how.width, least=8)
    head = TwoLayers(filters, how.dropout, dtype, name="head")
    fc7 = head(x, train=train, dropout_keys=dropout_keys)

    def linear(count: int, name: str, x: Array, deviation: float) -> Array:
      kernel = nn.initializers.normal(deviation)
      layer = nn.Dense(count, dtype=dtype, kernel_init=kernel, name=name)
      return layer(x).astype(jnp.float32)

    logits = linear(1 + self.num_classes, "labels", fc7, 0.01)
    # What an SVM and a regression see does not learn from them.
    fc7, pool5 = jax.lax.stop_gradient((fc7, x.reshape(*axes, -1)))
    margins = linear(self.num_classes, "svms", NORM * of_norm_1(fc7), 0.0)
    codes = linear(4 * self.num_classes, "ridges", of_norm_1(pool5), 0.0)
    return Said(logits, margins, codes.reshape(*axes, -1, 4))


def of_norm_1(x: Float[Array, "*N D"]) -> Float[Array, "*N D"]:
  """Each vector by its length.

  Differs: the paper's program makes the mean length of all features 20, which
  needs all of them first.
  """
  square = jnp.sum(x**2, axis=-1, keepdims=True)
  return x * jax.lax.rsqrt(jnp.maximum(square, 1e-12))


def warp(
  image: Float[Array, "H W 3"], roi: Float[Array, " 4"], how: Network
) -> Float[Array, "S S 3"]:
  """A region and its context, stretched to a square.

  What lies outside of the picture is 0, the mean colour.

  Args:
    image: less its mean colour.
    roi: xyxy in [0, 1], with an area.
    how: side and context.

  Source: section 2.1, and appendix A, "tightest square" aside. Differs: pixels
  are averaged where the region is made smaller; and the picture is the input,
  a square already, where the paper cuts regions out of the file's picture.
  """
  edges = jnp.array([*image.shape[1::-1]] * 2, jnp.float32)
  low, high = jnp.split(roi * edges, 2)
  grown = how.side / (how.side - 2 * how.context)
  half = jnp.maximum((high - low) / 2, 0.5) * grown
  low = (low + high) / 2 - half
  scale = how.side / (2 * half)  # across, down
  warped = jax.image.scale_and_translate(
    image,
    (how.side, how.side, 3),
    (0, 1),
    scale[::-1],
    (-low * scale)[::-1],
    method="linear",
  )
  return warped.astype(image.dtype)


def less_mean(
  images: UInt8[Array, "B H W 3"],
) -> Float[Array, "B H W 3"]:
  """As Caffe's networks see them, so that what is cut beyond them can be 0."""
  return pictures.as_caffe(pictures.normalise(images))


def make_task(options: Options, classes: Classes) -> Task:
  """R-CNN for these classes.

  Raises:
    ValueError: for an option that cannot be, saying what can.
  """
  check(options)
  how, learns = options.network, options.learns
  network = RCNN(len(classes.names), how, options.norm)

  def init(key: Array, size: tuple[int, int]) -> dict[str, Any]:
    check_size(size)
    region = jnp.zeros((1, 1, how.side, how.side, 3), jnp.float32)
    return {"batch_stats": {}, **network.init(key, region, train=False)}

  def loss(variables: Any, batch: Batch, step: Step) -> tuple[Array, Any]:
    keys = jax.vmap(partial(jax.random.fold_in, step.key))(batch.index)
    keys = jax.vmap(jax.random.split)(keys)
    chosen = jax.vmap(partial(sample_rois, how=options.loss))(
      keys[:, 0], given(batch.proposals), batch.boxes, batch.mask
    )
    cut = jax.vmap(jax.vmap(partial(warp, how=how), (None, 0)))
    tunes = learns == "softmax"
    said, new = network.apply(
      variables,
      cut(less_mean(batch.image), chosen.rois),
      train=tunes,
      dropout_keys=keys[:, 1] if tunes else None,
      mutable=["batch_stats"],
    )
    part = tuning_loss if tunes else partial(fitting_loss, how=options.loss)
    parts = jax.vmap(part)(
      said, batch.boxes, batch.labels, batch.mask, chosen=chosen
    )
    parts = losses.over_pictures(parts, batch.valid)
    if not tunes:
      kernel = variables["params"]["ridges"]["kernel"]
      parts["penalty"] = options.loss.ridge * jnp.sum(kernel**2)
    stats = new.get("batch_stats", {})
    return sum(parts.values()), (stats, parts)

  def predict(
    variables: Any,
    images: UInt8[Array, "B H W 3"],
    proposals: Float[Array, "B P 4"],
  ) -> Detections:
    def of_picture(image: Array, rois: Array) -> Detections:
      def of_region(roi: Array) -> Said:
        region = warp(image, roi, how)[None, None]
        said = network.apply(variables, region, train=False)
        return jax.tree.map(lambda x: x[0, 0], said)

      chunk = core.min_dim(how.chunk, len(rois))
      said = jax.lax.map(of_region, rois, batch_size=chunk)
      there = given(rois).mask
      return detections(said, rois, there, learns=learns, how=options.detect)

    return jax.vmap(of_picture)(less_mean(images), proposals)

  return Task(init, loss, predict, check_size, needs_proposals=True)


def check_size(size: tuple[int, int]) -> None:
  """Raises ValueError unless a picture has a pixel; any such is taken."""
  if min(size) < 1:
    raise ValueError(f"image size {size}; expected sides of at least 1")


def tuning_loss(
  said: Said,
  boxes: Float[Array, "M 4"],
  labels: Int[Array, " M"],
  mask: Bool[Array, " M"],
  *,
  chosen: SampledRois,
) -> dict[str, Float[Array, ""]]:
  """Cross-entropy of C + 1 classes, the mean over a picture's regions.

  Source: section 2.3, "Domain-specific fine-tuning".
  """
  del boxes, mask
  sampled = chosen.sample.positive | chosen.sample.negative
  column = jnp.where(chosen.sample.positive, labels[chosen.truth] + 1, 0)
  alone = jnp.eye(len(column), dtype=bool)
  error = losses.softmax_error(said.logits, column, alone)
  count = jnp.maximum(jnp.sum(sampled), 1).astype(error.dtype)
  return {"label": jnp.sum(jnp.where(sampled, error, 0.0)) / count}


def fitting_loss(
  said: Said,
  boxes: Float[Array, "M 4"],
  labels: Int[Array, " M"],
  mask: Bool[Array, " M"],
  *,
  chosen: SampledRois,
  how: Loss,
) -> dict[str, Float[Array, ""]]:
  """Hinge loss of the SVMs and squared error of the codes, of one picture.

    label  of each class: max(0, 1 - margin) of the truths of the class, times
           positive_weight, and max(0, 1 + margin) of the regions that overlap
           it less than svm_low; summed over the classes, the mean over the
           sampled regions of the picture
    coord  1/2 |codes - target|^2 of the regions that overlap their truth more
           than ridge_high, the mean over them

  Source: section 2.3, "Object category classifiers", and appendix C. Differs:
  both are fitted by the steps of the optimizer on new regions each time, where
  liblinear and a closed form see all regions of all pictures. Only negatives
  that are hard, beyond their margin, have a gradient, which stands for the
  paper's hard negative mining; the SVMs' penalty is optimizer.weight_decay. The
  targets are not whitened.
  """
  sampled = chosen.sample.positive | chosen.sample.negative
  pairs = matching.overlaps(chosen.rois, boxes, mask)  # (R, M)
  one_hot = jax.nn.one_hot(labels, said.margins.shape[1], dtype=bool)
  of_class = jnp.where(one_hot[None], pairs[..., None], -1.0)
  overlap = jnp.max(of_class, axis=1)  # (R, C)
  # IoU of a box with itself, as computed, is about 1.
  is_truth = sampled & (jnp.max(pairs, axis=1) > SAME)
  own = one_hot[chosen.truth] & is_truth[:, None]
  against = (overlap < how.svm_low) & sampled[:, None] & ~own
  error = jnp.where(own, how.positive_weight * hinge(said.margins), 0.0)
  error += jnp.where(against, hinge(-said.margins), 0.0)
  count = jnp.maximum(jnp.sum(sampled), 1).astype(error.dtype)

  finds = chosen.sample.positive & (jnp.max(pairs, axis=1) > how.ridge_high)
  whole = jnp.array([0, 0, 1, 1], boxes.dtype)  # keeps logarithms finite
  rois = jnp.where(finds[:, None], chosen.rois, whole[None])
  truth = jnp.where(finds[:, None], boxes[chosen.truth], whole[None])
  target = coding.encode(truth, rois, WEIGHTS)
  codes = said.codes[jnp.arange(len(finds)), labels[chosen.truth]]
  off = jnp.sum((codes - target) ** 2, axis=1) / 2
  found = jnp.maximum(jnp.sum(finds), 1).astype(off.dtype)
  return {
    "label": jnp.sum(error) / count,
    "coord": jnp.sum(jnp.where(finds, off, 0.0)) / found,
  }


def hinge(margin: Float[Array, "*N"]) -> Float[Array, "*N"]:
  """What is missing to a margin of 1."""
  return jnp.maximum(1 - margin, 0.0)


def detections(
  said: Said,
  rois: Float[Array, "P 4"],
  there: Bool[Array, " P"],
  *,
  learns: str,
  how: Suppression,
) -> Detections:
  """Detections of one picture, their boxes within it.

  After fine-tuning alone the boxes are the proposals, and the scores the
  softmax's; with the SVMs they are scored by them and moved by the regression.

  Source: section 2.2; appendix C, where boxes are moved once.
  """
  scores, codes = jax.nn.softmax(said.logits)[:, 1:], jnp.zeros_like(said.codes)
  if learns == "svm":
    scores, codes = jax.nn.sigmoid(said.margins), said.codes
  return suppression.of_classes(
    scores, codes, rois, there, weights=WEIGHTS, how=how
  )
