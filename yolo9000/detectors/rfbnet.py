"""RFBNet: Receptive Field Block Net, arXiv 1711.07767.

It extends SSD: the layers after VGG-16, and what stands for the L2 norm of
conv4_3, are blocks whose branches look at fields of several sizes.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from yolo9000 import ranges
from yolo9000.boxes.suppression import Suppression
from yolo9000.detectors import ssd
from yolo9000.networks import input as pictures
from yolo9000.networks.chain import Chain
from yolo9000.networks.conv import conv_norm
from yolo9000.networks.norm import Norm
from yolo9000.networks.resize import resize_bilinear
from yolo9000.networks.rows import widened
from yolo9000.types import Float, Task
from yolo9000.wordtree import Classes

KINDS = ("plain", "enhanced")


class Layer(NamedTuple):
  """A convolution of a block's branch.

  Attributes:
    shares: its filters, in shares of the block's input.
    size: height and width of the kernel.
    dilation: pixels between the kernel's entries.
    strided: whether it has the block's stride.
  """

  shares: float | int
  size: tuple[int, int] = (1, 1)
  dilation: int = 1
  strided: bool = False


Branch = tuple[Layer, ...]
SQUARE = (3, 3)
ROW, COLUMN = (1, 3), (3, 1)


def plain(v: int) -> tuple[Branch, ...]:
  """Of a block RFB, section 3.2; v is the smallest dilation.

  Differs: in Figure 4 (a) the first branch has dilation 1; these are the
  program's.
  """
  return (
    (Layer(2, strided=True), Layer(2, SQUARE, v)),
    (Layer(1), Layer(2, SQUARE, strided=True), Layer(2, SQUARE, v + 1)),
    (
      *(Layer(1), Layer(1.5, SQUARE), Layer(2, SQUARE, strided=True)),
      Layer(2, SQUARE, 2 * v + 1),
    ),
  )


def flat(shape: tuple[int, int], dilation: int) -> Branch:
  """A branch whose middle convolution is a row or a column."""
  return Layer(1), Layer(1, shape), Layer(1, SQUARE, dilation)


def crossed(first: tuple[int, int], dilation: int) -> Branch:
  """A branch with a row and a column, in either order."""
  lines = Layer(0.75, first), Layer(1, first[::-1])
  return Layer(0.5), *lines, Layer(1, SQUARE, dilation)


# RFB-s and that of RFBNet-E, as in the program. Differs: in Figure 4 (b) the
# last branch of RFB-s has a square in place of a row and a column.
POINT: Branch = (Layer(1), Layer(1, SQUARE))
SMALL = (POINT, flat(COLUMN, 3), flat(ROW, 3), crossed(ROW, 5))
SMALL_E = (
  *(POINT, flat(COLUMN, 3), flat(ROW, 3), flat(COLUMN, 5), flat(ROW, 5)),
  *(crossed(ROW, 7), crossed(COLUMN, 7)),
)
# RFBNet-E's other blocks; the late ones have no branch of dilation 5.
NEAR: Branch = (Layer(2, strided=True), Layer(2, SQUARE))
LONG: Branch = (
  *(Layer(1), Layer(1.5, (1, 7)), Layer(2, (7, 1), strided=True)),
  Layer(2, SQUARE, 7),
)
ENHANCED = (NEAR, *plain(2)[1:], LONG)
LATE_E = (NEAR, plain(2)[1], LONG)


class Network(NamedTuple):
  """In a config, `task.network`.

  Attributes:
    kind: "plain", or "enhanced" for RFBNet-E: the first level sees fc7 as well,
      and blocks have a branch more.
    blocks: after fc7, each a level: (filters, stride, smallest dilation). An
      "enhanced" one with dilation 1 has a branch less, and the others 2.
    extras: of each further level, see `ssd.Network`; with batch norm.
    batch_norm: in VGG-16's convolutions, see `ssd.Network`.
    width: 1 is the paper's network.
    dtype: of the computation, "float32" or "bfloat16".
  """

  kind: str = "plain"
  blocks: Any = ((1024, 1, 2), (512, 2, 2), (256, 2, 2))
  extras: Any = ((128, 256, 3, 1, 0), (128, 256, 3, 1, 0))
  batch_norm: bool = False
  width: float = 1.0
  dtype: str = "float32"


class Options(NamedTuple):
  """In a config, `task`; see `ssd`.

  Six boxes in each cell of the first map. Differs: the program matches as most
  do, not bipartite, clips its boxes, and suppresses all boxes of a class, not
  the best max_candidates; the paper leaves these to SSD.
  """

  network: Network = Network()
  default_boxes: ssd.DefaultBoxes = ssd.DefaultBoxes(
    ratios=((2, 3),) * 4 + ((2,),) * 2
  )
  norm: Norm = Norm()
  loss: ssd.Loss = ssd.Loss()
  detect: Suppression = ssd.DETECT


RFBNET300 = Options()
RFBNET512 = Options(
  Network(
    blocks=(*Network().blocks, (256, 2, 1), (256, 2, 1)),
    extras=((128, 256, 4, 1, 1),),
  ),
  ssd.SSD512.default_boxes._replace(ratios=((2, 3),) * 5 + ((2,),) * 2),
)
RFBNET512_E = RFBNET512._replace(
  network=RFBNET512.network._replace(kind="enhanced")
)


class Block(nn.Module):
  """A receptive field block: branches side by side, joined, and a shortcut.

  Attributes:
    filters: of its output.
    branches: see the top of this file.
    parts: into so many shares the input's channels are divided.
    stride: of the convolutions that have it.
    norm: how batch normalisation is done.
    dtype: of the computation.

  Source: section 3.2, Figure 4. Differs: the program can scale what the
  branches say; in its networks by 1. It draws kernels by what they give
  (fan-out), here by what they take (fan-in).
  """

  filters: int
  branches: tuple[Branch, ...]
  parts: int
  stride: int
  norm: Norm
  dtype: Any

  @nn.compact
  def __call__(
    self, x: Float[Array, "B H W C"], *, train: bool
  ) -> Float[Array, "B Y X D"]:
    """What the block says, after a ReLU."""
    share = x.shape[-1] // self.parts
    layer = partial(conv_norm, norm=self.norm, train=train, dtype=self.dtype)
    seen = []
    for number, branch in enumerate(self.branches):
      y = x
      for place, one in enumerate(branch):
        y = layer(
          y,
          max(1, int(one.shares * share)),
          one.size,
          name=f"branch_{number}_{place}",
          dilation=one.dilation,
          stride=self.stride if one.strided else 1,
          positive=place + 1 < len(branch),
        )
      seen.append(y)
    joined = jnp.concatenate(seen, axis=-1)
    last = partial(layer, filters=self.filters, size=1, positive=False)
    short = last(x, name="shortcut", stride=self.stride)
    return jax.nn.relu(last(joined, name="joined") + short)


class RFBNet(ssd.OnBoxes):
  """From pictures to Raw; Figure 5.

  Differs: in that figure fc7 goes to the second block too. By the author that
  is a mistake, and each block sees the one before it, as here.
  """

  @nn.compact
  def __call__(self, x: Float[Array, "B H W 3"], *, train: bool) -> ssd.Raw:
    """Pictures, RGB in [0, 1]."""
    how, dtype = self.how, pictures.dtype_of(self.how.dtype)
    enhanced = how.kind == "enhanced"
    layer = partial(conv_norm, norm=self.norm, train=train, dtype=dtype)
    block = partial(Block, norm=self.norm, dtype=dtype)

    # Branches have shares of an eighth.
    wide = partial(widened, width=how.width, least=8)
    rows, (conv4_3, fc7) = ssd.trunk(how._replace(extras=()))
    trunk = Chain(rows, dtype, self.norm, name="trunk")
    outputs = trunk.outputs(pictures.as_caffe(x), train=train)
    first, x = outputs[conv4_3], outputs[fc7]
    if enhanced:
      near = layer(first, wide(256), 1, name="near")
      far = layer(x, wide(256), 1, name="far")
      far = resize_bilinear(far, (near.shape[1], near.shape[2]))
      first = jnp.concatenate([near, far], axis=-1)
    small, parts = (SMALL_E, 8) if enhanced else (SMALL, 4)
    maps = [block(wide(512), small, parts, 1, name="small")(first, train=train)]
    for number, (filters, stride, v) in enumerate(how.blocks):
      branches = plain(v)
      if enhanced:
        branches = LATE_E if v == 1 else ENHANCED
      one = block(wide(filters), branches, 8, stride, name=f"block_{number}")
      x = one(x, train=train)
      maps.append(x)
    for number, (begin, filters, side, stride, pad) in enumerate(how.extras):
      name = f"extra_{number}"
      x = layer(x, wide(begin), 1, name=f"{name}_first")
      x = layer(x, wide(filters), side, name=name, stride=stride, padding=pad)
      maps.append(x)
    heads = ssd.Heads(self.per_cell, self.num_classes, dtype, name="heads")
    return heads(maps)


def make_task(options: Options, classes: Classes) -> Task:
  """RFBNet for these classes.

  Raises:
    ValueError: for an option that cannot be, saying what can.
  """
  how = options.network
  if how.kind not in KINDS:
    raise ValueError(
      f"task.network.kind is {how.kind!r}; allowed are {', '.join(KINDS)}"
    )
  ranges.check_rows(
    "task.network", how, blocks="filters stride dilation", extras=ssd.EXTRA
  )
  if how.kind == "enhanced" and {v for *_, v in how.blocks} - {1, 2}:
    raise ValueError(
      f"task.network.blocks is {how.blocks!r} with kind 'enhanced'; expected "
      f"smallest dilations of 1 or 2"
    )
  levels = 1 + len(how.blocks) + len(how.extras)
  return ssd.task_of(RFBNet, options, classes, levels=levels)
