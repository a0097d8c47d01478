"""From uint8 pictures into a network: to begin, to train, to predict with it.

For any Flax module that takes pictures in [0, 1] and `train`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from yolo9000.types import Float, UInt8

DTYPES = ("float32", "bfloat16")


def dtype_of(name: str) -> Any:
  """Of the computation, from `task.network.dtype`.

  Raises:
    ValueError: for another than DTYPES.
  """
  if name not in DTYPES:
    raise ValueError(
      f"task.network.dtype is {name!r}; allowed are {', '.join(DTYPES)}"
    )
  return jnp.dtype(name)


def normalise(images: UInt8[Array, "B H W 3"]) -> Float[Array, "B H W 3"]:
  """Pictures travel as bytes and become [0, 1] on the device."""
  return images.astype(jnp.float32) / 255


CAFFE_MEAN = (104, 117, 123)  # ImageNet's blue, green and red, of 255


def as_caffe(images: Float[Array, "B H W 3"]) -> Float[Array, "B H W 3"]:
  """From [0, 1] and RGB to what the published VGG-16 was trained with.

  That is blue, green, red from 0 to 255, less ImageNet's mean.
  """
  mean = jnp.array(CAFFE_MEAN, images.dtype)
  return images[..., ::-1] * 255 - mean[None, None, None]


# Of ImageNet's pictures in [0, 1], by channel; what published networks expect.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def standardise(x: Float[Array, "B H W 3"]) -> Float[Array, "B H W 3"]:
  """From [0, 1] to numbers of mean 0 and deviation 1 over ImageNet."""
  mean, deviation = (
    jnp.asarray(numbers, x.dtype)[None, None, None]
    for numbers in (MEAN, DEVIATION)
  )
  return (x - mean) / deviation


def check_multiple(multiple: int, size: tuple[int, int]) -> None:
  """Raises ValueError unless both sides are positive multiples of so many."""
  for side in size:
    if side <= 0 or side % multiple:
      near = max(1, round(side / multiple)) * multiple
      raise ValueError(
        f"image size {side} must be a positive multiple of {multiple}, such as "
        f"{near}"
      )


def begin(
  network: nn.Module,
  check_size: Callable[[tuple[int, int]], None],
  key: Array,
  size: tuple[int, int],
  **more: Any,
) -> Any:
  """Fresh params and batch_stats, for pictures of size (height, width).

  A Task's init is this with its network and its check_size.
  """
  check_size(size)
  image = jnp.zeros((1, *size, 3), jnp.float32)
  return {"batch_stats": {}, **network.init(key, image, train=False, **more)}


def train(
  network: nn.Module,
  variables: Any,
  images: UInt8[Array, "B H W 3"],
  **more: Any,
) -> tuple[Any, Any]:
  """The network's output in training, and its new batch_stats."""
  output, new = network.apply(
    variables, normalise(images), train=True, mutable=["batch_stats"], **more
  )
  return output, new.get("batch_stats", {})


def predict(
  network: nn.Module,
  variables: Any,
  images: UInt8[Array, "B H W 3"],
  **more: Any,
) -> Any:
  """The network's output for pictures that nothing is learned from."""
  return network.apply(variables, normalise(images), train=False, **more)
