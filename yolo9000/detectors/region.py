"""How the last numbers of a YOLOv2 become boxes, classes and detections.

The last layer is a 1 x 1 convolution. With thousands of classes it would be a
third of the work, nearly all of it for slots without an object, so it can also
be taken apart: box and objectness of every slot, classes where they matter.
One picture at a time; batch with `jax.vmap`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from yolo9000 import losses, wordtree
from yolo9000.boxes import suppression as nms
from yolo9000.types import Detections, Float, Int, UInt8
from yolo9000.wordtree import WordTree

PROBABILITIES: dict[str, Callable[[Array], Array]] = {
  "softmax": jax.nn.softmax,
  "logistic": jax.nn.sigmoid,
}


def normalise(images: UInt8[Array, "B H W 3"]) -> Float[Array, "B H W 3"]:
  """Pictures travel as bytes and become [0, 1] on the device."""
  return images.astype(jnp.float32) / 255


def slots(
  output: Float[Array, "B Y X D"], num_priors: int
) -> Float[Array, "B Y X A F"]:
  """The network's output as `raw`, the numbers of each slot."""
  return output.reshape(*output.shape[:3], num_priors, -1)


class LastLayer(NamedTuple):
  """The last convolution, E = A * F outputs of the D numbers of a cell."""

  kernel: Float[Array, "D E"]
  bias: Float[Array, " E"]
  num_priors: int
  dtype: Any  # of the computation

  @classmethod
  def of(cls, params: Any, num_priors: int, dtype: Any) -> LastLayer:
    """From the parameters of that convolution."""
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
    return product.reshape(len(features), self.num_priors, -1)

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


class Head(NamedTuple):
  """One picture's slots as the losses take them.

  class_logits and slot_errors are there where raw ends before the classes.
  """

  raw: Float[Array, "Y X A F"]
  class_logits: Callable[..., Array] | None = None
  slot_errors: Callable[..., Array] | None = None


class Candidates(NamedTuple):
  """Slots that may become detections.

  Attributes:
    boxes: xyxy in [0, 1], not clipped.
    objectness: sigmoid(t_o).
    logits: of the classes.
  """

  boxes: Float[Array, "N 4"]
  objectness: Float[Array, " N"]
  logits: Float[Array, "N C"]


def all_slots(
  raw: Float[Array, "Y X A F"], priors: Float[Array, "A 2"], *, location: str
) -> Candidates:
  """Every slot; priors in cells, location as in `losses.decode`."""
  numbers = raw.reshape(-1, raw.shape[-1])
  return Candidates(
    losses.decode(raw, priors, location=location).reshape(-1, 4),
    jax.nn.sigmoid(numbers[:, 4]),
    numbers[:, 5:],
  )


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
    jnp.max(objectness, axis=1), min(max_cells, num_cells)
  )
  boxes = losses.decode(raw, priors, location=location)
  boxes = boxes.reshape(*objectness.shape, 4)
  numbers = last.cells(features.reshape(num_cells, -1)[cells])
  return Candidates(
    boxes[cells].reshape(-1, 4),
    objectness[cells].reshape(-1),
    numbers[..., 5:].reshape(objectness[cells].size, -1),
  )


class Reader(NamedTuple):
  """The meaning of what a network gives for a picture.

  Attributes:
    layer: name of the last convolution's parameters.
    priors: width and height in cells.
    dtype: of the computation.
    max_cells: 0: the network gives its last layer's output. Else it gives what
      that layer sees, and detections are looked for in so many cells.
    tree: of the classes, if they are one.
    location: see `losses.decode`.
  """

  layer: str
  priors: Float[Array, "A 2"]
  dtype: Any
  max_cells: int
  tree: WordTree | None
  location: str

  def _last(self, variables: Any) -> LastLayer:
    params = variables["params"][self.layer]
    return LastLayer.of(params, len(self.priors), self.dtype)

  def head(self, variables: Any, output: Float[Array, "Y X D"]) -> Head:
    """What the losses need of one picture."""
    if not self.max_cells:
      return Head(slots(output[None], len(self.priors))[0])
    last, errors = self._last(variables), None
    if self.tree is not None:
      errors = partial(last.path_error, output, tree=self.tree)
    return Head(last.boxes(output), partial(last.class_logits, output), errors)

  def candidates(
    self, variables: Any, output: Float[Array, "Y X D"]
  ) -> Candidates:
    """What may become detections of one picture."""
    if not self.max_cells:
      raw = slots(output[None], len(self.priors))[0]
      return all_slots(raw, self.priors, location=self.location)
    return best_cells(
      output,
      self._last(variables),
      self.priors,
      location=self.location,
      max_cells=self.max_cells,
    )


def class_probabilities(
  class_error: str, tree: WordTree | None, nodes: Sequence[int] | None
) -> Callable[[Array], Array]:
  """From logits (N, C) the probability of each class, in a tree of its path.

  Args:
    class_error: "softmax", "logistic" or "tree".
    tree: for "tree".
    nodes: the classes that can be answers, as labels; None for all. A softmax
      is taken over these alone; in a tree they keep their paths' probability,
      as in the original program.
  """

  def probabilities(logits: Float[Array, "N C"]) -> Float[Array, "N C"]:
    if class_error != "tree":
      rule = PROBABILITIES[class_error]
      if nodes is None:
        return rule(logits)
      few = rule(logits[:, jnp.asarray(nodes)])
    else:
      assert tree is not None
      few = node_probabilities(
        logits, tree=tree, nodes=nodes or range(len(tree.ids))
      )
      if nodes is None:
        return few
    return jnp.zeros_like(logits).at[:, jnp.asarray(nodes)].set(few)

  return probabilities


def labels_of(
  names: Sequence[str], class_names: Sequence[str]
) -> list[int] | None:
  """Labels of the classes that can be detected; None for all.

  Raises:
    ValueError: for a name that there is not, or that is there twice.
  """
  labels = {name: label for label, name in enumerate(class_names)}
  wrong = set(names) - set(class_names)
  if isinstance(names, str) or wrong or len(set(names)) < len(names):
    raise ValueError(
      f"evaluation.classes is {names!r}; expected class names, each once"
      + (f"; unknown are {sorted(wrong)}" if wrong else "")
    )
  return [labels[name] for name in names] or None


def detect(
  candidates: Candidates,
  *,
  probabilities: Callable[[Array], Array],
  class_agnostic: bool,
  **suppression: Any,
) -> Detections:
  """Detections of one picture.

  Args:
    candidates: from `all_slots` or `best_cells`.
    probabilities: of the scored classes, from logits (N, C): of
      `class_probabilities`, or `node_probabilities`.
    class_agnostic: suppress by objectness instead of class by class.
    **suppression: see nms.py.
  """
  boxes, objectness, logits = candidates
  of_class = probabilities(logits)
  if class_agnostic:
    return nms.class_agnostic(boxes, objectness, of_class, **suppression)
  return nms.per_class(boxes, objectness[:, None] * of_class, **suppression)


def node_probabilities(
  logits: Float[Array, "N C"], *, tree: WordTree, nodes: Sequence[int]
) -> Float[Array, "N D"]:
  """Probability of each of these D nodes: of the whole path from the top."""
  paths = wordtree.path_log_probability(
    tree, wordtree.log_softmax(tree, logits)
  )
  return jnp.exp(paths[:, jnp.asarray(nodes)])


def detect_nodes(
  candidates: Candidates,
  *,
  tree: WordTree,
  tree_threshold: float,
  walk_by: str,
  max_candidates: int,
  **suppression: Any,
) -> Detections:
  """Detections of one picture whose classes are a tree.

  A box has one label, the node that `wordtree.walk` reaches, and its score is
  the objectness alone.

  Args:
    candidates: from `all_slots` or `best_cells`.
    tree: its C nodes are the classes.
    tree_threshold: .5 in the program; 0 walks down to a leaf.
    walk_by: "paths", the probabilities of paths, as in the program, or
      "conditional" ones, as in the paper.
    max_candidates: boxes of the highest objectness; classes of others are not
      looked at.
    **suppression: iou_threshold, score_threshold, max_detections of
      `nms.labelled`; nodes suppress only themselves.

  Raises:
    ValueError: for another walk_by.

  Source: get_region_detections, do_nms_sort of the original program.
  """
  if walk_by not in ("paths", "conditional"):
    raise ValueError(
      f"walk_by is {walk_by!r}; allowed are 'paths' and 'conditional'"
    )
  boxes, objectness, logits = candidates
  scores, best = jax.lax.top_k(objectness, min(max_candidates, len(objectness)))
  logs = wordtree.log_softmax(tree, logits[best])
  if walk_by == "paths":
    logs = wordtree.path_log_probability(tree, logs)
  labels = wordtree.walk(tree, jnp.exp(logs), threshold=tree_threshold)
  return nms.labelled(boxes[best], scores, labels, **suppression)
