"""What is trained as a classifier first and then detects."""

from yolo9000.networks.darknet19 import DARKNET19
from yolo9000.networks.darknet53 import DARKNET53
from yolo9000.networks.extraction import EXTRACTION
from yolo9000.networks.rows import Conv, Layer, widen
from yolo9000.networks.tiny import TINY

BACKBONES = {
  "darknet19": DARKNET19,
  "extraction": EXTRACTION,
  "tiny": TINY,
  "darknet53": DARKNET53,
}


def backbone(name: str, *, batch_norm: bool, width: float) -> tuple[Layer, ...]:
  """The layers that a classifier and a detector share; 32 pixels to a cell.

  Args:
    name: of BACKBONES.
    batch_norm: in the convolutions. All papers' classifiers but the first
      YOLO's have it.
    width: 1 is the paper's network.

  Raises:
    ValueError: for another name, or a width that cannot be.
  """
  if name not in BACKBONES:
    raise ValueError(
      f"task.network.backbone is {name!r}; allowed are {', '.join(BACKBONES)}"
    )
  return with_norm(widen(BACKBONES[name], width), batch_norm)


def with_norm(layers: tuple[Layer, ...], batch_norm: bool) -> tuple[Layer, ...]:
  """The same layers, every convolution with batch norm or none."""
  return tuple(
    row._replace(batch_norm=batch_norm) if isinstance(row, Conv) else row
    for row in layers
  )
