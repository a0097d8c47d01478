"""YOLO, the first: "You Only Look Once", arXiv 1506.02640.

The network and how its numbers become boxes. The loss, equation 3, is in
losses/sum_squared.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from yolo9000 import boxes as box
from yolo9000 import losses, ranges
from yolo9000.boxes import suppression
from yolo9000.boxes.suppression import Suppression
from yolo9000.losses.sum_squared import clipped, split
from yolo9000.networks import input as pictures
from yolo9000.networks.backbone import with_norm
from yolo9000.networks.chain import Chain
from yolo9000.networks.extraction import EXTRACTION
from yolo9000.networks.norm import Norm
from yolo9000.networks.rows import (
  Connected,
  Conv,
  Detection,
  Dropout,
  Layer,
  Local,
  widen,
  widened,
)
from yolo9000.types import Batch, Detections, Float, Step, Task, UInt8
from yolo9000.wordtree import Classes

STRIDE = 64  # pixels per cell

# The 24 convolutions, rows 0 to 27 of yolov1.cfg. The paper's Figure 3 has 1024
# filters where the last but one pair here has them too.
CONVOLUTIONS: tuple[Layer, ...] = (
  *EXTRACTION,
  *(Conv(1024, 3), Conv(1024, 3, stride=2), Conv(1024, 3), Conv(1024, 3)),
)


class Network(NamedTuple):
  """In a config, `task.network`.

  Attributes:
    head: "connected", 4096 numbers as in the paper, or "local", a locally
      connected layer of 256 filters as in the program's yolov1.cfg.
    batch_norm: in the convolutions. Not in YOLO's paper; the first step of
      YOLO9000's Table 2.
    dropout: probability, before the last layer; .5 in the paper, 0 for none.
    num_boxes, side, square_root, exclusive: see `rows.Detection`; the input has
      64 pixels for each of `side` cells.
    width: 1 is the paper's network.
    dtype: of the computation, "float32" or "bfloat16".
  """

  head: str = "connected"
  batch_norm: bool = False
  dropout: float = 0.5
  num_boxes: int = 2
  side: int = 7
  square_root: bool = True
  exclusive: bool = False
  width: float = 1.0
  dtype: str = "float32"


class Loss(NamedTuple):
  """In a config, `task.loss`; see `losses.sum_squared_loss`.

  Attributes:
    weights, rescore, by_size: see there.
    clip_gradient: most that one output's error may be, before it goes back
      through the network. Differs: 1 on the program's GPU, 0 (none) on its CPU
      and in the paper.
  """

  weights: losses.Weights = losses.Weights(5.0, 1.0, 0.5, 1.0)
  rescore: bool = True
  by_size: bool = False
  clip_gradient: float = 0.0


class Options(NamedTuple):
  """In a config, `task`."""

  network: Network = Network()
  norm: Norm = Norm()
  loss: Loss = Loss()
  detect: Suppression = Suppression()


def network_rows(options: Options, classes: Classes) -> tuple[Layer, ...]:
  """The network: (H, W, 3) to a vector. The last row says how it is read."""
  how = options.network
  heads: dict[str, Layer] = {
    "connected": Connected(widened(4096, how.width)),
    "local": Local(widened(256, how.width), 3),
  }
  if how.head not in heads:
    raise ValueError(
      f"task.network.head is {how.head!r}; allowed are {', '.join(heads)}"
    )
  ranges.check(
    "task.network",
    how,
    dropout="[0, 1)",
    num_boxes="[1, inf)",
    side="[1, inf)",
  )
  numbers = how.side**2 * (len(classes.names) + 5 * how.num_boxes)
  return (
    *with_norm(widen(CONVOLUTIONS, how.width), how.batch_norm),
    heads[how.head],
    *((Dropout(how.dropout),) if how.dropout else ()),
    Connected(numbers, activation="linear"),
    Detection(
      how.side,
      len(classes.names),
      how.num_boxes,
      how.square_root,
      how.exclusive,
    ),
  )


def make_task(
  options: Options,
  classes: Classes,
  rows: Sequence[Layer] | None = None,
  size: tuple[int, int] | None = None,
) -> Task:
  """YOLO for these classes.

  Args:
    options: each is documented and checked where it is defined.
    classes: C of them.
    rows: the network, such as a .cfg's; None for that of the options.
    size: (height, width) that it takes; None for 64 pixels a cell.

  Raises:
    ValueError: for an option that cannot be, saying what can.
  """
  options.norm.check()
  options.loss.weights.check()
  ranges.check("task.loss", options.loss, clip_gradient="[0, inf)")
  options.detect.check()
  rows = tuple(rows or network_rows(options, classes))
  how: Any = rows[-1]
  own = size or (STRIDE * how.side,) * 2
  network = Chain(rows, pictures.dtype_of(options.network.dtype), options.norm)
  of_boxes = partial(
    losses.sum_squared_loss,
    how=how,
    weights=options.loss.weights,
    rescore=options.loss.rescore,
    by_size=options.loss.by_size,
  )
  most = options.loss.clip_gradient

  def check_size(size: tuple[int, int]) -> None:
    if tuple(size) != tuple(own):
      raise ValueError(
        f"image size {size[0]}x{size[1]} with {how.side} cells a side; "
        f"expected {own[0]}x{own[1]}: the network takes no other"
      )

  init = partial(pictures.begin, network, check_size)

  def loss(variables: Any, batch: Batch, step: Step) -> tuple[Array, Any]:
    # What is dropped is a function of the step and the picture, so a run
    # repeats when it is resumed, and on any number of devices.
    keys = jax.vmap(partial(jax.random.fold_in, step.key))(batch.index)
    output, stats = pictures.train(
      network, variables, batch.image, dropout_keys=keys
    )
    if most:  # of each picture's loss, not of their mean
      output = jnp.asarray(clipped(output, most / len(batch.image)))
    parts = jax.vmap(of_boxes)(output, batch.boxes, batch.labels, batch.mask)
    parts = losses.over_pictures(parts, batch.valid)
    return sum(parts.values()), (stats, parts)

  def predict(variables: Any, images: UInt8[Array, "B H W 3"]) -> Detections:
    output = pictures.predict(network, variables, images)
    return jax.vmap(partial(detections, grid=how, how=options.detect))(output)

  return Task(init, loss, predict, check_size)


def decode(
  output: Float[Array, " D"], how: Detection
) -> tuple[Float[Array, "N 4"], Float[Array, " N"], Float[Array, "N C"]]:
  """Boxes, confidences and class probabilities of one picture.

  The output is that of `losses.sum_squared.split`.

  Returns:
    xyxy boxes in [0, 1], not clipped; N = S * S * B of them, cell by cell. The
    boxes of a cell share its class probabilities.

  Source: get_detection_detections of the original program.
  """
  classes, confidences, numbers = split(output, how)
  if how.exclusive:
    classes = jax.nn.softmax(classes, axis=1)
  cell = jnp.arange(how.side**2)
  corner = jnp.stack([cell % how.side, cell // how.side], axis=1)  # (cells, 2)
  centre = numbers[..., :2] + corner[:, None].astype(output.dtype)
  size = numbers[..., 2:] ** 2 if how.square_root else numbers[..., 2:]
  boxes = jnp.concatenate([centre / how.side, size], axis=-1).reshape(-1, 4)
  return (
    box.cxcywh_to_xyxy(boxes),
    confidences.reshape(-1),
    jnp.repeat(classes, how.num_boxes, axis=0),
  )


def detections(
  output: Float[Array, " D"], *, grid: Detection, how: Suppression
) -> Detections:
  """Detections of one picture."""
  boxes, confidences, classes = decode(output, grid)
  return suppression.per_class(boxes, confidences[:, None] * classes, how=how)
