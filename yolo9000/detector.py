"""A trained detector as a function of a picture.

detector = Detector(model.from_run("runs/voc", which="latest"))
found = detector(image)  # uint8 RGB (H, W, 3); boxes in its pixels
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from yolo9000 import boxes as box
from yolo9000.darknet.weights import fold, gpu_deviation
from yolo9000.data import augment
from yolo9000.detectors import region, yolov1, yolov2
from yolo9000.networks import chain
from yolo9000.networks.rows import Connected, Conv, Detection, Local, layer_name
from yolo9000.training import trained as model
from yolo9000.types import Detections, Float, UInt8


class Prepared(NamedTuple):
  """A picture at the network's size, and where it lies on it."""

  input: UInt8[np.ndarray, "Y X 3"]
  placement: augment.Placement
  shape: tuple[int, int]  # width and height of the picture


class Detector:
  """Finds boxes in pictures of any size; one compiled program per batch size.

  Args:
    trained: from `model.from_run` or `model.from_darknet`.
    size: width and height of the network's input; None for the model's own.
      YOLOv2 takes any multiples of 32.
    resize: "letterbox" or "stretch"; None for the model's own.
    score_threshold: weaker boxes are not reported. With a tree it is compared
      with the objectness, see `region.detect_nodes`.
    iou_threshold: of two boxes of a class with more IoU the better is kept.
    nodes: of the network's tree, such as `WordTree.leaves`: the labels are
      these and count through them, each with its own score; None walks down
      the tree (or takes the model's own nodes).
    tree_threshold, walk_by: see `region.detect_nodes`.
    max_cells: 0, or see `region.best_cells`.
    max_candidates, max_detections: of one picture, see nms.py.
    fold_norm: take batch norm into the kernels; equal up to rounding.
    dtype: of the computation.

  Raises:
    ValueError: for a value that cannot be, saying what can.
  """

  def __init__(
    self,
    trained: model.Model,
    *,
    size: tuple[int, int] | None = None,
    resize: str | None = None,
    score_threshold: float = 0.5,
    iou_threshold: float = 0.45,
    nodes: Sequence[int] | None = None,
    tree_threshold: float = 0.5,
    walk_by: str = "paths",
    max_cells: int = 0,
    max_candidates: int = 1000,
    max_detections: int = 100,
    fold_norm: bool = True,
    dtype: str = "float32",
  ):
    layers, shape = trained.network
    self.size = size or (shape[1], shape[0])
    self._resize = resize or trained.resize
    augment.check_resize(self._resize)
    if size and size != (shape[1], shape[0]):
      if any(isinstance(row, (Connected, Local)) for row in layers):
        raise ValueError(
          f"size {size}: the network takes its own alone, {shape[1::-1]}"
        )
      for side in size:
        yolov2.check_image_size(side)
    variables = trained.variables
    if fold_norm:
      layers, variables = fold(layers, variables, gpu_deviation)
    self._variables = jax.device_put(variables)
    read = _reader(
      trained,
      nodes=nodes,
      tree_threshold=tree_threshold,
      walk_by=walk_by,
      max_cells=max_cells,
      dtype=dtype,
      iou_threshold=iou_threshold,
      score_threshold=score_threshold,
      max_candidates=max_candidates,
      max_detections=max_detections,
    )
    if max_cells:
      *layers, last, _ = layers
      plain = isinstance(last, Conv) and last == Conv(
        last.filters, 1, batch_norm=False, activation="linear"
      )
      if not plain:
        raise ValueError(
          f"max_cells is {max_cells}, but the last layer is {last}; expected a "
          f"linear 1 x 1 convolution without batch norm"
        )
    network = chain.Darknet(
      tuple(layers), jnp.dtype(dtype), momentum=0.9, epsilon=1e-5
    )
    self._predict = jax.jit(partial(_predict, network, read))

  def __call__(self, image: np.ndarray) -> Detections:
    """Detections of one RGB picture without padding, boxes in its pixels."""
    prepared = self.prepare(image)
    return self.finish(self.start([prepared], 1), [prepared])[0]

  def prepare(self, image: np.ndarray) -> Prepared:
    """The picture as the network takes it.

    Raises:
      ValueError: unless it is uint8 RGB.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
      raise ValueError(
        f"a picture is {image.dtype} {image.shape}; expected uint8 RGB, "
        f"(H, W, 3)"
      )
    input_, placement = augment.RESIZES[self._resize](image, self.size)
    return Prepared(input_, placement, (image.shape[1], image.shape[0]))

  def start(self, prepared: Sequence[Prepared], batch_size: int) -> Detections:
    """Begins a batch on the device, padded by its last picture."""
    padding = [prepared[-1]] * (batch_size - len(prepared))
    inputs = np.stack([one.input for one in (*prepared, *padding)])
    return self._predict(self._variables, inputs)

  def finish(
    self, found: Detections, prepared: Sequence[Prepared]
  ) -> list[Detections]:
    """Waits for a batch and brings its boxes back to the pictures' pixels."""
    found = jax.device_get(found)
    results = []
    for number, one in enumerate(prepared):
      kept = Detections(
        *(column[number][found.mask[number]] for column in found)
      )
      boxes = box.clip(augment.unplace_boxes(kept.boxes, one.placement))
      edges = np.array([*one.shape] * 2, np.float32)
      results.append(kept._replace(boxes=boxes * edges))
    return results


def forward(
  network: chain.Darknet, variables: Any, images: Float[Array, "B H W C"]
) -> Float[Array, "B ..."]:
  """The network's output; on CPU one picture after another.

  Intermediate results then stay small, in memory and in the caches.
  """

  def batch(images: Any) -> Any:
    return network.apply(variables, images, train=False)

  if jax.default_backend() == "cpu":
    return jax.lax.map(lambda image: batch(image[None])[0], images)
  return batch(images)


def _predict(
  network: chain.Darknet,
  read: Callable[..., Detections],
  variables: Any,
  images: Any,
) -> Detections:
  output = forward(network, variables, region.normalise(images))
  return jax.vmap(partial(read, variables))(output)


def _reader(
  trained: model.Model,
  *,
  nodes: Sequence[int] | None,
  tree_threshold: float,
  walk_by: str,
  max_cells: int,
  dtype: str,
  **suppression: Any,
) -> Callable[..., Detections]:
  """Detections of one picture's output, whose meaning the last layer says."""
  head = trained.head
  if isinstance(head, Detection):
    if max_cells or nodes is not None:
      raise ValueError("YOLOv1 has no tree, and classes for every cell alone")
    of_output = partial(yolov1.detect, how=head, **suppression)
    return lambda variables, output: of_output(output)
  if nodes is not None and not head.tree:
    raise ValueError("nodes are given, but the network has no tree")
  if nodes is None:
    nodes = trained.nodes
  if head.tree and nodes is None:
    detect = partial(
      region.detect_nodes,
      tree=head.tree,
      tree_threshold=tree_threshold,
      walk_by=walk_by,
    )
  else:
    rule = "softmax" if head.exclusive else "logistic"
    probabilities = region.PROBABILITIES[rule]
    if head.tree and nodes is not None:
      probabilities = partial(
        region.node_probabilities, tree=head.tree, nodes=nodes
      )
    detect = partial(
      region.detect,
      probabilities=probabilities,
      class_agnostic=trained.class_agnostic,
    )
  reader = region.Reader(
    layer_name(len(trained.network.layers) - 2),
    jnp.asarray(head.priors, jnp.float32),
    jnp.dtype(dtype),
    max_cells,
    head.tree,
    head.location,
  )
  return lambda variables, output: detect(
    reader.candidates(variables, output), **suppression
  )
