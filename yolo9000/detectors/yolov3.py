"""YOLOv3: "YOLOv3: An Incremental Improvement", arXiv 1804.02767.

The network, which predicts boxes at several scales, how its numbers become
boxes, the loss over its levels. The formulas of one level are in
losses/levels.py. What it keeps of YOLO9000 is in yolov2.py.

A tree of classes is no idea of the paper. It fits because YOLOv3 keeps the
objectness apart: the nodes' softmax need not say that there is no object.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from yolo9000 import losses, ranges
from yolo9000.detectors import yolo9000, yolov2
from yolo9000.detectors.yolov2 import Candidates, all_slots, slots
from yolo9000.losses.levels import check_overlap
from yolo9000.networks import input as pictures
from yolo9000.networks.chain import Chain
from yolo9000.networks.darknet53 import DARKNET53
from yolo9000.networks.norm import Norm
from yolo9000.networks.rows import (
  STRIDE,
  Conv,
  Layer,
  MaxPool,
  Route,
  Upsample,
  Yolo,
  check_priors,
  widen,
)
from yolo9000.networks.tiny import TINY
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
from yolo9000.wordtree import Classes, WordTree


def in_cells(*priors_px: tuple[int, int]) -> tuple[tuple[float, float], ...]:
  """From pixels to cells of 32 pixels."""
  return tuple((w / STRIDE, h / STRIDE) for w, h in priors_px)


# Section 2.3: the clusters of COCO's boxes on pictures of 416 pixels, and those
# of the program's tiny network.
COCO = in_cells(
  (10, 13),
  (16, 30),
  (33, 23),
  (30, 61),
  (62, 45),
  (59, 119),
  (116, 90),
  (156, 198),
  (373, 326),
)
COCO_TINY = in_cells(
  (10, 14),
  (23, 27),
  (37, 58),
  (81, 82),
  (135, 169),
  (344, 319),
)


# Section 2.3, predictions across scales.

# In yolov3-spp.cfg: the largest number near each pixel, in three windows.
POOLS: tuple[Layer, ...] = (
  *(MaxPool(5, 1), Route((-2,)), MaxPool(9, 1), Route((-4,)), MaxPool(13, 1)),
  Route((-1, -3, -5, -6)),
)


def five(filters: int, pools: tuple[Layer, ...] = ()) -> tuple[Layer, ...]:
  """The convolutions of a level, whose last one the next level goes on from."""
  wide = (Conv(filters, 1), Conv(2 * filters, 3))
  if pools:
    return (*wide, Conv(filters, 1), *pools, *wide, Conv(filters, 1))
  return (*wide, *wide, Conv(filters, 1))


def finer(filters: int, layer: int) -> tuple[Layer, ...]:
  """To the next level: what is before the last one's answer, upsampled by 2.

  It is joined to an earlier layer of that size.
  """
  return (Route((-4,)), Conv(filters, 1), Upsample(), Route((-1, layer)))


def levels_of_53(pools: tuple[Layer, ...]) -> tuple[tuple[Layer, ...], ...]:
  """On Darknet-53, whose layers 61 and 36 have cells of 16 and 8 pixels."""
  return (
    (*DARKNET53, *five(512, pools), Conv(1024, 3)),
    (*finer(256, 61), *five(256), Conv(512, 3)),
    (*finer(128, 36), *five(128), Conv(256, 3)),
  )


# The layers before each level's answer, coarsest level first, as in the
# program's yolov3.cfg, yolov3-spp.cfg and yolov3-tiny.cfg.
FORMS: dict[str, tuple[tuple[Layer, ...], ...]] = {
  "full": levels_of_53(()),
  "spp": levels_of_53(POOLS),
  "tiny": (
    (*TINY, Conv(256, 1), Conv(512, 3)),
    (*finer(128, 8), Conv(256, 3)),
  ),
}


class Network(NamedTuple):
  """In a config, `task.network`.

  Attributes:
    form: "full" is the paper's, with three levels; the program also has "spp",
      with spatial pyramid pooling before the coarsest level, and "tiny", with
      two levels on the backbone of tiny YOLOv2.
    priors: pairs (w, h) in cells of 32 pixels, smallest first; as many for each
      level, the largest for the coarsest. At another picture size they stay as
      large in pixels.
    classes: "logistic" for each on its own; "tree" for a softmax in each group
      of siblings, as YOLO9000 has it.
    width: 1 is the paper's network.
    dtype: of the computation, "float32" or "bfloat16".
  """

  form: str = "full"
  priors: Any = COCO
  classes: str = "logistic"
  width: float = 1.0
  dtype: str = "float32"


class Loss(NamedTuple):
  """In a config, `task.loss`; see `losses.level_loss`.

  Differs: the paper ignores by .5 of a "prior", the program by .7 of a
  "prediction". small_box_weight is the program's.
  """

  ignore_iou: float = 0.5
  overlap_of: str = "prior"
  truth_iou: float = 1.0
  small_box_weight: bool = True


class Options(NamedTuple):
  """In a config, `task`; detect is YOLOv2's."""

  network: Network = Network()
  norm: Norm = Norm()
  loss: Loss = Loss()
  detect: yolov2.Detect = yolov2.Detect()


def network_rows(options: Options, classes: Classes) -> tuple[Layer, ...]:
  """The network: (H, W, 3) to A * (5 + C) numbers for each cell of a level.

  A level's last rows are the convolution that gives them, and how to read them.
  """
  how = options.network
  if how.form not in FORMS:
    raise ValueError(
      f"task.network.form is {how.form!r}; allowed are {', '.join(FORMS)}"
    )
  check_priors(how.priors)
  pieces = FORMS[how.form]
  if len(how.priors) % len(pieces):
    raise ValueError(
      f"task.network.priors are {len(how.priors)}; expected a multiple of "
      f"{len(pieces)}, the levels of form {how.form!r}"
    )
  priors_px = tuple(
    (STRIDE * float(w), STRIDE * float(h)) for w, h in how.priors
  )
  num_classes, tree = len(classes.names), tree_of(how.classes, classes)
  count = len(priors_px) // len(pieces)
  answer = Conv(
    count * (5 + num_classes), 1, batch_norm=False, activation="linear"
  )
  rows: tuple[Layer, ...] = ()
  for number, piece in enumerate(pieces, 1):
    first = len(priors_px) - number * count
    own = tuple(range(first, first + count))
    yolo = Yolo(priors_px, own, num_classes, tree)
    rows += (*widen(piece, how.width), answer, yolo)
  return rows


def tree_of(kind: str, classes: Classes) -> WordTree | None:
  """That of the classes, if `task.network.classes` asks for it."""
  if kind not in ("logistic", "tree"):
    raise ValueError(
      f"task.network.classes is {kind!r}; allowed are 'logistic' and 'tree'"
    )
  if kind == "tree" and classes.tree is None:
    raise ValueError("task.network.classes is 'tree', but data.tree is none")
  return classes.tree if kind == "tree" else None


def check(options: Options, tree: WordTree | None) -> None:
  """Raises ValueError for options that cannot be, saying what can."""
  options.norm.check()
  options.detect.suppression.check()
  how = options.loss
  check_overlap(how.overlap_of)
  ranges.check("task.loss", how, ignore_iou="[0, 1]", truth_iou="[0, 1]")
  if tree and options.detect.class_agnostic:
    raise ValueError(
      "task.detect.class_agnostic gives a box its most probable class, which "
      "in a tree is always a top node; expected False"
    )


def make_task(
  options: Options,
  classes: Classes,
  rows: Sequence[Layer] | None = None,
) -> Task:
  """YOLOv3 for these classes.

  Args:
    options: each is documented and checked where it is defined.
    classes: C of them.
    rows: the network, such as a .cfg's; None for that of the options.

  Raises:
    ValueError: for an option that cannot be, saying what can.
  """
  rows = tuple(rows or network_rows(options, classes))
  levels = tuple(row for row in rows if isinstance(row, Yolo))
  tree = levels[-1].tree
  check(options, tree)
  network = Chain(rows, pictures.dtype_of(options.network.dtype), options.norm)
  answers = classes.labels(options.detect.classes, "task.detect.classes")
  of_picture = partial(
    yolov2.detections,
    probabilities=class_probabilities(tree, answers),
    how=options.detect,
  )

  check_size = partial(pictures.check_multiple, STRIDE)
  init = partial(pictures.begin, network, check_size)

  def loss(variables: Any, batch: Batch, step: Step) -> tuple[Array, Any]:
    del step
    outputs, stats = pictures.train(network, variables, batch.image)
    of_levels = partial(
      levels_loss, levels=levels, size=batch.image.shape[1:3], how=options.loss
    )
    parts = jax.vmap(of_levels)(outputs, batch.boxes, batch.labels, batch.mask)
    parts = losses.over_pictures(parts, batch.valid)
    return sum(parts.values()), (stats, parts)

  def predict(variables: Any, images: UInt8[Array, "B H W 3"]) -> Detections:
    outputs = pictures.predict(network, variables, images)
    find = partial(candidates, levels=levels, size=images.shape[1:3])
    return jax.vmap(of_picture)(jax.vmap(find)(outputs))

  return Task(init, loss, predict, check_size)


def prior_shapes(level: Yolo, size: tuple[int, int]) -> Float[Array, "P 2"]:
  """Of all levels' priors, as parts of a picture of size (height, width)."""
  edges = jnp.array([[size[1], size[0]]], jnp.float32)
  return jnp.asarray(level.priors_px, jnp.float32) / edges


def of_slots(
  output: Float[Array, "Y X D"], level: Yolo
) -> Float[Array, "Y X A F"]:
  """One picture's output of a level as `raw`, the numbers of each slot."""
  return slots(output[None], len(level.own))[0]


def levels_loss(
  outputs: Sequence[Float[Array, "_ _ _"]],
  boxes: Float[Array, "M 4"],
  labels: Int[Array, " M"],
  mask: Bool[Array, " M"],
  *,
  levels: Sequence[Yolo],
  size: tuple[int, int],
  how: Loss,
) -> dict[str, Array]:
  """The parts of `losses.level_loss`, each the sum over a picture's levels.

  Args:
    outputs: one for each level.
    boxes, labels, mask: of the truths, see there.
    levels: how their outputs are read.
    size: height and width of the picture in pixels.
    how: the options.
  """
  of_levels = [
    losses.level_loss(
      of_slots(output, level),
      boxes,
      labels,
      mask,
      prior_shapes=prior_shapes(level, size),
      own=level.own,
      class_error=class_error(level.tree),
      **how._asdict(),
    )
    for output, level in zip(outputs, levels, strict=True)
  ]
  return {name: sum(p[name] for p in of_levels) for name in of_levels[0]}


def candidates(
  outputs: Sequence[Float[Array, "_ _ _"]],
  *,
  levels: Sequence[Yolo],
  size: tuple[int, int],
) -> Candidates:
  """The slots of all of a picture's levels; arguments as in `levels_loss`.

    b_x = (sigmoid(t_x) + col) / X     b_w = p_w exp(t_w)
    b_y = (sigmoid(t_y) + row) / Y     b_h = p_h exp(t_h)

  with the priors (p_w, p_h) as parts of the picture.

  Source: section 2.1 and Figure 2.
  """
  found = []
  for output, level in zip(outputs, levels, strict=True):
    grid = jnp.array([[output.shape[1], output.shape[0]]], jnp.float32)
    own = prior_shapes(level, size)[jnp.asarray(level.own)]
    raw = of_slots(output, level)
    found.append(all_slots(raw, own * grid, location="direct"))
  return Candidates(*map(jnp.concatenate, zip(*found, strict=True)))


# Section 2.2, class prediction; and with a tree as in YOLO9000, section 4.


def class_error(tree: WordTree | None) -> Callable[..., Float[Array, " N"]]:
  """What `losses.level_loss` takes; in a tree a slot's last truth counts."""
  if tree is None:
    return losses.logistic_error

  def error(logits: Array, labels: Array, taught: Array) -> Array:
    last = taught.shape[1] - 1 - jnp.argmax(taught[:, ::-1], axis=1)
    return losses.tree_error(logits, labels[last], taught, tree=tree)

  return error


def class_probabilities(
  tree: WordTree | None, answers: Sequence[int] | None
) -> Callable[[Array], Array]:
  """From logits (N, C) the probability of each class, or of a node's path.

  Args:
    tree: of the classes, or None.
    answers: labels of those that can be answers, None for all.
  """
  if tree is None:
    return yolov2.class_probabilities(False, answers)
  return partial(
    yolo9000.node_probabilities,
    tree=tree,
    nodes=range(len(tree.ids)),
    answers=answers,
  )
