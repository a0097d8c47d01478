"""Darknet-19, the paper's Table 6, as a table of layers."""

from yolo9000.networks.rows import Conv, Layer, MaxPool

# Without the last convolution: layers 0 to 22 of darknet19.cfg.
DARKNET19: tuple[Layer, ...] = (
  *(Conv(32, 3), MaxPool()),
  *(Conv(64, 3), MaxPool()),
  *(Conv(128, 3), Conv(64, 1), Conv(128, 3), MaxPool()),
  *(Conv(256, 3), Conv(128, 1), Conv(256, 3), MaxPool()),
  *(Conv(512, 3), Conv(256, 1), Conv(512, 3), Conv(256, 1), Conv(512, 3)),
  MaxPool(),
  *(Conv(1024, 3), Conv(512, 1), Conv(1024, 3), Conv(512, 1), Conv(1024, 3)),
)
