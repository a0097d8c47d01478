"""VGG-16 with its connected layers made convolutions, as a table of layers.

Source: VGG, arXiv 1409.1556, configuration D; SSD, arXiv 1512.02325, section
3, for the rest: fc6 has 3 x 3 of VGG's 7 x 7 places, far apart, and a quarter
of its 4096 filters. Pools round odd sides up, as in Caffe.
"""

from yolo9000.networks.rows import Conv, Layer, MaxPool

# Numbers of the rows that detectors look at.
CONV4_3, CONV5_3, FC7 = 12, 16, 19


def _conv(filters: int, size: int = 3, dilation: int = 1) -> Conv:
  """As all here: a bias, no batch norm, a rectifier."""
  return Conv(filters, size, False, "relu", dilation=dilation)


VGG16: tuple[Layer, ...] = (
  *(_conv(64), _conv(64), MaxPool()),
  *(_conv(128), _conv(128), MaxPool()),
  *(_conv(256), _conv(256), _conv(256), MaxPool()),
  *(_conv(512), _conv(512), _conv(512), MaxPool()),
  *(_conv(512), _conv(512), _conv(512), MaxPool(3, stride=1)),
  *(_conv(1024, dilation=6), _conv(1024, size=1)),
)
