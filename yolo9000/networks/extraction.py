"""The network before Darknet-19, which the original program calls extraction.

Source: Redmon et al., arXiv 1506.02640, Figure 3, whose first 20 convolutions
it is; rows 0 to 23 of extraction.cfg and of yolov1.cfg.
"""

from yolo9000.networks.rows import Conv, Layer, MaxPool

EXTRACTION: tuple[Layer, ...] = (
  *(Conv(64, 7, stride=2), MaxPool(), Conv(192, 3), MaxPool()),
  *(Conv(128, 1), Conv(256, 3), Conv(256, 1), Conv(512, 3), MaxPool()),
  *(Conv(256, 1), Conv(512, 3)) * 4,
  *(Conv(512, 1), Conv(1024, 3), MaxPool()),
  *(Conv(512, 1), Conv(1024, 3)) * 2,
)
