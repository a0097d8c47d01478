"""DSSD: Deconvolutional Single Shot Detector, arXiv 1701.06659.

It extends SSD: a residual network instead of VGG-16; deconvolutions on the way
back from the smallest level, so that larger levels know the whole; a residual
block in front of each level's heads.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
from jax import Array

from yolo9000 import ranges
from yolo9000.boxes.suppression import Suppression
from yolo9000.detectors import ssd
from yolo9000.networks import input as pictures
from yolo9000.networks.conv import conv_norm
from yolo9000.networks.norm import Norm
from yolo9000.networks.resnet import EXPANSION, resnet
from yolo9000.networks.rows import widened
from yolo9000.types import Float, Task
from yolo9000.wordtree import Classes

MERGES = ("product", "sum")

# Of each level after the residual network's two: side and stride of the
# convolutions that make it and of the deconvolution that goes back.
EXTRAS_321 = ((2, 2), (2, 2), (3, 1), (3, 1))
EXTRAS_513 = ((2, 2),) * 5
BACK_TO_FIRST = (2, 2)  # from the residual network's last map to conv3_x


class Network(NamedTuple):
  """In a config, `task.network`.

  The published networks start from a classifier and train in three stages: all
  but the deconvolutions, those alone (`optimizer.held` has the others), all.

  Attributes:
    backbone: "resnet101" or "resnet50".
    frozen_norm: the backbone's batch norm stays as the run starts. Differs: in
      the program it does so, everywhere, in the third stage alone.
    extras: of each further level (side, stride), as EXTRAS_321.
    merge: "product" or "sum", how an enlarged level and a map become one. The
      paper finds the product better.
    blocks: residual blocks in front of the heads. 0, 1 and 2 are (a), (c) and
      (d) of Figure 2, and the paper finds (c) best.
    kernels: side of the heads' kernels on each level. The numbers are the
      program's at 321; at 513 they are a guess.
    width: 1 is the paper's network.
    dtype: of the computation, "float32" or "bfloat16".

  Differs: the program subtracts 104, 117 and 123 of blue, green and red from
  pictures and divides by nothing; here they are as torchvision's ResNets take
  them.
  """

  backbone: str = "resnet101"
  frozen_norm: bool = False
  extras: Any = EXTRAS_321
  merge: str = "product"
  blocks: int = 1
  kernels: Any = (5, 5, 3, 3, 3, 3)
  width: float = 1.0
  dtype: str = "float32"


class Options(NamedTuple):
  """In a config, `task`; see `ssd`.

  The ratios are k-means' on the boxes of VOC, section 3.2. The other numbers of
  default boxes are the program's for VOC at 321. Its step of the 3 x 3 level is
  64 pixels, so that they lie in the upper left of the picture. Differs: steps
  of () place them evenly.
  """

  network: Network = Network()
  default_boxes: ssd.DefaultBoxes = ssd.DefaultBoxes(
    size=321,
    sides=(32.1, 64.2, 121.98, 179.76, 237.54, 295.32, 353.1),
    ratios=((1.6, 2, 3),) * 6,
    steps=(8, 16, 32, 64, 64, 321),
  )
  norm: Norm = Norm()
  loss: ssd.Loss = ssd.Loss()
  detect: Suppression = ssd.DETECT


DSSD321 = Options()
# For COCO: the first level has 4 % of the side, the second 10 %. That the last
# has 95 % is a guess.
DSSD513 = Options(
  Network(extras=EXTRAS_513, kernels=(5, 5, 3, 3, 3, 3, 3)),
  ssd.DefaultBoxes(
    size=513,
    sides=(20.52, 51.3, 138.51, 225.72, 312.93, 400.14, 487.35, 574.56),
    ratios=((1.6, 2, 3),) * 7,
    steps=(8, 16, 32, 64, 128, 256, 513),
  ),
)


class Residual(nn.Module):
  """A residual block whose shortcut is a convolution as well: Figure 2 (c).

  Nothing is padded. That the shortcut of a further level has the kernel of the
  second convolution is a guess: a 1 x 1 kernel would not give its size.

  Attributes:
    planes: channels within it; it gives four times as many.
    size, stride: of the second convolution and the shortcut.
    norm: how batch normalisation is done.
    dtype: of the computation.
  """

  planes: int
  size: int
  stride: int
  norm: Norm
  dtype: Any

  @nn.compact
  def __call__(
    self, x: Float[Array, "B H W C"], *, train: bool
  ) -> Float[Array, "B Y X D"]:
    """What the block says, after a ReLU."""
    layer = partial(
      conv_norm, norm=self.norm, train=train, dtype=self.dtype, padding=0
    )
    last = partial(layer, filters=EXPANSION * self.planes, positive=False)
    turn = dict(size=self.size, stride=self.stride)
    y = layer(x, self.planes, 1, name="conv1")
    y = layer(y, self.planes, name="conv2", **turn)
    y = last(y, size=1, name="conv3")
    return jax.nn.relu(last(x, name="shortcut", **turn) + y)


class Deconvolution(nn.Module):
  """A level from the next smaller one and a map of its own size: Figure 3.

  Attributes:
    filters: of all its convolutions, and so of the level.
    size, stride: of the deconvolution.
    merge: see `Network`.
    norm: how batch normalisation is done.
    dtype: of the computation.
  """

  filters: int
  size: int
  stride: int
  merge: str
  norm: Norm
  dtype: Any

  @nn.compact
  def __call__(
    self,
    level: Float[Array, "B H W C"],
    same: Float[Array, "B Y X D"],
    *,
    train: bool,
  ) -> Float[Array, "B Y X E"]:
    """What the block says, after a ReLU."""
    layer = partial(
      conv_norm,
      filters=self.filters,
      size=3,
      norm=self.norm,
      train=train,
      dtype=self.dtype,
    )
    larger = nn.ConvTranspose(
      self.filters,
      (self.size, self.size),
      strides=(self.stride, self.stride),
      padding="VALID",
      use_bias=False,
      kernel_init=nn.initializers.he_normal(),
      dtype=self.dtype,
      name="larger",
    )(level)
    larger = layer(larger, name="after", positive=False)
    same = layer(same, name="first")
    same = layer(same, name="second", positive=False)
    joined = larger * same if self.merge == "product" else larger + same
    return jax.nn.relu(joined)


class DSSD(ssd.OnBoxes):
  """From pictures to Raw; Figure 1, at the bottom."""

  @nn.compact
  def __call__(self, x: Float[Array, "B H W 3"], *, train: bool) -> ssd.Raw:
    """Pictures, RGB in [0, 1]."""
    how, dtype = self.how, pictures.dtype_of(self.how.dtype)
    same = dict(norm=self.norm, dtype=dtype)
    backbone = resnet(
      how.backbone,
      width=how.width,
      dilated=True,
      pool_padding=1,
      frozen=how.frozen_norm,
      name="backbone",
      **same,
    )
    planes, filters = (widened(n, how.width) for n in (256, 512))
    _, conv3, _, x = backbone(pictures.standardise(x), train=train)
    maps = [conv3, x]
    for number, turn in enumerate(how.extras):
      extra = Residual(planes, *turn, **same, name=f"extra_{number}")
      x = extra(x, train=train)
      maps.append(x)
    levels = [x]
    for number, turn in reversed([*enumerate((BACK_TO_FIRST, *how.extras))]):
      back = Deconvolution(
        filters, *turn, how.merge, **same, name=f"back_{number}"
      )
      levels.insert(0, back(levels[0], maps[number], train=train))
    for number in range(len(levels)):
      for block in range(how.blocks):
        name = f"predict_{number}_{block}"
        predict = Residual(planes, 1, 1, **same, name=name)
        levels[number] = predict(levels[number], train=train)
    heads = ssd.Heads(
      self.per_cell,
      self.num_classes,
      dtype,
      sizes=tuple(how.kernels),
      name="heads",
    )
    return heads(levels)


def cells(size: int, how: Network) -> list[int]:
  """Of a side of each level, for pictures of size pixels a side."""
  pooled = -(-(-(-size // 2) - 3) // 2) + 1  # conv1 and the pool
  found = [-(-pooled // 2), -(-pooled // 4)]
  for side, stride in how.extras:
    found.append((found[-1] - side) // stride + 1)
  return found


def check(options: Options) -> None:
  """Raises ValueError for options that cannot be, saying what can."""
  how, size = options.network, options.default_boxes.size
  resnet(how.backbone, width=how.width)  # which raises for what cannot be
  if how.merge not in MERGES:
    raise ValueError(
      f"task.network.merge is {how.merge!r}; allowed are {', '.join(MERGES)}"
    )
  ranges.check("task.network", how, kernels="[1, inf)", blocks="[0, inf)")
  ranges.check_rows("task.network", how, extras="side stride")
  levels = 2 + len(how.extras)
  if len(how.kernels) != levels:
    raise ValueError(
      f"task.network.kernels is {how.kernels}; expected {levels}, as there are "
      f"levels"
    )
  sides = cells(size, how)
  back = [
    (small - 1) * stride + side
    for small, (side, stride) in zip(
      sides[1:], (BACK_TO_FIRST, *how.extras), strict=True
    )
  ]
  if min(sides) < 1 or back != sides[:-1]:
    raise ValueError(
      f"task.default_boxes.size is {size}: levels have {sides} cells a side, "
      f"and of all but the first deconvolutions make {back}; expected those of "
      f"the level before, as with 321 or 513 pixels"
    )


def make_task(options: Options, classes: Classes) -> Task:
  """DSSD for these classes.

  Raises:
    ValueError: for an option that cannot be, saying what can.
  """
  check(options)
  levels = 2 + len(options.network.extras)
  return ssd.task_of(DSSD, options, classes, levels=levels)
