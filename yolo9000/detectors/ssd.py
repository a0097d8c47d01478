"""SSD: Single Shot MultiBox Detector, arXiv 1512.02325.

The network, its default boxes, how its numbers become boxes. The loss, section
2.2, is in losses/multibox.py; default boxes and their matching are in boxes/.

What others of its family share with it begins at `default boxes`: they differ
from it in their networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from yolo9000 import boxes as box
from yolo9000 import losses, ranges
from yolo9000.boxes import anchors, coding, matching, suppression
from yolo9000.boxes.suppression import Suppression
from yolo9000.networks import input as pictures
from yolo9000.networks.backbone import with_norm
from yolo9000.networks.chain import Chain
from yolo9000.networks.norm import L2Norm, Norm, normalised
from yolo9000.networks.rows import Conv, Layer, widen
from yolo9000.networks.vgg import CONV4_3, FC7, VGG16
from yolo9000.types import (
  Batch,
  Bool,
  Detections,
  Float,
  Int,
  Step,
  Task,
  UInt8,
)
from yolo9000.wordtree import Classes

Grids = tuple[tuple[int, int], ...]

# After fc7, for each further level: filters of a 1 x 1 convolution; filters,
# side, stride and padding of the convolution whose output is the level.
EXTRAS_300 = (
  *((256, 512, 3, 2, 1), (128, 256, 3, 2, 1)),
  *((128, 256, 3, 1, 0), (128, 256, 3, 1, 0)),
)
EXTRAS_512 = (
  *((256, 512, 3, 2, 1), *((128, 256, 3, 2, 1),) * 3),
  (128, 256, 4, 1, 1),
)
EXTRA = "first filters side stride padding"  # what these numbers are


class Network(NamedTuple):
  """In a config, `task.network`.

  Attributes:
    extras: of each level after conv4_3 and fc7 (filters of its 1 x 1
      convolution, filters, side, stride, padding), as EXTRAS_300.
    batch_norm: in the convolutions. Not in the paper, which begins with a
      VGG-16 trained on ImageNet; a network that begins with nothing needs it.
    width: 1 is the paper's network.
    dtype: of the computation, "float32" or "bfloat16".
  """

  extras: Any = EXTRAS_300
  batch_norm: bool = False
  width: float = 1.0
  dtype: str = "float32"


class DefaultBoxes(NamedTuple):
  """In a config, `task.default_boxes`; see `boxes.anchors.default_boxes`.

  Attributes:
    size: side of the pictures in pixels; the network takes no other.
    sides: of each level's smaller square in pixels, and one more: the larger
      square of a level lies between its own and the next, sqrt(s_k s_k+1).
      Without one more there are no larger squares.
    ratios: for each level those beside 1; each stands for its inverse too.
    steps: pixels from one cell to the next on each level; (): size / cells.
    clip: sides beyond the picture's become the picture's.

  Source: section 2.2, "Choosing scales and aspect ratios"; the numbers are the
  program's for VOC. Differs: with 512 pixels the program cuts 35.84, 76.8 ...
  to whole pixels. clip is off in the program and on in most others.
  """

  size: int = 300
  sides: Any = (30, 60, 111, 162, 213, 264, 315)
  ratios: Any = ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))
  steps: Any = (8, 16, 32, 64, 100, 300)
  clip: bool = False

  @property
  def squares(self) -> int:
    """How many squares a cell has, 2 or 1."""
    return 1 + (len(self.sides) > len(self.ratios))

  @property
  def per_cell(self) -> tuple[int, ...]:
    """Boxes of a cell, for each level."""
    return tuple(self.squares + 2 * len(ratios) for ratios in self.ratios)

  def check(self, levels: int) -> None:
    """Raises ValueError unless all are above 0 and for so many levels."""
    above = {name: "(0, inf)" for name in ("size", "sides", "ratios")}
    above |= {"steps": "(0, inf)"} if self.steps else {}
    ranges.check("task.default_boxes", self, **above)
    sides, ratios = len(self.sides) + 1 - self.squares, len(self.ratios)
    steps = len(self.steps) or levels
    if {sides, ratios, steps} != {levels}:
      raise ValueError(
        f"task.default_boxes has {len(self.sides)} sides, {ratios} ratios and "
        f"{len(self.steps)} steps; the network has {levels} levels, which need "
        f"{levels + 1} (or {levels}), {levels} and {levels} (or 0) of these"
      )

  def on(self, grids: Grids) -> Float[Array, "N 4"]:
    """The boxes of levels with (Y, X) cells: xyxy in [0, 1], not clipped."""
    sides = [side / self.size for side in self.sides]
    levels = range(len(self.ratios))
    boxes = anchors.default_boxes(
      (self.size, self.size),
      grids,
      steps=self.steps or None,
      sizes=[sides[n : n + self.squares] for n in levels],
      ratios=self.ratios,
      clip=self.clip,
    )
    return jnp.asarray(boxes)


class Loss(NamedTuple):
  """In a config, `task.loss`; see `losses.multibox_loss`.

  Attributes:
    threshold, bipartite: see `boxes.matching.match_forced`. Differs: bipartite
      in the program, not in most others.
    negatives: background boxes for each assigned one.
  """

  threshold: float = 0.5
  bipartite: bool = True
  negatives: float = 3.0


DETECT = Suppression(0.45, 0.01, max_candidates=400, max_detections=200)


class Options(NamedTuple):
  """In a config, `task`. In `detect`, candidates are those of each class."""

  network: Network = Network()
  default_boxes: DefaultBoxes = DefaultBoxes()
  norm: Norm = Norm()
  loss: Loss = Loss()
  detect: Suppression = DETECT


# The program's for COCO, whose objects are smaller.
COCO_SIDES_300 = (21, 45, 99, 153, 207, 261, 315)
COCO_SIDES_512 = (20.48, 51.2, 133.12, 215.04, 296.96, 378.88, 460.8, 542.72)

SSD300 = Options()
SSD512 = Options(
  Network(extras=EXTRAS_512),
  DefaultBoxes(
    size=512,
    sides=(35.84, 76.8, 153.6, 230.4, 307.2, 384.0, 460.8, 537.6),
    ratios=((2,), (2, 3), (2, 3), (2, 3), (2, 3), (2,), (2,)),
    steps=(8, 16, 32, 64, 128, 256, 512),
  ),
)


def trunk(how: Any) -> tuple[tuple[Layer, ...], tuple[int, ...]]:
  """VGG-16 and what follows it; numbers of the rows that are levels.

  Args:
    how: a `Network`, or what has its options.

  Raises:
    ValueError: for an option that cannot be, saying what can.

  Source: section 3, Figure 2.
  """
  ranges.check_rows("task.network", how, extras=EXTRA)
  rows, levels = VGG16, [CONV4_3, FC7]
  for first, filters, side, stride, padding in how.extras:
    rows += (
      Conv(first, 1, activation="relu"),
      Conv(filters, side, True, "relu", stride, padding),
    )
    levels.append(len(rows) - 1)
  return with_norm(widen(rows, how.width), how.batch_norm), tuple(levels)


class Raw(NamedTuple):
  """What a network says of its default boxes, level by level.

  Attributes:
    logits: of the background, then of the classes; D = 1 + C.
    codes: see `boxes.coding`.
    grids: (Y, X) of the levels.
  """

  logits: Float[Array, "B N D"]
  codes: Float[Array, "B N 4"]
  grids: Grids


class Heads(nn.Module):
  """On each level one convolution for classes and one for boxes.

  Attributes:
    per_cell: boxes of a cell, for each level.
    num_classes: C, without the background.
    dtype: of the computation.
    sizes: side of each level's kernels; (): 3.
    norm: how what they say is normalised over the batch; None: not.
  """

  per_cell: tuple[int, ...]
  num_classes: int
  dtype: Any = jnp.float32
  sizes: tuple[int, ...] = ()
  norm: Norm | None = None

  @nn.compact
  def __call__(
    self, maps: Sequence[Float[Array, "B _ _ _"]], *, train: bool = False
  ) -> Raw:
    """Maps of the levels to what is said of their boxes.

    Raises:
      ValueError: for a map without cells.
    """
    check_cells(maps)
    logits, codes = [], []
    sizes = self.sizes or (3,) * len(maps)
    levels = zip(maps, self.per_cell, sizes, strict=True)
    for level, (x, count, size) in enumerate(levels):
      for name, each, said in (
        (f"labels_{level}", 1 + self.num_classes, logits),
        (f"coords_{level}", 4, codes),
      ):
        numbers = nn.Conv(
          count * each,
          (size, size),
          use_bias=self.norm is None,
          kernel_init=nn.initializers.xavier_uniform(),
          dtype=self.dtype,
          name=name,
        )(x)
        if self.norm is not None:
          numbers = normalised(
            numbers, name=name, how=self.norm, train=train, dtype=self.dtype
          )
        said.append(numbers.reshape(x.shape[0], -1, each))  # (B, Y X A, each)
    return Raw(
      jnp.concatenate(logits, axis=1).astype(jnp.float32),
      jnp.concatenate(codes, axis=1).astype(jnp.float32),
      tuple((x.shape[1], x.shape[2]) for x in maps),
    )


class OnBoxes(nn.Module):
  """A network of SSD's family, by what it is made with.

  Attributes:
    how: its options.
    norm: how batch normalisation is done.
    per_cell: boxes of a cell, for each level.
    num_classes: C, without the background.
  """

  how: Any
  norm: Norm
  per_cell: tuple[int, ...]
  num_classes: int


class SSD(OnBoxes):
  """From pictures to Raw; Figure 2."""

  @nn.compact
  def __call__(self, x: Float[Array, "B H W 3"], *, train: bool) -> Raw:
    """Pictures, RGB in [0, 1]."""
    dtype = pictures.dtype_of(self.how.dtype)
    rows, levels = trunk(self.how)
    chain = Chain(rows, dtype, self.norm, name="trunk")
    outputs = chain.outputs(pictures.as_caffe(x), train=train)
    first, *others = [outputs[number] for number in levels]
    first = L2Norm(20.0, name="conv4_3_norm")(first)
    heads = Heads(self.per_cell, self.num_classes, dtype, name="heads")
    return heads([first, *others])


def make_task(options: Options, classes: Classes) -> Task:
  """SSD for these classes.

  Raises:
    ValueError: for an option that cannot be, saying what can.
  """
  return task_of(SSD, options, classes, levels=len(trunk(options.network)[1]))


# Default boxes: what says `Raw` of them is a detector.


def network_of(
  kind: type[OnBoxes], options: Any, classes: Classes, *, levels: int
) -> OnBoxes:
  """A network by its options, see `task_of`.

  Raises:
    ValueError: for an option that cannot be, saying what can.
  """
  options.norm.check()
  options.detect.check()
  options.default_boxes.check(levels)
  ranges.check("task.network", options.network, width="(0, inf)")
  ranges.check(
    "task.loss", options.loss, threshold="(0, 1]", negatives="[0, inf)"
  )
  pictures.dtype_of(options.network.dtype)
  return kind(
    options.network,
    options.norm,
    options.default_boxes.per_cell,
    len(classes.names),
  )


def task_of(
  kind: type[OnBoxes], options: Any, classes: Classes, *, levels: int
) -> Task:
  """The detector whose network says `Raw` of default boxes.

  N, by which the paper divides the loss, counts the assigned boxes of the
  batch. Of several devices each has its own, as in Caffe.

  Args:
    kind: of network, from pictures to Raw.
    options: what has all groups of `Options`.
    classes: C of them.
    levels: of the network.

  Raises:
    ValueError: for an option that cannot be, saying what can.
  """
  network = network_of(kind, options, classes, levels=levels)
  shapes: DefaultBoxes = options.default_boxes
  check_size = partial(check_side, shapes.size)

  init = partial(pictures.begin, network, check_size)

  def loss(variables: Any, batch: Batch, step: Step) -> tuple[Array, Any]:
    raw, stats = pictures.train(network, variables, batch.image)
    of_picture = partial(
      picture_loss, default_boxes=shapes.on(raw.grids), how=options.loss
    )
    parts, counts = jax.vmap(of_picture)(
      raw.logits, raw.codes, batch.boxes, batch.labels, batch.mask
    )
    parts = losses.over_counted(parts, counts, batch.valid)
    return sum(parts.values()), (stats, parts)

  def predict(variables: Any, images: UInt8[Array, "B H W 3"]) -> Detections:
    raw = pictures.predict(network, variables, images)
    of_picture = partial(
      detections, default_boxes=shapes.on(raw.grids), how=options.detect
    )
    return jax.vmap(of_picture)(raw.logits, raw.codes)

  return Task(init, loss, predict, check_size)


def check_cells(maps: Sequence[Float[Array, "B _ _ _"]]) -> None:
  """Raises ValueError if nothing is left of a picture on a level's map."""
  cells = [x.shape[1:3] for x in maps]
  if min(map(min, cells)) < 1:
    raise ValueError(
      f"the levels have {cells} cells (rows, columns); expected at least one "
      f"on each: a larger task.default_boxes.size, or fewer levels"
    )


def check_side(side: int, size: tuple[int, int]) -> None:
  """Raises ValueError unless pictures are squares with this side."""
  if tuple(size) != (side, side):
    raise ValueError(
      f"image size {size[0]}x{size[1]} with default boxes for {side} pixels; "
      f"expected {side}x{side}"
    )


def picture_loss(
  logits: Float[Array, "N D"],
  codes: Float[Array, "N 4"],
  boxes: Float[Array, "M 4"],
  labels: Int[Array, " M"],
  mask: Bool[Array, " M"],
  *,
  default_boxes: Float[Array, "N 4"],
  how: Any,
  ignored: Bool[Array, " N"] | None = None,
  keep_assigned: bool = False,
) -> tuple[dict[str, Float[Array, ""]], Int[Array, ""]]:
  """`losses.multibox_loss` of one picture, and its assigned boxes' number.

  how has the options of `Loss`. Boxes that are ignored have no error; with
  keep_assigned those alone that no truth is assigned to.
  """
  matches = matching.match_forced(
    default_boxes,
    boxes,
    mask,
    threshold=how.threshold,
    bipartite=how.bipartite,
  )
  if ignored is not None:
    if keep_assigned:
      ignored &= ~matches.assigned
    assigned = matches.assigned & ~ignored
    matches = matches._replace(assigned=assigned, ignored=ignored)
  parts = losses.multibox_loss(
    logits,
    codes,
    boxes,
    labels,
    anchors=default_boxes,
    matches=matches,
    weights=WEIGHTS,
    negatives=how.negatives,
  )
  return parts, jnp.sum(matches.assigned)


WEIGHTS = (10.0, 10.0, 5.0, 5.0)  # of the coding


def detections(
  logits: Float[Array, "N D"],
  codes: Float[Array, "N 4"],
  *,
  default_boxes: Float[Array, "N 4"],
  how: Suppression,
) -> Detections:
  """Detections of one picture, at most how.max_candidates of a class tried.

  Boxes are cut at the picture's border first, as in torchvision. Differs: the
  program suppresses them uncut.
  """
  boxes = box.clip(coding.decode(codes, default_boxes, WEIGHTS))
  scores = jax.nn.softmax(logits, axis=1)[:, 1:]
  return suppression.each_class(boxes, scores, how=how)
