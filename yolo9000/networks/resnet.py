"""Residual networks: He et al., arXiv 1512.03385, as detectors use them."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from yolo9000.networks.chain import max_pool
from yolo9000.networks.conv import conv
from yolo9000.networks.norm import Norm, normalised
from yolo9000.networks.rows import widened
from yolo9000.types import Float

# Table 1: blocks of conv2_x to conv5_x.
BLOCKS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
PLANES = (64, 128, 256, 512)  # in a block; it gives four times as many
EXPANSION = 4


class Bottleneck(nn.Module):
  """1 x 1, 3 x 3, 1 x 1, and the input added: Figure 5, on the right.

  Differs: in the paper the first convolution has the stride; here the second,
  as in all later programs.

  Attributes:
    planes: channels of the first two.
    stride, dilation: of the second.
    norm, frozen, dtype: see `ResNet`.
  """

  planes: int
  stride: int
  dilation: int
  norm: Norm
  frozen: bool
  dtype: Any

  @nn.compact
  def __call__(
    self, x: Float[Array, "B H W C"], *, train: bool
  ) -> Float[Array, "B Y X D"]:
    """To four times planes channels."""

    def layer(x: Array, filters: int, size: int, name: str, **how: Any):
      x = conv(x, filters, size, name=name, dtype=self.dtype, bias=False, **how)
      return normalised(
        x,
        name=name,
        how=self.norm,
        train=train,
        dtype=self.dtype,
        frozen=self.frozen,
      )

    outputs = EXPANSION * self.planes
    y = jax.nn.relu(layer(x, self.planes, 1, "conv1"))
    turn = dict(stride=self.stride, dilation=self.dilation)
    y = jax.nn.relu(layer(y, self.planes, 3, "conv2", **turn))
    y = layer(y, outputs, 1, "conv3")
    if self.stride != 1 or x.shape[-1] != outputs:
      x = layer(x, outputs, 1, "downsample", stride=self.stride)
    return jax.nn.relu(x + y)


class ResNet(nn.Module):
  """The convolutional part of a residual network of bottlenecks.

  Attributes:
    blocks: of each stage, such as BLOCKS["resnet50"].
    planes: of each stage.
    stem: channels of the first convolution.
    dilated: the last stage has no stride, and dilation 2, so that a cell has 16
      pixels.
    pool_padding: of the first pool, both sides together; 2 keeps half the
      sides. Differs: in Caffe's networks 1, on the right and below.
    norm: how batch normalisation is done.
    frozen: batch norm is as it starts, see `FrozenBatchNorm`.
    dtype: of the computation.
  """

  blocks: tuple[int, ...]
  planes: tuple[int, ...] = PLANES
  stem: int = 64
  dilated: bool = False
  pool_padding: int = 2
  norm: Norm = Norm()  # noqa: B008, a NamedTuple does not change
  frozen: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, x: Float[Array, "B H W 3"], *, train: bool
  ) -> tuple[Float[Array, "B Y X D"], ...]:
    """C2 to C5: the output of each stage, with 4, 8, 16 and 32 pixels a cell.

    Pictures are `input.standardise`d. Sides that are no multiples round up.
    """
    x = conv(
      x.astype(self.dtype),
      self.stem,
      7,
      name="conv1",
      dtype=self.dtype,
      stride=2,
      bias=False,
    )
    x = normalised(
      x,
      name="conv1",
      how=self.norm,
      train=train,
      dtype=self.dtype,
      frozen=self.frozen,
    )
    x = max_pool(jax.nn.relu(x), size=3, stride=2, padding=self.pool_padding)
    stages = []
    for stage, (count, planes) in enumerate(
      zip(self.blocks, self.planes, strict=True)
    ):
      dilated = self.dilated and stage == len(self.blocks) - 1
      for block in range(count):
        x = Bottleneck(
          planes,
          stride=2 if stage and not block and not dilated else 1,
          dilation=2 if dilated else 1,
          norm=self.norm,
          frozen=self.frozen,
          dtype=self.dtype,
          name=f"layer{stage + 1}_{block}",
        )(x, train=train)
      stages.append(x)
    return tuple(stages)


def resnet(which: str, *, width: float, **options: Any) -> ResNet:
  """A published network.

  Args:
    which: of BLOCKS.
    width: factor of all numbers of channels; 1 is the paper's.
    **options: other attributes of `ResNet`.

  Raises:
    ValueError: for another name, or a width that cannot be.
  """
  if which not in BLOCKS:
    raise ValueError(
      f"task.network.backbone is {which!r}; allowed are {', '.join(BLOCKS)}"
    )
  stem, *planes = (widened(n, width) for n in (64, *PLANES))
  return ResNet(BLOCKS[which], tuple(planes), stem, **options)
