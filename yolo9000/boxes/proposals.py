"""Proposals: the anchors' best boxes, of a fixed number; of one picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, core

from yolo9000 import boxes as box
from yolo9000 import ranges
from yolo9000.boxes import coding, suppression
from yolo9000.types import Bool, Float

WEIGHTS = (1.0, 1.0, 1.0, 1.0)  # of the codes


class Amounts(NamedTuple):
  """How proposals are chosen.

  Attributes:
    before: the best so many anchors of each level are looked at.
    after: the best so many proposals of all levels are kept.
    iou_threshold: of two of a level with more IoU the better is kept.
    min_side: proposals with a smaller side are dropped, in pixels.

  Source: Faster R-CNN, arXiv 1506.01497, section 3.3; 12000, 6000 and 16 pixels
  are the program's.
  """

  before: int
  after: int
  iou_threshold: float = 0.7
  min_side: float = 0.001

  def check(self, where: str) -> None:
    """Raises ValueError for an option that cannot be, saying what can."""
    ranges.check(
      where,
      self,
      before="[1, inf)",
      after="[1, inf)",
      iou_threshold="[0, 1]",
      min_side="[0, inf)",
    )


class Proposals(NamedTuple):
  """Of one picture or of all, best first.

  Attributes:
    boxes: xyxy in [0, 1], within the picture; zeros where there is none.
    scores: logistic; zero where there is none.
    mask: false where there is none.
  """

  boxes: Float[Array, "*B R 4"]
  scores: Float[Array, "*B R"]
  mask: Bool[Array, "*B R"]


def given(boxes: Float[Array, "*B R 4"]) -> Proposals:
  """Those that come with pictures, `Batch.proposals`; their scores are 1.

  Those without area are padding.
  """
  mask = box.area(boxes) > 0
  return Proposals(boxes, mask.astype(boxes.dtype), mask)


def large_enough(
  boxes: Float[Array, "*N 4"], sides: tuple[float, float]
) -> Bool[Array, "*N"]:
  """Whether a box is at least as wide and as high as (width, height)."""
  found = boxes[..., 2:] - boxes[..., :2]
  return (found[..., 0] >= sides[0]) & (found[..., 1] >= sides[1])


def propose(
  logits: Float[Array, " N"],
  codes: Float[Array, "N 4"],
  anchors: Float[Array, "N 4"],
  *,
  levels: Sequence[int],
  image_size: tuple[int, int],
  how: Amounts,
) -> Proposals:
  """The best boxes that a region proposal network says; no gradient.

  Of each level the best anchors' boxes, cut at the picture's edge, without
  small ones; they suppress each other within their level. Of what is left the
  best are kept.

  Args:
    logits: of the objectness.
    codes: see `coding.encode`, with weights of 1.
    anchors: xyxy in [0, 1], level by level.
    levels: number of anchors of each.
    image_size: (height, width) in pixels.
    how: numbers and thresholds.

  Returns:
    Proposals, how.after of them or as many as anchors are looked at.

  Source: Faster R-CNN, section 3.3; by levels: FPN, arXiv 1612.03144, section
  4.1, and torchvision's filter_proposals. Differs: the first program drops
  small boxes before it takes the best anchors.
  """
  logits, codes = jax.lax.stop_gradient((logits, codes))
  sides = (how.min_side / image_size[1], how.min_side / image_size[0])
  found, start = [], 0
  for count in levels:
    most = core.min_dim(how.before, count)
    score, place = jax.lax.top_k(logits[start : start + count], most)
    place += start
    start += count
    boxes = box.clip(coding.decode(codes[place], anchors[place], WEIGHTS))
    kept = suppression.suppress(
      boxes,
      jnp.zeros(score.shape, jnp.int32),
      large_enough(boxes, sides),
      how.iou_threshold,
    )
    found.append((boxes, score, kept))
  boxes, score, kept = (jnp.concatenate(x) for x in zip(*found, strict=True))
  total = core.min_dim(how.after, score.shape[0])
  best, order = jax.lax.top_k(jnp.where(kept, score, -jnp.inf), total)
  mask = kept[order]
  return Proposals(
    jnp.where(mask[:, None], boxes[order], 0.0),
    jnp.where(mask, jax.nn.sigmoid(best), 0.0),
    mask,
  )
