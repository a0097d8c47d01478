"""Recall of proposals."""

import numpy as np
import pytest
from oracles import recall as oracle

from yolo9000.data.records import Record
from yolo9000.scoring import recall


def random_boxes(rng, count):
  low = rng.uniform(0, 60, (count, 2))
  return np.concatenate([low, low + rng.uniform(5, 40, (count, 2))], axis=1)


def random_record(rng, number):
  truths = random_boxes(rng, number % 4).astype(np.float32)
  near = truths + rng.normal(0, 2, truths.shape).astype(np.float32)
  every = np.concatenate([near, random_boxes(rng, 8)]).astype(np.float32)
  return Record(
    *("", 100, 100, truths),
    labels=rng.integers(0, 3, len(truths)).astype(np.int32),
    difficult=rng.random(len(truths)) < 0.2,
    proposals_px=every,
  )


def test_recall_is_that_of_plain_loops():
  rng = np.random.default_rng(0)
  records = [random_record(rng, n) for n in range(40)]
  figures = recall.of_proposals(records, ("a", "b", "c", "none of them"))
  assert list(figures["per_class"]) == ["a", "b", "c"]
  for label, one in (
    (None, figures),
    *enumerate(figures["per_class"].values()),
  ):
    pictures = [
      (
        [
          (box, hard)
          for box, hard, own in zip(
            r.boxes_px, r.difficult, r.labels, strict=True
          )
          if label in (None, own)
        ],
        r.proposals_px,
      )
      for r in records
    ]
    at = [oracle.recall(pictures, t) for t in recall.THRESHOLDS]
    assert one["recall_50"] == pytest.approx(at[0])
    assert one["recall_70"] == pytest.approx(at[4])
    assert one["average_recall"] == pytest.approx(np.mean(at))
  assert 0.3 < figures["average_recall"] < figures["recall_50"]
  told = recall.lines(figures)
  assert len(told) == 5 and told[-1].split()[0] == "all"


def test_a_worked_example():
  """IoU of .6: found at .5, .55 and .6, which is 3 of 10; and nothing."""
  truth = np.float32([[0, 0, 10, 10], [50, 50, 60, 60]])
  record = Record(
    *("", 100, 100, truth, np.int32([0, 0]), np.array([False, False])),
    proposals_px=np.float32([[0, 0, 10, 6.0001]]),
  )
  figures = recall.of_proposals([record], ("a",))
  assert figures["recall_50"] == 0.5 and figures["recall_70"] == 0
  assert figures["average_recall"] == pytest.approx(0.15)
  empty = record._replace(proposals_px=None)
  assert recall.of_proposals([empty], ("a",))["recall_50"] == 0
