"""From the losses of pictures to that of their batch."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from yolo9000.types import Bool, Float, Int


def over_pictures(
  parts: dict[str, Float[Array, " B"]], counted: Bool[Array, " B"]
) -> dict[str, Float[Array, ""]]:
  """Means over the batch; pictures that are not counted have a loss of 0.

  Args:
    parts: of each picture, by name.
    counted: false for pictures that are padding.
  """
  return {
    name: jnp.mean(jnp.where(counted, part, 0.0))
    for name, part in parts.items()
  }


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
