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

from yolo9000 import average_precision, darknet, losses, nms, wordtree
from yolo9000.layers import STRIDE, Layer, Region, check_priors
from yolo9000.types import Batch, Detections, Float, Task, UInt8
from yolo9000.wordtree import WordTree

CLASS_ERRORS = {
  "softmax": losses.softmax_error,
  "logistic": losses.logistic_error,
}
METRICS = {
  "VOC07 AP": average_precision.evaluate,
  "COCO AP": average_precision.evaluate_both,
}
# What `table` needs of a config's task.
TABLE_OPTIONS = "priors class_error passthrough program_reorg width".split()
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
  weights: dict[str, float],
  ignore_iou: float,
  small_box_weight: bool,
  prior_pull: float,
  prior_pull_images: int,
  rescore: bool,
  match_predicted_shape: bool,
  class_agnostic_nms: bool,
  iou_threshold: float,
  score_threshold: float,
  max_candidates: int,
  max_detections: int,
  metric: str,
) -> Task:
  """YOLOv2 for these classes.

  Args:
    class_names: in the order of the labels; C of them.
    priors: A pairs (w, h) in cells.
    passthrough, program_reorg, width: see `darknet.yolov2`.
    dtype: of the computation, "float32" or "bfloat16".
    norm_momentum, norm_epsilon, norm_axis, program_norm: see
      `darknet.Darknet`.
    class_error: "softmax" or "logistic".
    weights, ignore_iou, small_box_weight, rescore, match_predicted_shape: see
      `losses.detection_loss`.
    prior_pull: weight of the pull to the priors...
    prior_pull_images: ...while fewer images than this have been seen.
    class_agnostic_nms: suppress by objectness instead of class by class.
    iou_threshold, score_threshold, max_candidates, max_detections: see nms.py.
    metric: "VOC07 AP", or "COCO AP" for COCO's figures as well.

  Raises:
    ValueError: for a value that is not allowed, saying what is.
  """
  check_priors(priors)
  prior_array = jnp.asarray(priors, jnp.float32)
  for name, value, allowed in (
    ("class_error", class_error, CLASS_ERRORS),
    ("dtype", dtype, ("float32", "bfloat16")),
    ("metric", metric, METRICS),
  ):
    if value not in allowed:
      raise ValueError(f"{name} is {value!r}; allowed are {', '.join(allowed)}")
  if width <= 0:
    raise ValueError(f"width is {width}; it must be above 0 (1 is the paper's)")
  layers = table(
    num_classes=len(class_names),
    priors=priors,
    class_error=class_error,
    passthrough=passthrough,
    program_reorg=program_reorg,
    width=width,
  )
  network = darknet.Darknet(
    layers=layers,
    dtype=jnp.dtype(dtype),
    momentum=norm_momentum,
    epsilon=norm_epsilon,
    axis_name=norm_axis or None,
    program_norm=program_norm,
  )
  picture_loss = partial(
    losses.detection_loss,
    priors=prior_array,
    class_error=CLASS_ERRORS[class_error],
    weights=losses.Weights(**weights),
    ignore_iou=ignore_iou,
    small_box_weight=small_box_weight,
    rescore=rescore,
    match_predicted_shape=match_predicted_shape,
  )
  picture_detections = partial(
    detect,
    priors=prior_array,
    probabilities=PROBABILITIES[class_error],
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
    parts = jax.vmap(partial(picture_loss, prior_pull=pull))(
      slots(output, len(prior_array)), batch.boxes, batch.labels, batch.mask
    )
    parts = {
      name: jnp.mean(jnp.where(batch.valid, part, 0.0))
      for name, part in parts.items()
    }
    return sum(parts.values()), (new["batch_stats"], parts)

  def predict(
    variables: dict[str, Any], images: UInt8[Array, "B H W 3"]
  ) -> Detections:
    output: Any = network.apply(variables, normalise(images), train=False)
    return jax.vmap(picture_detections)(slots(output, len(prior_array)))

  evaluate = partial(METRICS[metric], class_names=class_names)
  return Task(init, loss, predict, evaluate)


def table(
  *,
  num_classes: int,
  priors: Any,
  class_error: str,
  passthrough: str,
  program_reorg: bool,
  width: float,
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
  return (*layers, Region(pairs, num_classes, class_error == "softmax"))


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
