"""The rois of a picture that a step learns from: truths and proposals."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from yolo9000 import boxes as box
from yolo9000.boxes import sampling
from yolo9000.types import Bool, Float, Int


def check(how: Any) -> None:
  """Raises ValueError for options of `choose` that cannot be.

  Args:
    how: the group `task.loss` of a config.
  """
  if how.rois < 1 or not 0 < how.share <= 1:
    raise ValueError(
      f"task.loss.rois is {how.rois} and share {how.share}; expected at "
      f"least 1, and a part above 0"
    )
  if not 0 <= how.low <= how.high <= 1 or how.high == 0:
    raise ValueError(
      f"task.loss.low is {how.low} and high {how.high}; expected 0 <= low "
      f"<= high <= 1, and high above 0"
    )


class Chosen(NamedTuple):
  """Rois of a picture that are learned from, R of them.

  Attributes:
    rois: xyxy in [0, 1].
    truth: of each; has a meaning for positives alone.
    sample: which count; the others are padding.
    own: whether a roi is a truth itself.
  """

  rois: Float[Array, "R 4"]
  truth: Int[Array, " R"]
  sample: sampling.Sample
  own: Bool[Array, " R"]


def choose(
  key: Array,
  proposals: Float[Array, "P 4"],
  boxes: Float[Array, "M 4"],
  mask: Bool[Array, " M"],
  *,
  how: Any,
) -> Chosen:
  """Rois at random, of a picture's truths and proposals.

  Args:
    key: of this picture and step.
    proposals: xyxy in [0, 1]; those without area are padding.
    boxes, mask: the truths.
    how: `rois` is R, of which at most the part `share` finds a truth. From the
      IoU `high` on it does; the background has from `low` to below `high`.

  Source: Fast R-CNN, arXiv 1504.08083, section 2.3, "Mini-batch sampling"; that
  truths are rois too is in its program.
  """
  whole = jnp.array([0, 0, 1, 1], proposals.dtype)
  rois = jnp.concatenate([boxes, proposals])
  there = jnp.concatenate([mask, box.area(proposals) > 0])
  rois = jnp.where(there[:, None], rois, whole[None])
  found = sampling.assign(
    *(rois, there, boxes, mask),
    foreground=how.high,
    background=(how.low, how.high),
  )
  sample = sampling.balanced(
    *(key, found.positive, found.negative),
    slots=how.rois,
    positives=round(how.share * how.rois),
  )
  index, real = sampling.into_slots(sample, how.rois)
  return Chosen(
    rois[index],
    found.truth[index],
    sampling.Sample(
      sample.positive[index] & real, sample.negative[index] & real
    ),
    index < len(boxes),
  )
