"""Batch normalisation: its options, as the original program has it, frozen.

L2Norm is another one, of each place by its own length.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from yolo9000 import ranges
from yolo9000.types import Float

AXIS = "data"  # the devices of a step, over which collectives go


class Norm(NamedTuple):
  """How batch normalisation is done; in a config, `task.norm`.

  Attributes:
    momentum: of the running statistics; .99 in the program.
    epsilon: added to the variance.
    axis: "" normalises each device's batch alone, as the program does; "data"
      those of all devices together.
    program: use `ProgramBatchNorm`, whose derivative is the program's.
  """

  momentum: float = 0.99
  epsilon: float = 1e-5
  axis: str = ""
  program: bool = False

  def check(self) -> None:
    """Raises ValueError for an option that cannot be, saying what can."""
    ranges.check("task.norm", self, momentum="[0, 1)", epsilon="[0, inf)")
    if self.axis not in ("", AXIS):
      raise ValueError(
        f"task.norm.axis is {self.axis!r}; allowed are '' (each device alone) "
        f"and {AXIS!r} (across devices)"
      )
    if self.program and self.axis:
      raise ValueError(
        f"task.norm.program normalises each device's batch alone, but "
        f"task.norm.axis is {self.axis!r}; expected ''"
      )


BACKWARD_EPSILON = 1e-5  # in the program's derivative, on CPU and GPU


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def normalise_batch(
  x: Float[Array, "*N C"], epsilon: float
) -> tuple[Float[Array, "*N C"], Float[Array, " C"], Float[Array, " C"]]:
  """(x - mean) / sqrt(variance + epsilon), the mean, and the variance.

  Over all axes but the last, N numbers a channel; the variance divides by
  N - 1. The derivative is the program's:

    dmean = -sum(d) / sqrt(variance + 1e-5)
    dvariance = -1/2 (variance + 1e-5)^(-3/2) sum(d (x - mean))
    dx = d / sqrt(variance + 1e-5) + dvariance 2 (x - mean) / N + dmean / N

  Differs from the exact derivative, which has 2 (x - mean) / (N - 1) and the
  same epsilon on the way back. For N = 18 that is 8 to 18 % of the largest
  gradient of a kernel, for N in the thousands nothing.

  Raises:
    ValueError: for a single number a channel, which has no variance.

  Source: batchnorm_layer.c, blas.c of the original program.
  """
  return _forward(x, epsilon)[0]


def _forward(x, epsilon):
  axes, count = tuple(range(x.ndim - 1)), x.size // x.shape[-1]
  if count < 2:
    raise ValueError(f"{x.shape}: one number a channel has no variance")
  mean = jnp.mean(x, axes, keepdims=True)
  centred = x - mean
  variance = jnp.sum(centred**2, axes, keepdims=True) / (count - 1)
  result = centred / jnp.sqrt(variance + epsilon)
  return (result, mean.ravel(), variance.ravel()), (centred, variance)


def _backward(epsilon, saved, cotangents):
  del epsilon
  centred, variance = saved
  d = cotangents[0]  # the statistics have no gradient
  axes, count = tuple(range(d.ndim - 1)), d.size // d.shape[-1]
  spread = variance + BACKWARD_EPSILON
  d_mean = -jnp.sum(d, axes, keepdims=True) / jnp.sqrt(spread)
  d_variance = jnp.sum(d * centred, axes, keepdims=True)
  d_variance = -0.5 * spread**-1.5 * d_variance
  d_x = d / jnp.sqrt(spread) + d_variance * 2 * centred / count
  return (d_x + d_mean / count,)


normalise_batch.defvjp(_forward, _backward)


class ProgramBatchNorm(nn.Module):
  """Stands in for nn.BatchNorm: same parameters, the program's arithmetic.

  Training divides the variance by N - 1 and has `normalise_batch`'s derivative.
  It repeats the program's updates; for other purposes the exact derivative of
  nn.BatchNorm is the better one, and the default.

  Attributes: as nn.BatchNorm. axis_name must be None: the program normalises
  each device's batch alone.
  """

  momentum: float
  epsilon: float
  axis_name: str | None
  dtype: Any
  use_running_average: bool | None = None

  @nn.compact
  def __call__(
    self, x: Float[Array, "*N C"], use_running_average: bool | None = None
  ) -> Float[Array, "*N C"]:
    """Normalised, scaled and shifted; updates batch_stats in training."""
    average = nn.merge_param(
      "use_running_average", self.use_running_average, use_running_average
    )
    if self.axis_name is not None:
      raise ValueError(
        f"the program's batch norm has no axis_name; got {self.axis_name!r}"
      )
    shape = x.shape[-1:]
    mean = self.variable("batch_stats", "mean", jnp.zeros, shape, jnp.float32)
    var = self.variable("batch_stats", "var", jnp.ones, shape, jnp.float32)
    scale = self.param("scale", nn.initializers.ones, shape)
    bias = self.param("bias", nn.initializers.zeros, shape)
    x = x.astype(jnp.float32)

    def wide(vector: Array) -> Array:
      return vector.reshape(*[1] * (x.ndim - 1), -1)

    if average:
      x = (x - wide(mean.value)) / jnp.sqrt(wide(var.value) + self.epsilon)
    else:
      outputs: Any = normalise_batch(x, self.epsilon)
      x, batch_mean, batch_var = outputs
      if not self.is_initializing():
        keep, add = self.momentum, 1 - self.momentum
        mean.value = keep * mean.value + add * batch_mean
        var.value = keep * var.value + add * batch_var
    return (wide(scale) * x + wide(bias)).astype(self.dtype)


class L2Norm(nn.Module):
  """Each place's channels as a vector of length 1, times a learnt scale each.

  A place that is all zeros stays so.

  Attributes:
    scale: what all channels' scales begin with.

  Source: ParseNet, arXiv 1506.04579; SSD has it on conv4_3, whose
  numbers are larger than those of deeper layers.
  """

  scale: float

  @nn.compact
  def __call__(self, x: Float[Array, "*N C"]) -> Float[Array, "*N C"]:
    """Normalised and scaled; in float32, for squares are summed."""
    begin = nn.initializers.constant(self.scale)
    scale = self.param("scale", begin, x.shape[-1:])
    x = x.astype(jnp.float32)
    squares = jnp.sum(x**2, axis=-1, keepdims=True)
    x = x * jax.lax.rsqrt(jnp.maximum(squares, 1e-24))
    return x * scale.reshape(*[1] * (x.ndim - 1), -1)


class FrozenBatchNorm(nn.Module):
  """Stands in for nn.BatchNorm: by what it starts with, none of which learns.

  Detectors that start from a classifier do so, because batches of a few large
  pictures have poor statistics.

  Attributes: as nn.BatchNorm.
  """

  epsilon: float
  dtype: Any

  @nn.compact
  def __call__(self, x: Float[Array, "*N C"]) -> Float[Array, "*N C"]:
    """Normalised, scaled and shifted."""
    shape = x.shape[-1:]
    mean = self.variable("batch_stats", "mean", jnp.zeros, shape, jnp.float32)
    var = self.variable("batch_stats", "var", jnp.ones, shape, jnp.float32)
    scale = self.param("scale", nn.initializers.ones, shape)
    bias = self.param("bias", nn.initializers.zeros, shape)
    factor = scale / jnp.sqrt(var.value + self.epsilon)
    shift = bias - mean.value * factor
    factor, shift = (
      jax.lax.stop_gradient(v).reshape(*[1] * (x.ndim - 1), -1)
      for v in (factor, shift)
    )
    return (x.astype(jnp.float32) * factor + shift).astype(self.dtype)


def _count(x: Float[Array, "*N C"], axis: str) -> int:
  """Numbers a channel, over which a mean is taken."""
  devices = jax.lax.axis_size(axis) if axis else 1
  return devices * x.size // x.shape[-1]


def normalised(
  x: Float[Array, "*N C"],
  *,
  name: str,
  how: Norm,
  train: bool,
  dtype: Any,
  frozen: bool = False,
) -> Float[Array, "*N C"]:
  """After the layer `name`, within a module: batch norm by its options.

  Raises:
    ValueError: while training is traced, for a single number a channel, such as
      that of a map of one cell of one picture.
  """
  if train and not frozen and _count(x, how.axis) < 2:
    raise ValueError(
      f"{name}, {x.shape}: one number a channel has no variance; expected "
      f"more or larger pictures on each device, or on several devices "
      f"task.norm.axis={AXIS!r}"
    )
  name = f"{name}_norm"
  if frozen:
    return FrozenBatchNorm(how.epsilon, dtype, name=name)(x)
  norm: Any = ProgramBatchNorm if how.program else nn.BatchNorm
  return norm(
    momentum=how.momentum,
    epsilon=how.epsilon,
    axis_name=how.axis or None,
    dtype=dtype,
    name=name,
  )(x, use_running_average=not train)
