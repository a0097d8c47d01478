"""The loss of one level: YOLOv3, arXiv 1804.02767, section 2.

Notation as in the paper's Figure 2: a slot (row, col, prior) of a level's grid
holds t_x, t_y, t_w, t_h, t_o and C class logits, together `raw`. All but t_w
and t_h are logistic, and what a logistic says is compared by cross-entropy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import Array

from yolo9000 import boxes as box
from yolo9000.losses.detection import decode
from yolo9000.types import Bool, Float, Int

OVERLAPS = ("prior", "prediction")


def cross_entropy(
  logits: Float[Array, "*N"], targets: Float[Array, "*N"] | float
) -> Float[Array, "*N"]:
  """Of a logistic; its gradient is sigmoid(logits) - targets."""
  return jax.nn.softplus(logits) - targets * logits


def level_loss(
  raw: Float[Array, "Y X A F"],
  boxes: Float[Array, "M 4"],
  labels: Int[Array, " M"],
  mask: Bool[Array, " M"],
  *,
  prior_shapes: Float[Array, "P 2"],
  own: Sequence[int],
  class_error: Callable[..., Float[Array, " N"]],
  ignore_iou: float,
  overlap_of: str,
  truth_iou: float,
  small_box_weight: bool,
) -> dict[str, Float[Array, ""]]:
  """Box, objectness and class error of one picture at one of its levels.

  A truth is assigned to the prior whose shape overlaps it most, of those of all
  levels, and to the cell of that prior's level that holds its centre. So it is
  taught at one level alone. Of two truths in one slot the later keeps the box;
  the classes of both are taught. With CE the cross-entropy of a logistic:

    coord       s (CE(t_x, x) + CE(t_y, y) + (t_w - w)^2 / 2 + (t_h - h)^2 / 2)
                of each assigned slot; s is 2 - w h, in parts of the picture,
                with small_box_weight, and otherwise 1
    objectness  CE(t_o, 1) there
    background  CE(t_o, 0) of every other slot, unless it overlaps a truth of
                any level by more than ignore_iou
    label       class_error of each assigned slot

  Args:
    raw: no activation applied.
    boxes: xyxy in [0, 1]. Rows outside the mask may hold any finite number.
    labels: class id below C.
    mask: true for real objects; those without area count as none. All false is
      legal.
    prior_shapes: of all levels, width and height as parts of the picture.
    own: which of them are the A of this level.
    class_error: of logits (N, C), labels (M) and a mask (N, M) of the truths
      that each slot is taught, such as `logistic_error`.
    ignore_iou: see background.
    overlap_of: what overlaps truths: the box that a slot predicts
      ("prediction"), or its prior at the cell's centre ("prior").
    truth_iou: a slot is assigned the truth that it overlaps most also if it
      does so by more than this; 1 for none.
    small_box_weight: see coord.

  Returns:
    The four parts by name, each a sum over slots. The loss is their sum over
    all levels.

  Raises:
    ValueError: while tracing, for shapes or an overlap_of that cannot be.

  Source: sections 2.1 to 2.3; truth_iou: section 4, "Dual IOU thresholds",
  which did not help.
  Differs: the paper ignores by priors and .5, the program by predictions and .7
  (COCO) or .5 (VOC). The paper does not speak of small_box_weight; the program
  has it. The paper calls the error of x and y squared, but says that its
  gradient is target minus prediction: so it is in the program, which by a
  logistic is the cross-entropy's. The program forgets that class 0 was taught
  if its probability is exactly 1 in float32 when the slot's next truth comes.
  """
  _check(raw, own, overlap_of)
  rows, cols, num_priors, entries = raw.shape
  grid = jnp.array([cols, rows], raw.dtype)
  own_shapes = prior_shapes[jnp.asarray(own)]
  numbers = raw.reshape(-1, entries)  # (N, F)
  index = jnp.arange(len(numbers))

  mask = mask & (box.area(boxes) > 0)
  whole = jnp.array([0, 0, 1, 1], raw.dtype)  # keeps log(w) of padding finite
  boxes = jnp.where(mask[:, None], boxes, whole[None])
  truth = box.xyxy_to_cxcywh(boxes)
  slot = assigned_slot(
    truth, prior_shapes=prior_shapes, own=own, grid=(rows, cols)
  )
  taught = (index[:, None] == slot[None]) & mask[None]  # (N, M)
  assigned = jnp.any(taught, axis=1)
  owner = len(mask) - 1 - jnp.argmax(taught[:, ::-1], axis=1)  # the last one

  # Which slots overlap truths.
  said = raw if overlap_of == "prediction" else jnp.zeros_like(raw)
  decoded = decode(said, own_shapes * grid[None], location="direct")
  decoded = jax.lax.stop_gradient(decoded).reshape(-1, 4)
  overlap = box.iou(decoded[:, None], boxes[None])  # (N, M)
  overlap = jnp.where(mask[None], overlap, 0.0)
  most = jnp.max(overlap, axis=1)
  if truth_iou < 1:
    nearest, near = jnp.argmax(overlap, axis=1), most > truth_iou
    owner = jnp.where(assigned, owner, nearest)
    taught |= near[:, None] & (nearest[:, None] == jnp.arange(len(mask))[None])
    assigned |= near
  background = ~assigned & (most <= ignore_iou)

  # What the assigned slots should say.
  cell, prior = index // num_priors, index % num_priors
  corner = jnp.stack([cell % cols, cell // cols], axis=1).astype(raw.dtype)
  target_xy = truth[owner, :2] * grid[None] - corner
  target_wh = jnp.log(truth[owner, 2:] / own_shapes[prior])
  coord = jnp.sum(cross_entropy(numbers[:, :2], target_xy), axis=1)
  coord += jnp.sum((numbers[:, 2:4] - target_wh) ** 2, axis=1) / 2
  if small_box_weight:
    coord *= (2 - truth[:, 2] * truth[:, 3])[owner]

  def total(condition, value):
    return jnp.sum(jnp.where(condition, value, 0.0))

  return {
    "coord": total(assigned, coord),
    "objectness": total(assigned, cross_entropy(numbers[:, 4], 1.0)),
    "background": total(background, cross_entropy(numbers[:, 4], 0.0)),
    "label": total(assigned, class_error(numbers[:, 5:], labels, taught)),
  }


def assigned_slot(
  truth: Float[Array, "M 4"],
  *,
  prior_shapes: Float[Array, "P 2"],
  own: Sequence[int],
  grid: tuple[int, int],
) -> Int[Array, " M"]:
  """The number of the slot that each truth is assigned to, -1 on other levels.

  Args:
    truth: centre, width and height, in [0, 1].
    prior_shapes, own: see `level_loss`.
    grid: (Y, X) of the level.
  """
  rows, cols = grid
  sides = jnp.array([[cols, rows]], truth.dtype)
  place = (truth[:, :2] * sides).astype(jnp.int32)
  col = jnp.clip(place[:, 0], 0, cols - 1)
  row = jnp.clip(place[:, 1], 0, rows - 1)
  overlap = box.shape_iou(truth[:, None, 2:], prior_shapes[None])
  best = jnp.argmax(overlap, axis=1)[:, None]
  is_own = best == jnp.asarray(own)[None]  # (M, A)
  slot = (row * cols + col) * len(own) + jnp.argmax(is_own, axis=1)
  return jnp.where(jnp.any(is_own, axis=1), slot, -1)


def _check(raw: Array, own: Sequence[int], overlap_of: str) -> None:
  """Raises ValueError for what `level_loss` cannot take."""
  if raw.shape[3] < 6 or raw.shape[2] != len(own):
    raise ValueError(
      f"raw {raw.shape} must be (Y, X, A, 5 + C) with at least one class, and "
      f"A = {len(own)} priors of its own"
    )
  check_overlap(overlap_of)


def check_overlap(overlap_of: str) -> None:
  """Raises ValueError unless it is one of OVERLAPS."""
  if overlap_of not in OVERLAPS:
    raise ValueError(
      f"overlap_of is {overlap_of!r}; allowed are {', '.join(OVERLAPS)}"
    )
