"""The loss of masks: "Mask R-CNN", arXiv 1703.06870, section 3."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from yolo9000.boxes import roi
from yolo9000.types import Bool, Float, Int


def project_masks(
  masks: Float[Array, "M Y X"],
  frames: Float[Array, "M 4"],
  rois: Float[Array, "R 4"],
  truth: Int[Array, " R"],
  *,
  side: int,
  aligned: bool,
) -> Float[Array, "R S S"]:
  """What of a roi's truth lies in each of S x S cells of the roi.

  RoI align of the truth's mask. What lies outside its frame is 0 from half a
  cell of the mask on.

  Args:
    masks: from 0 to 1; of the truths, each in the frame of its own.
    frames: xyxy in [0, 1], such as the truths' boxes, or (0, 0, 1, 1) for masks
      of the whole picture. Of one without area the mask is not looked at.
    rois: xyxy in [0, 1].
    truth: of each roi.
    side: S.
    aligned: see `roi.align`. Without it a mask moves by half of its own cell,
      so that it is for masks of a whole picture, whose cells are pixels.

  Source: section 3, "the mask target is the intersection between an RoI and its
  associated ground-truth mask"; project_masks_on_boxes of torchvision, not
  aligned. Differs: a target is a share of each cell, as there; Detectron's are
  0 or 1.
  """
  _, rows, cols = masks.shape
  frame = frames[truth]
  size = frame[:, 2:] - frame[:, :2]
  flat = jnp.any(size <= 0, axis=1)
  size = jnp.where(flat[:, None], 1.0, size)
  cells = jnp.asarray([cols, rows], rois.dtype)[None]
  low, high = (
    (rois[:, at : at + 2] - frame[:, :2]) / size * cells for at in (0, 2)
  )
  # A border of zeros, so that what is beyond it is not the last cell's.
  framed = jnp.pad(masks, ((0, 0), (1, 1), (1, 1))) if aligned else masks
  border = 1.0 if aligned else 0.0
  found = roi.align_levels(
    [mask[..., None] for mask in framed],
    jnp.concatenate([low, high], axis=1) + border,
    truth,
    bins=(side, side),
    samples=0,
    aligned=aligned,
    most=-(-2 * max(rows, cols) // side),
  )
  return jnp.where(flat[:, None, None], 0.0, found[..., 0])


def mask_loss(
  logits: Float[Array, "R S S C"],
  targets: Float[Array, "R S S"],
  labels: Int[Array, " R"],
  counted: Bool[Array, " R"],
) -> Float[Array, ""]:
  """Binary cross-entropy of the true class's mask, the cells' mean.

  A sum over the rois. The caller divides it by the number of counted rois of
  the whole batch, at least 1. Masks of other classes have no loss, so that
  classes do not compete.

  Args:
    logits: a mask for each class.
    targets: from 0 to 1, see `project_masks`.
    labels: of the rois, below C.
    counted: the rois that are assigned to a truth whose mask is known. None is
      legal, with loss 0.

  Source: section 3, "Mask R-CNN", L_mask.
  """
  place = jnp.arange(len(labels))
  own = logits.transpose(0, 3, 1, 2)[place, labels]
  error = jax.nn.softplus(own) - targets * own
  error = jnp.mean(error, axis=(1, 2))
  return jnp.sum(jnp.where(counted, error, 0.0))
