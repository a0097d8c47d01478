"""The field's detectors side by side: the same pictures, the same evaluation.

python -m yolo9000.main --config=experiments/detectors.py
python -m yolo9000.main --config=experiments/detectors.py:row=SSD

A miniature: drawn pictures of 192 pixels, an eighth of each paper's width, all
from scratch, 8,000 pictures each, the optimizer of experiments/base.py. It
compares implementations, not papers. COCO AP and images per second stand beside
what the papers report on COCO test-dev at full size, each on another GPU. Most
are collected in M2Det's Table 2; FSSD's and DSOD's are their own, YOLOv2's of
its Tables 5 and 3. VOC07 AP, COCO AP and images/s here are not measured yet.

Arguments, separated by commas, as in --config=experiments/detectors.py:seeds=3
  quick      few steps, to see that everything works.
  row=NAME   this row alone.
  seed=N     this seed alone; seeds=N that many, with means and spreads.
"""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from experiments import ablation, base
from yolo9000 import detectors
from yolo9000.detectors import ssd
from yolo9000.tables import plan
from yolo9000.tables.plan import row

ARGUMENTS = ("quick",)
SIDE, WIDTH, STEPS = 192, 0.125, 1000
# Levels with cells of 8, 16, 32 and 64 pixels.
DEFAULT_BOXES = {
  "default_boxes.size": SIDE,
  "default_boxes.sides": (29, 54, 86, 125, 169),
  "default_boxes.ratios": ((2,), (2, 3), (2, 3), (2,)),
  "default_boxes.steps": (),
}
NORMALISED = {"network.batch_norm": True, **DEFAULT_BOXES}

# Of few proposals, for few objects.
TWO_STAGES = {
  "network.frozen_norm": False,
  "network.anchor_scale": 6.0,
  "network.deviation": 0.05,
  "train_proposals.before": 500,
  "train_proposals.after": 300,
  "test_proposals.before": 300,
  "test_proposals.after": 100,
  "proposal_loss.slots": 128,
  "loss.slots": 64,
}

# Name of the row, of the detector, what the papers report, and its options
# beside those of the paper.
ROWS: tuple[tuple[str, str, Mapping[str, float], Mapping[str, Any]], ...] = (
  (
    "YOLOv2",
    "yolov2",
    {"COCO AP": 21.6, "images/s": 40},
    {
      "network.priors": (
        *((2.02, 1.15), (1.19, 2.06), (3.07, 1.8)),
        *((1.96, 3.65), (3.96, 3.29)),
      )
    },
  ),
  (
    "YOLOv3",
    "yolov3",
    {"COCO AP": 33.0, "images/s": 19.8},
    {
      "network.priors": (
        *((1.18, 1.69), (1.63, 1.3), (2.27, 1.01)),
        *((1.03, 2.35), (2.12, 2.1), (3.2, 1.52)),
        *((1.6, 3.32), (4.25, 2.64), (2.69, 4.28)),
      )
    },
  ),
  (
    "RetinaNet",
    "retinanet",
    {"COCO AP": 39.1, "images/s": 5.0},
    {
      "network.frozen_norm": False,
      "network.anchor_scale": 3.0,
      "network.deviation": 0.08,
    },
  ),
  (
    "Faster R-CNN FPN",
    "faster_rcnn",
    {"COCO AP": 36.2, "images/s": 7.0},
    TWO_STAGES,
  ),
  (
    "Mask R-CNN",
    "mask_rcnn",
    {"COCO AP": 39.8, "images/s": 3.3},
    {**TWO_STAGES, "masks.bins": 7},
  ),
  (
    "SSD",
    "ssd",
    {"COCO AP": 28.8, "images/s": 22.0},
    {"network.extras": ssd.EXTRAS_300[:2], **NORMALISED},
  ),
  (
    "DSSD",
    "dssd",
    {"COCO AP": 33.2, "images/s": 5.5},
    {
      "network.backbone": "resnet50",
      "network.extras": ((2, 2), (2, 2)),
      "network.kernels": (3, 3, 3, 3),
      **DEFAULT_BOXES,
    },
  ),
  (
    "FSSD",
    "fssd",
    {"COCO AP": 31.8},
    {
      "network.levels": ((512, 3, 1, 1), *((256, 3, 2, 1),) * 3),
      **NORMALISED,
    },
  ),
  (
    "DSOD",
    "dsod",
    {"COCO AP": 29.3, "images/s": 17.4},
    {"network.levels": (256, 128), **DEFAULT_BOXES},
  ),
  (
    "RFBNet",
    "rfbnet",
    {"COCO AP": 34.4, "images/s": 30.3},
    {"network.extras": (), **NORMALISED},
  ),
  (
    "RefineDet",
    "refinedet",
    {"COCO AP": 33.0, "images/s": 22.3},
    {
      **NORMALISED,
      "default_boxes.sides": (29, 54, 86, 125),
      "default_boxes.ratios": ((2,),) * 4,
    },
  ),
  (
    "M2Det",
    "m2det",
    {"COCO AP": 37.6, "images/s": 18.0},
    {"network.modules": 2, "network.scales": 4, **NORMALISED},
  ),
)


def get_config(argument: str = "") -> ConfigDict:
  """The complete config: a stage of its own for each detector."""
  chosen = plan.arguments(argument, (*ARGUMENTS, *plan.TABLE_ARGUMENTS))
  config = ConfigDict(
    dict(
      name="detectors",
      paper="the field, on COCO test-dev",
      table="alternatives",
      setting="a miniature on drawn shapes, an eighth of each paper's width",
      seeds=(0,),
      only_row="",
      only_stage="",
      speed_rounds=5,
      stages=("yolo", *(model for _, model, *_ in ROWS)),
    )
  )
  config.yolo = ablation.yolo()
  for _, model, _, changes in ROWS:
    config[model] = detector(model, changes)
  for name in config.stages:
    stage = config[name]
    stage.run.update(image_sizes=(SIDE,), total_steps=0)
    stage.evaluation.update(image_size=SIDE, metric="COCO AP")
  # Its truths have twice the cells of its masks; the others read none.
  config.mask_rcnn.data.mask_size = 28
  steps = STEPS
  if "quick" in chosen:
    config.name, steps = "detectors_quick", 4
    config.setting = "a trial of a few steps, whose numbers mean nothing"
    for name in config.stages:
      config[name].data.test.split += "[:32]"
  config.rows = (
    row("YOLO", None, {"yolo.run.total_steps": steps}),
    *(
      row(name, told, {f"{model}.run.total_steps": steps}, on="base")
      for name, model, told, _ in ROWS
    ),
  )
  plan.select(config, chosen)
  return config


def detector(model: str, changes: Mapping[str, Any]) -> ConfigDict:
  """One of them on the pictures of base.detector(), narrow."""
  config = base.detector()
  config.task = detectors.defaults(model)
  config.task.norm.update(base.norm())
  settings = {
    "network.width": WIDTH,
    "detect.score_threshold": 0.005,
    "detect.max_candidates": 100,
    "detect.max_detections": 100,
    **changes,
  }
  return plan.with_changes(
    config, ((f"task.{name}", value) for name, value in settings.items())
  )
