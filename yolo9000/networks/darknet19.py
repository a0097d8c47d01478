"""The published networks as tables of layers, which `darknet.Darknet` runs.

`darknet_files` reads a .cfg to one more such table: there is no second
definition of any network.
"""

from __future__ import annotations

from yolo9000.networks.rows import (
  AveragePool,
  Connected,
  Conv,
  Dropout,
  Layer,
  Local,
  MaxPool,
  Reorg,
  Route,
)

# Table 6 without its last convolution: layers 0 to 22 of darknet19.cfg.
DARKNET19: tuple[Layer, ...] = (
  *(Conv(32, 3), MaxPool()),
  *(Conv(64, 3), MaxPool()),
  *(Conv(128, 3), Conv(64, 1), Conv(128, 3), MaxPool()),
  *(Conv(256, 3), Conv(128, 1), Conv(256, 3), MaxPool()),
  *(Conv(512, 3), Conv(256, 1), Conv(512, 3), Conv(256, 1), Conv(512, 3)),
  MaxPool(),
  *(Conv(1024, 3), Conv(512, 1), Conv(1024, 3), Conv(512, 1), Conv(1024, 3)),
)

# Section 2, training for detection: three 3 x 3 convolutions of 1024 filters,
# the last one after the passthrough from layer 16, "the final 3 x 3 x 512".
# YOLO9000 has none of them, in the program's yolo9000.cfg.
HEADS: dict[str, tuple[Layer, ...]] = {
  "bare": (),
  "none": (Conv(1024, 3), Conv(1024, 3), Conv(1024, 3)),
  "paper": (
    *(Conv(1024, 3), Conv(1024, 3)),
    *(Route((16,)), Reorg(), Route((-1, 24))),
    Conv(1024, 3),
  ),
  # From March 2017 the program first narrows the passthrough to 64 channels.
  "program": (
    *(Conv(1024, 3), Conv(1024, 3)),
    *(Route((16,)), Conv(64, 1), Reorg(), Route((-1, 24))),
    Conv(1024, 3),
  ),
}


def widen(layers: tuple[Layer, ...], width: float) -> tuple[Layer, ...]:
  """The same network with every number of filters times width, at least 4."""
  return tuple(
    row._replace(filters=max(4, round(row.filters * width)))
    if isinstance(row, Conv)
    else row
    for row in layers
  )


# YOLO's 24 convolutions, rows 0 to 27 of yolov1.cfg; its paper's Figure 3 has
# 1024 filters where the last but one pair here has them too.
YOLOV1: tuple[Layer, ...] = (
  *(Conv(64, 7, stride=2), MaxPool(), Conv(192, 3), MaxPool()),
  *(Conv(128, 1), Conv(256, 3), Conv(256, 1), Conv(512, 3), MaxPool()),
  *(Conv(256, 1), Conv(512, 3)) * 4,
  *(Conv(512, 1), Conv(1024, 3), MaxPool()),
  *(Conv(512, 1), Conv(1024, 3)) * 2,
  *(Conv(1024, 3), Conv(1024, 3, stride=2), Conv(1024, 3), Conv(1024, 3)),
)

# What is trained as a classifier first: of YOLO's convolutions all but four.
BACKBONES = {"darknet19": DARKNET19, "yolov1": YOLOV1[:-4]}


def backbone(
  network: str, *, batch_norm: bool, width: float
) -> tuple[Layer, ...]:
  """The layers that a classifier and a detector share; 32 pixels to a cell.

  Args:
    network: "darknet19", or "yolov1" for YOLO's.
    batch_norm: in the convolutions. Both papers' classifiers but YOLO's own
      have it.
    width: 1 is the paper's network.

  Raises:
    ValueError: for another network.
  """
  if network not in BACKBONES:
    raise ValueError(
      f"network is {network!r}; allowed are {', '.join(BACKBONES)}"
    )
  layers = widen(BACKBONES[network], width)
  return tuple(
    row._replace(batch_norm=batch_norm) if isinstance(row, Conv) else row
    for row in layers
  )


def classifier(
  *, network: str, num_classes: int, batch_norm: bool, width: float
) -> tuple[Layer, ...]:
  """A classifier up to its softmax: logits (B, C). Table 6 for darknet19.

  A 1 x 1 convolution and the mean of what it gives are the same as the mean and
  a fully connected layer, as YOLO's paper has it. Other arguments as in
  `backbone`.
  """
  layers = backbone(network, batch_norm=batch_norm, width=width)
  last = Conv(num_classes, 1, batch_norm=False, activation="linear")
  return (*layers, last, AveragePool())


def yolov2(
  *,
  network: str,
  outputs: int,
  passthrough: str,
  program_reorg: bool,
  width: float,
) -> tuple[Layer, ...]:
  """A network of convolutions alone: outputs numbers per cell of 32 pixels.

  Args:
    network: see `backbone`. YOLO's four last convolutions follow it, none of
      which halves the picture.
    outputs: A * (5 + C).
    passthrough: "paper" (512 channels become 2048), "program" (64 become 256),
      "none", or "bare": none and no other convolution of the head. YOLO's
      network has "none".
    program_reorg: see `Reorg`; released weights need it.
    width: 1 is the paper's network.

  Raises:
    ValueError: for another passthrough.

  Source: section 2. Differs: the paper takes a pooling layer out of YOLO's
  network; here it is the stride of a later convolution, because every pool lies
  in what was trained as a classifier.
  """
  heads = HEADS if network == "darknet19" else {"none": (Conv(1024, 3),) * 4}
  if passthrough not in heads:
    raise ValueError(
      f"passthrough is {passthrough!r}; allowed with network {network!r} are "
      f"{', '.join(heads)}"
    )
  head = tuple(
    Reorg(program_order=program_reorg) if isinstance(row, Reorg) else row
    for row in heads[passthrough]
  )
  layers = backbone(network, batch_norm=True, width=width)
  last = Conv(outputs, 1, batch_norm=False, activation="linear")
  return (*layers, *widen(head, width), last)


def yolov1(
  *, outputs: int, head: str, batch_norm: bool, dropout: float, width: float
) -> tuple[Layer, ...]:
  """YOLOv1's network: a vector of outputs.

  Args:
    outputs: S * S * (C + 5 B).
    head: "connected", 4096 numbers as in the paper, or "local", a locally
      connected layer of 256 filters as in the program's yolov1.cfg.
    batch_norm: in the convolutions. Not in YOLO's paper; Table 2's first step.
    dropout: probability, before the last layer; .5 in the paper, 0 for none.
    width: 1 is the paper's network.

  Raises:
    ValueError: for another head.
  """
  heads: dict[str, Layer] = {
    "connected": Connected(max(4, round(4096 * width))),
    "local": Local(max(4, round(256 * width)), 3),
  }
  if head not in heads:
    raise ValueError(f"head is {head!r}; allowed are {', '.join(heads)}")
  convolutions = tuple(
    row._replace(batch_norm=batch_norm) if isinstance(row, Conv) else row
    for row in widen(YOLOV1, width)
  )
  last = Connected(outputs, activation="linear")
  drop = (Dropout(dropout),) if dropout else ()
  return (*convolutions, heads[head], *drop, last)
