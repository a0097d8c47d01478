"""FSSD: Feature Fusion Single Shot Multibox Detector, arXiv 1712.00960.

It extends SSD: three maps are fused into one, and levels are made of that.
FSSD300 and FSSD512 are the author's later program in PyTorch, PUBLISHED300 and
PUBLISHED512 the one in Caffe, whose numbers the paper has.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from yolo9000 import ranges
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
      Differs: at 300 pixels the last has 10 cells a side in Caffe, 9 in the
      later program.
    levels: of each (filters, side, stride, padding), as LEVELS_300.
    fused: filters of each of the three maps before they are fused.
    reduce_last: whether the last of them has a 1 x 1 convolution too. Differs:
      in the later program it has one, in Caffe it is fused as it is.
    batch_norm: in the convolutions; not in the paper, see `ssd.Network`. What
      is fused is normalised in any case.
    width: 1 is the paper's network.
    dtype: of the computation, "float32" or "bfloat16".
  """

  extras: Any = ((256, 512, 3, 1, 0), (128, 256, 3, 2, 1))
  levels: Any = LEVELS_300
  fused: int = 256
  reduce_last: bool = True
  batch_norm: bool = False
  width: float = 1.0
  dtype: str = "float32"


class Options(NamedTuple):
  """In a config, `task`; see `ssd`.

  Differs: the later program has six boxes in each cell of the first map, the
  paper and Caffe have SSD's four. In Caffe what is fused is normalised without
  a scale and an offset of its own; here it has both.
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
IN_CAFFE = Network(
  extras=((256, 512, 3, 1, 1), (128, 256, 3, 2, 1)), reduce_last=False
)
PUBLISHED300 = Options(IN_CAFFE, ssd.SSD300.default_boxes._replace(steps=()))
PUBLISHED512 = Options(
  IN_CAFFE._replace(levels=LEVELS_512),
  ssd.SSD512.default_boxes._replace(steps=()),
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
      one = outputs[row]
      if how.reduce_last or row != last:
        one = conv(one, filters, 1, name=f"fused_{number}", dtype=dtype)
        one = jax.nn.relu(one)
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
  how = options.network
  ranges.check("task.network", how, fused="[1, inf)")
  ranges.check_rows(
    "task.network", how, levels="filters side stride padding", extras=ssd.EXTRA
  )
  if not how.extras:
    raise ValueError(
      "task.network.extras is (); expected at least one, of which the last is "
      "fused"
    )
  levels = len(how.levels)
  return ssd.task_of(FSSD, options, classes, levels=levels)
