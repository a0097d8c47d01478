"""The loss of many default boxes: SSD, arXiv 1512.02325, section 2.2."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from yolo9000.boxes import coding
from yolo9000.boxes.matching import Matches
from yolo9000.losses.smooth_l1 import smooth_l1
from yolo9000.types import Bool, Float, Int


def multibox_loss(
  logits: Float[Array, "N D"],
  codes: Float[Array, "N 4"],
  boxes: Float[Array, "M 4"],
  labels: Int[Array, " M"],
  *,
  anchors: Float[Array, "N 4"],
  matches: Matches,
  weights: coding.Weights,
  negatives: float,
) -> dict[str, Float[Array, ""]]:
  """Class and box error of one picture, summed over its default boxes.

    label  cross-entropy of a softmax over background and classes, of assigned
           boxes and of the hardest of the background, see `hardest`
    coord  smooth L1 of (t_x, t_y, t_w, t_h) of assigned boxes

  Both are sums. The paper divides them by the number of assigned boxes of the
  whole batch, which is not known here: the caller does, by at least 1. A
  picture without truths adds nothing to either.

  Args:
    logits: D = 1 + C; that of the background is the first.
    codes: what the head says of boxes, see `boxes.coding`.
    boxes: truths, xyxy in the anchors' unit.
    labels: class id below C.
    anchors: the default boxes, xyxy. No gradient goes through them.
    matches: `boxes.matching.Matches`, which know which truths are padding.
      Ignored anchors have no error.
    weights: of the coding; 10, 10, 5 and 5.
    negatives: background boxes for each assigned one, 3 in the paper.

  Source: equations 1 to 3, and "Hard negative mining".
  """
  assigned = matches.assigned
  anchors = jax.lax.stop_gradient(anchors)
  target = coding.encode(boxes[matches.truth], anchors, weights)
  # Others may have an infinite one, by a truth or an anchor without area.
  target = jnp.where(assigned[:, None], target, 0.0)
  off = smooth_l1(codes - target, beta=1.0)

  column = jnp.where(assigned, labels[matches.truth] + 1, 0)
  chosen = jnp.take_along_axis(logits, column[:, None], axis=1, mode="clip")
  error = jax.nn.logsumexp(logits, axis=1) - chosen[:, 0]
  count = negatives * jnp.sum(assigned, dtype=jnp.float32)
  background = hardest(error, ~assigned & ~matches.ignored, count)
  return {
    "coord": jnp.sum(jnp.where(assigned[:, None], off, 0.0)),
    "label": jnp.sum(jnp.where(assigned | background, error, 0.0)),
  }


def hardest(
  error: Float[Array, " N"], allowed: Bool[Array, " N"], count: Float[Array, ""]
) -> Bool[Array, " N"]:
  """The so many of the allowed whose error is largest; of equals the first."""
  error = jnp.where(allowed, jax.lax.stop_gradient(error), -jnp.inf)
  rank = jnp.argsort(jnp.argsort(-error))
  return allowed & (rank.astype(jnp.float32) < count)
