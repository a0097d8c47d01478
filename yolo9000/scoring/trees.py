"""Scores of classes in a tree, of groups of classes, and of the extremes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def credit_ancestors(
  records: Sequence[Any], parents: Sequence[int]
) -> list[Any]:
  """Records in which each truth counts for every class above its own as well.

  So a terrier is a truth of terrier, of dog and of animal, and each node of a
  tree has an AP of its own.

  Args:
    records: `data.records.Record`s.
    parents: of each class, -1 at the top.
  """
  table = np.array([*parents, -1])  # the last serves -1
  result = []
  for record in records:
    labels, rows = [record.labels], [np.arange(len(record.labels))]
    while (labels[-1] >= 0).any():
      labels.append(table[labels[-1]])
      rows.append(rows[0])
    label, row = np.concatenate(labels), np.concatenate(rows)
    record = record.take(row[label >= 0])
    result.append(record._replace(labels=label[label >= 0].astype(np.int32)))
  return result


def group_means(
  metrics: dict[str, Any], groups: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
  """The metrics with "groups": the mean VOC07 AP of each group of classes.

  Classes without truths do not count; None if a group has no other.
  """
  means = {}
  for group, names in groups.items():
    values = [metrics["per_class"][name]["VOC07 AP"] for name in names]
    known = [value for value in values if value is not None]
    means[group] = float(np.mean(known)) if known else None
  return {**metrics, "groups": means}


def extremes(
  per_class: Mapping[str, Mapping[str, Any]],
  names: Sequence[str],
  *,
  count: int,
) -> str:
  """The classes with the worst and the best VOC07 AP, as in Table 7.

  "" if there are not more than both together.
  """
  known = sorted(
    (per_class[name]["VOC07 AP"], name)
    for name in names
    if per_class[name]["VOC07 AP"] is not None
  )
  if len(known) <= 2 * count:
    return ""
  lowest, highest = known[:count], known[-count:]
  return "; ".join(
    f"{word} " + ", ".join(f"{name} {100 * value:.1f}" for value, name in part)
    for word, part in (("worst", lowest), ("best", highest))
  )
