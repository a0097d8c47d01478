"""YOLOv2 as a Task: the network, its loss, its detections, its score.

Reads like section 2 of the paper. The formulas are in losses.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from yolo9000 import average_precision, darknet, losses, nms
from yolo9000.types import Batch, Detections, Float, Task, UInt8

CLASS_ERRORS = {
  "softmax": losses.softmax_error,
  "logistic": losses.logistic_error,
}


def check_image_size(size: int) -> None:
  """Raises ValueError unless size is a positive multiple of the stride, 32."""
  if size <= 0 or size % darknet.STRIDE:
    raise ValueError(
      f"image size {size} must be a positive multiple of {darknet.STRIDE}, "
      f"such as {max(1, round(size / darknet.STRIDE)) * darknet.STRIDE}"
    )


def check_priors(priors: Any) -> np.ndarray:
  """Priors as a float32 array (A, 2), or a ValueError that says why not."""
  try:
    array = np.asarray(priors, np.float32)
  except ValueError:  # rows of different lengths
    array = np.zeros(0, np.float32)
  if array.ndim != 2 or array.shape[-1] != 2 or not len(array):
    raise ValueError(
      f"priors {priors!r} must be a list of (width, height) pairs in cells"
    )
  if not (np.isfinite(array).all() and (array > 0).all()):
    raise ValueError(f"priors {priors!r} must be positive")
  return array


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
) -> Task:
  """YOLOv2 for these classes.

  Args:
    class_names: in the order of the labels; C of them.
    priors: A pairs (w, h) in cells.
    passthrough, program_reorg, width: see `darknet.yolov2`.
    dtype: of the computation, "float32" or "bfloat16".
    norm_momentum, norm_epsilon, norm_axis: see `darknet.Darknet`.
    class_error: "softmax" or "logistic".
    weights, ignore_iou, small_box_weight, rescore, match_predicted_shape: see
      `losses.detection_loss`.
    prior_pull: weight of the pull to the priors...
    prior_pull_images: ...while fewer images than this have been seen.
    class_agnostic_nms: suppress by objectness instead of class by class.
    iou_threshold, score_threshold, max_candidates, max_detections: see nms.py.

  Raises:
    ValueError: for a value that is not allowed, saying what is.
  """
  prior_array = check_priors(priors)
  if class_error not in CLASS_ERRORS:
    raise ValueError(
      f"class_error is {class_error!r}; allowed are {', '.join(CLASS_ERRORS)}"
    )
  if dtype not in ("float32", "bfloat16"):
    raise ValueError(f"dtype is {dtype!r}; allowed are float32, bfloat16")
  if width <= 0:
    raise ValueError(f"width is {width}; it must be above 0 (1 is the paper's)")
  entries = 5 + len(class_names)
  network = darknet.Darknet(
    layers=darknet.yolov2(
      outputs=len(prior_array) * entries,
      passthrough=passthrough,
      program_reorg=program_reorg,
      width=width,
    ),
    dtype=jnp.dtype(dtype),
    momentum=norm_momentum,
    epsilon=norm_epsilon,
    axis_name=norm_axis or None,
  )
  picture_loss = partial(
    losses.detection_loss,
    class_error=CLASS_ERRORS[class_error],
    weights=losses.Weights(**weights),
    ignore_iou=ignore_iou,
    small_box_weight=small_box_weight,
    rescore=rescore,
    match_predicted_shape=match_predicted_shape,
  )
  picture_detections = partial(
    detect,
    exclusive=class_error == "softmax",
    class_agnostic=class_agnostic_nms,
    iou_threshold=iou_threshold,
    score_threshold=score_threshold,
    max_candidates=max_candidates,
    max_detections=max_detections,
  )

  def raw_of(output: Any) -> Float[Array, "B Y X A F"]:
    return output.reshape(*output.shape[:3], len(prior_array), entries)

  def init(key: Array, image_size: int) -> dict[str, Any]:
    check_image_size(image_size)
    image = jnp.zeros((1, image_size, image_size, 3), jnp.float32)
    return dict(network.init(key, image, train=False))

  def loss(variables: dict[str, Any], batch: Batch, images_seen: Array):
    output, new = network.apply(
      variables, normalise(batch.image), train=True, mutable=["batch_stats"]
    )
    pull = jnp.where(images_seen < prior_pull_images, prior_pull, 0.0)
    parts = jax.vmap(
      partial(picture_loss, priors=jnp.asarray(prior_array), prior_pull=pull)
    )(raw_of(output), batch.boxes, batch.labels, batch.mask)
    parts = {
      name: jnp.mean(jnp.where(batch.valid, part, 0.0))
      for name, part in parts.items()
    }
    return sum(parts.values()), (new["batch_stats"], parts)

  def predict(
    variables: dict[str, Any], images: UInt8[Array, "B H W 3"]
  ) -> Detections:
    output = network.apply(variables, normalise(images), train=False)
    return jax.vmap(
      partial(picture_detections, priors=jnp.asarray(prior_array))
    )(raw_of(output))

  evaluate = partial(average_precision.evaluate, class_names=class_names)
  return Task(init, loss, predict, evaluate)


def detect(
  raw: Float[Array, "Y X A F"],
  *,
  priors: Float[Array, "A 2"],
  exclusive: bool,
  class_agnostic: bool,
  **suppression: Any,
) -> Detections:
  """Detections of one picture from the network's raw output.

  Args:
    raw: no activation applied.
    priors: width and height in cells.
    exclusive: classes exclude each other (softmax) or not (logistic).
    class_agnostic: suppress by objectness instead of class by class.
    **suppression: see nms.py.
  """
  boxes = losses.decode(raw, priors).reshape(-1, 4)
  slots = raw.reshape(-1, raw.shape[-1])
  objectness, logits = jax.nn.sigmoid(slots[:, 4]), slots[:, 5:]
  if exclusive:
    probabilities = jax.nn.softmax(logits, axis=1)
  else:
    probabilities = jax.nn.sigmoid(logits)
  if class_agnostic:
    return nms.class_agnostic(boxes, objectness, probabilities, **suppression)
  scores = objectness[:, None] * probabilities
  return nms.per_class(boxes, scores, **suppression)


def normalise(images: UInt8[Array, "B H W 3"]) -> Float[Array, "B H W 3"]:
  """Pictures travel as bytes and become [0, 1] on the device."""
  return images.astype(jnp.float32) / 255
