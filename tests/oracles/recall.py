"""Recall of proposals in plain loops."""


def overlap(one, other):
  """IoU of two boxes with continuous edges."""
  width = min(one[2], other[2]) - max(one[0], other[0])
  height = min(one[3], other[3]) - max(one[1], other[1])
  if width <= 0 or height <= 0:
    return 0.0
  shared = width * height
  areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (one, other)]
  return shared / (sum(areas) - shared)


def recall(pictures, threshold):
  """The part of the truths that a proposal overlaps by the threshold.

  Args:
    pictures: pairs of truths, (box, difficult), and proposals.
    threshold: of IoU.
  """
  found = count = 0
  for truths, proposals in pictures:
    for box, difficult in truths:
      if difficult:
        continue
      count += 1
      found += any(overlap(box, one) >= threshold for one in proposals)
  return found / count
