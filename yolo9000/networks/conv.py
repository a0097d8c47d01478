"""One convolution of a module that is no chain of rows, and what follows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
from jax import Array

from yolo9000.networks.chain import convolve
from yolo9000.networks.norm import Norm, normalised
from yolo9000.types import Float


def conv(
  x: Float[Array, "B H W C"],
  filters: int,
  size: int | tuple[int, int],
  *,
  name: str,
  dtype: Any,
  stride: int = 1,
  dilation: int = 1,
  padding: int | None = None,
  bias: bool = True,
  kernel_init: Callable[..., Any] = nn.initializers.he_normal(),  # noqa: B008
  bias_init: Callable[..., Any] = nn.initializers.zeros,
) -> Float[Array, "B Y X D"]:
  """Within a module: a convolution, zero padded, None to keep the size."""
  plain = dilation == 1 and (isinstance(size, int) or size[0] == size[1])
  sides = (size, size) if isinstance(size, int) else size
  pads = [
    dilation * (side // 2) if padding is None else padding for side in sides
  ]
  return nn.Conv(
    filters,
    sides,
    strides=stride,
    padding=[(pad, pad) for pad in pads],
    kernel_dilation=dilation,
    use_bias=bias,
    kernel_init=kernel_init,
    bias_init=bias_init,
    dtype=dtype,
    conv_general_dilated=convolve if plain else jax.lax.conv_general_dilated,
    name=name,
  )(x)


def conv_norm(
  x: Float[Array, "B H W C"],
  filters: int,
  size: int | tuple[int, int],
  *,
  name: str,
  dtype: Any,
  norm: Norm,
  train: bool,
  positive: bool = True,
  **how: Any,
) -> Float[Array, "B Y X D"]:
  """As `conv`, then batch norm and, unless not positive, ReLU."""
  x = conv(x, filters, size, name=name, dtype=dtype, bias=False, **how)
  x = normalised(x, name=name, how=norm, train=train, dtype=dtype)
  return jax.nn.relu(x) if positive else x
