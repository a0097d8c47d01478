"""YOLOv1 as a Task: the network, its loss, its detections, its score.

Source: Redmon et al., "You Only Look Once", arXiv 1506.02640, section 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from yolo9000 import boxes as box
from yolo9000.boxes import suppression as nms
from yolo9000.detectors import region
from yolo9000.losses import Weights
from yolo9000.networks import chain, darknet19
from yolo9000.networks.rows import Detection, Layer
from yolo9000.scoring import metrics
from yolo9000.types import Batch, Bool, Detections, Float, Int, Task, UInt8

STRIDE = 64  # pixels per cell
# What `table` needs of a config's task.
TABLE_OPTIONS = (
  "head batch_norm dropout width num_boxes side square_root exclusive".split()
)


def make_task(
  *,
  class_names: Sequence[str],
  head: str,
  batch_norm: bool,
  dropout: float,
  width: float,
  num_boxes: int,
  side: int,
  square_root: bool,
  exclusive: bool,
  dtype: str,
  norm_momentum: float,
  norm_epsilon: float,
  norm_axis: str,
  program_norm: bool,
  weights: dict[str, float],
  rescore: bool,
  by_size: bool,
  clip_gradient: float,
  iou_threshold: float,
  score_threshold: float,
  max_candidates: int,
  max_detections: int,
  metric: str,
  groups: dict[str, Sequence[str]],
  scored_classes: Sequence[str],
) -> Task:
  """YOLOv1 for these classes.

  Args:
    class_names: in the order of the labels; C of them.
    head, batch_norm, dropout, width: see `darknet19.yolov1`.
    num_boxes, side, square_root, exclusive: see `layers.Detection`; the input
      has 64 pixels for each of `side` cells.
    dtype: of the computation, "float32" or "bfloat16".
    norm_momentum, norm_epsilon, norm_axis, program_norm: see
      `chain.Darknet`.
    weights, rescore, by_size: see `detection_loss`.
    clip_gradient: most that one output's error may be, before it goes back
      through the network. Differs: 1 on the program's GPU, 0 (none) on its CPU
      and in the paper.
    iou_threshold, score_threshold, max_candidates, max_detections: see nms.py.
    metric, groups, scored_classes: see `metrics.make_evaluate`.

  Raises:
    ValueError: for a value that is not allowed, saying what is.
  """
  if metric not in metrics.METRICS or dtype not in ("float32", "bfloat16"):
    raise ValueError(
      f"metric is {metric!r}; allowed are {', '.join(metrics.METRICS)}; dtype "
      f"is {dtype!r}; allowed are float32, bfloat16"
    )
  layers = table(
    num_classes=len(class_names),
    head=head,
    batch_norm=batch_norm,
    dropout=dropout,
    width=width,
    num_boxes=num_boxes,
    side=side,
    square_root=square_root,
    exclusive=exclusive,
  )
  how = layers[-1]
  assert isinstance(how, Detection)
  network = chain.Darknet(
    layers=layers,
    dtype=jnp.dtype(dtype),
    momentum=norm_momentum,
    epsilon=norm_epsilon,
    axis_name=norm_axis or None,
    program_norm=program_norm,
  )
  of_boxes = jax.vmap(
    partial(
      detection_loss,
      how=how,
      weights=Weights(**weights),
      rescore=rescore,
      by_size=by_size,
    )
  )
  picture_detections = partial(
    detect,
    how=how,
    iou_threshold=iou_threshold,
    score_threshold=score_threshold,
    max_candidates=max_candidates,
    max_detections=max_detections,
  )

  def init(key: Array, image_size: int) -> dict[str, Any]:
    if image_size != STRIDE * side:
      raise ValueError(
        f"image size {image_size} with {side} cells a side; expected "
        f"{STRIDE * side}, 64 pixels for each"
      )
    image = jnp.zeros((1, image_size, image_size, 3), jnp.float32)
    made = dict(network.init(key, image, train=False))
    return {"batch_stats": {}, **made}

  def loss(variables: dict[str, Any], batch: Batch, images_seen: Array):
    # Dropout is a function of the images seen and the picture, so that a run
    # repeats when it is resumed, and on any number of devices.
    key = jax.random.fold_in(jax.random.key(0), images_seen)
    keys = jax.vmap(partial(jax.random.fold_in, key))(batch.index)
    result: Any = network.apply(
      variables,
      region.normalise(batch.image),
      train=True,
      mutable=["batch_stats"],
      dropout_keys=keys,
    )
    output, new = result
    if clip_gradient:  # of each picture's loss, not of their mean
      output = jnp.asarray(clipped(output, clip_gradient / len(batch.image)))
    parts = of_boxes(output, batch.boxes, batch.labels, batch.mask)
    parts = {
      name: jnp.mean(jnp.where(batch.valid, part, 0.0))
      for name, part in parts.items()
    }
    stats = new.get("batch_stats", {})
    return sum(parts.values()), (stats, parts)

  def predict(
    variables: dict[str, Any], images: UInt8[Array, "B H W 3"]
  ) -> Detections:
    output: Any = network.apply(
      variables, region.normalise(images), train=False
    )
    return jax.vmap(picture_detections)(output)

  evaluate = metrics.make_evaluate(
    metric, class_names, None, groups, scored_classes
  )
  return Task(init, loss, predict, evaluate)


def run_table(task: Any, class_names: Sequence[str]) -> tuple[Layer, ...]:
  """The layers of a run, from its config's task."""
  options = {key: task[key] for key in TABLE_OPTIONS}
  return table(num_classes=len(class_names), **options)


def table(
  *,
  num_classes: int,
  num_boxes: int,
  side: int,
  square_root: bool,
  exclusive: bool,
  **network: Any,
) -> tuple[Layer, ...]:
  """YOLOv1's layers, the last of which says how its output is read."""
  how = Detection(side, num_classes, num_boxes, square_root, exclusive)
  outputs = side**2 * (num_classes + 5 * num_boxes)
  return (*darknet19.yolov1(outputs=outputs, **network), how)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def clipped(output: Float[Array, "*N"], most: float) -> Float[Array, "*N"]:
  """The output; in the gradient no entry is beyond most in size.

  Source: backward_connected_layer_gpu of the original program, with 1.
  """
  del most
  return output


def _clipped_forward(output, most):
  return clipped(output, most), None


def _clipped_backward(most, _, gradient):
  return (jnp.clip(gradient, -most, most),)


clipped.defvjp(_clipped_forward, _clipped_backward)


def split(
  output: Float[Array, " D"], how: Detection
) -> tuple[Float[Array, "L C"], Float[Array, "L B"], Float[Array, "L B 4"]]:
  """Classes, confidences and boxes of the L = S * S cells, as they are."""
  cells, num_boxes = how.side**2, how.num_boxes
  ends = (cells * how.num_classes, cells * (how.num_classes + num_boxes))
  classes, confidences, numbers = jnp.split(output, ends)
  return (
    classes.reshape(cells, how.num_classes),
    confidences.reshape(cells, num_boxes),
    numbers.reshape(cells, num_boxes, 4),
  )


def detection_loss(
  output: Float[Array, " D"],
  boxes: Float[Array, "M 4"],
  labels: Int[Array, " M"],
  mask: Bool[Array, " M"],
  *,
  how: Detection,
  weights: Weights,
  rescore: bool,
  by_size: bool,
) -> dict[str, Float[Array, ""]]:
  """Sum of squared errors of one picture.

  The cell that holds a truth's centre is to find it; of several truths in a
  cell the first alone is taught. Responsible is the cell's box that overlaps
  the truth most; where none does, the one with the nearest (x, y, w, h).

    coord       1/2 weights.coord |(x, y, w', h') - target|^2 of the responsible
                box; w' is the square root of the width where `how` says so
    objectness  1/2 weights.objectness (IoU - confidence)^2 of that box, the IoU
                held constant; 1 in its place without rescore
    background  1/2 weights.background confidence^2 of every other box
    label       1/2 weights.label |one-hot - classes|^2 of the cell; where `how`
                is exclusive, weights.label times the softmax's cross-entropy

  Args:
    output: of the network, see `decode`.
    boxes: xyxy in [0, 1]. Rows outside the mask may hold any finite number.
    labels: class id below C.
    mask: true for real objects. All false is legal.
    how: the meaning of the output.
    weights: 5, 1, .5 and 1 in the paper.
    rescore: see objectness.
    by_size: responsible is box 1 for a truth smaller than a tenth of the
      picture, and box 0 for others ("forced" in the program).

  Returns:
    The four parts by name. Their sum is the loss.

  Source: section 2.2, equation 3. Differs: the paper's equation has 1 for
  weights.objectness and nowhere 1/2, which scales the gradient alone; its text
  asks for the IoU as the confidence, as does the program.
  """
  classes, confidences, numbers = split(output, how)
  whole = jnp.array([0, 0, 1, 1], output.dtype)
  truth = box.xyxy_to_cxcywh(jnp.where(mask[:, None], boxes, whole[None]))
  place = truth[:, :2] * how.side
  column_row = jnp.clip(place.astype(jnp.int32), 0, how.side - 1)
  cell = column_row[:, 1] * how.side + column_row[:, 0]
  same_cell = (cell[:, None] == cell[None]) & mask[:, None] & mask[None]
  owner = mask & ~jnp.any(jnp.tril(same_cell, k=-1), axis=1)

  # Boxes and truths within their cell, in parts of the picture.
  offset = place - column_row.astype(output.dtype)
  near = jnp.concatenate([offset / how.side, truth[:, 2:]], axis=1)
  said = jax.lax.stop_gradient(numbers[cell])  # (M, B, 4)
  size = said[..., 2:] ** 2 if how.square_root else said[..., 2:]
  said = jnp.concatenate([said[..., :2] / how.side, size], axis=-1)
  overlap = box.iou(box.cxcywh_to_xyxy(said), box.cxcywh_to_xyxy(near)[:, None])
  distance = jnp.sum((said - near[:, None]) ** 2, axis=-1)
  best = jnp.where(
    jnp.any(overlap > 0, axis=1),
    jnp.argmax(overlap, axis=1),
    jnp.argmin(distance, axis=1),
  )
  if by_size:
    best = (truth[:, 2] * truth[:, 3] < 0.1).astype(best.dtype)
  every = jnp.arange(len(truth))
  target_size = jnp.sqrt(truth[:, 2:]) if how.square_root else truth[:, 2:]
  target = jnp.concatenate([offset, target_size], axis=1)
  coord = jnp.sum((numbers[cell, best] - target) ** 2, axis=1)
  own_iou = overlap[every, best] if rescore else 1.0
  responsible = jnp.zeros(confidences.shape, bool).at[cell, best].max(owner)
  if how.exclusive:
    chosen = jnp.take_along_axis(
      classes[cell], labels[:, None], axis=1, mode="clip"
    )
    error = jax.nn.logsumexp(classes[cell], axis=1) - chosen[:, 0]
  else:
    one_hot = jax.nn.one_hot(labels, how.num_classes, dtype=output.dtype)
    error = jnp.sum((one_hot - classes[cell]) ** 2, axis=1) / 2

  def total(condition, value):
    return jnp.sum(jnp.where(condition, value, 0.0))

  return {
    "coord": weights.coord * total(owner, coord / 2),
    "objectness": weights.objectness
    * total(owner, (own_iou - confidences[cell, best]) ** 2 / 2),
    "background": weights.background * total(~responsible, confidences**2 / 2),
    "label": weights.label * total(owner, error),
  }


def decode(
  output: Float[Array, " D"], how: Detection
) -> tuple[Float[Array, "N 4"], Float[Array, " N"], Float[Array, "N C"]]:
  """Boxes, confidences and class probabilities of one picture.

  The output has the class probabilities of each cell, then the confidences of
  each cell's boxes, then their (x, y, w, h): x and y within the cell, w and h
  or their square roots as fractions of the picture.

  Returns:
    xyxy boxes in [0, 1], not clipped; N = S * S * B of them, cell by cell. The
    boxes of a cell share its class probabilities.

  Source: get_detection_detections of the original program.
  """
  classes, confidences, numbers = split(output, how)
  if how.exclusive:
    classes = jax.nn.softmax(classes, axis=1)
  cell = jnp.arange(how.side**2)
  corner = jnp.stack([cell % how.side, cell // how.side], axis=1)  # (cells, 2)
  centre = numbers[..., :2] + corner[:, None].astype(output.dtype)
  size = numbers[..., 2:] ** 2 if how.square_root else numbers[..., 2:]
  boxes = jnp.concatenate([centre / how.side, size], axis=-1).reshape(-1, 4)
  return (
    box.cxcywh_to_xyxy(boxes),
    confidences.reshape(-1),
    jnp.repeat(classes, how.num_boxes, axis=0),
  )


def detect(
  output: Float[Array, " D"], *, how: Detection, **suppression: Any
) -> Detections:
  """Detections of one picture; `suppression` as in `nms.per_class`."""
  boxes, confidences, classes = decode(output, how)
  return nms.per_class(boxes, confidences[:, None] * classes, **suppression)
