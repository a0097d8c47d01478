"""The one Flax module that runs a table of layers.

The rows are those of rows.py; darknet19.py and extraction.py are tables.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, core

from yolo9000 import wordtree
from yolo9000.networks.norm import Norm, normalised
from yolo9000.networks.rows import (
  NEEDS_GRID,
  AveragePool,
  Connected,
  Conv,
  Cost,
  Detection,
  Dropout,
  Layer,
  Local,
  MaxPool,
  Region,
  Reorg,
  Route,
  Shortcut,
  Softmax,
  Upsample,
  Yolo,
  layer_name,
)
from yolo9000.types import Float, Shaped

ACTIVATIONS = {
  # Not nn.leaky_relu: its slope at 0 is 1, the program's is .1.
  "leaky": lambda x: jnp.where(x > 0, x, 0.1 * x),
  "linear": lambda x: x,
  "logistic": jax.nn.sigmoid,
  "relu": jax.nn.relu,
}


def known(x: Array) -> bool:
  """Whether all sides are numbers; of what is exported some stay open."""
  return all(isinstance(side, int) for side in x.shape)


def convolve(
  x: Float[Array, "B H W C"],
  kernel: Float[Array, "S S C D"],
  strides: tuple[int, int],
  padding: list[tuple[int, int]],
  **options: Any,
) -> Float[Array, "B Y X D"]:
  """jax.lax.conv_general_dilated, but on CPU one matrix product where it pays.

  That is for 1 x 1 kernels and for pictures with more channels than pixels,
  where copying every pixel's window costs little and XLA's own convolution is
  slow. What is exported has an open batch size, and convolutions alone.

  Args:
    x, kernel, strides, padding: strides down and across, pixels before and
      after on each axis.
    **options: what nn.Conv adds; with our rows rhs_dilation alone changes a
      value.
  """
  batch, height, width, channels = x.shape
  size, _, _, filters = kernel.shape
  half = (size - 1) // 2
  keeps_size = set(strides) == {1} and set(padding) == {(half, size - 1 - half)}
  keeps_size &= set(options.get("rhs_dilation") or (1,)) == {1}
  pays = known(x) and (size == 1 or channels > height * width)
  if not (keeps_size and pays and jax.default_backend() == "cpu"):
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, **options)
  x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
  windows = [
    x[:, row : row + height, col : col + width]
    for row in range(size)
    for col in range(size)
  ]
  patches = jnp.concatenate(windows, axis=-1).reshape(-1, size**2 * channels)
  product = patches @ kernel.reshape(-1, filters)
  return product.reshape(batch, height, width, filters)


def max_pool(
  x: Float[Array, "B H W C"], *, size: int, stride: int, padding: int
) -> Float[Array, "B Y X C"]:
  """Maximum over windows; padding is that of both sides together.

  Small windows are a chain of `where` over strided slices: on CPU the gradient
  of a window reduction takes 5 times as long (2x2, 208x208x32, 2 cores,
  interleaved). Of equal maxima the first in scan order gets the gradient, as in
  the original program. A large window is a reduction, or it would compile for
  minutes; and so are all in what is exported.
  """
  height, width = ((n + padding - size) // stride + 1 for n in x.shape[1:3])
  before = padding // 2
  pad = [
    (before, core.max_dim(0, (out - 1) * stride + size - before - side))
    for out, side in zip((height, width), x.shape[1:3], strict=True)
  ]
  if any(side != 0 for sides in pad for side in sides):
    x = jnp.pad(x, ((0, 0), *pad, (0, 0)), constant_values=-jnp.inf)
  if size > 5 or not known(x):
    return nn.max_pool(x, (size, size), (stride, stride))
  best = None
  for row in range(size):
    for col in range(size):
      rows = slice(row, row + stride * (height - 1) + 1, stride)
      cols = slice(col, col + stride * (width - 1) + 1, stride)
      window = x[:, rows, cols]
      best = window if best is None else jnp.where(best >= window, best, window)
  assert best is not None
  return best


def space_to_depth(
  x: Shaped[Array, "B H W C"], stride: int
) -> Shaped[Array, "B Y X D"]:
  """The paper's reorg, D = stride^2 C, channels offset first; see `Reorg`."""
  batch, height, width, channels = x.shape
  y, x_ = height // stride, width // stride
  x = x.reshape(batch, y, stride, x_, stride, channels)
  x = x.transpose(0, 1, 3, 2, 4, 5)  # (B, Y, X, dy, dx, C)
  return x.reshape(batch, y, x_, stride * stride * channels)


def reorg_program(
  x: Shaped[Array, "B H W C"], stride: int
) -> Shaped[Array, "B Y X D"]:
  """The original program's reorg, which is no space to depth.

  It takes the planar numbers of a (C, H, W) picture for a (C / s^2, H s, W s)
  one, does the space to depth of that, and takes the (C, H, W) result for a
  (C s^2, H / s, W / s) one. Rows get interleaved and, where H is no multiple of
  4, wrap into neighbouring channels; no permutation of the next layer's weights
  undoes it. C must be a multiple of s^2.
  """
  batch, height, width, channels = x.shape
  area = stride * stride
  x = x.transpose(0, 3, 1, 2)
  x = x.reshape(batch, channels // area, height, stride, width, stride)
  x = x.transpose(0, 3, 5, 1, 2, 4)
  x = x.reshape(batch, channels * area, height // stride, width // stride)
  return x.transpose(0, 2, 3, 1)


# Of a connected layer: uniform up to sqrt(2 / inputs), as in the program, which
# begins with smaller outputs than He's normal distribution.
FLAT = nn.initializers.variance_scaling(2 / 3, "fan_in", "uniform")


class Chain(nn.Module):
  """Runs a table of layers.

  Attributes:
    layers: the table.
    dtype: of the computation; parameters and batch statistics stay float32, and
      the output is cast to it.
    norm: how batch normalisation is done.
  """

  layers: tuple[Layer, ...]
  dtype: Any = jnp.float32
  norm: Norm = Norm()  # noqa: B008, a NamedTuple does not change

  def __call__(
    self,
    x: Float[Array, "B H W C"],
    *,
    train: bool,
    dropout_keys: Any = None,
  ) -> Any:
    """Pictures, RGB in [0, 1], to the last layer's output; see `outputs`.

    If there are Yolo rows, to a tuple of what each of them reads.
    """
    outputs = self.outputs(x, train=train, dropout_keys=dropout_keys)
    levels = [
      output
      for row, output in zip(self.layers, outputs, strict=True)
      if isinstance(row, Yolo)
    ]
    return tuple(levels) or outputs[-1]

  @nn.compact
  def outputs(
    self,
    x: Float[Array, "B H W C"],
    *,
    train: bool,
    dropout_keys: Any = None,
  ) -> list[Float[Array, "B ..."]]:
    """Pictures to every layer's output, in float32.

    dropout_keys, one for each picture, are for training with Dropout rows. So
    what is dropped of a picture does not depend on what is computed beside it.
    """
    x = x.astype(self.dtype)
    outputs: list[Array] = []
    for index, row in enumerate(self.layers):
      name = layer_name(index)
      if x.ndim == 2 and isinstance(row, NEEDS_GRID):
        x = x[:, None, None]
      match row:
        case Conv():
          x = self._conv(row, name, x, train)
        case MaxPool(size, stride):
          x = max_pool(x, size=size, stride=stride, padding=row.pad)
        case Reorg(program_order, stride):
          x = (reorg_program if program_order else space_to_depth)(x, stride)
        case Route():
          picked = [outputs[source] for source in row.sources(index)]
          x = jnp.concatenate(picked, axis=-1)
        case Shortcut(activation=activation):
          one, other = (outputs[source] for source in row.sources(index))
          x = ACTIVATIONS[activation](one + other)
        case Upsample(stride):
          x = jnp.repeat(jnp.repeat(x, stride, axis=1), stride, axis=2)
        case AveragePool():
          x = jnp.mean(x, axis=(1, 2))
        case Local():
          x = self._local(row, name, x)
        case Connected():
          x = self._connected(row, name, x, train)
        case Dropout(probability):
          if train and probability:
            x = jax.vmap(partial(drop, probability))(dropout_keys, x)
        case Softmax():
          x = softmax(row, x)
        case Cost() | Region() | Yolo() | Detection():
          pass
      outputs.append(x)
    return [x.astype(jnp.float32) for x in outputs]

  def _conv(self, row: Conv, name: str, x: Array, train: bool) -> Array:
    x = nn.Conv(
      row.filters,
      (row.size, row.size),
      strides=row.stride,
      padding=row.pad,
      kernel_dilation=row.dilation,
      use_bias=not row.batch_norm,
      kernel_init=nn.initializers.he_normal(),
      dtype=self.dtype,
      conv_general_dilated=convolve,
      name=name,
    )(x)
    if row.batch_norm:
      x = self._norm(name, x, train)
    return ACTIVATIONS[row.activation](x)

  def _norm(self, name: str, x: Array, train: bool) -> Array:
    return normalised(
      x, name=name, how=self.norm, train=train, dtype=self.dtype
    )

  def _local(self, row: Local, name: str, x: Array) -> Array:
    x = nn.ConvLocal(
      row.filters,
      (row.size, row.size),
      strides=row.stride,
      padding=[(row.padding, row.padding)] * 2,
      kernel_init=nn.initializers.he_normal(),
      dtype=self.dtype,
      name=name,
    )(x)
    return ACTIVATIONS[row.activation](x)

  def _connected(
    self, row: Connected, name: str, x: Array, train: bool
  ) -> Array:
    x = nn.Dense(
      row.outputs,
      use_bias=not row.batch_norm,
      kernel_init=FLAT,
      dtype=self.dtype,
      name=name,
    )(x.reshape(x.shape[0], -1))
    if row.batch_norm:
      x = self._norm(name, x, train)
    return ACTIVATIONS[row.activation](x)


def drop(
  probability: float, key: Array, x: Float[Array, "*N"]
) -> Float[Array, "*N"]:
  """Each number is 0 with the probability, or divided by 1 minus it."""
  kept = jax.random.bernoulli(key, 1 - probability, x.shape)
  return jnp.where(kept, x / (1 - probability), 0)


def softmax(row: Softmax, logits: Float[Array, "*N C"]) -> Float[Array, "*N C"]:
  """Probabilities of the softmax layer, conditional ones with a tree."""
  logits = logits / row.temperature
  if row.tree:
    return jnp.exp(wordtree.log_softmax(row.tree, logits))
  grouped = logits.reshape(*logits.shape[:-1], row.groups, -1)
  return jax.nn.softmax(grouped, axis=-1).reshape(logits.shape)
