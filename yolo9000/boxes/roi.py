"""What a map holds inside regions of interest, on a small grid; of one picture.

Every roi becomes a grid of P x Q bins, however large it is: by the largest
number of a bin (pooling) or by the mean of some points of it (alignment). In
the position-sensitive forms each bin looks at channels of its own.

Rois are in cells of the map (`rois_cells`), fractions of a cell included: what
lies at x pixels of the picture is at x / stride. They may leave the map, and
may have no area. No gradient goes to them.

A bin looks its cells up, so that nothing here is as large as all rois times the
map. On a GPU the order in which gradients of one cell are added is fixed only
with XLA_FLAGS=--xla_gpu_deterministic_ops=true.
"""

from yolo9000.boxes.roi_align import (
  align,
  align_levels,
  level_of,
  position_align,
)
from yolo9000.boxes.roi_pool import pool, position_pool

__all__ = [
  "align",
  "align_levels",
  "level_of",
  "pool",
  "position_align",
  "position_pool",
]
