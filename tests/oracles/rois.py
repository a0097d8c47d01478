"""Pooling and alignment of rois by loops over bins, cells and points.

Of one picture; features (Y, X, D), rois (R, 4) in cells.
"""

import math

import numpy as np


def rounded(x):
  """Half away from zero."""
  return int(math.copysign(math.floor(abs(x) + 0.5), x))


def edges(first, size, count, end):
  """First cell of each bin and the one after its last, in float32."""
  each = np.float32(size) / np.float32(count)
  for n in range(count):
    low = first + math.floor(np.float32(n) * each)
    high = first + math.ceil(np.float32(n + 1) * each)
    yield min(max(low, 0), end), min(max(high, 0), end)


def own(features, bins):
  """(Y, X, P, Q, C): bin (i, j) has the channels (c P + i) Q + j."""
  rows, cols, depth = features.shape
  down, across = bins
  parts = np.zeros((rows, cols, down, across, depth // (down * across)))
  for channel in range(depth):
    c, place = divmod(channel, down * across)
    parts[:, :, place // across, place % across, c] = features[:, :, channel]
  return parts


def pool(features, rois, bins):
  found = np.zeros((len(rois), *bins, features.shape[2]))
  for r, roi in enumerate(rois):
    left, top, right, bottom = map(rounded, roi)
    rows = edges(top, max(bottom - top + 1, 1), bins[0], features.shape[0])
    cols = edges(left, max(right - left + 1, 1), bins[1], features.shape[1])
    cols = list(cols)
    for i, (y0, y1) in enumerate(rows):
      for j, (x0, x1) in enumerate(cols):
        if y1 > y0 and x1 > x0:
          found[r, i, j] = features[y0:y1, x0:x1].max((0, 1))
  return found


def position_pool(features, rois, bins, *, skip=0):
  """Of the map without so many of its last rows and columns."""
  parts = own(features, bins)
  found = np.zeros((len(rois), *bins, parts.shape[-1]))
  for r, roi in enumerate(rois):
    left, top, right, bottom = map(rounded, roi)
    rows = edges(top, max(bottom - top, 1), bins[0], features.shape[0] - skip)
    cols = edges(left, max(right - left, 1), bins[1], features.shape[1] - skip)
    cols = list(cols)
    for i, (y0, y1) in enumerate(rows):
      for j, (x0, x1) in enumerate(cols):
        if y1 > y0 and x1 > x0:
          found[r, i, j] = parts[y0:y1, x0:x1, i, j].mean((0, 1))
  return found


def point(features, y, x):
  """Between the four cells around it."""
  rows, cols = features.shape[:2]
  if not (-1 <= y <= rows and -1 <= x <= cols):
    return 0.0
  y, x = min(max(y, 0), rows - 1), min(max(x, 0), cols - 1)
  top, left = int(y), int(x)
  bottom, right = min(top + 1, rows - 1), min(left + 1, cols - 1)
  above = features[top, left] * (1 - x + left)
  above = above + features[top, right] * (x - left)
  below = features[bottom, left] * (1 - x + left)
  below = below + features[bottom, right] * (x - left)
  return above * (1 - y + top) + below * (y - top)


def align(features, rois, bins, *, samples, aligned):
  """Of maps (Y, X, D), or (Y, X, P, Q, D) with the channels of each bin."""
  found = np.zeros((len(rois), *bins, features.shape[-1]))
  for r, (left, top, right, bottom) in enumerate(rois.astype(float)):
    half = 0.5 if aligned else 0.0
    low = np.array([top, left]) - half
    size = np.array([bottom - top, right - left])
    if not aligned:
      size = np.maximum(size, 1)
    each = size / bins
    count = [samples or max(math.ceil(side), 0) for side in each]
    for i, j in np.ndindex(*bins):
      of_bin = features if features.ndim == 3 else features[:, :, i, j]
      start = low + each * (i, j)
      for n, m in np.ndindex(*count):
        y, x = start + each * (n + 0.5, m + 0.5) / count
        found[r, i, j] += point(of_bin, y, x) / (count[0] * count[1])
  return found


def position_align(features, rois, bins, *, samples):
  return align(own(features, bins), rois, bins, samples=samples, aligned=True)


def level_of(roi, lowest, highest, side, level):
  area = float(roi[2] - roi[0]) * float(roi[3] - roi[1])
  if area == 0:
    return 0
  found = math.floor(level + math.log2(math.sqrt(area) / side) + 1e-6)
  return min(max(found, lowest), highest) - lowest
