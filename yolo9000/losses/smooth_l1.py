"""Smooth L1: Fast R-CNN, arXiv 1504.08083, section 2.3."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from yolo9000.types import Float


def smooth_l1(
  difference: Float[Array, "*N"], *, beta: float
) -> Float[Array, "*N"]:
  """x^2 / (2 beta) of a difference below beta, |x| - beta / 2 of a larger one.

  Args:
    difference: of what is said and what is true.
    beta: 1 in Fast R-CNN's equation 3; 0 makes it |x|, whose gradient at 0 is
      0. Others name sigma, with beta = 1 / sigma^2.
  """
  # Not jnp.abs, whose gradient at 0 is 1.
  size = difference * jax.lax.stop_gradient(jnp.sign(difference))
  if beta == 0:
    return size
  return jnp.where(size < beta, size**2 / (2 * beta), size - beta / 2)
