"""The sum-squared error of cells that predict boxes themselves.

Source: Redmon et al., "You Only Look Once", arXiv 1506.02640, section 2.2.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from yolo9000 import boxes as box
from yolo9000.losses.detection import Weights
from yolo9000.types import Bool, Float, Int


def split(
  output: Float[Array, " D"], how: Any
) -> tuple[Float[Array, "L C"], Float[Array, "L B"], Float[Array, "L B 4"]]:
  """Classes, confidences and boxes of the L = S * S cells, as they are.

  The output has the class probabilities of each cell, then the confidences of
  each cell's boxes, then their (x, y, w, h): x and y within the cell, w and h
  or their square roots as fractions of the picture.
  """
  cells, num_boxes = how.side**2, how.num_boxes
  ends = (cells * how.num_classes, cells * (how.num_classes + num_boxes))
  classes, confidences, numbers = jnp.split(output, ends)
  return (
    classes.reshape(cells, how.num_classes),
    confidences.reshape(cells, num_boxes),
    numbers.reshape(cells, num_boxes, 4),
  )


def sum_squared_loss(
  output: Float[Array, " D"],
  boxes: Float[Array, "M 4"],
  labels: Int[Array, " M"],
  mask: Bool[Array, " M"],
  *,
  how: Any,
  weights: Weights,
  rescore: bool,
  by_size: bool,
) -> dict[str, Float[Array, ""]]:
  """Sum of squared errors of one picture.

  The cell that holds a truth's centre is to find it; of several truths in a
  cell the first alone is taught. Responsible is the cell's box that overlaps
  the truth most; where none does, the one with the nearest (x, y, w, h).

    coord       1/2 weights.coord |(x, y, w', h') - target|^2 of the responsible
                box; w' is the square root of the width where `how` says so
    objectness  1/2 weights.objectness (IoU - confidence)^2 of that box, the IoU
                held constant; 1 in its place without rescore
    background  1/2 weights.background confidence^2 of every other box
    label       1/2 weights.label |one-hot - classes|^2 of the cell; where `how`
                is exclusive, weights.label times the softmax's cross-entropy

  Args:
    output: of the network, see `split`.
    boxes: xyxy in [0, 1]. Rows outside the mask may hold any finite number.
    labels: class id below C.
    mask: true for real objects. All false is legal.
    how: what the output means: side, num_classes, num_boxes, square_root and
      exclusive, as in `networks.rows.Detection`.
    weights: 5, 1, .5 and 1 in the paper.
    rescore: see objectness.
    by_size: responsible is box 1 for a truth smaller than a tenth of the
      picture, and box 0 for others ("forced" in the program).

  Returns:
    The four parts by name. Their sum is the loss.

  Source: section 2.2, equation 3. Differs: the paper's equation has 1 for
  weights.objectness and nowhere 1/2, which scales the gradient alone; its text
  asks for the IoU as the confidence, as does the program.
  """
  classes, confidences, numbers = split(output, how)
  whole = jnp.array([0, 0, 1, 1], output.dtype)
  truth = box.xyxy_to_cxcywh(jnp.where(mask[:, None], boxes, whole[None]))
  place = truth[:, :2] * how.side
  column_row = jnp.clip(place.astype(jnp.int32), 0, how.side - 1)
  cell = column_row[:, 1] * how.side + column_row[:, 0]
  same_cell = (cell[:, None] == cell[None]) & mask[:, None] & mask[None]
  owner = mask & ~jnp.any(jnp.tril(same_cell, k=-1), axis=1)

  # Boxes and truths within their cell, in parts of the picture.
  offset = place - column_row.astype(output.dtype)
  near = jnp.concatenate([offset / how.side, truth[:, 2:]], axis=1)
  said = jax.lax.stop_gradient(numbers[cell])  # (M, B, 4)
  size = said[..., 2:] ** 2 if how.square_root else said[..., 2:]
  said = jnp.concatenate([said[..., :2] / how.side, size], axis=-1)
  overlap = box.iou(box.cxcywh_to_xyxy(said), box.cxcywh_to_xyxy(near)[:, None])
  distance = jnp.sum((said - near[:, None]) ** 2, axis=-1)
  best = jnp.where(
    jnp.any(overlap > 0, axis=1),
    jnp.argmax(overlap, axis=1),
    jnp.argmin(distance, axis=1),
  )
  if by_size:
    best = (truth[:, 2] * truth[:, 3] < 0.1).astype(best.dtype)
  every = jnp.arange(len(truth))
  target_size = jnp.sqrt(truth[:, 2:]) if how.square_root else truth[:, 2:]
  target = jnp.concatenate([offset, target_size], axis=1)
  coord = jnp.sum((numbers[cell, best] - target) ** 2, axis=1)
  own_iou = overlap[every, best] if rescore else 1.0
  responsible = jnp.zeros(confidences.shape, bool).at[cell, best].max(owner)
  if how.exclusive:
    chosen = jnp.take_along_axis(
      classes[cell], labels[:, None], axis=1, mode="clip"
    )
    error = jax.nn.logsumexp(classes[cell], axis=1) - chosen[:, 0]
  else:
    one_hot = jax.nn.one_hot(labels, how.num_classes, dtype=output.dtype)
    error = jnp.sum((one_hot - classes[cell]) ** 2, axis=1) / 2

  def total(condition, value):
    return jnp.sum(jnp.where(condition, value, 0.0))

  return {
    "coord": weights.coord * total(owner, coord / 2),
    "objectness": weights.objectness
    * total(owner, (own_iou - confidences[cell, best]) ** 2 / 2),
    "background": weights.background * total(~responsible, confidences**2 / 2),
    "label": weights.label * total(owner, error),
  }


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def clipped(output: Float[Array, "*N"], most: float) -> Float[Array, "*N"]:
  """The output; in the gradient no entry is beyond most in size.

  Source: backward_connected_layer_gpu of the original program, with 1.
  """
  del most
  return output


def _clipped_forward(output, most):
  return clipped(output, most), None


def _clipped_backward(most, _, gradient):
  return (jnp.clip(gradient, -most, most),)


clipped.defvjp(_clipped_forward, _clipped_backward)
