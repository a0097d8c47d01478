"""A classifier as a Task: classes of whole pictures, flat or in a tree.

Section 3 of the paper, "Training for classification", and section 4,
"Hierarchical classification". An answer is a detection that covers the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from yolo9000 import losses
from yolo9000.detectors import region
from yolo9000.networks import chain, darknet19
from yolo9000.networks.rows import Layer, Softmax
from yolo9000.types import Batch, Detections, Task, UInt8
from yolo9000.wordtree import WordTree
from yolo9000.wordtree import files as tree_files

CLASS_ERRORS = ("softmax", "tree")
ANSWERS = 5  # of the most probable classes


def make_task(
  *,
  class_names: Sequence[str],
  network: str,
  batch_norm: bool,
  width: float,
  dtype: str,
  norm_momentum: float,
  norm_epsilon: float,
  norm_axis: str,
  program_norm: bool,
  class_error: str,
  tree: WordTree | str | Sequence[int] | None,
  scored_classes: Sequence[str],
) -> Task:
  """A classifier of these classes.

  Args:
    class_names: in the order of the labels; C of them.
    network, batch_norm, width: see `darknet19.backbone`.
    dtype: of the computation, "float32" or "bfloat16".
    norm_momentum, norm_epsilon, norm_axis, program_norm: see
      `chain.Darknet`.
    class_error: "softmax", or "tree".
    tree: of the classes, see `tree_files.make_tree`; with "softmax" it
      serves for `evaluate` alone. An image label may be any node.
    scored_classes: those that can be answers; none for the tree's leaves, or
      all if there is no tree.

  Raises:
    ValueError: for a value that is not allowed, saying what is.
  """
  if class_error not in CLASS_ERRORS or dtype not in ("float32", "bfloat16"):
    raise ValueError(
      f"class_error is {class_error!r}; allowed are {', '.join(CLASS_ERRORS)}; "
      f"dtype is {dtype!r}; allowed are float32, bfloat16"
    )
  word_tree = tree_files.make_tree(tree, class_names)
  layers = table(
    num_classes=len(class_names),
    network=network,
    batch_norm=batch_norm,
    width=width,
    class_error=class_error,
    tree=word_tree,
  )
  module = chain.Darknet(
    layers=layers[:-1],  # up to the logits
    dtype=jnp.dtype(dtype),
    momentum=norm_momentum,
    epsilon=norm_epsilon,
    axis_name=norm_axis or None,
    program_norm=program_norm,
  )
  error: Callable[..., Array] = losses.softmax_error
  if class_error == "tree" and word_tree is not None:
    error = partial(losses.tree_error, tree=word_tree)
  nodes = region.labels_of(scored_classes, class_names)
  if nodes is None and word_tree is not None:
    nodes = word_tree.leaves.tolist()
  probabilities = region.class_probabilities(class_error, word_tree, nodes)
  answers = min(ANSWERS, len(nodes or class_names))

  def init(key: Array, image_size: int) -> dict[str, Any]:
    image = jnp.zeros((1, image_size, image_size, 3), jnp.float32)
    made = dict(module.init(key, image, train=False))
    return {"batch_stats": {}, **made}

  def loss(variables: dict[str, Any], batch: Batch, images_seen: Array):
    del images_seen
    result: Any = module.apply(
      variables,
      region.normalise(batch.image),
      train=True,
      mutable=["batch_stats"],
    )
    logits, new = result
    labels = jnp.maximum(batch.image_label, 0)
    alone = jnp.eye(len(labels), dtype=bool)
    counted = batch.valid & (batch.image_label >= 0)
    errors = jnp.where(counted, error(logits, labels, alone), 0.0)
    parts = {"label": jnp.mean(errors)}
    return parts["label"], (new.get("batch_stats", {}), parts)

  def predict(
    variables: dict[str, Any], images: UInt8[Array, "B H W 3"]
  ) -> Detections:
    logits: Any = module.apply(variables, region.normalise(images), train=False)
    scores, labels = jax.lax.top_k(probabilities(logits), answers)
    whole = jnp.array([0, 0, 1, 1], jnp.float32)
    return Detections(
      jnp.broadcast_to(whole, (*scores.shape, 4)),
      scores,
      labels,
      jnp.ones(scores.shape, bool),
    )

  evaluate = partial(accuracy, class_names=class_names, tree=word_tree)
  return Task(init, loss, predict, evaluate)


def run_table(task: Any, class_names: Sequence[str]) -> tuple[Layer, ...]:
  """The layers of a run, from its config's task."""
  return table(
    num_classes=len(class_names),
    network=task["network"],
    batch_norm=task["batch_norm"],
    width=task["width"],
    class_error=task["class_error"],
    tree=tree_files.make_tree(task["tree"], class_names),
  )


def table(
  *, num_classes: int, class_error: str, tree: WordTree | None, **network: Any
) -> tuple[Layer, ...]:
  """The network of `darknet19.classifier` and its softmax."""
  if class_error == "tree" and tree is None:
    raise ValueError("class_error is 'tree', but there is no tree")
  layers = darknet19.classifier(num_classes=num_classes, **network)
  return (*layers, Softmax(tree=tree if class_error == "tree" else None))


def accuracy(
  answers: Sequence[Detections],
  records: Sequence[Any],
  *,
  class_names: Sequence[str],
  tree: WordTree | None,
) -> dict[str, Any]:
  """Shares of pictures that are classified rightly.

  With a tree, an answer below the label is right: of a picture that says no
  more than dog, a terrier cannot be wrong.

  Args:
    answers: labels of each picture, best first.
    records: with image labels.
    tree: of the classes.

  Returns:
    "top-1", "top-5", "metric" (the first), with a tree "hierarchical": the mean
    share of the nodes on the label's path that are on the first answer's; and
    "per_class", top-1 by the class's name.

  Source: section 4; "hierarchical" is ours, the paper has none.
  """
  first, first_five, shared = [], [], []
  of_class: dict[int, list[bool]] = {}
  for found, record in zip(answers, records, strict=True):
    label = int(record.image_label)
    paths = [
      set(tree.path(int(answer))) if tree else {int(answer)}
      for answer in found.labels
    ]
    right = [label in path for path in paths]
    first.append(right[0])
    first_five.append(any(right[:5]))
    of_class.setdefault(label, []).append(right[0])
    if tree:
      path = set(tree.path(label))
      shared.append(len(path & paths[0]) / len(path))
  means = {"top-1": float(np.mean(first)), "top-5": float(np.mean(first_five))}
  if tree:
    means["hierarchical"] = float(np.mean(shared))
  per_class = {
    class_names[label]: float(np.mean(found))
    for label, found in of_class.items()
  }
  return {"metric": means["top-1"], **means, "per_class": per_class}
