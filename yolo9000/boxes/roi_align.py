"""Alignment of rois: the mean of points between cells; see roi.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from yolo9000 import boxes as box
from yolo9000.types import Bool, Float, Int

Bins = tuple[int, int]  # (P, Q): down, across


def level_of(
  rois_px: Float[Array, "R 4"],
  *,
  lowest: int,
  highest: int,
  canonical_side: float | int = 224,
  canonical_level: int = 4,
) -> Int[Array, " R"]:
  """Which level of a pyramid a roi belongs to, 0 for the lowest there is.

    k = floor(k0 + log2(sqrt(w h) / 224))

  Args:
    rois_px: xyxy in pixels.
    lowest, highest: levels that there are; the paper's are P2 to P5.
    canonical_side: of a roi that belongs to canonical_level, k0.

  Source: FPN, arXiv 1612.03144, equation 1. As in torchvision a millionth is
  added before it is rounded down, for sides that are just a power of 2.
  """
  side = jnp.sqrt(box.area(jax.lax.stop_gradient(rois_px)))
  level = canonical_level + jnp.log2(side / canonical_side) + 1e-6
  level = jnp.clip(jnp.floor(level), lowest, highest)  # of no area: the lowest
  return level.astype(jnp.int32) - lowest


class _Table(NamedTuple):
  """All cells of one or more maps, one after the other.

  Attributes:
    rows: their channels.
    first: for each roi the number of its map's first cell.
    sides: for each roi its map's (X, Y).
    depth: rows of a cell.
    part: for each bin which of these it looks at.
  """

  rows: Float[Array, "T D"]
  first: Int[Array, " R"]
  sides: Int[Array, "R 2"]
  depth: int
  part: Int[Array, "P Q"]


def align(
  features: Float[Array, "Y X D"],
  rois_cells: Float[Array, "R 4"],
  *,
  bins: Bins,
  samples: int,
  aligned: bool,
  most: int | None = None,
) -> Float[Array, "R P Q D"]:
  """RoI align: the mean of points in each bin, interpolated between cells.

  A point between the centres of cells has a bilinear mixture of the four around
  it; one more than a cell outside of the map has 0.

  Args:
    features: of one picture.
    rois_cells: xyxy in cells.
    bins: P and Q.
    samples: points of a bin in each direction; 0: adaptive, as many as the bin
      has cells, rounded up.
    aligned: a cell's centre is at its middle, half a cell from its edge.
      Otherwise it is at its upper left corner, and a roi has at least one cell
      a side.
    most: points of a bin in each direction if adaptive. None: what a roi needs
      that is as large as the map. Larger ones have so many too.

  Source: Mask R-CNN, arXiv 1703.06870, section 3, "RoIAlign"; roi_align of
  torchvision. Differs: Detectron and torchvision's Mask R-CNN are not aligned,
  detectron2 is.
  """
  level = jnp.zeros(len(rois_cells), jnp.int32)
  how = dict(bins=bins, samples=samples, aligned=aligned, most=most)
  return align_levels([features], rois_cells, level, **how)


def align_levels(
  levels: Sequence[Float[Array, "_ _ _"]],
  rois_cells: Float[Array, "R 4"],
  level: Int[Array, " R"],
  *,
  bins: Bins,
  samples: int,
  aligned: bool,
  most: int | None = None,
) -> Float[Array, "R P Q D"]:
  """As `align`, each roi on a level of its own.

  Args:
    levels: maps of one picture, of any sizes, with as many channels.
    rois_cells: xyxy in cells of the roi's level.
    level: of each roi, a number of `levels`; see `level_of`.
    bins, samples, aligned, most: as for `align`.
  """
  sides = np.array([(x.shape[1], x.shape[0]) for x in levels])
  first = np.cumsum([0, *np.prod(sides, axis=1)])[:-1]
  depth = levels[0].shape[2]
  table = _Table(
    jnp.concatenate([x.reshape(-1, depth) for x in levels]),
    jnp.asarray(first, jnp.int32)[level],
    jnp.asarray(sides, jnp.int32)[level],
    depth=1,
    part=jnp.zeros(bins, jnp.int32),
  )
  start, size = _corner_and_size(rois_cells, aligned)
  if not aligned:
    size = jnp.maximum(size, 1.0)
  most = samples or most or _enough(sides.max(axis=0), bins)
  return _align(table, start, size, samples, most)


def position_align(
  features: Float[Array, "Y X D"],
  rois_cells: Float[Array, "R 4"],
  *,
  bins: Bins,
  samples: int,
  most: int | None = None,
) -> Float[Array, "R P Q C"]:
  """Position-sensitive RoI align: `align` of the bin's own channels.

  Args:
    features: D = C P Q; bin (i, j) looks at the channels (c P + i) Q + j.
    rois_cells, bins, samples, most: as for `align`, aligned.

  Source: ps_roi_align of torchvision. Differs: there an adaptive bin without
  area is 0 / 0; here it is 0.
  """
  parts = parts_of_bins(features, bins)
  rows, cols, _, _, channels = parts.shape
  count = len(rois_cells)
  sides = np.array([cols, rows], np.int32)
  table = _Table(
    parts.reshape(-1, channels),
    jnp.zeros(count, jnp.int32),
    jnp.broadcast_to(jnp.asarray(sides)[None], (count, 2)),
    depth=bins[0] * bins[1],
    part=jnp.arange(bins[0] * bins[1], dtype=jnp.int32).reshape(bins),
  )
  start, size = _corner_and_size(rois_cells, aligned=True)
  return _align(
    table, start, size, samples, samples or most or _enough(sides, bins)
  )


def _corner_and_size(
  rois_cells: Float[Array, "R 4"], aligned: bool
) -> tuple[Float[Array, "R 2"], Float[Array, "R 2"]]:
  """(x, y) of the upper left corner between centres of cells; (w, h)."""
  rois = jax.lax.stop_gradient(rois_cells).astype(jnp.float32)
  low, high = (rois - 0.5 if aligned else rois).reshape(-1, 2, 2).swapaxes(0, 1)
  return low, high - low


def _enough(sides: Any, bins: Bins) -> int:
  """Cells of a bin of a roi that is as large as a map (X, Y)."""
  return max(-(-int(sides[0]) // bins[1]), -(-int(sides[1]) // bins[0]))


def parts_of_bins(
  features: Float[Array, "Y X D"], bins: Bins
) -> Float[Array, "Y X P Q C"]:
  """The channels of each bin.

  Raises:
    ValueError: unless there are as many for each bin.
  """
  rows, cols, depth = features.shape
  if depth % (bins[0] * bins[1]):
    raise ValueError(
      f"{depth} channels for {bins[0]} x {bins[1]} bins; expected a multiple "
      f"of {bins[0] * bins[1]}"
    )
  return features.reshape(rows, cols, -1, *bins).transpose(0, 1, 3, 4, 2)


def _align(
  table: _Table,
  start: Float[Array, "R 2"],
  size: Float[Array, "R 2"],
  samples: int,
  most: int,
) -> Float[Array, "R P Q D"]:
  """Means over the points of bins; see `align`."""
  bins = table.part.shape[::-1]  # (Q, P), as (x, y)
  bin_size = size / jnp.asarray(bins, jnp.float32)[None]
  count = jnp.full(size.shape, float(samples))
  if samples == 0:
    count = jnp.clip(jnp.ceil(bin_size), 0, most)
  step = bin_size / jnp.maximum(count, 1.0)

  def term(number: Any) -> Array:
    """The points with one number in all bins."""
    both = []
    for axis, point in ((0, number % most), (1, number // most)):
      point = jnp.asarray(point, jnp.float32)
      place = jnp.arange(bins[axis], dtype=jnp.float32)[None]
      at = start[:, axis, None] + place * bin_size[:, axis, None]
      at += (point + 0.5) * step[:, axis, None]
      counted = point < count[:, axis, None]
      both.append(_neighbours(at, table.sides[:, axis, None], counted))
    total = jnp.float32(0)
    for row, of_row in both[1]:
      for col, of_col in both[0]:
        cell = row[:, :, None] * table.sides[:, 0, None, None] + col[:, None]
        cell = (cell + table.first[:, None, None]) * table.depth
        found = table.rows.at[cell + table.part[None]].get(
          mode="promise_in_bounds"
        )
        weight = of_row[:, :, None] * of_col[:, None]
        total += weight[..., None] * found.astype(jnp.float32)
    return total

  total = _sum(term, most * most)
  points = jnp.maximum(count[:, 0] * count[:, 1], 1.0)
  return (total / points[:, None, None, None]).astype(table.rows.dtype)


def _neighbours(
  at: Float[Array, "R N"], side: Int[Array, "R 1"], counted: Bool[Array, "R 1"]
) -> list[tuple[Int[Array, "R N"], Float[Array, "R N"]]]:
  """On one axis the two cells around points, and their weights.

  Args:
    at: where the points are; the first cell is at 0.
    side: number of cells.
    counted: false for points whose weights are 0.
  """
  last = side.astype(jnp.float32) - 1
  inside = (at >= -1) & (at <= last + 1) & counted
  at = jnp.clip(at, 0.0, last)
  low = jnp.floor(at)
  part = at - low
  found = []
  for place, weight in ((low, 1 - part), (jnp.minimum(low + 1, last), part)):
    found.append((place.astype(jnp.int32), jnp.where(inside, weight, 0.0)))
  return found


def _sum(term: Callable[[Any], Array], count: int) -> Array:
  """term(0) + term(1) + ...; in a loop if there are many."""
  if count <= 4:
    return sum((term(n) for n in range(1, count)), start=term(0))
  return jax.lax.fori_loop(1, count, lambda n, sum_: sum_ + term(n), term(0))
