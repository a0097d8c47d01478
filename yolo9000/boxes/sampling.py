"""Which anchors and rois are learned from: some at random; of one picture."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from yolo9000 import ranges
from yolo9000.boxes.geometry import area
from yolo9000.boxes.matching import overlaps
from yolo9000.boxes.proposals import Proposals
from yolo9000.types import Bool, Float, Int


class Sample(NamedTuple):
  """What is learned from.

  Attributes:
    positive: these have a truth.
    negative: these have none.
  """

  positive: Bool[Array, " N"]
  negative: Bool[Array, " N"]


def balanced(
  key: Array,
  positive: Bool[Array, " N"],
  negative: Bool[Array, " N"],
  *,
  samples: int,
  positives: int,
) -> Sample:
  """At random some of the positives, and negatives up to `samples` in all.

  Where there are fewer positives, negatives take their place; where there are
  too few of both, all are taken.

  Args:
    key: of the randomness.
    positive, negative: of which is taken; those that are neither never are.
    samples: at most so many in all.
    positives: at most so many positives.

  Source: Faster R-CNN, arXiv 1506.01497, section 3.1.3: 256 anchors, half of
  them positives; Fast R-CNN, arXiv 1504.08083, section 2.3.
  """
  order = jax.random.uniform(key, positive.shape)
  chosen = _first(order, positive, jnp.int32(positives))
  left = samples - jnp.sum(chosen, dtype=jnp.int32)
  return Sample(chosen, _first(order, negative, left))


def _first(
  order: Float[Array, " N"], allowed: Bool[Array, " N"], count: Int[Array, ""]
) -> Bool[Array, " N"]:
  """The so many of the allowed that come first."""
  place = jnp.argsort(jnp.where(allowed, order, jnp.inf))
  rank = jnp.zeros_like(place).at[place].set(jnp.arange(len(place)))
  return allowed & (rank < count)


def in_order(
  sample: Sample, samples: int
) -> tuple[Int[Array, " S"], Bool[Array, " S"]]:
  """Indices of what is sampled, in order, then of others; which are sampled.

  Args:
    sample: of at most `samples`.
    samples: S, how many indices; fewer if there are fewer to choose from.
  """
  chosen = sample.positive | sample.negative
  count = len(chosen)
  first = jnp.where(chosen, count, 0) - jnp.arange(count)  # no two are equal
  _, index = jax.lax.top_k(first, min(samples, count))
  return index, chosen[index]


class Assigned(NamedTuple):
  """Which truth each roi is to find.

  Attributes:
    truth: its number; has a meaning for positives alone.
    positive: whether it is to find a truth.
    negative: whether it is to find none. The others are not learned from.
  """

  truth: Int[Array, " R"]
  positive: Bool[Array, " R"]
  negative: Bool[Array, " R"]


def assign(
  rois: Float[Array, "R 4"],
  roi_mask: Bool[Array, " R"],
  boxes: Float[Array, "M 4"],
  mask: Bool[Array, " M"],
  *,
  foreground: float,
  background: tuple[float, float],
) -> Assigned:
  """Each roi belongs to the truth that it overlaps most, if it does so enough.

  Args:
    rois: xyxy, of any unit.
    roi_mask: false for padding, which is learned from by nobody.
    boxes: xyxy of the truths, in the same unit.
    mask: true for real objects. All false is legal: all rois have none.
    foreground: least IoU of a positive.
    background: negatives have at least the first IoU and less than the second.

  Source: Fast R-CNN, section 2.3, where the background is from .1 to .5; from 0
  in Faster R-CNN's program.
  """
  pairs = overlaps(rois, boxes, mask)
  most = jnp.maximum(jnp.max(pairs, axis=1), 0.0)
  low, high = background
  return Assigned(
    jnp.argmax(pairs, axis=1),
    roi_mask & jnp.any(mask) & (most >= foreground),
    roi_mask & (most >= low) & (most < high),
  )


class Rois(NamedTuple):
  """Proposals as the second stage sees them, of one picture or of all.

  Attributes:
    rois: xyxy in [0, 1].
    mask: false for padding.
  """

  rois: Float[Array, "*B R 4"]
  mask: Bool[Array, "*B R"]


class SampledRois(NamedTuple):
  """What is learned from, of one picture or of all.

  Attributes:
    rois, mask: as of `Rois`.
    truth: of each, see `Assigned`.
    sample: which of them are to find it, and which to find none.
  """

  rois: Float[Array, "*B R 4"]
  mask: Bool[Array, "*B R"]
  truth: Int[Array, "*B R"]
  sample: Sample


def check(how: Any) -> None:
  """Raises ValueError for options of `sample_rois` that cannot be.

  Args:
    how: the group `task.loss` of a config.
  """
  if not 0 <= how.background < how.foreground <= 1:
    raise ValueError(
      f"task.loss.background is {how.background} and foreground "
      f"{how.foreground}; expected 0 <= background < foreground <= 1"
    )
  ranges.check("task.loss", how, samples="[1, inf)", positives="[0, 1]")


def sample_rois(
  key: Array,
  proposals: Proposals,
  boxes: Float[Array, "M 4"],
  mask: Bool[Array, " M"],
  *,
  how: Any,
) -> SampledRois:
  """Which proposals of one picture are learned from; truths are among them.

  Args:
    key: of this picture and step.
    proposals: of the picture.
    boxes, mask: its truths; those without area count as none.
    how: foreground and background are as for `assign`, the background's
      least IoU alone; samples is R, and positives which part of them may find a
      truth.

  Source: Fast R-CNN, section 2.3; Faster R-CNN, section 3.2. That truths are
  proposals too is the programs'.
  """
  mask = mask & (area(boxes) > 0)
  rois = jnp.concatenate([proposals.boxes, boxes])
  roi_mask = jnp.concatenate([proposals.mask, mask])
  found = assign(
    rois,
    roi_mask,
    boxes,
    mask,
    foreground=how.foreground,
    background=(how.background, how.foreground),
  )
  sample = balanced(
    key,
    found.positive,
    found.negative,
    samples=how.samples,
    positives=int(how.samples * how.positives),
  )
  index, real = in_order(sample, how.samples)
  sample = Sample(*(chosen[index] & real for chosen in sample))
  return SampledRois(rois[index], real, found.truth[index], sample)


def every_roi(
  rois: Float[Array, "R 4"],
  mask: Bool[Array, " R"],
  boxes: Float[Array, "M 4"],
  real: Bool[Array, " M"],
  *,
  foreground: float,
) -> SampledRois:
  """All rois of one picture, and its truths, are learned from.

  Args:
    rois: xyxy in [0, 1].
    mask: false for padding.
    boxes: truths.
    real: true for real objects; those without area count as none.
    foreground: least IoU of a roi that has a truth; the others have none.
  """
  real = real & (area(boxes) > 0)
  rois = jnp.concatenate([rois, boxes])
  mask = jnp.concatenate([mask, real])
  found = assign(
    rois,
    mask,
    boxes,
    real,
    foreground=foreground,
    background=(0.0, foreground),
  )
  sample = Sample(found.positive, found.negative)
  return SampledRois(rois, mask, found.truth, sample)
