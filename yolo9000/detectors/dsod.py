"""DSOD: Deeply Supervised Object Detectors from Scratch, arXiv 1708.01241.

It extends SSD by another network, which learns from random weights: in a dense
block every layer is near the loss, and half of each level is the level before
it, made smaller. The network is in networks/densenet.py.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
from jax import Array

from yolo9000 import ranges
from yolo9000.boxes.suppression import Suppression
from yolo9000.detectors import ssd
from yolo9000.networks import densenet
from yolo9000.networks import input as pictures
from yolo9000.networks.norm import L2Norm, Norm
from yolo9000.networks.rows import widened
from yolo9000.types import Float, Task
from yolo9000.wordtree import Classes


class Network(NamedTuple):
  """In a config, `task.network`.

  Attributes:
    blocks: dense layers of each of the four blocks.
    growth: channels that each of them adds, k in the paper.
    levels: of each level after the second, channels of both its halves.
    head_norm: what the heads say is normalised over the batch. Differs: the
      program does so, and learns at ten times the rate for it; the paper does
      not say it.
    width: 1 is the paper's network.
    dtype: of the computation, "float32" or "bfloat16".
  """

  blocks: Any = densenet.BLOCKS
  growth: int = densenet.GROWTH
  levels: Any = densenet.LEVELS
  head_norm: bool = False
  width: float = 1.0
  dtype: str = "float32"


class Options(NamedTuple):
  """In a config, `task`; see `ssd`.

  The default boxes are SSD300's. The smallest level has 2 x 2 cells here, not
  one, and the program's step is 300 all the same: three of its cells lie
  outside the picture.
  """

  network: Network = Network()
  default_boxes: ssd.DefaultBoxes = ssd.DefaultBoxes()
  norm: Norm = Norm()
  loss: ssd.Loss = ssd.Loss()
  detect: Suppression = ssd.DETECT


DSOD300 = Options()


class DSOD(ssd.OnBoxes):
  """From pictures to Raw; Figure 1, on the right, and Table 1."""

  @nn.compact
  def __call__(self, x: Float[Array, "B H W 3"], *, train: bool) -> ssd.Raw:
    """Pictures, RGB in [0, 1]."""
    how, dtype = self.how, pictures.dtype_of(self.how.dtype)

    wide = partial(widened, width=how.width)
    network = densenet.DenseNet(
      how.blocks,
      wide(how.growth),
      tuple(map(wide, densenet.STEM)),
      wide(densenet.SECOND),
      tuple(map(wide, how.levels)),
      self.norm,
      dtype,
      name="densenet",
    )
    maps = network(pictures.as_caffe(x), train=train)
    maps = [L2Norm(20.0, name=f"norm_{n}")(x) for n, x in enumerate(maps)]
    heads = ssd.Heads(
      self.per_cell,
      self.num_classes,
      dtype,
      norm=self.norm if how.head_norm else None,
      name="heads",
    )
    return heads(maps, train=train)


def make_task(options: Options, classes: Classes) -> Task:
  """DSOD for these classes.

  Raises:
    ValueError: for an option that cannot be, saying what can.
  """
  how = options.network
  ranges.check("task.network", how, blocks="[1, inf)", growth="[1, inf)")
  if how.levels:
    ranges.check("task.network", how, levels="[1, inf)")
  if len(how.blocks) != 4:
    raise ValueError(
      f"task.network.blocks is {how.blocks}; expected four numbers"
    )
  return ssd.task_of(DSOD, options, classes, levels=2 + len(how.levels))
