"""WordTree: its nodes (tree), its probabilities (softmax), how to build one."""

from yolo9000.wordtree.softmax import (
  log_softmax,
  most_probable,
  path_error,
  path_log_probability,
  path_to,
  walk,
)
from yolo9000.wordtree.tree import Classes, TreeError, WordTree

__all__ = [
  "Classes",
  "TreeError",
  "WordTree",
  "log_softmax",
  "most_probable",
  "path_error",
  "path_log_probability",
  "path_to",
  "walk",
]
