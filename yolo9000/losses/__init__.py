"""The losses, one picture at a time: batch them with `jax.vmap`."""

from yolo9000.losses.detection import (
  ASSUMED_IOU,
  LOCATIONS,
  OBJECTNESS_RULES,
  SLOT_RULES,
  Weights,
  assign,
  check_location,
  decode,
  detection_loss,
  image_label_loss,
  logistic_error,
  softmax_error,
  tree_error,
)

__all__ = [
  "ASSUMED_IOU",
  "LOCATIONS",
  "OBJECTNESS_RULES",
  "SLOT_RULES",
  "Weights",
  "assign",
  "check_location",
  "decode",
  "detection_loss",
  "image_label_loss",
  "logistic_error",
  "softmax_error",
  "tree_error",
]
