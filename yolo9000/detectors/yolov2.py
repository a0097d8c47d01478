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

from yolo9000 import losses
from yolo9000.detectors import region
from yolo9000.networks import chain, darknet19
from yolo9000.networks.rows import (
  STRIDE,
  Layer,
  Region,
  check_priors,
  layer_name,
)
from yolo9000.scoring import metrics
from yolo9000.types import Batch, Bool, Detections, Float, Task, UInt8
from yolo9000.wordtree import WordTree
from yolo9000.wordtree import files as tree_files

CLASS_ERRORS = {
  "softmax": losses.softmax_error,
  "logistic": losses.logistic_error,
  "tree": losses.tree_error,
}
# What `table` needs of a config's task.
TABLE_OPTIONS = (
  "network priors location class_error passthrough program_reorg width tree"
).split()


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
  network: str,
  priors: Any,
  location: str,
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
  max_cells: int,
  metric: str,
  groups: dict[str, Sequence[str]],
  scored_classes: Sequence[str],
) -> Task:
  """YOLOv2 for these classes.

  Args:
    class_names: in the order of the labels; C of them.
    network, passthrough, program_reorg, width: see `darknet19.yolov2`.
    priors: A pairs (w, h) in cells.
    location: "direct" or "offset", see `losses.decode`.
    dtype: of the computation, "float32" or "bfloat16".
    norm_momentum, norm_epsilon, norm_axis, program_norm: see
      `chain.Darknet`.
    class_error: "softmax", "logistic" or "tree".
    tree: of the classes, see `tree_files.make_tree`; each node then has an
      AP of its own. With class_error "softmax" it serves for that alone.
    weights, ignore_iou, small_box_weight, rescore, match_predicted_shape: see
      `losses.detection_loss`.
    prior_pull: weight of the pull to the priors...
    prior_pull_images: ...while fewer images than this have been seen.
    slot_rule, objectness_rule: what pictures with a label alone teach, see
      `losses.image_label_loss`; slot_rule "none" if there are no such pictures.
    label_warm_up_images: they have no loss until so many images of both kinds
      were seen; their batch statistics count from the start.
    class_agnostic_nms: suppress by objectness instead of class by class.
    iou_threshold, score_threshold, max_candidates, max_detections: see nms.py.
      In a tree every node on a box's path is a candidate of its own.
    max_cells: 0: every cell has its classes computed. Else those with objects
      alone, and in prediction so many, see `region.best_cells`; training is the
      same, in less time and memory if there are thousands of classes.
    metric: "VOC07 AP", or "COCO AP" for COCO's figures as well.
    groups: classes whose mean VOC07 AP is told as well, by the group's name.
    scored_classes: those that can be detected, see
      `region.class_probabilities`; none for all.

  Raises:
    ValueError: for a value that is not allowed, saying what is.
  """
  word_tree = tree_files.make_tree(tree, class_names)
  check_priors(priors)
  losses.check_location(location)
  _check_options(
    class_error,
    word_tree,
    dtype=dtype,
    width=width,
    slot_rule=slot_rule,
    objectness_rule=objectness_rule,
    metric=metric,
    max_cells=max_cells,
    class_agnostic_nms=class_agnostic_nms,
  )
  prior_array = jnp.asarray(priors, jnp.float32)
  layers = table(
    num_classes=len(class_names),
    network=network,
    priors=priors,
    location=location,
    class_error=class_error,
    passthrough=passthrough,
    program_reorg=program_reorg,
    width=width,
    tree=word_tree,
  )
  make_network = partial(
    chain.Darknet,
    dtype=jnp.dtype(dtype),
    momentum=norm_momentum,
    epsilon=norm_epsilon,
    axis_name=norm_axis or None,
    program_norm=program_norm,
  )
  error: Callable[..., Array] = CLASS_ERRORS[class_error]
  if class_error == "tree" and word_tree is not None:
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
    location=location,
  )
  of_label = partial(
    losses.image_label_loss,
    class_error=error,
    weights=losses.Weights(**weights),
    slot_rule=slot_rule,
    objectness_rule=objectness_rule,
  )
  scored = region.labels_of(scored_classes, class_names)
  picture_detections = partial(
    region.detect,
    probabilities=region.class_probabilities(class_error, word_tree, scored),
    class_agnostic=class_agnostic_nms,
    iou_threshold=iou_threshold,
    score_threshold=score_threshold,
    max_candidates=max_candidates,
    max_detections=max_detections,
  )
  # With max_cells the network ends before its last convolution.
  module = make_network(layers)
  trunk = make_network(layers[:-2]) if max_cells else module
  reader = region.Reader(
    *(layer_name(len(layers) - 2), prior_array, trunk.dtype, max_cells),
    word_tree if class_error == "tree" else None,
    location,
  )

  def init(key: Array, image_size: int) -> dict[str, Any]:
    check_image_size(image_size)
    image = jnp.zeros((1, image_size, image_size, 3), jnp.float32)
    return dict(module.init(key, image, train=False))

  def loss(variables: dict[str, Any], batch: Batch, images_seen: Array):
    output, new = trunk.apply(
      variables,
      region.normalise(batch.image),
      train=True,
      mutable=["batch_stats"],
    )
    pull = jnp.where(images_seen < prior_pull_images, prior_pull, 0.0)
    parts = joint_loss(
      output,
      batch,
      read=partial(reader.head, variables),
      of_boxes=partial(of_boxes, prior_pull=pull),
      of_label=None if slot_rule == "none" else of_label,
      labels_taught=images_seen >= label_warm_up_images,
    )
    return sum(parts.values()), (new["batch_stats"], parts)

  def predict(
    variables: dict[str, Any], images: UInt8[Array, "B H W 3"]
  ) -> Detections:
    outputs: Any = trunk.apply(variables, region.normalise(images), train=False)
    candidates = jax.vmap(partial(reader.candidates, variables))(outputs)
    return jax.vmap(picture_detections)(candidates)

  evaluate = metrics.make_evaluate(
    metric, class_names, word_tree, groups, scored_classes
  )
  return Task(init, loss, predict, evaluate)


def run_table(task: Any, class_names: Sequence[str]) -> tuple[Layer, ...]:
  """The layers of a run, from its config's task."""
  options = {key: task[key] for key in TABLE_OPTIONS}
  options["tree"] = tree_files.make_tree(options["tree"], class_names)
  return table(num_classes=len(class_names), **options)


def _check_options(
  class_error: str,
  tree: WordTree | None,
  *,
  width: float,
  slot_rule: str,
  max_cells: int,
  class_agnostic_nms: bool,
  **named: str,
) -> None:
  """Raises ValueError for a value that is not allowed, saying what is."""
  allowed = {
    "class_error": tuple(CLASS_ERRORS),
    "dtype": ("float32", "bfloat16"),
    "slot_rule": ("none", *losses.SLOT_RULES),
    "objectness_rule": losses.OBJECTNESS_RULES,
    "metric": tuple(metrics.METRICS),
  }
  named |= {"class_error": class_error, "slot_rule": slot_rule}
  for name, value in named.items():
    if value not in allowed[name]:
      raise ValueError(
        f"{name} is {value!r}; allowed are {', '.join(allowed[name])}"
      )
  if width <= 0:
    raise ValueError(f"width is {width}; it must be above 0 (1 is the paper's)")
  if class_error == "tree" and tree is None:
    raise ValueError("class_error is 'tree', but there is no tree")
  if class_error == "tree" and class_agnostic_nms:
    raise ValueError(
      "class_agnostic_nms gives a box its most probable class, which in a tree "
      "is always a top node; it must be False with class_error 'tree'"
    )
  if slot_rule != "none" and class_error == "logistic":
    raise ValueError(
      "class_error 'logistic' has no probability of one label; pictures with a "
      "label alone need 'softmax' or 'tree'"
    )
  if max_cells < 0 or (
    max_cells
    and class_error != "tree"
    and slot_rule not in ("none", "objectness")
  ):
    raise ValueError(
      f"max_cells is {max_cells}; it must be at least 0, and 0 with slot_rule "
      f"{slot_rule!r} and class_error {class_error!r}, which need all classes "
      f"of every cell"
    )


def joint_loss(
  output: Float[Array, "B Y X D"],
  batch: Batch,
  *,
  read: Callable[[Array], region.Head],
  of_boxes: Callable[..., dict[str, Array]],
  of_label: Callable[..., dict[str, Array]] | None,
  labels_taught: Bool[Array, ""],
) -> dict[str, Float[Array, ""]]:
  """The mean over a batch, in which each picture pays for the labels it has.

  Args:
    output: of the network, for all pictures.
    batch: those with an image label have no boxes.
    read: the meaning of one picture's output.
    of_boxes: `losses.detection_loss` of one picture.
    of_label: `losses.image_label_loss` of one; None if there are no such
      pictures. Its parts are called image_objectness and so on.
    labels_taught: false during the warm-up.

  Source: section 4, "Joint classification and detection".
  """
  has_label = batch.image_label >= 0

  def mean(parts, counted):
    return {n: jnp.mean(jnp.where(counted, p, 0.0)) for n, p in parts.items()}

  def boxes_of(output, *truth):
    head = read(output)
    return of_boxes(head.raw, *truth, class_logits=head.class_logits)

  def label_of(output, label):
    assert of_label is not None
    head = read(output)
    return of_label(
      head.raw,
      label,
      class_logits=head.class_logits,
      slot_errors=head.slot_errors,
    )

  mask = batch.mask & ~has_label[:, None]
  parts = jax.vmap(boxes_of)(output, batch.boxes, batch.labels, mask)
  parts = mean(parts, batch.valid & ~has_label)
  if of_label is None:
    return parts
  of_labels = jax.vmap(label_of)(output, jnp.maximum(batch.image_label, 0))
  of_labels = mean(of_labels, batch.valid & has_label & labels_taught)
  return parts | {f"image_{name}": part for name, part in of_labels.items()}


def table(
  *,
  num_classes: int,
  network: str,
  priors: Any,
  location: str,
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
  layers = darknet19.yolov2(
    network=network,
    outputs=len(pairs) * (5 + num_classes),
    passthrough=passthrough,
    program_reorg=program_reorg,
    width=width,
  )
  exclusive = class_error == "softmax"
  of_classes = tree if class_error == "tree" else None
  return (*layers, Region(pairs, num_classes, exclusive, of_classes, location))
