"""Accuracy of a classifier, flat or in a tree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from yolo9000.types import Detections


def credited(answer: Any, classes: Any) -> set[int]:
  """The labels of which an answer is right: its own, and those above it."""
  if classes.tree is None:
    return {int(answer)}
  return set(classes.tree.path(int(answer)))


def accuracy(
  answers: Sequence[Detections],
  records: Sequence[Any],
  *,
  classes: Any,
) -> dict[str, Any]:
  """Shares of pictures that are classified rightly.

  With a tree, an answer below the label is right: of a picture that says no
  more than dog, a terrier cannot be wrong.

  Args:
    answers: labels of each picture, best first.
    records: with image labels.
    classes: `wordtree.Classes`, of the labels.

  Returns:
    "top-1", "top-5", "metric" (the first), with a tree "hierarchical": the mean
    share of the nodes on the label's path that are on the first answer's; and
    "per_class", top-1 by the class's name.

  Source: section 4; "hierarchical" is ours, the paper has none.
  """
  first, first_five, shared = [], [], []
  tree = classes.tree
  of_class: dict[int, list[bool]] = {}
  for found, record in zip(answers, records, strict=True):
    label = int(record.image_label)
    paths = [credited(answer, classes) for answer in found.labels]
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
    classes.names[label]: float(np.mean(found))
    for label, found in of_class.items()
  }
  return {"metric": means["top-1"], **means, "per_class": per_class}
