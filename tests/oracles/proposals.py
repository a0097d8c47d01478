"""Proposals and samples by loops; boxes xyxy in [0, 1]."""

import numpy as np

from yolo9000 import boxes as box


def suppressed(boxes, threshold):
  """Numbers of what is kept of boxes that come best first."""
  kept = []
  for n in range(len(boxes)):
    if all(box.iou(boxes[n], boxes[m]) <= threshold for m in kept):
      kept.append(n)
  return kept


def propose(scores, boxes, levels, *, before, after, threshold, sides):
  """Boxes of the best, in their order."""
  found, start = [], 0
  for count in levels:
    own = start + np.argsort(-scores[start : start + count], kind="stable")
    start += count
    own = own[:before]
    wide = boxes[own, 2] - boxes[own, 0] >= sides[0]
    high = boxes[own, 3] - boxes[own, 1] >= sides[1]
    own = own[wide & high]
    found += list(own[suppressed(boxes[own], threshold)])
  found = sorted(found, key=lambda n: -scores[n])[:after]
  return boxes[found]


def assign(rois, truths, foreground, background):
  """The number of each roi's truth, -1 for none, -2 for not learned from."""
  found = []
  for roi in rois:
    overlap = [box.iou(roi, truth) for truth in truths]
    most = max(overlap, default=0.0)
    if truths.size and most >= foreground:
      found.append(int(np.argmax(overlap)))
    else:
      found.append(-1 if background[0] <= most < background[1] else -2)
  return found


def counts(positive, negative, slots, positives):
  """How many of each are sampled."""
  first = min(positive, positives)
  return first, min(negative, slots - first)
