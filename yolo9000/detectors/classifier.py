"""A classifier of whole pictures, flat or in a tree: arXiv 1612.08242.

Section 3, "Training for classification", and section 4, "Hierarchical
classification". An answer is a detection that covers the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from yolo9000 import losses
from yolo9000.detectors.yolo9000 import node_probabilities
from yolo9000.detectors.yolov2 import class_probabilities
from yolo9000.networks import input as pictures
from yolo9000.networks.backbone import backbone
from yolo9000.networks.chain import Chain
from yolo9000.networks.norm import Norm
from yolo9000.networks.rows import STRIDE, AveragePool, Conv, Layer, Softmax
from yolo9000.types import Batch, Detections, Step, Task, UInt8
from yolo9000.wordtree import Classes

ANSWERS = 5  # of the most probable classes


class Network(NamedTuple):
  """In a config, `task.network`.

  Attributes:
    backbone, batch_norm: see `networks.backbone`.
    classes: "softmax" for classes that exclude each other, or "tree"; an image
      label may be any node.
    width: 1 is the paper's network.
    dtype: of the computation, "float32" or "bfloat16".
  """

  backbone: str = "darknet19"
  batch_norm: bool = True
  classes: str = "softmax"
  width: float = 1.0
  dtype: str = "float32"


class Detect(NamedTuple):
  """In a config, `task.detect`; it changes no training.

  Attributes:
    classes: names of those that can be answers; none for the tree's leaves, or
      for all if there is no tree.
  """

  classes: Sequence[str] = ()


class Options(NamedTuple):
  """In a config, `task`."""

  network: Network = Network()
  norm: Norm = Norm()
  detect: Detect = Detect()


def network_rows(options: Options, classes: Classes) -> tuple[Layer, ...]:
  """Table 6 for Darknet-19: (H, W, 3) to the probabilities of the classes.

  A 1 x 1 convolution and the mean of what it gives are the same as the mean and
  a fully connected layer, as YOLO's paper has it.
  """
  how = options.network
  if how.classes not in ("softmax", "tree"):
    raise ValueError(
      f"task.network.classes is {how.classes!r}; allowed are 'softmax' and "
      f"'tree'"
    )
  if how.classes == "tree" and classes.tree is None:
    raise ValueError("task.network.classes is 'tree', but data.tree is none")
  first = backbone(how.backbone, batch_norm=how.batch_norm, width=how.width)
  last = Conv(len(classes.names), 1, batch_norm=False, activation="linear")
  tree = classes.tree if how.classes == "tree" else None
  return (*first, last, AveragePool(), Softmax(tree=tree))


def make_task(options: Options, classes: Classes) -> Task:
  """A classifier of these classes.

  Raises:
    ValueError: for an option that cannot be, saying what can.
  """
  options.norm.check()
  rows = network_rows(options, classes)
  network = Chain(  # up to the logits
    rows[:-1], pictures.dtype_of(options.network.dtype), options.norm
  )
  tree = classes.tree if options.network.classes == "tree" else None
  error: Callable[..., Array] = losses.softmax_error
  if tree is not None:
    error = partial(losses.tree_error, tree=tree)
  labels = classes.labels(options.detect.classes, "task.detect.classes")
  if labels is None and classes.tree is not None:
    labels = classes.tree.leaves.tolist()
  probabilities = class_probabilities(True, labels)
  if tree is not None:
    probabilities = partial(
      node_probabilities,
      tree=tree,
      nodes=range(len(classes.names)),
      answers=labels,
    )
  answers = min(ANSWERS, len(labels or classes.names))

  check_size = partial(pictures.check_multiple, STRIDE)
  init = partial(pictures.begin, network, check_size)

  def loss(variables: Any, batch: Batch, step: Step) -> tuple[Array, Any]:
    del step
    logits, stats = pictures.train(network, variables, batch.image)
    labels = jnp.maximum(batch.image_label, 0)
    alone = jnp.eye(len(labels), dtype=bool)
    counted = batch.valid & (batch.image_label >= 0)
    errors = jnp.where(counted, error(logits, labels, alone), 0.0)
    parts = {"label": jnp.mean(errors)}
    return parts["label"], (stats, parts)

  def predict(variables: Any, images: UInt8[Array, "B H W 3"]) -> Detections:
    logits = pictures.predict(network, variables, images)
    scores, labels = jax.lax.top_k(probabilities(logits), answers)
    whole = jnp.array([0, 0, 1, 1], jnp.float32)
    return Detections(
      jnp.broadcast_to(whole, (*scores.shape, 4)),
      scores,
      labels,
      jnp.ones(scores.shape, bool),
    )

  return Task(init, loss, predict, check_size, learns_from="image labels")
