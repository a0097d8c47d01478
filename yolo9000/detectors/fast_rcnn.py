"""Fast R-CNN, arXiv 1504.08083.

One pass of a network over the picture, then a small one over the part of its
map that each proposal covers. Proposals come with the pictures, see
data/proposals.py. The loss, section 2.3, is in losses/regions.py.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from yolo9000 import losses, ranges
from yolo9000.boxes import coding, roi, sampling, suppression
from yolo9000.boxes.proposals import given
from yolo9000.boxes.sampling import SampledRois, sample_rois
from yolo9000.boxes.suppression import Suppression
from yolo9000.networks import input as pictures
from yolo9000.networks.backbone import with_norm
from yolo9000.networks.chain import Chain
from yolo9000.networks.norm import Norm
from yolo9000.networks.regions import Predictor, TwoLayers
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

STRIDE = 16  # pixels to a cell of conv5_3
BINS = (7, 7)
WEIGHTS = (10.0, 10.0, 5.0, 5.0)  # of the codes: deviations .1, .1, .2 and .2


class Network(NamedTuple):
  """In a config, `task.network`.

  Attributes:
    batch_norm: in the convolutions. Not in the paper, which begins with a
      VGG-16 trained on ImageNet; a network that begins with nothing needs it.
    dropout: part of fc6's and fc7's numbers that a training step leaves out.
    width: 1 is the paper's network.
    dtype: of the computation, "float32" or "bfloat16".

  conv1 and conv2 stay as they begin in the paper: optimizer.held does that.
  """

  batch_norm: bool = False
  dropout: float = 0.5
  width: float = 1.0
  dtype: str = "float32"


class Loss(NamedTuple):
  """In a config, `task.loss`; see `losses.region_loss`.

  Attributes:
    foreground: least IoU of a roi that has a truth.
    background: the least IoU of one that has none; it is below foreground.
    samples: rois of a picture that are learned from.
    positives: at most so large a part of them has a truth.
    beta: see `losses.smooth_l1`.
  """

  foreground: float = 0.5
  background: float = 0.1
  samples: int = 64
  positives: float = 0.25
  beta: float = 1.0


class Options(NamedTuple):
  """In a config, `task`. In `detect`, candidates are those of all classes."""

  network: Network = Network()
  norm: Norm = Norm()
  loss: Loss = Loss()
  detect: Suppression = Suppression(0.3, 0.05, 1000, 100)


def check(options: Options) -> None:
  """Raises ValueError for options that cannot be, saying what can."""
  options.norm.check()
  options.detect.check()
  how = options.network
  pictures.dtype_of(how.dtype)
  widen(VGG16, how.width)
  ranges.check("task.network", how, dropout="[0, 1)")
  ranges.check("task.loss", options.loss, beta="[0, inf)")
  sampling.check(options.loss)


class FastRCNN(nn.Module):
  """Figure 1.

  Attributes:
    how: the options.
    norm: of the convolutions, if they have any.
    num_classes: C.
  """

  how: Network
  norm: Norm
  num_classes: int

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B H W 3"],
    rois: Float[Array, "B R 4"],
    *,
    train: bool,
    dropout_keys: Any = None,
  ) -> tuple[Float[Array, "B R D"], Float[Array, "B R D 4"]]:
    """Logits and codes of rois, D = 1 + C; the background is the first.

    Args:
      x: pictures, RGB in [0, 1].
      rois: xyxy in [0, 1].
      train: whether batch norm learns.
      dropout_keys: one for each picture, in training.
    """
    how, dtype = self.how, pictures.dtype_of(self.how.dtype)
    rows = with_norm(widen(VGG16[: CONV5_3 + 1], how.width), how.batch_norm)
    trunk = Chain(rows, dtype, self.norm, name="trunk")
    features = trunk(pictures.as_caffe(x), train=train)
    edges = jnp.array([*x.shape[2:0:-1]] * 2, jnp.float32) / STRIDE
    pooled = jax.vmap(partial(roi.pool, bins=BINS))(
      features, rois * edges[None, None]
    )
    vectors = TwoLayers(
      widened(4096, how.width, least=8), how.dropout, dtype, name="head"
    )(pooled, train=train, dropout_keys=dropout_keys)
    return Predictor(self.num_classes, dtype=dtype, name="said")(vectors)


def check_size(size: tuple[int, int]) -> None:
  """Raises ValueError unless both sides have a cell's pixels."""
  for side in size:
    if side < STRIDE:
      raise ValueError(f"image size {side}; expected at least {STRIDE}")


def make_task(options: Options, classes: Classes) -> Task:
  """Fast R-CNN for these classes.

  Raises:
    ValueError: for an option that cannot be, saying what can.

  Source: sections 2 and 3. Differs: pictures are squares of one size, where the
  paper's shorter side has 600 pixels; the deviations of the codes are those of
  its program's successors, where its own are measured for each class.
  """
  check(options)
  how = options.loss
  network = FastRCNN(options.network, options.norm, len(classes.names))

  rois = jnp.zeros((1, 1, 4), jnp.float32)
  init = partial(pictures.begin, network, check_size, rois=rois)

  def loss(variables: Any, batch: Batch, step: Step) -> tuple[Array, Any]:
    keys = jax.vmap(partial(jax.random.fold_in, step.key))(batch.index)
    keys = jax.vmap(jax.random.split)(keys)
    chosen = jax.vmap(partial(sample_rois, how=how))(
      keys[:, 0], given(batch.proposals), batch.boxes, batch.mask
    )
    output, stats = pictures.train(
      network,
      variables,
      batch.image,
      rois=chosen.rois,
      dropout_keys=keys[:, 1],
    )
    of_picture = partial(second_stage_loss, weights=WEIGHTS, beta=how.beta)
    sums = jax.vmap(of_picture)(*output, batch.boxes, batch.labels, chosen)
    parts = losses.over_counted(*sums, batch.valid)
    return sum(parts.values()), (stats, parts)

  def predict(
    variables: Any,
    images: UInt8[Array, "B H W 3"],
    proposals: Float[Array, "B P 4"],
  ) -> Detections:
    output = pictures.predict(network, variables, images, rois=proposals)
    of_picture = partial(detections, how=options.detect)
    return jax.vmap(of_picture)(*output, *given(proposals)[::2])

  return Task(init, loss, predict, check_size, needs_proposals=True)


def second_stage_loss(
  logits: Float[Array, "R D"],
  codes: Float[Array, "R E 4"],
  boxes: Float[Array, "M 4"],
  labels: Int[Array, " M"],
  rois: SampledRois,
  *,
  weights: coding.Weights,
  beta: float,
) -> tuple[dict[str, Float[Array, ""]], Int[Array, ""]]:
  """`losses.region_loss` of one picture, and its sampled rois' number."""
  parts = losses.region_loss(
    logits,
    codes,
    boxes,
    labels,
    rois=rois.rois,
    truth=rois.truth,
    sample=rois.sample,
    weights=weights,
    beta=beta,
  )
  return parts, jnp.sum(rois.mask)


def detections(
  logits: Float[Array, "R D"],
  codes: Float[Array, "R D 4"],
  rois: Float[Array, "R 4"],
  mask: Bool[Array, " R"],
  *,
  how: Suppression,
) -> Detections:
  """Detections of one picture, their boxes within it.

  Every class has a box of each roi, and suppresses itself alone.

  Args:
    logits: of the rois, background first.
    codes: of the rois, for the background and each class.
    rois: xyxy in [0, 1].
    mask: false for padding.
    how: its max_candidates are pairs of a roi and a class, by score.

  Source: section 3.
  """
  scores = jax.nn.softmax(logits, axis=1)[:, 1:]
  return suppression.of_classes(
    scores, codes[:, 1:], rois, mask, weights=WEIGHTS, how=how
  )
