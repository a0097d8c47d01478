"""VOC's devkit in plain loops: VOCevaldet and VOCap, with inclusive pixels."""

import numpy as np


def overlap(one, other):
  """IoU of two boxes whose last pixels belong to them."""
  left, top = max(one[0], other[0]), max(one[1], other[1])
  right, bottom = min(one[2], other[2]), min(one[3], other[3])
  width, height = right - left + 1, bottom - top + 1
  if width <= 0 or height <= 0:
    return 0.0

  def area(box):
    return (box[2] - box[0] + 1) * (box[3] - box[1] + 1)

  return width * height / (area(one) + area(other) - width * height)


def average_precision(truths, detections, *, points):
  """AP of one class.

  Args:
    truths: by picture, lists of (box, difficult).
    detections: (picture, score, box), ties in this order.
    points: 11 for VOC07 AP, None for the area.
  """
  count = sum(not d for there in truths.values() for _, d in there)
  taken, hits, falses, curve = set(), 0, 0, []
  ranked = sorted(range(len(detections)), key=lambda n: -detections[n][1])
  for picture, _, box in (detections[n] for n in ranked):
    best, which = -np.inf, None
    for number, (edges, _) in enumerate(truths.get(picture, [])):
      if (shared := overlap(box, edges)) > best:
        best, which = shared, number
    if best < 0.5:
      falses += 1
    elif not truths[picture][which][1]:
      if (picture, which) in taken:
        falses += 1
      else:
        hits += 1
        taken.add((picture, which))
    if hits + falses:
      curve.append((hits / count, hits / (hits + falses)))
  if points:
    reached = [
      max((p for r, p in curve if r >= n / 10 - 1e-9), default=0.0)
      for n in range(11)
    ]
    return sum(reached) / 11
  area, before = 0.0, 0.0
  for n, (recall, _) in enumerate(curve):
    area += (recall - before) * max(p for _, p in curve[n:])
    before = recall
  return area
