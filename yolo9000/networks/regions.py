"""Heads of two-stage detectors: for anchors, and for regions of interest."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from yolo9000.networks.chain import drop
from yolo9000.types import Float


class ProposalHead(nn.Module):
  """The region proposal network: 3 x 3, ReLU, and two 1 x 1 that answer.

  Its weights are shared by all levels.

  Attributes:
    num_anchors: A, of a cell.
    filters: of the 3 x 3 convolution.
    two_way: a softmax of two numbers says the objectness, as in the paper.
      Their difference is what a logistic has as one number.
    deviation: of all weights to begin with.
    dtype: of the computation.

  Source: Faster R-CNN, arXiv 1506.01497, section 3.1; shared by levels: FPN,
  arXiv 1612.03144, section 4.1.
  """

  num_anchors: int
  filters: int
  two_way: bool = False
  deviation: float = 0.01
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, levels: Sequence[Float[Array, "B _ _ _"]]
  ) -> tuple[Float[Array, "B N"], Float[Array, "B N 4"]]:
    """Logits of the objectness and codes of all anchors, in their order."""
    normal = nn.initializers.normal(self.deviation)

    def layer(count: int, side: int, name: str) -> nn.Conv:
      return nn.Conv(
        count, (side, side), kernel_init=normal, dtype=self.dtype, name=name
      )

    ways = 1 + self.two_way
    shared = layer(self.filters, 3, "conv")
    says_object = layer(ways * self.num_anchors, 1, "objectness")
    says_box = layer(4 * self.num_anchors, 1, "boxes")
    logits, codes = [], []
    for level in levels:
      batch = level.shape[0]
      x = jax.nn.relu(shared(level))
      objects = says_object(x).astype(jnp.float32)
      if self.two_way:  # the background's, then the objects'
        none, some = jnp.split(objects, 2, axis=-1)
        objects = some - none
      logits.append(objects.reshape(batch, -1))
      codes.append(says_box(x).astype(jnp.float32).reshape(batch, -1, 4))
    return jnp.concatenate(logits, axis=1), jnp.concatenate(codes, axis=1)


class TwoLayers(nn.Module):
  """What lies in a roi to a vector: two connected layers with ReLU.

  Attributes:
    filters: of each.
    dropout: probability that a number of either is dropped in training.
    dtype: of the computation.

  Source: fc6 and fc7 of VGG-16 in Fast R-CNN, arXiv 1504.08083, section 2.1;
  with 1024 filters and no dropout FPN, section 4.2.
  """

  filters: int
  dropout: float = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B R P Q D"],
    *,
    train: bool,
    dropout_keys: Array | None = None,
  ) -> Float[Array, "B R E"]:
    """Vectors of the rois; in training dropout needs a key for each picture."""
    x = x.reshape(*x.shape[:2], -1).astype(self.dtype)
    for number, name in enumerate(("fc6", "fc7")):
      x = nn.Dense(
        self.filters,
        kernel_init=nn.initializers.he_normal(),
        dtype=self.dtype,
        name=name,
      )(x)
      x = jax.nn.relu(x)
      if train and self.dropout:
        keys = jax.vmap(partial(jax.random.fold_in, data=number))(dropout_keys)
        x = jax.vmap(partial(drop, self.dropout))(keys, x)
    return x


class Predictor(nn.Module):
  """From a roi's vector to its classes and to a box for each class.

  Attributes:
    num_classes: C, without the background.
    boxes: for how many a box is said; None: the background and each class.
    dtype: of the computation.

  Source: Fast R-CNN, section 2.1; deviations .01 and .001: section 2.3.
  """

  num_classes: int
  boxes: int | None = None
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, x: Float[Array, "B R E"]
  ) -> tuple[Float[Array, "B R D"], Float[Array, "B R F 4"]]:
    """Logits of background and classes, and codes."""
    found = []
    boxes = 1 + self.num_classes if self.boxes is None else self.boxes
    for name, count, deviation in (
      ("classes", 1 + self.num_classes, 0.01),
      ("boxes", 4 * boxes, 0.001),
    ):
      answer = nn.Dense(
        count,
        kernel_init=nn.initializers.normal(deviation),
        dtype=self.dtype,
        name=name,
      )(x)
      found.append(answer.astype(jnp.float32))
    return found[0], found[1].reshape(*x.shape[:2], boxes, 4)
