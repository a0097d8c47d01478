"""FSSD: Feature Fusion Single Shot Multibox Detector, arXiv 1712.00960.

It extends SSD: three maps are fused into one, and levels are made of that. Some
numbers are those of the author's later program, not the paper's, see below.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from yolo9000.boxes.suppression import Suppression
from yolo9000.detectors import ssd
from yolo9000.networks import input as pictures
from yolo9000.networks.backbone import with_norm
from yolo9000.networks.chain import Chain
from yolo9000.networks.conv import conv
from yolo9000.networks.norm import Norm, normalised
from yolo9000.networks.resize import resize_bilinear
from yolo9000.networks.rows import Conv, Layer, widen, widened
from yolo9000.types import Float, Task
from yolo9000.wordtree import Classes

# Of each level: filters, side, stride and padding of its convolution.
LEVELS_300 = (
  *((512, 3, 1, 1), (512, 3, 2, 1), (256, 3, 2, 1), (256, 3, 2, 1)),
  *((256, 3, 1, 0), (256, 3, 1, 0)),
)
LEVELS_512 = (*LEVELS_300[:4], *((256, 3, 2, 1),) * 2, (256, 4, 1, 1))


class Network(NamedTuple):
  """In a config, `task.network`.

  Attributes:
    extras: see `ssd.Network`. Fused are conv4_3, fc7 and the last of them.
      Differs: the program has 17 and 9 cells a side there; the paper probably
      SSD's conv7_2, of 10 or 5.
    levels: of each (filters, side, stride, padding), as LEVELS_300.
    fused: filters of each of the three maps before they are fused.
    batch_norm: in the convolutions; not in the paper, see `ssd.Network`. What
      is fused is normalised in any case.
    width: 1 is the paper's network.
    dtype: of the computation, "float32" or "bfloat16".
  """

  extras: Any = ((256, 512, 3, 1, 0), (128, 256, 3, 2, 1))
  levels: Any = LEVELS_300
  fused: int = 256
  batch_norm: bool = False
  width: float = 1.0
  dtype: str = "float32"


class Options(NamedTuple):
  """In a config, `task`; see `ssd`.

  Differs: the program has six boxes in each cell of the first map. The paper
  probably has SSD's four.
  """

  network: Network = Network()
  default_boxes: ssd.DefaultBoxes = ssd.DefaultBoxes(
    ratios=((2, 3),) * 4 + ((2,),) * 2
  )
  norm: Norm = Norm()
  loss: ssd.Loss = ssd.Loss()
  detect: Suppression = ssd.DETECT


FSSD300 = Options()
FSSD512 = Options(
  Network(levels=LEVELS_512),
  ssd.SSD512.default_boxes._replace(ratios=((2, 3),) * 5 + ((2,),) * 2),
)


def pyramid(how: Network) -> tuple[Layer, ...]:
  """What makes levels, each of the one before it, the first of what is fused.

  Source: the author's later program; the paper's "pyramid feature extractor"
  has such a chain too.
  """
  rows = [
    Conv(filters, side, True, "relu", stride, padding)
    for filters, side, stride, padding in how.levels
  ]
  return with_norm(widen(rows, how.width), how.batch_norm)


class FSSD(ssd.OnBoxes):
  """From pictures to Raw: maps are fused, and levels are made of that."""

  @nn.compact
  def __call__(self, x: Float[Any, "B H W 3"], *, train: bool) -> ssd.Raw:
    """Pictures, RGB in [0, 1]."""
    how, dtype = self.how, pictures.dtype_of(self.how.dtype)
    rows, (conv4_3, fc7, *_, last) = ssd.trunk(how)
    trunk = Chain(rows, dtype, self.norm, name="trunk")
    outputs = trunk.outputs(pictures.as_caffe(x), train=train)
    filters = widened(how.fused, how.width)
    size = outputs[conv4_3].shape[1:3]
    maps = []
    for number, row in enumerate((conv4_3, fc7, last)):
      name = f"fused_{number}"
      one = jax.nn.relu(conv(outputs[row], filters, 1, name=name, dtype=dtype))
      maps.append(resize_bilinear(one, size))
    fused = normalised(
      jnp.concatenate(maps, axis=-1),
      name="fused",
      how=self.norm,
      train=train,
      dtype=dtype,
    )
    levels = Chain(pyramid(how), dtype, self.norm, name="pyramid")
    heads = ssd.Heads(self.per_cell, self.num_classes, dtype, name="heads")
    return heads(levels.outputs(fused, train=train))


def make_task(options: Options, classes: Classes) -> Task:
  """FSSD for these classes.

  Raises:
    ValueError: for an option that cannot be, saying what can.
  """
  levels = len(options.network.levels)
  return ssd.task_of(FSSD, options, classes, levels=levels)
