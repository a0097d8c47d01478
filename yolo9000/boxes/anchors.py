"""Regular grids of boxes, from which detectors say what they find.

For every cell of every level of a pyramid the same few boxes. They come level
by level, row by row, cell by cell: as the numbers of the heads do.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from yolo9000 import boxes as box
from yolo9000.types import Float

Sizes = Sequence[Sequence[float | int]]


def anchors(
  image_size: tuple[int, int],
  grids: Sequence[tuple[int, int]],
  *,
  strides: Sequence[int | tuple[int, int]],
  sizes_px: Sizes,
  ratios: Sizes,
) -> Float[np.ndarray, "N 4"]:
  """The region proposal network's anchors: of each size every aspect ratio.

  A box of size s and ratio r is s / sqrt(r) wide and s sqrt(r) high; half its
  sides are rounded to whole pixels. Within a cell the sizes of the first ratio
  come first.

  Args:
    image_size: (height, width) in pixels.
    grids: (Y, X) of each level.
    strides: pixels from one cell to the next on each level, or (down, across).
    sizes_px: for each level its sizes.
    ratios: for each level its ratios, height / width.

  Returns:
    xyxy in [0, 1], not clipped.

  Source: Faster R-CNN, arXiv 1506.01497, section 3.1.1; AnchorGenerator of
  torchvision. Differs: boxes are centred at the cell's upper left corner there
  and here, at ((stride - 1) / 2) in the first program, whose widths have one
  pixel more, and whose shapes are rounded at 16 pixels and then enlarged.
  """
  levels = []
  for grid, stride, sizes, shapes in _zip(grids, strides, sizes_px, ratios):
    root = np.sqrt(np.float32(shapes))[:, None]
    sides = np.stack([1 / root, root], axis=-1) * np.float32(sizes)[:, None]
    half = np.round(sides.reshape(-1, 2) / 2)
    corners = np.concatenate([-half, half], axis=1)
    places = _places(grid, offset=0.0) * np.broadcast_to(stride, 2)[::-1]
    levels.append(np.tile(places, 2)[:, None] + corners)
  edges = np.tile(image_size[::-1], 2)
  boxes = np.concatenate([level.reshape(-1, 4) for level in levels]) / edges
  return boxes.astype(np.float32)


def default_boxes(
  image_size: tuple[int, int],
  grids: Sequence[tuple[int, int]],
  *,
  steps: Sequence[float | int] | None,
  sizes: Sizes,
  ratios: Sizes,
  clip: bool,
) -> Float[np.ndarray, "N 4"]:
  """SSD's default boxes.

  Within a cell: a square of the smallest size, then one of sqrt(smallest x
  largest) unless the level has one size alone, then for each ratio r the box
  s sqrt(r) wide and s / sqrt(r) high, s the smallest size, and the upright one.

  Args:
    image_size: (height, width) in pixels.
    grids: (Y, X) of each level.
    steps: pixels from one cell to the next on each level; None for the picture
      divided by the grid.
    sizes: for each level (smallest, largest) or (smallest,), as fractions of
      the picture's sides.
    ratios: for each level those beside 1.
    clip: a width or height beyond the picture's becomes the picture's.

  Returns:
    xyxy in [0, 1], not clipped.

  Source: SSD, arXiv 1512.02325, section 2.2. Differs: clip is false in the
  original program and true in torchvision; some others clip centres as well.
  """
  if steps is None:
    cells = [(1 / rows, 1 / cols) for rows, cols in grids]
  else:
    cells = [tuple(step / side for side in image_size) for step in steps]
  levels = []
  for grid, cell, size, shapes in _zip(grids, cells, sizes, ratios):
    small = size[0]
    squares = (small, *(np.sqrt(small * large) for large in size[1:]))
    sides = [(side, side) for side in squares]
    for ratio in shapes:
      long, short = small * np.sqrt(ratio), small / np.sqrt(ratio)
      sides += [(long, short), (short, long)]
    sides = np.minimum(sides, 1.0) if clip else np.array(sides)
    places = _places(grid, offset=0.5) * np.array(cell)[::-1]
    places = np.repeat(places, len(sides), axis=0)
    sides = np.tile(sides, (grid[0] * grid[1], 1))
    levels.append(np.concatenate([places, sides], axis=1))
  return box.cxcywh_to_xyxy(np.concatenate(levels)).astype(np.float32)


def _places(
  grid: tuple[int, int], *, offset: float
) -> Float[np.ndarray, "N 2"]:
  """(x, y) of every cell, in cells, row by row."""
  row, col = np.indices(grid).reshape(2, -1) + offset
  return np.stack([col, row], axis=1)


def _zip(grids: Sequence[tuple[int, int]], *others: Sequence) -> zip:
  """The levels one by one: the grid of each, and what else it has.

  Raises:
    ValueError: unless all are for as many levels.
  """
  counts = [len(other) for other in others]
  if any(count != len(grids) for count in counts):
    raise ValueError(
      f"strides (steps), sizes and ratios are for {counts} levels; expected "
      f"{len(grids)} of each, as there are grids"
    )
  return zip(grids, *others, strict=True)
