"""Feature pyramids: Lin et al., arXiv 1612.03144, section 3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from yolo9000.networks.conv import conv
from yolo9000.types import Float

BEYOND = ("none", "pool", "c5", "p5")


class FeaturePyramid(nn.Module):
  """From maps of falling size to levels of one width that all know the whole.

  Each level is the sum of a 1 x 1 convolution of its map and of the next
  smaller level, enlarged; a 3 x 3 convolution of the sum follows. None of them
  has an activation.

  Attributes:
    filters: of every level; 256 in the paper.
    beyond: levels smaller than the smallest map. "none"; "pool": one more,
      every second cell of the smallest level, as region proposals have it; "c5"
      or "p5": two more by 3 x 3 convolutions of stride 2, the first of the
      smallest map or of its level, the second of the first's positive part.
    dtype: of the computation.

  Source: Figure 3; "c5" is RetinaNet's, arXiv 1708.02002, section 4.
  """

  filters: int = 256
  beyond: str = "none"
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, maps: Sequence[Float[Array, "B ..."]]
  ) -> tuple[Float[Array, "B ..."], ...]:
    """Levels, largest first, each of the size of its map."""
    if self.beyond not in BEYOND:
      raise ValueError(
        f"beyond is {self.beyond!r}; allowed are {', '.join(BEYOND)}"
      )

    def layer(x: Array, size: int, name: str, **how: Any) -> Array:
      return conv(x, self.filters, size, name=name, dtype=self.dtype, **how)

    levels: list[Array] = []
    above = None
    for number in reversed(range(len(maps))):
      sum_ = layer(maps[number], 1, f"lateral_{number}")
      if above is not None:
        sum_ += resize_nearest(above, sum_.shape[1:3])
      above = sum_
      levels.insert(0, layer(sum_, 3, f"level_{number}"))
    if self.beyond == "pool":
      levels.append(levels[-1][:, ::2, ::2])
    elif self.beyond != "none":
      below = maps[-1] if self.beyond == "c5" else levels[-1]
      levels.append(layer(below, 3, "beyond_1", stride=2))
      levels.append(layer(jax.nn.relu(levels[-1]), 3, "beyond_2", stride=2))
    return tuple(levels)


def resize_nearest(
  x: Float[Array, "B H W C"], size: Sequence[int]
) -> Float[Array, "B Y X C"]:
  """Larger: the pixel i of n that a side becomes is i * side // n of it."""
  for axis, wanted in zip((1, 2), size, strict=True):
    side = x.shape[axis]
    if wanted % side == 0:
      x = jnp.repeat(x, wanted // side, axis)
    else:
      x = jnp.take(x, np.arange(wanted) * side // wanted, axis)
  return x
