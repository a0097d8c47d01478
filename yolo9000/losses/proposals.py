"""The loss of a region proposal network: Faster R-CNN, arXiv 1506.01497."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from yolo9000.boxes import coding
from yolo9000.boxes.sampling import Sample
from yolo9000.losses.smooth_l1 import smooth_l1
from yolo9000.types import Float, Int

WEIGHTS = (1.0, 1.0, 1.0, 1.0)  # of the codes


def proposal_loss(
  logits: Float[Array, " N"],
  codes: Float[Array, "N 4"],
  boxes: Float[Array, "M 4"],
  *,
  anchors: Float[Array, "N 4"],
  truth: Int[Array, " N"],
  sample: Sample,
  beta: float,
) -> dict[str, Float[Array, ""]]:
  """Objectness and boxes of the sampled anchors of one picture.

    objectness      cross-entropy of a logistic, over the sampled anchors
    proposal_coord  smooth L1 of (t_x, t_y, t_w, t_h), over the positives

  Both are sums. The caller divides them by the number of sampled anchors of the
  whole batch, at least 1.

  Args:
    logits: of the objectness.
    codes: see `coding.encode`, with weights of 1.
    boxes: truths, xyxy in the anchors' unit.
    anchors: xyxy.
    truth: of each anchor; see `matching.Matches`.
    sample: which anchors count.
    beta: see `smooth_l1`; 1/9 in the program, whose sigma is 3.

  Source: equation 1. Differs: the paper divides the second sum by the number
  of places and multiplies it by 10, which is about the same; the program and
  torchvision divide both by the sampled anchors.
  """
  # Others have an anchor for their truth, whose code is 0 and finite.
  target = jnp.where(sample.positive[:, None], boxes[truth], anchors)
  off = smooth_l1(codes - coding.encode(target, anchors, WEIGHTS), beta=beta)
  error = jax.nn.softplus(jnp.where(sample.positive, -logits, logits))
  sampled = sample.positive | sample.negative
  return {
    "objectness": jnp.sum(jnp.where(sampled, error, 0.0)),
    "proposal_coord": jnp.sum(jnp.where(sample.positive[:, None], off, 0.0)),
  }
