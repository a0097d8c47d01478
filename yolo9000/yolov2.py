"""YOLOv2 as a Task: the network, its loss, its detections, its score.

Reads like section 2 of the paper. The formulas are in losses.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from yolo9000 import (
  darknet,
  darknet_files,
  losses,
  metrics,
  nms,
  wordtree,
)
from yolo9000.layers import STRIDE, Layer, Region, check_priors
from yolo9000.types import Batch, Bool, Detections, Float, Task, UInt8
from yolo9000.wordtree import WordTree

CLASS_ERRORS = {
  "softmax": losses.softmax_error,
  "logistic": losses.logistic_error,
  "tree": losses.tree_error,
}
# What `table` needs of a config's task.
TABLE_OPTIONS = (
  "priors class_error passthrough program_reorg width tree".split()
)
PROBABILITIES: dict[str, Callable[[Array], Array]] = {
  "softmax": jax.nn.softmax,
  "logistic": jax.nn.sigmoid,
}


def check_image_size(size: int) -> None:
  """Raises ValueError unless size is a positive multiple of the stride, 32."""
  if size <= 0 or size % STRIDE:
    raise ValueError(
      f"image size {size} must be a positive multiple of {STRIDE}, "
      f"such as {max(1, round(size / STRIDE)) * STRIDE}"
    )


def make_task(
  *,
  class_names: Sequence[str],
  priors: Any,
  passthrough: str,
  program_reorg: bool,
  width: float,
  dtype: str,
  norm_momentum: float,
  norm_epsilon: float,
  norm_axis: str,
  program_norm: bool,
  class_error: str,
  tree: WordTree | str | Sequence[int] | None,
  weights: dict[str, float],
  ignore_iou: float,
  small_box_weight: bool,
  prior_pull: float,
  prior_pull_images: int,
  rescore: bool,
  match_predicted_shape: bool,
  slot_rule: str,
  objectness_rule: str,
  label_warm_up_images: int,
  class_agnostic_nms: bool,
  iou_threshold: float,
  score_threshold: float,
  max_candidates: int,
  max_detections: int,
  metric: str,
  groups: dict[str, Sequence[str]],
) -> Task:
  """YOLOv2 for these classes.

  Args:
    class_names: in the order of the labels; C of them.
    priors: A pairs (w, h) in cells.
    passthrough, program_reorg, width: see `darknet.yolov2`.
    dtype: of the computation, "float32" or "bfloat16".
    norm_momentum, norm_epsilon, norm_axis, program_norm: see
      `darknet.Darknet`.
    class_error: "softmax", "logistic" or "tree".
    tree: of the classes, see `darknet_files.make_tree`.
    weights, ignore_iou, small_box_weight, rescore, match_predicted_shape: see
      `losses.detection_loss`.
    prior_pull: weight of the pull to the priors...
    prior_pull_images: ...while fewer images than this have been seen.
    slot_rule, objectness_rule: what pictures with a label alone teach, see
      `losses.image_label_loss`; slot_rule "none" if there are no such pictures.
    label_warm_up_images: they teach nothing until so many images were seen.
    class_agnostic_nms: suppress by objectness instead of class by class.
    iou_threshold, score_threshold, max_candidates, max_detections: see nms.py.
    metric: "VOC07 AP", or "COCO AP" for COCO's figures as well.
    groups: classes whose mean VOC07 AP is told as well, by the group's name.

  Raises:
    ValueError: for a value that is not allowed, saying what is.
  """
  word_tree = darknet_files.make_tree(tree, class_names)
  check_priors(priors)
  _check_options(
    class_error, word_tree, dtype, width, slot_rule, objectness_rule, metric
  )
  prior_array = jnp.asarray(priors, jnp.float32)
  layers = table(
    num_classes=len(class_names),
    priors=priors,
    class_error=class_error,
    passthrough=passthrough,
    program_reorg=program_reorg,
    width=width,
    tree=word_tree,
  )
  network = darknet.Darknet(
    layers=layers,
    dtype=jnp.dtype(dtype),
    momentum=norm_momentum,
    epsilon=norm_epsilon,
    axis_name=norm_axis or None,
    program_norm=program_norm,
  )
  error = CLASS_ERRORS[class_error]
  if word_tree is not None:
    error = partial(losses.tree_error, tree=word_tree)
  of_boxes = partial(
    losses.detection_loss,
    priors=prior_array,
    class_error=error,
    weights=losses.Weights(**weights),
    ignore_iou=ignore_iou,
    small_box_weight=small_box_weight,
    rescore=rescore,
    match_predicted_shape=match_predicted_shape,
  )
  of_label = partial(
    losses.image_label_loss,
    class_error=error,
    weights=losses.Weights(**weights),
    slot_rule=slot_rule,
    objectness_rule=objectness_rule,
  )
  picture_detections = partial(
    detect,
    priors=prior_array,
    probabilities=class_probabilities(class_error, word_tree),
    class_agnostic=class_agnostic_nms,
    iou_threshold=iou_threshold,
    score_threshold=score_threshold,
    max_candidates=max_candidates,
    max_detections=max_detections,
  )

  def init(key: Array, image_size: int) -> dict[str, Any]:
    check_image_size(image_size)
    image = jnp.zeros((1, image_size, image_size, 3), jnp.float32)
    return dict(network.init(key, image, train=False))

  def loss(variables: dict[str, Any], batch: Batch, images_seen: Array):
    output, new = network.apply(
      variables, normalise(batch.image), train=True, mutable=["batch_stats"]
    )
    pull = jnp.where(images_seen < prior_pull_images, prior_pull, 0.0)
    parts = joint_loss(
      slots(output, len(prior_array)),
      batch,
      of_boxes=partial(of_boxes, prior_pull=pull),
      of_label=None if slot_rule == "none" else of_label,
      labels_taught=images_seen >= label_warm_up_images,
    )
    return sum(parts.values()), (new["batch_stats"], parts)

  def predict(
    variables: dict[str, Any], images: UInt8[Array, "B H W 3"]
  ) -> Detections:
    output: Any = network.apply(variables, normalise(images), train=False)
    return jax.vmap(picture_detections)(slots(output, len(prior_array)))

  evaluate = metrics.make_evaluate(metric, class_names, word_tree, groups)
  return Task(init, loss, predict, evaluate)


def run_table(task: Any, class_names: Sequence[str]) -> tuple[Layer, ...]:
  """The layers of a run, from its config's task."""
  options = {key: task[key] for key in TABLE_OPTIONS}
  options["tree"] = darknet_files.make_tree(options["tree"], class_names)
  return table(num_classes=len(class_names), **options)


def _check_options(
  class_error: str,
  tree: WordTree | None,
  dtype: str,
  width: float,
  slot_rule: str,
  objectness_rule: str,
  metric: str,
) -> None:
  """Raises ValueError for a value that is not allowed, saying what is."""
  for name, value, allowed in (
    ("class_error", class_error, CLASS_ERRORS),
    ("dtype", dtype, ("float32", "bfloat16")),
    ("slot_rule", slot_rule, ("none", *losses.SLOT_RULES)),
    ("objectness_rule", objectness_rule, losses.OBJECTNESS_RULES),
    ("metric", metric, metrics.METRICS),
  ):
    if value not in allowed:
      raise ValueError(f"{name} is {value!r}; allowed are {', '.join(allowed)}")
  if width <= 0:
    raise ValueError(f"width is {width}; it must be above 0 (1 is the paper's)")
  if (class_error == "tree") != (tree is not None):
    raise ValueError(
      f"class_error is {class_error!r}, but there is {'a' if tree else 'no'} "
      f"tree; one needs the other"
    )
  if slot_rule != "none" and class_error == "logistic":
    raise ValueError(
      "class_error 'logistic' has no probability of one label; pictures with a "
      "label alone need 'softmax' or 'tree'"
    )


def class_probabilities(
  class_error: str, tree: WordTree | None
) -> Callable[[Array], Array]:
  """From logits (N, C) the probability of each class, in a tree of its path."""
  if tree is None:
    return PROBABILITIES[class_error]
  return partial(node_probabilities, tree=tree, nodes=range(len(tree.ids)))


def joint_loss(
  raw: Float[Array, "B Y X A F"],
  batch: Batch,
  *,
  of_boxes: Callable[..., dict[str, Array]],
  of_label: Callable[..., dict[str, Array]] | None,
  labels_taught: Bool[Array, ""],
) -> dict[str, Float[Array, ""]]:
  """The mean over a batch, in which each picture pays for the labels it has.

  Args:
    raw: of the pictures.
    batch: those with an image label have no boxes.
    of_boxes: `losses.detection_loss` of one picture.
    of_label: `losses.image_label_loss` of one; None if there are no such
      pictures. Its parts are called image_objectness and so on.
    labels_taught: false during the warm-up.

  Source: section 4, "Joint classification and detection".
  """
  has_label = batch.image_label >= 0

  def mean(parts, counted):
    return {n: jnp.mean(jnp.where(counted, p, 0.0)) for n, p in parts.items()}

  mask = batch.mask & ~has_label[:, None]
  parts = jax.vmap(of_boxes)(raw, batch.boxes, batch.labels, mask)
  parts = mean(parts, batch.valid & ~has_label)
  if of_label is None:
    return parts
  of_labels = jax.vmap(of_label)(raw, jnp.maximum(batch.image_label, 0))
  of_labels = mean(of_labels, batch.valid & has_label & labels_taught)
  return parts | {f"image_{name}": part for name, part in of_labels.items()}


def table(
  *,
  num_classes: int,
  priors: Any,
  class_error: str,
  passthrough: str,
  program_reorg: bool,
  width: float,
  tree: WordTree | None,
) -> tuple[Layer, ...]:
  """YOLOv2's layers, the last of which says how its output is read.

  Arguments as in `make_task`.
  """
  pairs = tuple((float(w), float(h)) for w, h in priors)
  layers = darknet.yolov2(
    outputs=len(pairs) * (5 + num_classes),
    passthrough=passthrough,
    program_reorg=program_reorg,
    width=width,
  )
  exclusive = class_error == "softmax"
  return (*layers, Region(pairs, num_classes, exclusive, tree))


def slots(
  output: Float[Array, "B Y X D"], num_priors: int
) -> Float[Array, "B Y X A F"]:
  """The network's output as `raw`, the numbers of each slot."""
  return output.reshape(*output.shape[:3], num_priors, -1)


def detect(
  raw: Float[Array, "Y X A F"],
  *,
  priors: Float[Array, "A 2"],
  probabilities: Callable[[Array], Array],
  class_agnostic: bool,
  **suppression: Any,
) -> Detections:
  """Detections of one picture from the network's raw output.

  Args:
    raw: no activation applied.
    priors: width and height in cells.
    probabilities: of the scored classes, from logits (N, C): one of
      PROBABILITIES, or `node_probabilities`.
    class_agnostic: suppress by objectness instead of class by class.
    **suppression: see nms.py.
  """
  boxes = losses.decode(raw, priors).reshape(-1, 4)
  numbers = raw.reshape(-1, raw.shape[-1])
  objectness = jax.nn.sigmoid(numbers[:, 4])
  of_class = probabilities(numbers[:, 5:])
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
  raw: Float[Array, "Y X A F"],
  *,
  priors: Float[Array, "A 2"],
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
    raw: no activation applied.
    priors: width and height in cells.
    tree: its C nodes are the classes.
    tree_threshold: .5 in the program.
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
  boxes = losses.decode(raw, priors).reshape(-1, 4)
  numbers = raw.reshape(-1, raw.shape[-1])
  scores, best = jax.lax.top_k(
    jax.nn.sigmoid(numbers[:, 4]), min(max_candidates, len(numbers))
  )
  logs = wordtree.log_softmax(tree, numbers[best, 5:])
  if walk_by == "paths":
    logs = wordtree.path_log_probability(tree, logs)
  labels = wordtree.walk(tree, jnp.exp(logs), threshold=tree_threshold)
  return nms.labelled(boxes[best], scores, labels, **suppression)


def normalise(images: UInt8[Array, "B H W 3"]) -> Float[Array, "B H W 3"]:
  """Pictures travel as bytes and become [0, 1] on the device."""
  return images.astype(jnp.float32) / 255
