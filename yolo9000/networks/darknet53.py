"""Darknet-53, Table 1 of YOLOv3, arXiv 1804.02767, as a table of layers."""

from yolo9000.networks.rows import Conv, Layer, Shortcut


def stage(filters: int, blocks: int) -> tuple[Layer, ...]:
  """Halves the picture; then residual blocks of two convolutions."""
  block = (Conv(filters // 2, 1), Conv(filters, 3), Shortcut(-3))
  return (Conv(filters, 3, stride=2), *block * blocks)


# Without the mean and the last convolution: layers 0 to 74 of darknet53.cfg.
DARKNET53: tuple[Layer, ...] = (
  Conv(32, 3),
  *stage(64, 1),
  *stage(128, 2),
  *stage(256, 8),
  *stage(512, 8),
  *stage(1024, 4),
)
