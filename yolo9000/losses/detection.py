"""The loss of a picture with boxes: YOLO9000, section 2.

Notation as in the paper's Figure 3: a slot (row, col, prior) of the grid holds
t_x, t_y, t_w, t_h, t_o and C class logits, together `raw`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from yolo9000 import boxes as box
from yolo9000 import ranges
from yolo9000.types import Bool, Float, Int

LOCATIONS = ("direct", "offset")


class Weights(NamedTuple):
  """Factors of the parts of a loss, which explains each."""

  coord: float
  objectness: float
  background: float
  label: float

  def check(self) -> None:
    """Raises ValueError for a factor that cannot be."""
    least = dict.fromkeys(self._fields, "[0, inf)")
    ranges.check("task.loss.weights", self, **least)


def decode(
  raw: Float[Array, "Y X A F"], priors: Float[Array, "A 2"], *, location: str
) -> Float[Array, "Y X A 4"]:
  """Boxes that the slots predict, xyxy in [0, 1], not clipped.

    b_x = (sigmoid(t_x) + col) / X     b_w = p_w exp(t_w) / X
    b_y = (sigmoid(t_y) + row) / Y     b_h = p_h exp(t_h) / Y

  with the priors' (p_w, p_h) in cells. That is location "direct". "offset" is
  the region proposal network's, by which any slot may say any place:

    b_x = (t_x p_w + 1/2 + col) / X    b_y = (t_y p_h + 1/2 + row) / Y

  Source: section 2, direct location prediction, and Figure 3. Differs: the
  paper writes t_x w_a - x_a for the second, by mistake.
  """
  rows, cols, _, _ = raw.shape
  grid = jnp.array([cols, rows], raw.dtype)[None, None, None]
  row, col = jnp.meshgrid(jnp.arange(rows), jnp.arange(cols), indexing="ij")
  corner = jnp.stack([col, row], axis=-1)[:, :, None]  # (Y, X, 1, 2)
  corner = corner.astype(raw.dtype)
  if location == "direct":
    centre = (jax.nn.sigmoid(raw[..., 0:2]) + corner) / grid
  else:
    centre = (raw[..., 0:2] * priors[None, None] + 0.5 + corner) / grid
  size = jnp.exp(raw[..., 2:4]) * priors[None, None] / grid
  return box.cxcywh_to_xyxy(jnp.concatenate([centre, size], axis=-1))


def assign(
  boxes_cxcywh: Float[Array, "M 4"],
  shapes: Float[Array, "Y X A 2"],
) -> Int[Array, " M"]:
  """The slot that each truth is assigned to, as row * X * A + col * A + prior.

  It lies in the cell that holds the truth's centre and, of that cell's `shapes`
  (w, h as fractions of the picture), has the one whose shape overlaps the
  truth's most; the first of equals.
  """
  rows, cols, num_priors, _ = shapes.shape
  x, y, size = boxes_cxcywh[:, 0], boxes_cxcywh[:, 1], boxes_cxcywh[:, 2:]
  col = jnp.clip((x * cols).astype(jnp.int32), 0, cols - 1)
  row = jnp.clip((y * rows).astype(jnp.int32), 0, rows - 1)
  overlap = box.shape_iou(size[:, None], shapes[row, col])
  return (row * cols + col) * num_priors + jnp.argmax(overlap, axis=1)


def detection_loss(
  raw: Float[Array, "Y X A F"],
  boxes: Float[Array, "M 4"],
  labels: Int[Array, " M"],
  mask: Bool[Array, " M"],
  *,
  priors: Float[Array, "A 2"],
  class_error: Callable[..., Float[Array, " M"]],
  weights: Weights,
  ignore_iou: float,
  small_box_weight: bool,
  prior_pull: float | Float[Array, ""],
  rescore: bool,
  match_predicted_shape: bool,
  location: str,
  class_logits: Callable[[Int[Array, " M"]], Float[Array, "M C"]] | None = None,
) -> dict[str, Float[Array, ""]]:
  """Box, objectness and class error of one picture with annotated boxes.

  A truth is assigned to the cell that holds its centre and, there, to the prior
  whose shape overlaps it most. Of two truths in one slot the later keeps it.

    coord       1/2 s |(sigmoid(t_xy), t_wh) - target|^2 of each assigned slot,
                s = weights.coord, times 2 - w h with small_box_weight; with
                location "offset" t_xy itself in place of its sigmoid
    objectness  1/2 weights.objectness (IoU - sigmoid(t_o))^2 there: the IoU of
                the slot's own decoded box with its truth, held constant; 1
                in its place without rescore
    background  1/2 weights.background sigmoid(t_o)^2 of every other slot whose
                box overlaps no truth by more than ignore_iou
    label       weights.label * class_error of each assigned slot
    prior_pull  1/2 prior_pull |(sigmoid(t_xy) - 1/2, t_wh)|^2 of every slot
                that is not assigned: pulls its box to its prior; t_xy in place
                of the difference with "offset"

  The assigned slots are gathered before their classes are looked at, so the
  cost of the classes grows with M, not with the number of slots.

  Args:
    raw: no activation applied.
    boxes: xyxy in [0, 1]. Rows outside the mask may hold any finite number.
    labels: class id below C.
    mask: true for real objects; those without area count as none. All false is
      legal.
    priors: width and height in cells.
    class_error: `softmax_error`, `logistic_error`, `tree_error` with its tree,
      or one's own.
    weights: see above.
    ignore_iou: .6 in the program.
    small_box_weight: see coord; weighs small boxes up to twice as much.
    prior_pull: .01 in the program for its first 12,800 images, then 0.
    rescore: the target of objectness is the IoU (true) or 1 (false).
    match_predicted_shape: choose the prior by the shapes that the slots predict
      instead of by the priors' own.
    location: "direct" or "offset", see `decode`.
    class_logits: gives them for slots, counted as in `assign`, where raw ends
      before the classes, (Y, X, A, 5).

  Returns:
    The five parts by name, each a sum over slots. Their sum is the loss.

  Raises:
    ValueError: while tracing, if raw has no classes or not A priors, or for
      another location.

  Source: YOLO9000, section 2. Differs: the paper gives neither weights nor
  ignore_iou nor prior_pull; they are the program's. small_box_weight is off in
  the program of the paper's time (January 2017) and on from March 2017.
  """
  _check(raw, priors, location, with_classes=class_logits is None)
  priors = jnp.asarray(priors, raw.dtype)
  rows, cols, num_priors, entries = raw.shape
  direct = location == "direct"
  grid = jnp.array([cols, rows], raw.dtype)
  slots = raw.reshape(-1, entries)  # (N, F)
  decoded = jax.lax.stop_gradient(decode(raw, priors, location=location))
  t_xy, t_wh = slots[:, 0:2], slots[:, 2:4]
  xy = jax.nn.sigmoid(t_xy) if direct else t_xy
  objectness = jax.nn.sigmoid(slots[:, 4])

  # Which slot belongs to which truth.
  mask = mask & (box.area(boxes) > 0)
  whole = jnp.array([0, 0, 1, 1], raw.dtype)  # keeps log(w) of padding finite
  boxes = jnp.where(mask[:, None], boxes, whole[None])
  truth = box.xyxy_to_cxcywh(boxes)
  prior_shapes = priors[None, None] / grid[None, None, None]
  slot = assign(
    truth,
    box.xyxy_to_cxcywh(decoded)[..., 2:]
    if match_predicted_shape
    else jnp.broadcast_to(prior_shapes, (rows, cols, num_priors, 2)),
  )
  same_slot = (slot[:, None] == slot[None]) & mask[:, None] & mask[None]
  owner = mask & ~jnp.any(jnp.triu(same_slot, k=1), axis=1)
  assigned = jnp.zeros(len(slots), bool).at[slot].max(owner)

  decoded = decoded.reshape(-1, 4)
  overlap = box.iou(decoded[:, None], boxes[None])  # (N, M)
  ignored = jnp.any((overlap > ignore_iou) & mask[None], axis=1)
  background = ~assigned & ~ignored

  # What the assigned slots should say.
  cell, prior = slot // num_priors, slot % num_priors
  corner = jnp.stack([cell % cols, cell // cols], axis=1)  # (M, 2)
  target_xy = truth[:, :2] * grid[None] - corner.astype(raw.dtype)
  if not direct:
    target_xy = (target_xy - 0.5) / priors[prior]
  target_wh = jnp.log(truth[:, 2:] * grid[None] / priors[prior])
  scale = 2 - truth[:, 2] * truth[:, 3] if small_box_weight else 1.0
  coord = jnp.sum((xy[slot] - target_xy) ** 2, axis=1)
  coord += jnp.sum((t_wh[slot] - target_wh) ** 2, axis=1)
  own_iou = box.iou(decoded[slot], boxes) if rescore else 1.0
  logits = class_logits(slot) if class_logits else slots[slot, 5:]
  label_error = class_error(logits, labels, same_slot)
  centre = 0.5 if direct else 0.0
  pull = jnp.sum((xy - centre) ** 2, axis=1) + jnp.sum(t_wh**2, axis=1)

  def total(condition, value):
    return jnp.sum(jnp.where(condition, value, 0.0))

  return {
    "coord": weights.coord * total(owner, scale * coord / 2),
    "objectness": weights.objectness
    * total(owner, (own_iou - objectness[slot]) ** 2 / 2),
    "background": weights.background * total(background, objectness**2 / 2),
    "label": weights.label * total(owner, label_error),
    "prior_pull": prior_pull * total(~assigned, pull / 2),
  }


def _check(
  raw: Array, priors: Array, location: str, *, with_classes: bool
) -> None:
  """Raises ValueError for what `detection_loss` cannot take."""
  entries, num_priors = raw.shape[3], raw.shape[2]
  fits = entries > 5 if with_classes else entries == 5
  if not fits or priors.shape != (num_priors, 2):
    raise ValueError(
      f"raw {raw.shape} must be (Y, X, A, 5 + C) with at least one class, or "
      f"(Y, X, A, 5) with class_logits, and priors {priors.shape} must be "
      f"(A, 2) with the same A"
    )
  check_location(location)


def check_location(location: str) -> None:
  """Raises ValueError unless it is one of LOCATIONS."""
  if location not in LOCATIONS:
    raise ValueError(
      f"location is {location!r}; allowed are {', '.join(LOCATIONS)}"
    )
