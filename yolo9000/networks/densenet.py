"""DenseNet as DSOD has it, arXiv 1708.01241: down to the levels of a detector.

Source: Table 1 and section 3.1 for the widths, the authors' program for the
rest. DenseNet itself is arXiv 1608.06993.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from yolo9000.networks.chain import max_pool
from yolo9000.networks.conv import conv, conv_norm
from yolo9000.networks.norm import Norm, normalised
from yolo9000.types import Float

STEM = (64, 64, 128)  # filters of its convolutions
BLOCKS = (6, 8, 8, 8)  # dense layers of each block
GROWTH = 48  # channels that each of them adds
BOTTLENECK = 4  # so many times as many has its 1 x 1 convolution
SECOND = 256  # channels of both halves of the second level
LEVELS = (256, 128, 128, 128)  # likewise of those after it

XAVIER = nn.initializers.xavier_uniform()

# Halves the sides, which round up as in Caffe.
smaller = partial(max_pool, size=2, stride=2, padding=1)


class DenseNet(nn.Module):
  """A stem, four dense blocks, and levels each made of the one before it.

  All its convolutions but the stem's come after their batch norm and ReLU.

  Attributes:
    blocks, growth: as BLOCKS and GROWTH.
    stem: as STEM.
    second: as SECOND.
    levels: as LEVELS.
    norm: how batch normalisation is done.
    dtype: of the computation.
  """

  blocks: Sequence[int] = BLOCKS
  growth: int = GROWTH
  stem: Sequence[int] = STEM
  second: int = SECOND
  levels: Sequence[int] = LEVELS
  norm: Norm = Norm()  # noqa: B008, a NamedTuple does not change
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, x: Float[Array, "B H W 3"], *, train: bool
  ) -> list[Float[Array, "B _ _ _"]]:
    """Pictures to levels of 8, 16, 32 ... pixels to a cell."""
    same = dict(norm=self.norm, train=train, dtype=self.dtype)
    layer = partial(norm_conv, **same)
    x = x.astype(self.dtype)
    for number, filters in enumerate(self.stem):
      x = conv_norm(
        x,
        filters,
        3,
        name=f"stem_{number}",
        stride=1 if number else 2,
        kernel_init=XAVIER,
        **same,
      )
    x = smaller(x)
    for number, count in enumerate(self.blocks):
      for dense in range(count):
        name = f"block_{number}_{dense}"
        y = layer(x, BOTTLENECK * self.growth, 1, name=f"{name}_first")
        y = layer(y, self.growth, 3, name=name)
        x = jnp.concatenate([x, y], axis=-1)
      # Unlike DenseNet's, a transition keeps all channels, and the last two
      # keep the sides, so that there can be more blocks.
      last = number == len(self.blocks) - 1
      filters = self.second if last else x.shape[-1]
      x = layer(x, filters, 1, name=f"transition_{number}")
      if number == 1:
        first = x
      if number < 2:
        x = smaller(x)
    near = layer(smaller(first), self.second, 1, name="first_smaller")
    levels = [first, jnp.concatenate([x, near], axis=-1)]
    for number, half in enumerate(self.levels):
      name, x = f"level_{number}", levels[-1]
      seen = layer(smaller(x), half, 1, name=f"{name}_smaller")
      learned = layer(x, half, 1, name=f"{name}_first")
      learned = layer(learned, half, 3, name=name, stride=2)
      levels.append(jnp.concatenate([seen, learned], axis=-1))
    return levels


def norm_conv(
  x: Float[Array, "B H W C"],
  filters: int,
  size: int,
  *,
  name: str,
  norm: Norm,
  train: bool,
  dtype: Any,
  stride: int = 1,
) -> Float[Array, "B Y X D"]:
  """Within a module: batch norm and ReLU, then a convolution without bias."""
  x = normalised(x, name=name, how=norm, train=train, dtype=dtype)
  return conv(
    jax.nn.relu(x),
    filters,
    size,
    name=name,
    dtype=dtype,
    stride=stride,
    bias=False,
    kernel_init=XAVIER,
  )
