"""Learning rate schedules and optimizers, as the original program has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

Schedule = Callable[[Any], Any]

# The schedules count updates from 1, as the program does: the first update of a
# run has iteration 1.


def burn_in(schedule: Schedule, *, iterations: int, power: float) -> Schedule:
  """base (iteration / iterations)^power at first, `schedule` from there on.

  base is the schedule's rate at iteration 0. Source: the program's burn_in with
  power 4; not in the paper.
  """
  if iterations <= 0:
    return schedule

  def rate(iteration):
    warm = schedule(0) * (iteration / iterations) ** power
    return jnp.where(iteration < iterations, warm, schedule(iteration))

  return rate


def steps(
  base: float, *, at: Sequence[int], factors: Sequence[float]
) -> Schedule:
  """base times each factor whose iteration has come.

  Source: section 3, detection training: 1e-3 divided by 10 at epochs 60 and 90.
  """
  if len(at) != len(factors):
    raise ValueError(f"steps at {at} need as many factors, not {factors}")

  def rate(iteration):
    value = jnp.asarray(base)
    for start, factor in zip(at, factors, strict=True):
      value = value * jnp.where(iteration >= start, factor, 1.0)
    return value

  return rate


def polynomial(base: float, *, iterations: int, power: float) -> Schedule:
  """base (1 - iteration / iterations)^power.

  Source: section 3, training for classification: power 4 from .1.
  """

  def rate(iteration):
    left = jnp.clip(1 - iteration / iterations, 0.0, 1.0)
    return base * left**power

  return rate


def cosine(base: float, *, iterations: int) -> Schedule:
  """base falling to 0 along half a cosine; not in the paper."""

  def rate(iteration):
    done = jnp.clip(iteration / iterations, 0.0, 1.0)
    return base * (1 + jnp.cos(jnp.pi * done)) / 2

  return rate


SCHEDULES = ("constant", "steps", "polynomial", "cosine")


def make_schedule(
  *,
  name: str,
  rate: float,
  total_steps: int,
  burn_in_steps: int,
  burn_in_power: float,
  at: Sequence[float],
  factors: Sequence[float],
  power: float,
) -> Schedule:
  """A schedule by its name.

  Args:
    name: one of SCHEDULES.
    rate: the base rate, for the whole batch whatever the number of devices.
    total_steps: the length of the run.
    burn_in_steps, burn_in_power: see `burn_in`; 0 steps turn it off.
    at, factors: of "steps"; at is in fractions of the run.
    power: of "polynomial".

  Raises:
    ValueError: for another name, or `at` that is no part of the run.
  """
  if name == "constant":
    schedule = steps(rate, at=(), factors=())
  elif name == "steps":
    if not all(0 < share <= 1 for share in at):
      raise ValueError(
        f"schedule.at is {tuple(at)}; expected parts of the run, such as .8"
      )
    at = [round(share * total_steps) for share in at]
    schedule = steps(rate, at=at, factors=factors)
  elif name == "polynomial":
    schedule = polynomial(rate, iterations=total_steps, power=power)
  elif name == "cosine":
    schedule = cosine(rate, iterations=total_steps)
  else:
    raise ValueError(
      f"schedule is {name!r}; allowed are {', '.join(SCHEDULES)}"
    )
  return burn_in(schedule, iterations=burn_in_steps, power=burn_in_power)


def decays(params: Any) -> Any:
  """Which parameters the weight decay acts on: kernels only.

  Neither biases nor batch norm's scales decay in the program.
  """
  return jax.tree_util.tree_map_with_path(
    lambda path, _: path[-1].key == "kernel", params
  )


def make_optimizer(
  schedule: Schedule,
  *,
  name: str,
  momentum: float,
  weight_decay: float,
  clip_norm: float,
) -> optax.GradientTransformation:
  """SGD with momentum as the program's, or AdamW.

  Args:
    schedule: counts updates from 1.
    name: "sgd" or "adamw".
    momentum: of sgd; adamw's first decay rate.
    weight_decay: on kernels only. sgd adds it to the gradient (L2), as the
      program does; adamw keeps it apart.
    clip_norm: largest norm of the gradient; 0 does not clip, as the program.

  Raises:
    ValueError: for another name.
  """

  def learning_rate(count):
    return schedule(count + 1)

  clip = optax.clip_by_global_norm(clip_norm) if clip_norm else optax.identity()
  if name == "sgd":
    decay = optax.add_decayed_weights(weight_decay, mask=decays)
    return optax.chain(clip, decay, optax.sgd(learning_rate, momentum=momentum))
  if name == "adamw":
    adamw = optax.adamw(
      learning_rate, b1=momentum, weight_decay=weight_decay, mask=decays
    )
    return optax.chain(clip, adamw)
  raise ValueError(f"optimizer is {name!r}; allowed are sgd, adamw")
