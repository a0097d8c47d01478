"""Pooling of rois: whole cells in whole bins; see roi.py."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from yolo9000.boxes.roi_align import Bins, parts_of_bins
from yolo9000.types import Float, Int


def pool(
  features: Float[Array, "Y X D"],
  rois_cells: Float[Array, "R 4"],
  *,
  bins: Bins,
) -> Float[Array, "R P Q D"]:
  """RoI max pooling: the largest number of the cells of each bin.

  A roi's corners are rounded to whole cells, half away from zero; both corner
  cells belong to it. Bins are rounded outwards, so that neighbours may share
  cells. A bin outside of the map is 0. The gradient goes to one cell, the first
  of equal ones.

  Args:
    features: of one picture.
    rois_cells: xyxy in cells.
    bins: P and Q.

  Source: Fast R-CNN, arXiv 1504.08083, section 2.1; roi_pool of torchvision.
  """
  rows, cols, depth = features.shape
  low, high = _whole(rois_cells)
  size = jnp.maximum(high - low + 1, 1)
  top, bottom = _bins(low[:, 1], size[:, 1], bins[0], rows)
  left, right = _bins(low[:, 0], size[:, 0], bins[1], cols)
  cells = features.reshape(-1, depth)
  cell = _largest(jax.lax.stop_gradient(cells), cols, top, bottom, left, right)
  empty = (top >= bottom)[:, :, None] | (left >= right)[:, None]
  channel = jnp.arange(depth)[None, None, None]
  found = cells.at[cell, channel].get(mode="promise_in_bounds")
  return jnp.where(empty[..., None], jnp.zeros_like(found), found)


def position_pool(
  features: Float[Array, "Y X D"],
  rois_cells: Float[Array, "R 4"],
  *,
  bins: Bins,
  skip_last: bool = False,
) -> Float[Array, "R P Q C"]:
  """Position-sensitive RoI pooling: the mean of the bin's own channels.

  A roi's corners are rounded to whole cells, half away from zero; the lower
  right one does not belong to it. A bin outside of the map is 0.

  Args:
    features: D = C P Q; bin (i, j) looks at the channels (c P + i) Q + j.
    rois_cells: xyxy in cells.
    bins: P and Q.
    skip_last: bins end before the map's last row and column. The gradient is
      that of bins which do not: it is not the value's.

  Source: R-FCN, arXiv 1605.06409, equation 1. Differs: skip_last is in
  torchvision's ps_roi_pool, whose way back clips bins elsewhere than its way
  there. The paper's program rounds corners in pixels, adds the pixel of the
  lower right one, and divides what is then no whole number of cells into bins.
  """
  parts = parts_of_bins(features.astype(jnp.float32), bins)
  rows, cols = features.shape[:2]
  found = _means(parts, rois_cells, (rows, cols))
  if skip_last:
    fewer = _means(parts, rois_cells, (rows - 1, cols - 1))
    found += jax.lax.stop_gradient(fewer - found)
  return found.astype(features.dtype)


def _means(
  parts: Float[Array, "Y X P Q C"],
  rois_cells: Float[Array, "R 4"],
  ends: tuple[int, int],
) -> Float[Array, "R P Q C"]:
  """Of each bin's own channels; rows and columns from `ends` on have no bin."""
  rows, cols, *bins, _ = parts.shape
  low, high = _whole(rois_cells)
  size = jnp.maximum(high - low, 1)
  down = _shares(*_bins(low[:, 1], size[:, 1], bins[0], ends[0]), rows)
  across = _shares(*_bins(low[:, 0], size[:, 0], bins[1], ends[1]), cols)
  pooled = []
  for number in range(bins[0]):  # at once they would need P times the memory
    part = jnp.einsum(
      "rqx,yxqc->ryqc", across, parts[:, :, number], precision="highest"
    )
    of_row = down[:, number]
    pooled.append(jnp.einsum("ry,ryqc->rqc", of_row, part, precision="highest"))
  return jnp.stack(pooled, axis=1)


def _whole(
  rois_cells: Float[Array, "R 4"],
) -> tuple[Float[Array, "R 2"], Float[Array, "R 2"]]:
  """Corners (x, y), rounded half away from zero."""
  rois = jax.lax.stop_gradient(rois_cells).astype(jnp.float32)
  rois = jax.lax.round(rois, jax.lax.RoundingMethod.AWAY_FROM_ZERO)
  return rois[:, :2], rois[:, 2:]


def _bins(
  start: Float[Array, " R"], size: Float[Array, " R"], count: int, end: int
) -> tuple[Int[Array, "R N"], Int[Array, "R N"]]:
  """First cell of each bin on one axis, and the one after its last.

  Args:
    start, size: of the rois, in whole cells.
    count: N, of bins.
    end: cells from here on belong to no bin.
  """
  # Sizes are above 0, which the compiler does not know. It makes the division
  # by a constant a multiplication, after which 7 cells' third bin ends late.
  each = (size / jnp.where(size > 0, float(count), 1.0))[:, None]
  number = jnp.arange(count, dtype=jnp.float32)[None]
  first = start[:, None] + jnp.floor(number * each)
  last = start[:, None] + jnp.ceil((number + 1) * each)
  return tuple(
    jnp.clip(edge, 0, end).astype(jnp.int32) for edge in (first, last)
  )


def _shares(
  first: Int[Array, "R N"], last: Int[Array, "R N"], side: int
) -> Float[Array, "R N S"]:
  """What each of a side's cells adds to the mean of a bin."""
  cell = jnp.arange(side)[None, None]
  inside = (cell >= first[..., None]) & (cell < last[..., None])
  count = jnp.maximum(last - first, 1).astype(jnp.float32)
  return inside.astype(jnp.float32) / count[..., None]


def _largest(
  cells: Float[Array, "N D"],
  cols: int,
  top: Int[Array, "R P"],
  bottom: Int[Array, "R P"],
  left: Int[Array, "R Q"],
  right: Int[Array, "R Q"],
) -> Int[Array, "R P Q D"]:
  """Which cell of each bin has a channel's largest number; of equals the first.

  A bin's first cell is compared with its second, the larger with its third and
  so on: in as many rounds as the largest bin has cells.
  """
  bottom, right = bottom - 1, right - 1  # the last ones
  width = jnp.maximum(jnp.max(right - left) + 1, 1)
  height = jnp.maximum(jnp.max(bottom - top) + 1, 1)
  last_row = len(cells) // cols - 1

  def number_at(row: Array, col: Array) -> tuple[Array, Array]:
    """A cell of each bin and its channels."""
    row, col = jnp.clip(row, 0, last_row), jnp.clip(col, 0, cols - 1)
    cell = row[:, :, None] * cols + col[:, None]
    return cell[..., None], cells.at[cell].get(mode="promise_in_bounds")

  def round_(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
    number, best, largest = carry
    # Beyond its last row or column a bin's are looked at again.
    row = jnp.minimum(top + number // width, bottom)
    col = jnp.minimum(left + number % width, right)
    cell, found = number_at(row, col)
    larger = found > largest
    best = jnp.where(larger, cell, best)
    return number + 1, best, jnp.where(larger, found, largest)

  cell, found = number_at(top, left)
  begin = (jnp.int32(1), jnp.broadcast_to(cell, found.shape), found)
  return jax.lax.while_loop(lambda c: c[0] < width * height, round_, begin)[1]
