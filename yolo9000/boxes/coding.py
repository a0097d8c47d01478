"""How heads say boxes: relative to anchors."""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax import Array

from yolo9000 import boxes as box
from yolo9000.types import Float

# A side grows at most from 16 pixels to 1000.
LARGEST = math.log(1000 / 16)

Weights = tuple[float, float, float, float]


def encode(
  boxes: Float[Array, "*N 4"], anchors: Float[Array, "*N 4"], weights: Weights
) -> Float[Array, "*N 4"]:
  """What a head should say of boxes, (t_x, t_y, t_w, t_h).

    t_x = weight_x (x - x_a) / w_a     t_w = weight_w log(w / w_a)

  and likewise t_y and t_h, with the anchor's centre (x_a, y_a).

  Args:
    boxes: xyxy, of any unit; their sides are above 0.
    anchors: xyxy, in the same unit.
    weights: 10, 10, 5 and 5 in SSD, whose paper divides by "variances" .1, .1,
      .2 and .2; 1 in RetinaNet and in region proposal networks.

  Source: R-CNN, arXiv 1311.2524, appendix C.
  """
  truth, anchor = box.xyxy_to_cxcywh(boxes), box.xyxy_to_cxcywh(anchors)
  centre = (truth[..., :2] - anchor[..., :2]) / anchor[..., 2:]
  size = jnp.log(truth[..., 2:] / anchor[..., 2:])
  codes = jnp.concatenate([centre, size], axis=-1)
  return codes * jnp.asarray(weights, codes.dtype).reshape(_wide(codes))


def decode(
  codes: Float[Array, "*N 4"],
  anchors: Float[Array, "*N 4"],
  weights: Weights,
  *,
  largest: float = LARGEST,
) -> Float[Array, "*N 4"]:
  """The boxes that a head says: xyxy, in the unit of the anchors, not clipped.

  Args:
    codes: as `encode` gives them.
    anchors, weights: as for `encode`.
    largest: most that log(w / w_a) may be, so that exp stays finite. Differs:
      SSD's program has no limit.
  """
  codes = codes / jnp.asarray(weights, codes.dtype).reshape(_wide(codes))
  anchor = box.xyxy_to_cxcywh(anchors)
  centre = codes[..., :2] * anchor[..., 2:] + anchor[..., :2]
  size = jnp.exp(jnp.minimum(codes[..., 2:], largest)) * anchor[..., 2:]
  return box.cxcywh_to_xyxy(jnp.concatenate([centre, size], axis=-1))


def _wide(codes: Array) -> tuple[int, ...]:
  """The shape of the weights beside the codes."""
  return (1,) * (codes.ndim - 1) + (4,)
