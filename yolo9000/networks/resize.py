"""Maps brought to other sizes."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array

from yolo9000.types import Float


def resize_bilinear(
  x: Float[Array, "B H W C"], size: tuple[int, int]
) -> Float[Array, "B Y X C"]:
  """By straight lines between pixels; corners stay at the corners.

  Differs: where pixels are taken for squares, the edges stay at the edges, as
  in jax.image.resize.
  """
  for axis, wanted in zip((1, 2), size, strict=True):
    side = x.shape[axis]
    place = np.linspace(0, side - 1, wanted)[:, None]
    share = np.maximum(0, 1 - np.abs(place - np.arange(side)))
    x = jnp.moveaxis(
      jnp.tensordot(x, jnp.asarray(share, x.dtype), ((axis,), (1,))), -1, axis
    )
  return x
