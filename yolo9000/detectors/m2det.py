"""M2Det, with a multi-level feature pyramid network, arXiv 1811.04533.

It extends SSD: two maps of VGG-16 are fused, several thinned U-shaped modules
(TUM) in a row each make a pyramid of that, and what they say at one scale is
joined. (Section 3: FFM and SFAM are the fusing and the joining.)
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
from yolo9000.networks.fpn import resize_nearest
from yolo9000.networks.norm import Norm, normalised
from yolo9000.networks.rows import widened
from yolo9000.types import Float, Task
from yolo9000.wordtree import Classes


class Network(NamedTuple):
  """In a config, `task.network`.

  Attributes:
    modules: thinned U-shaped modules in a row.
    scales: maps of each, the largest with 8 pixels to a cell.
    filters: of each map of a module.
    attention: whether joined channels are weighed by squeeze and excitation
      (SFAM). Differs: off in the released configurations.
    shared: whether all modules see what is fused through the same 1 x 1
      convolution, and all scales are weighed by the same two layers. Differs:
      true in the program, by repeating one object; not in the paper's figures.
    batch_norm: in VGG-16's convolutions, see `ssd.Network`.
    width: 1 is the paper's network.
    dtype: of the computation, "float32" or "bfloat16".
  """

  modules: int = 8
  scales: int = 6
  filters: int = 256
  attention: bool = True
  shared: bool = False
  batch_norm: bool = False
  width: float = 1.0
  dtype: str = "float32"


def sides(size: int, smallest: float) -> tuple[float, ...]:
  """Of squares in pixels, of a picture of this size; the first is smallest."""
  parts = (smallest, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05)
  return tuple(size * part for part in parts)


class Options(NamedTuple):
  """In a config, `task`; see `ssd`.

  Differs: the paper suppresses boxes by lowering their scores (soft-NMS), here
  the overlapped ones are dropped. It has ResNet-101 and pictures of 800 pixels
  too, here VGG-16 alone. By its text conv4_3 and conv5_3 are fused; here, as in
  the program, conv4_3 and fc7. Its score threshold is .05, in the released
  configurations .1. The program matches as most do, not bipartite, clips its
  boxes and keeps 50 of a class.
  """

  network: Network = Network()
  default_boxes: ssd.DefaultBoxes = ssd.DefaultBoxes(
    size=320,
    sides=sides(320, 0.08),
    ratios=((2, 3),) * 6,
    steps=(8, 16, 32, 64, 107, 320),
  )
  norm: Norm = Norm()
  loss: ssd.Loss = ssd.Loss()
  detect: Suppression = ssd.DETECT._replace(score_threshold=0.05)


M2DET320 = Options()
M2DET512 = Options(
  default_boxes=ssd.DefaultBoxes(
    size=512,
    sides=sides(512, 0.06),
    ratios=((2, 3),) * 6,
    steps=(8, 16, 32, 64, 128, 256),
  )
)


class UShape(nn.Module):
  """A thinned U-shaped module, Figure 4 (c).

  Attributes:
    scales: maps that it gives.
    filters: of each.
    norm: how batch normalisation is done.
    dtype: of the computation.
  """

  scales: int
  filters: int
  norm: Norm
  dtype: Any

  @nn.compact
  def __call__(self, x: Float[Array, "B H W C"], *, train: bool) -> list[Any]:
    """Maps, largest first; the smallest is two cells smaller than the next."""
    layer = partial(
      conv_norm,
      filters=self.filters,
      norm=self.norm,
      train=train,
      dtype=self.dtype,
    )
    down = [x]
    for number in range(1, self.scales):
      last = number == self.scales - 1
      how = dict(padding=0) if last else dict(stride=2)
      down.append(layer(down[-1], size=3, name=f"down_{number}", **how))
    ssd.check_cells(down)
    x = layer(down.pop(), size=1, name="top")
    maps = [x]
    for number in reversed(range(self.scales - 1)):
      beside = layer(down[number], size=3, name=f"beside_{number}")
      x = resize_nearest(x, beside.shape[1:3]) + beside
      maps.insert(0, layer(x, size=1, name=f"smooth_{number}"))
    return maps


class Attention(nn.Module):
  """Weighs channels by what they are on average: the second half of SFAM.

  Attributes:
    dtype: of the computation.

  Source: Figure 3; squeezed to a sixteenth, as in the program.
  """

  dtype: Any

  @nn.compact
  def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
    """Each channel times a number from 0 to 1."""
    channels = x.shape[-1]
    mean = jnp.mean(x, axis=(1, 2))
    squeezed = nn.Dense(
      max(1, channels // 16), dtype=self.dtype, name="squeeze"
    )
    excited = nn.Dense(channels, dtype=self.dtype, name="excite")
    weight = jax.nn.sigmoid(excited(jax.nn.relu(squeezed(mean))))
    return x * weight[:, None, None].astype(x.dtype)


class M2Det(ssd.OnBoxes):
  """From pictures to Raw; Figure 2."""

  @nn.compact
  def __call__(self, x: Float[Array, "B H W 3"], *, train: bool) -> ssd.Raw:
    """Pictures, RGB in [0, 1]."""
    how, dtype = self.how, pictures.dtype_of(self.how.dtype)

    wide = partial(widened, width=how.width)
    layer = partial(conv_norm, norm=self.norm, train=train, dtype=dtype)
    rows, (conv4_3, fc7) = ssd.trunk(
      ssd.Network((), how.batch_norm, how.width, how.dtype)
    )
    trunk = Chain(rows, dtype, self.norm, name="trunk")
    outputs = trunk.outputs(pictures.as_caffe(x), train=train)
    near = layer(outputs[conv4_3], wide(256), 3, name="near")
    far = layer(outputs[fc7], wide(512), 1, name="far")
    far = resize_nearest(far, near.shape[1:3])
    base = jnp.concatenate([near, far], axis=-1)

    pyramids: list[list[Array]] = []
    for number in range(how.modules):
      if number == 0 or not how.shared:
        thin = layer(base, wide(how.filters // 2), 1, name=f"thin_{number}")
      seen = [thin, pyramids[-1][0]] if pyramids else [thin]
      module = UShape(
        how.scales, wide(how.filters), self.norm, dtype, name=f"tum_{number}"
      )
      pyramids.append(module(jnp.concatenate(seen, axis=-1), train=train))
    maps = [
      jnp.concatenate(scale, axis=-1) for scale in zip(*pyramids, strict=True)
    ]
    if how.attention:
      count = 1 if how.shared else len(maps)
      weigh = [Attention(dtype, name=f"attention_{n}") for n in range(count)]
      maps = [weigh[n % count](one) for n, one in enumerate(maps)]
    maps[0] = normalised(
      maps[0], name="largest", how=self.norm, train=train, dtype=dtype
    )
    heads = ssd.Heads(self.per_cell, self.num_classes, dtype, name="heads")
    return heads(maps)


def make_task(options: Options, classes: Classes) -> Task:
  """M2Det for these classes.

  Raises:
    ValueError: for an option that cannot be, saying what can.
  """
  how = options.network
  ranges.check(
    "task.network",
    how,
    modules="[1, inf)",
    scales="[3, inf)",
    filters="[1, inf)",
    width="(0, inf)",
  )
  return ssd.task_of(M2Det, options, classes, levels=how.scales)
