"""The backbone of tiny YOLOv2, and of the program's tiny YOLOv3.

Source: rows 0 to 12 of yolov2-tiny-voc.cfg, yolov2-tiny.cfg and yolov3-tiny.cfg
of the original program; not in a paper.
"""

from yolo9000.networks.rows import Conv, Layer, MaxPool

TINY: tuple[Layer, ...] = (
  *(Conv(16, 3), MaxPool()),
  *(Conv(32, 3), MaxPool()),
  *(Conv(64, 3), MaxPool()),
  *(Conv(128, 3), MaxPool()),
  *(Conv(256, 3), MaxPool()),
  *(Conv(512, 3), MaxPool(stride=1)),
  Conv(1024, 3),
)
