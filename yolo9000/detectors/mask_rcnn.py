"""Mask R-CNN, arXiv 1703.06870: Faster R-CNN with a mask for each box.

The head of the masks, and how its numbers become masks; the rest is Faster
R-CNN's. The loss is in losses/masks.py.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from yolo9000.networks.conv import conv
from yolo9000.types import Float, Int


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
  def __call__(self, x: Float[Array, "R P P D"]) -> Float[Array, "R S S C"]:
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


def probabilities(
  logits: Float[Array, "R S S C"], labels: Int[Array, " R"]
) -> Float[Array, "R S S"]:
  """The mask of each roi's class; section 3.1, "Inference"."""
  own = logits.transpose(0, 3, 1, 2)[jnp.arange(len(labels)), labels]
  return jax.nn.sigmoid(own)
