"""Which anchors are to find which truth; one picture at a time."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from yolo9000 import boxes as box
from yolo9000.types import Bool, Float, Int


class Matches(NamedTuple):
  """What each anchor is to find.

  An anchor that is neither assigned nor ignored is background.

  Attributes:
    truth: the number of the truth; has a meaning for assigned anchors alone.
    assigned: whether it is to find a truth.
    ignored: whether it is neither to find one nor to find none.
  """

  truth: Int[Array, " N"]
  assigned: Bool[Array, " N"]
  ignored: Bool[Array, " N"]


def overlaps(
  anchors: Float[Array, "N 4"],
  boxes: Float[Array, "M 4"],
  mask: Bool[Array, " M"],
) -> Float[Array, "N M"]:
  """IoU of all pairs, -1 with padding.

  Anchors of equal IoU are compared with each other below, so it is computed
  once and not again, rounded otherwise, in each place that it is read.
  """
  pairs = box.iou(anchors[:, None], boxes[None])
  return jax.lax.optimization_barrier(jnp.where(mask[None], pairs, -1.0))


def match(
  anchors: Float[Array, "N 4"],
  boxes: Float[Array, "M 4"],
  mask: Bool[Array, " M"],
  *,
  high: float,
  low: float,
  keep_best: bool,
) -> Matches:
  """By two thresholds: each anchor belongs to the truth it overlaps most.

  Args:
    anchors: xyxy, of any unit.
    boxes: xyxy of the truths, in the same unit.
    mask: true for real objects. All false is legal: all are background.
    high: assigned are anchors with at least this IoU.
    low: background are those below this; between the two they are ignored.
    keep_best: assigned are also the anchors that overlap a truth most, all of
      equal ones, however little; each to the truth that it overlaps most
      itself, which need not be that truth.

  Source: Faster R-CNN, arXiv 1506.01497, section 3.1.2; Matcher of torchvision.
  Differs: a truth that no anchor overlaps keeps none; there it keeps all
  anchors that overlap no truth.
  """
  pairs = overlaps(anchors, boxes, mask)
  most = jnp.max(pairs, axis=1)
  assigned = most >= high
  if keep_best:
    best = jnp.max(pairs, axis=0)
    assigned |= jnp.any((pairs == best[None]) & (best > 0)[None], axis=1)
  return Matches(jnp.argmax(pairs, axis=1), assigned, ~assigned & (most >= low))


def match_forced(
  anchors: Float[Array, "N 4"],
  boxes: Float[Array, "M 4"],
  mask: Bool[Array, " M"],
  *,
  threshold: float,
  bipartite: bool,
) -> Matches:
  """SSD's: each truth gets an anchor, and every anchor that overlaps it enough.

  Args:
    anchors, boxes, mask: as for `match`.
    threshold: an anchor with at least this IoU belongs to the truth that it
      overlaps most, unless another truth needs it. The rest is background.
    bipartite: again and again the pair of truth and anchor that overlap most
      is formed, among those that are in no pair yet. Otherwise each truth takes
      the anchor it overlaps most, the first of equals; of truths that want the
      same one the last gets it, and the others may go without.

  Source: SSD, arXiv 1512.02325, section 2.2; bipartite in its program
  (MatchBBox), the other in torchvision and most others. Differs: there even a
  truth that no anchor overlaps takes one.
  """
  pairs = overlaps(anchors, boxes, mask)
  number = jnp.arange(len(mask))
  if bipartite:
    owner = _bipartite(pairs)
  else:
    wants = jnp.where(jnp.max(pairs, axis=0) > 0, number, -1)
    owner = jnp.full(len(anchors), -1).at[jnp.argmax(pairs, axis=0)].max(wants)
  truth = jnp.where(owner >= 0, owner, jnp.argmax(pairs, axis=1))
  assigned = (owner >= 0) | (jnp.max(pairs, axis=1) >= threshold)
  return Matches(truth, assigned, jnp.zeros_like(assigned))


def _bipartite(pairs: Float[Array, "N M"]) -> Int[Array, " N"]:
  """For each anchor its partner, or -1; see `match_forced`."""
  num_truths = pairs.shape[1]

  def form_pair(_, carry):
    pairs, owner = carry
    best = jnp.argmax(pairs)
    anchor, truth = best // num_truths, best % num_truths
    found = pairs[anchor, truth] > 1e-6  # as in the program
    owner = owner.at[anchor].set(jnp.where(found, truth, owner[anchor]))
    return pairs.at[anchor].set(-1.0).at[:, truth].set(-1.0), owner

  nobody = jnp.full(len(pairs), -1)
  return jax.lax.fori_loop(0, num_truths, form_pair, (pairs, nobody))[1]
