"""Focal loss: RetinaNet, arXiv 1708.02002, section 3."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from yolo9000.types import Bool, Float


def focal_loss(
  logits: Float[Array, "*N"],
  targets: Bool[Array, "*N"],
  *,
  alpha: float | None,
  gamma: float,
) -> Float[Array, "*N"]:
  """Logistic error of which the well-classified count little, in nats.

    -alpha_t (1 - p_t)^gamma log(p_t)

  p_t is the probability of what is true, sigmoid(logit) where the target is
  true and 1 - sigmoid(logit) where it is false. Finite, with its gradient, for
  any finite logit.

  Args:
    logits: one for each class of each anchor.
    targets: what is true.
    alpha: weight where the target is true, 1 - alpha where it is false; None
      weighs both by 1.
    gamma: 0 is the logistic error itself.

  Source: equations 4 and 5.
  """
  signed = jnp.where(targets, logits, -logits)
  log_wrong, log_right = jax.nn.log_sigmoid(-signed), jax.nn.log_sigmoid(signed)
  error = -jnp.exp(gamma * log_wrong) * log_right
  if alpha is None:
    return error
  return jnp.where(targets, alpha, 1 - alpha) * error
