"""The loss of regions of interest: Fast R-CNN, arXiv 1504.08083."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from yolo9000.boxes import coding
from yolo9000.boxes.sampling import Sample
from yolo9000.losses.smooth_l1 import smooth_l1
from yolo9000.types import Float, Int


def region_loss(
  logits: Float[Array, "R D"],
  codes: Float[Array, "R E 4"],
  boxes: Float[Array, "M 4"],
  labels: Int[Array, " M"],
  *,
  rois: Float[Array, "R 4"],
  truth: Int[Array, " R"],
  sample: Sample,
  weights: coding.Weights,
  beta: float,
) -> dict[str, Float[Array, ""]]:
  """Classes of the sampled rois and boxes of the positives, of one picture.

    label  cross-entropy of a softmax over background and classes
    coord  smooth L1 of the (t_x, t_y, t_w, t_h) of the truth's class, over the
           positives

  Both are sums. The caller divides them by the number of sampled rois of the
  whole batch, at least 1.

  Args:
    logits: D = 1 + C; that of the background is the first.
    codes: for the background, which are not used, and each class: E = D; or of
      boxes whatever the class: E = 1.
    boxes: truths, xyxy in the rois' unit.
    labels: class id below C.
    rois: xyxy. No gradient goes through them. Padding may have no area.
    truth: of each roi; see `sampling.Assigned`.
    sample: which rois count.
    weights: of the coding; 10, 10, 5 and 5.
    beta: see `smooth_l1`; 1 in the paper, 1/9 in torchvision.

  Source: equations 1 to 3.
  """
  positive = sample.positive
  whole = jnp.array([0, 0, 1, 1], rois.dtype)  # keeps logarithms finite
  rois = jnp.where(positive[:, None], jax.lax.stop_gradient(rois), whole[None])
  target = jnp.where(positive[:, None], boxes[truth], rois)
  column = jnp.where(positive, labels[truth] + 1, 0)
  chosen = jnp.take_along_axis(logits, column[:, None], axis=1, mode="clip")
  error = jax.nn.logsumexp(logits, axis=1) - chosen[:, 0]
  if codes.shape[1] == 1:
    column = jnp.zeros_like(column)
  said = jnp.take_along_axis(codes, column[:, None, None], axis=1, mode="clip")
  off = said[:, 0] - coding.encode(target, rois, weights)
  off = smooth_l1(off, beta=beta)
  sampled = positive | sample.negative
  return {
    "label": jnp.sum(jnp.where(sampled, error, 0.0)),
    "coord": jnp.sum(jnp.where(positive[:, None], off, 0.0)),
  }
