"""The loss of dense anchors: "Focal Loss for Dense Object Detection".

Source: arXiv 1708.02002, section 4.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from yolo9000 import boxes as box
from yolo9000.boxes import coding, matching
from yolo9000.losses.focal import focal_loss
from yolo9000.losses.smooth_l1 import smooth_l1
from yolo9000.types import Bool, Float, Int

BOX_ERRORS = ("smooth_l1", "giou")
WEIGHTS = (1.0, 1.0, 1.0, 1.0)  # of the codes


def dense_loss(
  logits: Float[Array, "N C"],
  codes: Float[Array, "N 4"],
  boxes: Float[Array, "M 4"],
  labels: Int[Array, " M"],
  mask: Bool[Array, " M"],
  *,
  anchors: Float[Array, "N 4"],
  high: float,
  low: float,
  keep_best: bool,
  alpha: float | None,
  gamma: float,
  box_error: str,
  beta: float,
) -> dict[str, Float[Array, ""]]:
  """Classes of all anchors and boxes of the assigned ones, of one picture.

    label  focal_loss of every class of each anchor that is not ignored; of an
           assigned anchor the truth's class alone is true, of others none
    coord  smooth_l1 of the four codes of each assigned anchor, or 1 - GIoU of
           the box that they say

  Both are sums, divided by the number of assigned anchors, at least 1.

  Args:
    logits: of the classes.
    codes: see `coding.encode`, with weights of 1.
    boxes: xyxy in [0, 1]. Rows outside the mask may hold any finite number.
    labels: class id below C.
    mask: true for real objects; those without area count as none. All false is
      legal.
    anchors: xyxy in [0, 1].
    high, low, keep_best: see `matching.match`.
    alpha, gamma: see `focal_loss`.
    box_error: of BOX_ERRORS.
    beta: see `smooth_l1`.

  Returns:
    The two parts by name. Their sum is the loss.

  Raises:
    ValueError: for another box_error.

  Source: section 4.1. Differs: keep_best is in torchvision and detectron2, not
  in the paper; in Detectron a truth keeps its best anchor from low on. beta is
  1/9 (.11) in Detectron, 0 in torchvision. The batch's loss is the mean of its
  pictures', as in torchvision; Detectron divides the batch's sum by the sum of
  the pictures' (assigned anchors + 1).
  """
  check_box_error(box_error)
  whole = jnp.array([0, 0, 1, 1], codes.dtype)  # keeps log(w) finite
  boxes = jnp.where(mask[:, None], boxes, whole[None])
  mask = mask & (box.area(boxes) > 0)
  found = matching.match(
    anchors, boxes, mask, high=high, low=low, keep_best=keep_best
  )
  one_hot = jax.nn.one_hot(labels[found.truth], logits.shape[1], dtype=bool)
  true = one_hot & found.assigned[:, None]
  label = focal_loss(logits, true, alpha=alpha, gamma=gamma)
  truth = boxes[found.truth]
  if box_error == "giou":
    coord = 1 - box.giou(coding.decode(codes, anchors, WEIGHTS), truth)
  else:
    target = coding.encode(truth, anchors, WEIGHTS)
    # Others may have an infinite one, by a truth without area.
    target = jnp.where(found.assigned[:, None], target, 0.0)
    coord = jnp.sum(smooth_l1(codes - target, beta=beta), axis=1)
  count = jnp.maximum(jnp.sum(found.assigned), 1).astype(codes.dtype)
  counted = ~found.ignored[:, None]
  return {
    "label": jnp.sum(jnp.where(counted, label, 0.0)) / count,
    "coord": jnp.sum(jnp.where(found.assigned, coord, 0.0)) / count,
  }


def check_box_error(box_error: str) -> None:
  """Raises ValueError unless it is one of BOX_ERRORS."""
  if box_error not in BOX_ERRORS:
    raise ValueError(
      f"box_error is {box_error!r}; allowed are {', '.join(BOX_ERRORS)}"
    )
