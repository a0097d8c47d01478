"""Non-maximum suppression at a fixed size, jittable; one picture at a time.

Candidates beyond the best `max_candidates` are not looked at. Suppression only
ever comes from a better candidate, so what is kept equals the full procedure's
answer down to the score of the last candidate.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, core

from yolo9000 import boxes as box
from yolo9000 import ranges
from yolo9000.boxes import coding
from yolo9000.types import Bool, Detections, Float, Int


class Suppression(NamedTuple):
  """How the best boxes are chosen.

  Attributes:
    iou_threshold: of two boxes with more IoU the better is kept.
    score_threshold: scores at or below it are not candidates.
    max_candidates: see the top of this file.
    max_detections: K, at most max_candidates.

  Source: do_nms_sort of the original program (its `detector valid`: .45, .005).
  """

  iou_threshold: float = 0.45
  score_threshold: float = 0.5
  max_candidates: int = 1000
  max_detections: int = 100

  def check(self) -> None:
    """Raises ValueError for an option that cannot be, saying what can."""
    ranges.check(
      "task.detect",
      self,
      iou_threshold="[0, 1)",
      score_threshold="[0, 1)",
      max_candidates="[1, inf)",
      max_detections="[1, inf)",
    )


@jax.jit
def suppress(
  boxes: Float[Array, "N 4"],
  labels: Int[Array, " N"],
  valid: Bool[Array, " N"],
  iou_threshold: Float[Array, ""],
) -> Bool[Array, " N"]:
  """Greedy suppression among candidates that come best first.

  A valid candidate is kept if it overlaps no better one of its class that is
  kept. Solved by repeating that sentence from "all are kept" until nothing
  changes: after n rounds the first n answers are final, and few rounds are
  needed in practice. It is a function of its own for the exporter, which knows
  it by its name.

  Args:
    boxes: xyxy, any unit.
    labels: their classes.
    valid: false for padding.
    iou_threshold: of two boxes with more IoU the better is kept.
  """
  overlaps = box.iou(boxes[:, None], boxes[None]) > iou_threshold
  overlaps &= labels[:, None] == labels[None]
  better = jnp.triu(overlaps, k=1)  # [i, j]: i is better than j

  def round_(carry):
    keep, _ = carry
    new = valid & ~jnp.any(better & keep[:, None], axis=0)
    return new, jnp.any(new != keep)

  keep, _ = jax.lax.while_loop(lambda c: c[1], round_, (valid, jnp.array(True)))
  return keep


def _best(boxes, scores, labels, mask, max_detections):
  """The best max_detections of candidates that come best first."""
  place = jnp.arange(mask.shape[0])
  first = jnp.where(mask, mask.shape[0], 0) - place  # no two are equal
  _, index = jax.lax.top_k(first, max_detections)
  kept = mask[index]
  return Detections(
    jnp.where(kept[:, None], boxes[index], 0.0),
    jnp.where(kept, scores[index], 0.0),
    jnp.where(kept, labels[index], 0),
    kept,
  )


def per_class(
  boxes: Float[Array, "N 4"],
  scores: Float[Array, "N C"],
  *,
  how: Suppression,
) -> Detections:
  """Each class suppresses only itself; a box may be kept under several labels.

  Args:
    boxes: xyxy, any unit.
    scores: objectness x class probability.
    how: its options.

  Returns:
    Detections (K), best first. Equal scores keep the order of `scores`.

  Source: do_nms_sort of the original program.
  """
  num_classes = scores.shape[1]
  count = core.min_dim(how.max_candidates, scores.size)
  top, index = jax.lax.top_k(scores.reshape(-1), count)
  boxes, labels = boxes[index // num_classes], index % num_classes
  return labelled(boxes, top, labels, how=how)


def each_class(
  boxes: Float[Array, "N 4"],
  scores: Float[Array, "N C"],
  *,
  how: Suppression,
) -> Detections:
  """As `per_class`, but every class has how.max_candidates of its own.

  Source: SSD, arXiv 1512.02325, section 3.7: boxes of a class suppress each
  other, and the best 200 of all are kept; 400 candidates of each class are its
  program's.
  """
  num_classes = scores.shape[1]
  count = core.min_dim(how.max_candidates, scores.shape[0])
  top, index = jax.lax.top_k(scores.T, count)  # (C, count)
  labels = jnp.broadcast_to(jnp.arange(num_classes)[:, None], top.shape)
  valid = top > how.score_threshold
  keep = jax.vmap(suppress, (0, 0, 0, None))(
    boxes[index], labels, valid, how.iou_threshold
  )
  total = core.min_dim(how.max_detections, top.size)
  best, place = jax.lax.top_k(jnp.where(keep, top, -1.0).reshape(-1), total)
  kept = best >= 0
  where = index.reshape(-1)[place]
  return Detections(
    jnp.where(kept[:, None], boxes[where], 0.0),
    jnp.where(kept, best, 0.0),
    jnp.where(kept, labels.reshape(-1)[place], 0),
    kept,
  )


def labelled(
  boxes: Float[Array, "N 4"],
  scores: Float[Array, " N"],
  labels: Int[Array, " N"],
  *,
  how: Suppression,
) -> Detections:
  """As `per_class`, where each box has one class alone; best scores first."""
  valid = scores > how.score_threshold
  keep = suppress(boxes, labels, valid, how.iou_threshold)
  count = core.min_dim(how.max_detections, scores.shape[0])
  return _best(boxes, scores, labels, keep, count)


def class_agnostic(
  boxes: Float[Array, "N 4"],
  objectness: Float[Array, " N"],
  probabilities: Float[Array, "N C"],
  *,
  how: Suppression,
) -> Detections:
  """Boxes suppress each other by objectness, whatever their classes.

  A kept box has its most probable class and the score objectness x probability.
  how.score_threshold applies to the objectness, and the result comes best
  objectness first.

  Source: do_nms_obj of the original program.
  """
  count = core.min_dim(how.max_candidates, objectness.shape[0])
  top, index = jax.lax.top_k(objectness, count)
  boxes, probabilities = boxes[index], probabilities[index]
  same, valid = jnp.zeros(top.shape, jnp.int32), top > how.score_threshold
  keep = suppress(boxes, same, valid, how.iou_threshold)
  scores = top * jnp.max(probabilities, axis=1)
  labels = jnp.argmax(probabilities, axis=1)
  count = core.min_dim(how.max_detections, count)
  return _best(boxes, scores, labels, keep, count)


def of_classes(
  scores: Float[Array, "R C"],
  codes: Float[Array, "R E 4"],
  rois: Float[Array, "R 4"],
  mask: Bool[Array, " R"],
  *,
  weights: coding.Weights,
  how: Suppression,
) -> Detections:
  """As `per_class`, where each class has a box of its own of each roi.

  Args:
    scores: of the classes.
    codes: of the classes, or of all as one, E = C or 1; see `boxes.coding`.
    rois: xyxy in [0, 1], to which the codes are relative.
    mask: false for padding.
    weights: of the codes.
    how: its max_candidates are pairs of a roi and a class, by score.

  Returns:
    Detections (K), their boxes within the picture, with an area there.

  Source: Fast R-CNN, arXiv 1504.08083, section 3.
  """
  num_classes, kinds = scores.shape[1], codes.shape[1]
  scores = jnp.where(mask[:, None], scores, 0.0)
  most = core.min_dim(how.max_candidates, scores.size)
  score, best = jax.lax.top_k(scores.reshape(-1), most)
  place, label = best // num_classes, best % num_classes
  code = codes[place, label] if kinds > 1 else codes[place, 0]
  boxes = box.clip(coding.decode(code, rois[place], weights))
  score = jnp.where(box.area(boxes) > 0, score, 0.0)
  return labelled(boxes, score, label, how=how)
