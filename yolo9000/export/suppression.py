"""`boxes.suppression.suppress` as ONNX's NonMaxSuppression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from yolo9000.export.dimensions import Dimensions
from yolo9000.export.equation import INT, axes, cast, expand
from yolo9000.export.graph import Value, is_constant, plain


def suppress(
  inputs: Sequence[Any], shapes: Sequence[Any], sides: Dimensions
) -> Any:
  """Which candidates of a batch are kept, bool (B, N).

  Only the first V candidates are looked at, V so that all valid ones of all
  pictures are among them. A label is said by the first candidate that has it:
  so the scores, (B, V, V), do not grow with the number of classes.

  Args:
    inputs: boxes (B, N, 4), labels (B, N) or (N), valid (B, N) and the IoU.
    shapes: of these.
    sides: turns open sides into values.

  Returns:
    None if this is no batch.
  """
  boxes, labels, valid, threshold = inputs
  if len(shapes[0]) != 3 or len(shapes[2]) != 2 or not is_constant(threshold):
    return None
  batch, count = shapes[2]
  end = _end(expand(valid, shapes[2], sides), sides.scalar(count))
  of_one = len(shapes[1]) == 1  # the same labels for all pictures
  labels = expand(labels, shapes[1], sides)
  labels = _new_axis(labels, 0) if of_one else labels

  boxes = _cut(expand(boxes, shapes[0], sides), end)
  labels, valid = _cut(labels, end), _cut(expand(valid, shapes[2], sides), end)
  number = _range(end)
  same = _plain("Equal", _new_axis(labels, 2), _new_axis(labels, 1))
  first = Value(
    "ArgMax", [cast(same, np.int32)], ("B", "V"), INT, axis=1, keepdims=0
  )
  own = _plain("Equal", _new_axis(first, 1), _new_axis(number, 1))
  own = _plain("And", own, _new_axis(valid, 1))  # (B, V labels, V candidates)
  rank = cast(plain("Sub", end, number, dtype=INT), np.float32)
  scores = plain("Where", own, rank, np.float32(0), dtype=np.float32)
  chosen = Value(
    "NonMaxSuppression",
    [
      *(_in_order(boxes), scores, end),
      *(np.float32(threshold).reshape(1), np.array([0.5], np.float32)),
    ],
    ("S", 3),
    INT,
  )  # rows of picture, label, candidate
  chosen = Value("Gather", [chosen, axes(0, 2)], ("S", 2), INT, axis=1)
  rows = Value("Shape", [chosen], (1,), INT, start=0, end=1)
  yes = Value("Expand", [np.array(True), rows], ("S",), bool)
  none = expand(np.zeros((1, 1), bool), (batch, count), sides)
  return Value("ScatterND", [none, chosen, yes], (batch, count), bool)


def _plain(kind: str, *values: Any) -> Any:
  return plain(kind, *values, dtype=bool)


def _new_axis(x: Any, axis: int) -> Any:
  shape = (*x.shape[:axis], 1, *x.shape[axis:])
  return Value("Unsqueeze", [x, axes(axis)], shape, x.dtype)


def _range(end: Any) -> Any:
  stop = Value("Squeeze", [end, axes(0)], (), INT)
  ends = [np.array(0, INT), stop, np.array(1, INT)]
  return Value("Range", ends, ("V",), INT)


def _end(valid: Any, count: Any) -> Any:
  """V, 1 after the last valid candidate of any picture; 1 for none."""
  one = np.array(1, INT)
  number = Value(
    "Range", [one, plain("Add", count, one, dtype=INT), one], ("N",), INT
  )
  last = plain("Where", valid, number, one, dtype=INT)
  last = Value("ReduceMax", [last], (), INT, keepdims=0)
  return Value("Unsqueeze", [last, axes(0)], (1,), INT)


def _cut(x: Any, end: Any) -> Any:
  """The first V along the second axis."""
  shape = (x.shape[0], "V", *x.shape[2:])
  return Value("Slice", [x, axes(0), end, axes(1)], shape, x.dtype)


def _in_order(boxes: Any) -> Any:
  """A box whose corners are out of order has no area; ONNX would turn it."""
  shape = (*boxes.shape[:2], 2)
  ends = [(axes(0), axes(2)), (axes(2), axes(4))]
  low, high = (
    Value("Slice", [boxes, *pair, axes(2)], shape, boxes.dtype) for pair in ends
  )
  high = plain("Max", low, high, dtype=boxes.dtype)
  return Value("Concat", [low, high], boxes.shape, boxes.dtype, axis=2)
