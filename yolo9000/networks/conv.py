"""One convolution of a module that is no chain of rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
from jax import Array

from yolo9000.networks.chain import convolve
from yolo9000.types import Float


def conv(
  x: Float[Array, "B H W C"],
  filters: int,
  size: int,
  *,
  name: str,
  dtype: Any,
  stride: int = 1,
  dilation: int = 1,
  bias: bool = True,
  kernel_init: Callable[..., Any] = nn.initializers.he_normal(),  # noqa: B008
  bias_init: Callable[..., Any] = nn.initializers.zeros,
) -> Float[Array, "B Y X D"]:
  """Within a module: a convolution, zero padded to keep the size."""
  plain = dilation == 1
  return nn.Conv(
    filters,
    (size, size),
    strides=stride,
    padding=dilation * (size // 2),
    kernel_dilation=dilation,
    use_bias=bias,
    kernel_init=kernel_init,
    bias_init=bias_init,
    dtype=dtype,
    conv_general_dilated=convolve if plain else jax.lax.conv_general_dilated,
    name=name,
  )(x)
