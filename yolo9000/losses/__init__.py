"""The losses, one picture at a time: batch them with `jax.vmap`.

This folder needs jax and numpy alone, so it can be taken into other code:

  from yolo9000 import losses
  parts = losses.detection_loss(raw, boxes, labels, mask, priors=priors, ...)
  loss = sum(parts.values())

detection.py has the loss of boxes, image_label.py that of a label alone,
classes.py their class errors, sum_squared.py the first YOLO's loss, levels.py
YOLOv3's, dense.py RetinaNet's, multibox.py that of SSD and what extends it,
proposals.py and regions.py those of the two stages of Faster R-CNN, masks.py
that of Mask R-CNN's masks. focal.py and smooth_l1.py are errors of single
numbers. batch.py makes a batch's loss of those of its pictures.
"""

from yolo9000.losses.batch import over_counted, over_pictures
from yolo9000.losses.classes import logistic_error, softmax_error, tree_error
from yolo9000.losses.dense import dense_loss
from yolo9000.losses.detection import Weights, assign, decode, detection_loss
from yolo9000.losses.focal import focal_loss
from yolo9000.losses.image_label import image_label_loss
from yolo9000.losses.levels import level_loss
from yolo9000.losses.masks import mask_loss, project_masks
from yolo9000.losses.multibox import multibox_loss
from yolo9000.losses.proposals import proposal_loss
from yolo9000.losses.regions import region_loss
from yolo9000.losses.smooth_l1 import smooth_l1
from yolo9000.losses.sum_squared import sum_squared_loss

__all__ = [
  "Weights",
  "assign",
  "decode",
  "dense_loss",
  "detection_loss",
  "focal_loss",
  "image_label_loss",
  "level_loss",
  "logistic_error",
  "mask_loss",
  "multibox_loss",
  "over_counted",
  "over_pictures",
  "project_masks",
  "proposal_loss",
  "region_loss",
  "smooth_l1",
  "softmax_error",
  "sum_squared_loss",
  "tree_error",
]
