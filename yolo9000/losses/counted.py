"""A batch's loss that is divided by what all its pictures have of a thing."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from yolo9000.types import Bool, Float, Int


def over_counted(
  parts: dict[str, Float[Array, " B"]],
  counts: Int[Array, " B"],
  valid: Bool[Array, " B"],
) -> dict[str, Float[Array, ""]]:
  """Sums over the batch by the sum of its counts, at least 1.

  Args:
    parts: sums of each picture, by name.
    counts: of each picture, such as its assigned boxes.
    valid: false for pictures that are padding.

  Differs, as in Caffe and torchvision: each device, and each subdivision of a
  step, divides by its own counts, and their losses are averaged.
  """
  total = jnp.sum(jnp.where(valid, counts, 0)).astype(jnp.float32)
  return {
    name: jnp.sum(jnp.where(valid, part, 0.0)) / jnp.maximum(total, 1.0)
    for name, part in parts.items()
  }
