"""YOLO9000: joint training on boxes and image labels, classes in a tree.

Source: arXiv 1612.08242, section 4. The detector is YOLOv2's; what is added is
a tree of classes, what a picture with a label alone teaches, and a last layer
that computes thousands of classes only where they matter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, core

from yolo9000 import losses, ranges, wordtree
from yolo9000.boxes import suppression
from yolo9000.boxes.suppression import Suppression
from yolo9000.detectors import yolov2
from yolo9000.detectors.yolov2 import Candidates, all_slots, slots
from yolo9000.losses.image_label import check_rules
from yolo9000.networks import input as pictures
from yolo9000.networks.chain import Chain
from yolo9000.networks.norm import Norm
from yolo9000.networks.rows import STRIDE, Conv, Layer, Region, layer_name
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

WALKS = ("none", "paths", "conditional")


class Joint(NamedTuple):
  """What pictures with a label alone teach; in a config, `task.joint`.

  Attributes:
    slot_rule: which slot, see `losses.image_label_loss`.
    objectness_rule: what of its objectness, see there.
    warm_up_images: such pictures have no loss until so many images of both
      kinds were seen; their batch statistics count from the start.
    few_cells: in training compute classes for assigned slots alone. Training is
      the same, in less time and memory if there are thousands of classes.
  """

  slot_rule: str = "probability"
  objectness_rule: str = "paper"
  warm_up_images: int = 0
  few_cells: bool = False


class Detect(NamedTuple):
  """In a config, `task.detect`; it changes no training.

  Attributes:
    iou_threshold, score_threshold, max_candidates, max_detections: see
      `suppression.Suppression`. In a tree every node on a box's path is a
      candidate of its own, unless it is walked.
    class_agnostic: see `yolov2.Detect`; not in a tree.
    classes: names of those that can be answers, none for all. A flat softmax is
      taken over these alone; in a tree they keep the probabilities of their
      paths, as in the original program.
    walk: "none": each class has a score of its own. In a tree "paths" or
      "conditional": a box has one class, see `detect_nodes`.
    tree_threshold: where the walk stops.
    max_cells: 0, or in prediction compute the classes of so many cells alone,
      see `best_cells`.
  """

  iou_threshold: float = 0.45
  score_threshold: float = 0.5
  max_candidates: int = 1000
  max_detections: int = 100
  class_agnostic: bool = False
  classes: Sequence[str] = ()
  walk: str = "paths"
  tree_threshold: float = 0.5
  max_cells: int = 0

  @property
  def suppression(self) -> Suppression:
    """The options of suppression alone."""
    return Suppression(*self[:4])


class Options(NamedTuple):
  """In a config, `task`; the groups but the last two are YOLOv2's."""

  network: yolov2.Network = yolov2.Network(passthrough="bare", classes="tree")
  norm: Norm = Norm()
  loss: yolov2.Loss = yolov2.Loss()
  joint: Joint = Joint()
  detect: Detect = Detect()


def network_rows(options: Options, classes: Classes) -> tuple[Layer, ...]:
  """The network; the last row says how its output is read."""
  how = options.network
  if how.classes not in ("tree", "softmax"):
    raise ValueError(
      f"task.network.classes is {how.classes!r}; allowed are 'tree' and "
      f"'softmax': 'logistic' has no probability of one label, which pictures "
      f"with a label alone need"
    )
  if how.classes == "tree" and classes.tree is None:
    raise ValueError("task.network.classes is 'tree', but data.tree is none")
  tree = classes.tree if how.classes == "tree" else None
  return yolov2.layers(how, Region((), len(classes.names), tree is None, tree))


def check(
  options: Options, rows: Sequence[Layer], nodes: Sequence[int] | None
) -> None:
  """Raises ValueError for options that cannot be together, saying why."""
  options.norm.check()
  options.loss.check()
  how, joint = options.detect, options.joint
  how.suppression.check()
  check_rules(joint.slot_rule, joint.objectness_rule)
  *_, last, region = rows
  tree = getattr(region, "tree", None)
  if how.walk not in WALKS or (how.walk != "none" and tree is None):
    raise ValueError(
      f"task.detect.walk is {how.walk!r}; allowed are {', '.join(WALKS)}, and "
      f"'none' alone where the network's classes are no tree"
    )
  if how.walk != "none" and nodes is not None:
    raise ValueError(
      f"task.detect.walk is {how.walk!r}, and the classes are {len(nodes)} "
      f"chosen nodes of the tree; a walk ends at any node, expected 'none'"
    )
  if how.walk != "none" and how.classes:
    raise ValueError(
      f"task.detect.walk is {how.walk!r} and task.detect.classes "
      f"{how.classes!r}; a walk ends at any node, expected one of the two"
    )
  ranges.check("task.detect", how, tree_threshold="[0, 1)")
  ranges.check("task.joint", joint, warm_up_images="[0, inf)")
  if tree and how.class_agnostic:
    raise ValueError(
      "task.detect.class_agnostic gives a box its most probable class, which "
      "in a tree is always a top node; expected False"
    )
  if joint.few_cells and tree is None and joint.slot_rule != "objectness":
    raise ValueError(
      f"task.joint.few_cells is for a tree, or with slot_rule 'objectness': "
      f"{joint.slot_rule!r} needs all classes of every cell"
    )
  linear = isinstance(last, Conv) and last == Conv(
    last.filters, 1, batch_norm=False, activation="linear"
  )
  if how.max_cells < 0 or (how.max_cells and not linear):
    raise ValueError(
      f"task.detect.max_cells is {how.max_cells}; it must be at least 0, and 0 "
      f"unless the last layer, {last}, is a linear 1 x 1 convolution without "
      f"batch norm"
    )


def make_task(
  options: Options,
  classes: Classes,
  rows: Sequence[Layer] | None = None,
  nodes: Sequence[int] | None = None,
) -> Task:
  """YOLO9000 for these classes.

  Args:
    options: each is documented and checked where it is defined.
    classes: C of them.
    rows: the network, such as a .cfg's; None for that of the options.
    nodes: of the network's tree, if the classes are some of its nodes alone;
      labels then count through these.

  Raises:
    ValueError: for an option that cannot be, saying what can.
  """
  rows = tuple(rows or network_rows(options, classes))
  check(options, rows, nodes)
  region: Any = rows[-1]
  how, joint = options.detect, options.joint
  dtype = pictures.dtype_of(options.network.dtype)
  whole = Chain(rows, dtype, options.norm)
  trunk = Chain(rows[:-2], dtype, options.norm)  # but the last convolution
  priors = jnp.asarray(region.priors, jnp.float32)
  last_layer = partial(
    LastLayer.of,
    name=layer_name(len(rows) - 2),
    num_priors=len(priors),
    dtype=dtype,
  )
  error: Callable[..., Array] = losses.softmax_error
  if region.tree is not None:
    error = partial(losses.tree_error, tree=region.tree)
  of_boxes = yolov2.boxes_loss(options.loss, region, error)
  of_label = partial(
    losses.image_label_loss,
    class_error=error,
    weights=options.loss.weights,
    slot_rule=joint.slot_rule,
    objectness_rule=joint.objectness_rule,
  )
  of_picture = reader(region, how, classes, nodes)

  check_size = partial(pictures.check_multiple, STRIDE)
  init = partial(pictures.begin, whole, check_size)

  def loss(variables: Any, batch: Batch, step: Step) -> tuple[Array, Any]:
    network = trunk if joint.few_cells else whole
    output, stats = pictures.train(network, variables, batch.image)
    head = all_classes
    if joint.few_cells:
      head = partial(few_classes, last_layer(variables), tree=region.tree)
    parts = joint_loss(
      output,
      batch,
      head=partial(head, num_priors=len(priors)),
      of_boxes=partial(of_boxes, images_seen=step.images_seen),
      of_label=of_label,
      labels_taught=step.images_seen >= joint.warm_up_images,
    )
    return sum(parts.values()), (stats, parts)

  def predict(variables: Any, images: UInt8[Array, "B H W 3"]) -> Detections:
    network = trunk if how.max_cells else whole
    output = pictures.predict(network, variables, images)
    direct = dict(priors=priors, location=region.location)
    if how.max_cells:
      last = last_layer(variables)
      find = partial(best_cells, last=last, max_cells=how.max_cells, **direct)
    else:
      output = slots(output, len(priors))
      find = partial(all_slots, **direct)
    return jax.vmap(of_picture)(jax.vmap(find)(output))

  return Task(init, loss, predict, check_size, learns_from="both")


def reader(
  region: Region,
  how: Detect,
  classes: Classes,
  nodes: Sequence[int] | None,
) -> Callable[[Candidates], Detections]:
  """From candidates to detections of one picture, by the options."""
  if how.walk != "none":
    return partial(detect_nodes, tree=region.tree, how=how)
  chosen = classes.labels(how.classes, "task.detect.classes")
  if region.tree is None:
    probabilities = yolov2.class_probabilities(True, chosen)
  else:
    own = range(len(region.tree.ids)) if nodes is None else nodes
    probabilities = partial(
      node_probabilities, tree=region.tree, nodes=own, answers=chosen
    )
  return partial(yolov2.detections, probabilities=probabilities, how=how)


# Section 4, joint classification and detection.


class Head(NamedTuple):
  """One picture's slots as the losses take them.

  class_logits and slot_errors are there where raw ends before the classes.
  """

  raw: Float[Array, "Y X A F"]
  class_logits: Callable[..., Array] | None = None
  slot_errors: Callable[..., Array] | None = None


def all_classes(output: Float[Array, "Y X D"], *, num_priors: int) -> Head:
  """From the output of the whole network."""
  return Head(slots(output[None], num_priors)[0])


def few_classes(
  last: LastLayer,
  features: Float[Array, "Y X D"],
  *,
  tree: WordTree | None,
  num_priors: int,
) -> Head:
  """From what the last layer sees; classes are computed where asked for."""
  del num_priors
  errors = (
    None if tree is None else partial(last.path_error, features, tree=tree)
  )
  return Head(
    last.boxes(features), partial(last.class_logits, features), errors
  )


def joint_loss(
  output: Float[Array, "B Y X D"],
  batch: Batch,
  *,
  head: Callable[[Array], Head],
  of_boxes: Callable[..., dict[str, Array]],
  of_label: Callable[..., dict[str, Array]],
  labels_taught: Bool[Array, ""],
) -> dict[str, Float[Array, ""]]:
  """The mean over a batch, in which each picture pays for the labels it has.

  Args:
    output: of the network, for all pictures.
    batch: those with an image label have no boxes.
    head: the meaning of one picture's output.
    of_boxes: `losses.detection_loss` of one picture.
    of_label: `losses.image_label_loss` of one. Its parts are called
      image_objectness and so on.
    labels_taught: false during the warm-up.
  """
  has_label = batch.image_label >= 0

  def boxes_of(output, *truth):
    found = head(output)
    return of_boxes(found.raw, *truth, class_logits=found.class_logits)

  def label_of(output, label):
    found = head(output)
    return of_label(
      found.raw,
      label,
      class_logits=found.class_logits,
      slot_errors=found.slot_errors,
    )

  mask = batch.mask & ~has_label[:, None]
  parts = jax.vmap(boxes_of)(output, batch.boxes, batch.labels, mask)
  parts = losses.over_pictures(parts, batch.valid & ~has_label)
  of_labels = jax.vmap(label_of)(output, jnp.maximum(batch.image_label, 0))
  taught = batch.valid & has_label & labels_taught
  of_labels = losses.over_pictures(of_labels, taught)
  return parts | {f"image_{name}": part for name, part in of_labels.items()}


# Section 4, hierarchical classification.


def node_probabilities(
  logits: Float[Array, "N C"],
  *,
  tree: WordTree,
  nodes: Sequence[int],
  answers: Sequence[int] | None = None,
) -> Float[Array, "N D"]:
  """Probability of each of these D nodes: of the whole path from the top.

  answers are those of the D that can be answers; the others have 0.
  """
  paths = wordtree.path_log_probability(
    tree, wordtree.log_softmax(tree, logits)
  )
  found = jnp.exp(paths[:, jnp.asarray(nodes)])
  if answers is None:
    return found
  few = jnp.asarray(answers)
  return jnp.zeros_like(found).at[:, few].set(found[:, few])


def detect_nodes(
  candidates: Candidates, *, tree: WordTree, how: Detect
) -> Detections:
  """Detections of one picture whose classes are a tree.

  A box has one label, the node that `wordtree.walk` reaches, and its score is
  the objectness alone; nodes suppress only themselves. Classes are looked at
  for the how.max_candidates boxes of the highest objectness.

  Args:
    candidates: from `all_slots` or `best_cells`.
    tree: its C nodes are the classes.
    how: with walk "paths", the probabilities of paths, as in the program, or
      "conditional" ones, as in the paper. tree_threshold is .5 in the program;
      0 walks down to a leaf.

  Source: get_region_detections, do_nms_sort of the original program.
  """
  boxes, objectness, logits = candidates
  count = core.min_dim(how.max_candidates, objectness.shape[0])
  scores, best = jax.lax.top_k(objectness, count)
  logs = wordtree.log_softmax(tree, logits[best])
  if how.walk == "paths":
    logs = wordtree.path_log_probability(tree, logs)
  labels = wordtree.walk(tree, jnp.exp(logs), threshold=how.tree_threshold)
  return suppression.labelled(boxes[best], scores, labels, how=how.suppression)


# The last layer is a 1 x 1 convolution. With thousands of classes it would be a
# third of the work, nearly all of it for slots without an object; taken apart
# it gives box and objectness of every slot, and classes where they matter.


class LastLayer(NamedTuple):
  """The last convolution, E = A * F outputs of the D numbers of a cell."""

  kernel: Float[Array, "D E"]
  bias: Float[Array, " E"]
  num_priors: int
  dtype: Any  # of the computation

  @classmethod
  def of(
    cls, variables: Any, *, name: str, num_priors: int, dtype: Any
  ) -> LastLayer:
    """From a network's variables, by the name of that convolution."""
    params = variables["params"][name]
    kernel = params["kernel"].reshape(params["kernel"].shape[2:])
    return cls(kernel, params["bias"], num_priors, dtype)

  def _apply(self, features: Array, kernel: Array, bias: Array) -> Array:
    product = features.astype(self.dtype) @ kernel.astype(self.dtype)
    bias = jnp.broadcast_to(bias.astype(self.dtype), product.shape)
    return (product + bias).astype(jnp.float32)

  def _columns(
    self, features: Float[Array, "*N D"], columns: slice | Int[Array, " K"]
  ) -> Float[Array, "*N A K"]:
    """These of the F numbers, for every slot of the cells."""
    depth = len(self.kernel)
    kernel = self.kernel.reshape(depth, self.num_priors, -1)[..., columns]
    bias = self.bias.reshape(self.num_priors, -1)[:, columns]
    product = self._apply(features, kernel.reshape(depth, -1), bias.reshape(-1))
    return product.reshape(*features.shape[:-1], *bias.shape)

  def boxes(self, features: Float[Array, "Y X D"]) -> Float[Array, "Y X A 5"]:
    """Box and objectness of every slot."""
    return self._columns(features, slice(0, 5))

  def cells(self, features: Float[Array, "K D"]) -> Float[Array, "K A F"]:
    """All numbers of these cells."""
    product = self._apply(features, self.kernel, self.bias)
    return product.reshape(features.shape[0], self.num_priors, -1)

  def class_logits(
    self, features: Float[Array, "Y X D"], slot: Int[Array, " K"]
  ) -> Float[Array, "K C"]:
    """Of these slots, counted as (row * X + col) * A + prior."""
    flat = features.reshape(-1, features.shape[-1])
    cells = self.cells(flat[slot // self.num_priors])
    return cells[jnp.arange(len(slot)), slot % self.num_priors, 5:]

  def path_error(
    self,
    features: Float[Array, "Y X D"],
    label: Int[Array, ""],
    *,
    tree: WordTree,
  ) -> Float[Array, " N"]:
    """Minus the log-probability of a tree's label, for every slot.

    Only the groups of siblings on its path are looked at.
    """
    path = wordtree.path_to(tree, label)
    logits = self._columns(features, 5 + path.nodes)
    return wordtree.path_error(tree, path, logits).reshape(-1)


def best_cells(
  features: Float[Array, "Y X D"],
  last: LastLayer,
  priors: Float[Array, "A 2"],
  *,
  location: str,
  max_cells: int,
) -> Candidates:
  """The slots of the cells with the highest objectness; N = A * max_cells.

  A score is at most the objectness, so detections are those of `all_slots` as
  long as no other cell's objectness is above the score threshold.

  Args:
    features: what the last layer sees.
    last: that layer.
    priors: width and height in cells.
    location: see `losses.decode`.
    max_cells: classes of the other cells are not computed.
  """
  raw = last.boxes(features)
  num_cells = raw.shape[0] * raw.shape[1]
  objectness = jax.nn.sigmoid(raw[..., 4]).reshape(num_cells, -1)
  _, cells = jax.lax.top_k(
    jnp.max(objectness, axis=1), core.min_dim(max_cells, num_cells)
  )
  boxes = losses.decode(raw, priors, location=location)
  boxes = boxes.reshape(*objectness.shape, 4)
  numbers = last.cells(features.reshape(num_cells, -1)[cells])
  return Candidates(
    boxes[cells].reshape(-1, 4),
    objectness[cells].reshape(-1),
    numbers[..., 5:].reshape(objectness[cells].size, -1),
  )
