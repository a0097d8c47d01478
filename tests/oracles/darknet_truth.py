"""Truths as the original program lays them out for YOLO's loss."""

import numpy as np

from yolo9000 import boxes as box


def of_cells(rows, side):
  """The row of each cell (there, classes, box) as boxes, labels and mask."""
  there, classes = rows[:, 0] > 0, rows[:, 1:-4]
  cell = np.arange(len(rows))
  centre = (rows[:, -4:-2] + np.stack([cell % side, cell // side], 1)) / side
  boxes = np.concatenate([centre, rows[:, -2:]], 1)
  boxes = np.asarray(box.cxcywh_to_xyxy(boxes), np.float32)
  return boxes, classes.argmax(1).astype(np.int32), there
