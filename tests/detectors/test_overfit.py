"""Every detector learns eight pictures by heart: AP above .9 on them."""

import json
from functools import partial

import pytest
from support import SHORT, config_of, tiny_config, with_proposals

from yolo9000.detectors import of_name, rcnn, ssd
from yolo9000.tables import plan, run
from yolo9000.training import build

pytestmark = pytest.mark.usefixtures("libraries_promote")


def of_family(model, *, side=96, total_steps=120, **changes):
  """A case of SSD, or what extends it, with levels from side / 8 cells on."""
  network = {"width": 1 / 16, **changes.pop("network", {})}
  if "batch_norm" in of_name(model).Network._fields:  # where it is a choice
    network["batch_norm"] = True
  shape = {
    "size": side,
    "sides": tuple(side * n for n in (0.15, 0.28, 0.45, 0.65, 0.88)),
    "ratios": ((2,), (2, 3), (2, 3), (2,)),
    "steps": (),
    **changes,
  }
  settings = {
    **{f"task.network.{name}": value for name, value in network.items()},
    **{f"task.default_boxes.{name}": value for name, value in shape.items()},
    "task.norm.momentum": 0.9,
    "task.detect.max_candidates": 50,
    "task.detect.max_detections": 50,
    "run.total_steps": total_steps,
    "schedule.rate": 5e-3,
    "schedule.burn_in_steps": 20,
  }
  return partial(config_of, model), side, settings


# Of Faster R-CNN and what extends it.
TWO_STAGES = {
  "task.network.backbone": SHORT,
  "task.network.frozen_norm": False,
  "task.network.anchor_scale": 4.0,
  "task.network.deviation": 0.05,
  "task.network.bins": 3,
  "task.network.width": 1 / 8,
  "task.norm.momentum": 0.9,
  "task.train_proposals.before": 200,
  "task.train_proposals.after": 200,
  "task.test_proposals.before": 100,
  "task.test_proposals.after": 50,
  "task.proposal_loss.samples": 64,
  "task.loss.samples": 64,
  "task.detect.max_candidates": 200,
  "run.total_steps": 120,
  "schedule.rate": 3e-3,
  "schedule.burn_in_steps": 30,
}

# How a config is made, the side of its pictures, and what else it changes: a
# narrow network that learns fast. A new detector is an entry here.
CASES = {
  "yolov2": (
    *(tiny_config, 160),
    {
      "task.network.width": 1 / 8,
      "run.total_steps": 180,
      "schedule.rate": 5e-3,
    },
  ),
  "yolov3": (
    *(partial(config_of, "yolov3"), 128),
    {
      "task.network.form": "tiny",
      # k-means on these pictures, as data.priors=6 finds them.
      "task.network.priors": (
        *((0.44, 0.79), (1.15, 0.58), (0.85, 1.42)),
        *((2.02, 0.74), (2.0, 1.64), (1.7, 3.1)),
      ),
      "task.network.width": 1 / 8,
      "task.norm.momentum": 0.9,
      "task.loss.ignore_iou": 0.7,
      "task.loss.overlap_of": "prediction",
      "task.detect.score_threshold": 0.005,
      "task.detect.max_candidates": 100,
      "run.total_steps": 120,
      "schedule.rate": 5e-3,
      "schedule.burn_in_steps": 20,
    },
  ),
  "retinanet": (
    *(partial(config_of, "retinanet"), 96),
    {
      "task.network.backbone": SHORT,
      "task.network.frozen_norm": False,
      "task.network.anchor_scale": 2.0,
      "task.network.deviation": 0.04,
      "task.network.width": 1 / 8,
      "task.norm.momentum": 0.9,
      "task.detect.max_candidates": 100,
      "run.total_steps": 100,
      "schedule.rate": 3e-3,
      "schedule.burn_in_steps": 50,
    },
  ),
  "faster_rcnn": (partial(config_of, "faster_rcnn"), 128, TWO_STAGES),
  "mask_rcnn": (
    *(partial(config_of, "mask_rcnn"), 128),
    {
      **TWO_STAGES,
      "task.masks.bins": 7,
      "task.masks.weight": 2.0,
      "run.total_steps": 230,  # masks come after boxes
      "data.mask_size": 28,
      "evaluation.metric": "COCO mask AP",
    },
  ),
  "rfcn": (
    *(partial(config_of, "rfcn"), 128),
    {
      **{k: v for k, v in TWO_STAGES.items() if not k.endswith("loss.samples")},
      "task.network.anchor_scale": 1.0,
      "task.proposal_loss.samples": 64,
      "task.loss.hard": 32,
      "run.total_steps": 150,
    },
  ),
  "cascade_rcnn": (
    *(partial(config_of, "cascade_rcnn"), 128),
    {
      **TWO_STAGES,
      "task.train_proposals.before": 100,
      "task.train_proposals.after": 64,
      "task.loss.samples": 32,
    },
  ),
  "ssd": of_family("ssd", network={"extras": ssd.EXTRAS_300[:2]}),
  "fssd": of_family(
    "fssd", network={"levels": ((512, 3, 1, 1), *((256, 3, 2, 1),) * 3)}
  ),
  "rfbnet": of_family("rfbnet", network={"extras": ()}),
  "refinedet": of_family(
    "refinedet",
    side=128,
    sides=(28, 48, 76, 112),
    ratios=((2,),) * 4,
  ),
  "dssd": of_family(
    "dssd",
    side=128,
    network={
      "backbone": SHORT,
      "extras": ((2, 2), (2, 2)),
      "kernels": (3, 3, 3, 3),
    },
  ),
  "dsod": of_family(
    "dsod",
    network={
      "blocks": (2, 2, 2, 2),
      "levels": (256, 128),
      "width": 1 / 8,
    },
  ),
  "m2det": of_family(
    "m2det", network={"modules": 2, "scales": 4}, total_steps=180
  ),
  "fast_rcnn": (
    *(partial(config_of, "fast_rcnn"), 128),
    {
      "task.network.batch_norm": True,
      "task.network.dropout": 0.0,
      "task.network.width": 1 / 16,
      "task.norm.momentum": 0.9,
      "task.loss.background": 0.0,
      "task.detect.score_threshold": 0.005,
      "task.detect.max_candidates": 200,
      "run.total_steps": 150,
      "schedule.rate": 3e-3,
      "schedule.burn_in_steps": 20,
    },
  ),
  "rcnn": (
    *(partial(config_of, "rcnn"), 128),
    {
      "task.network.side": 67,
      "task.network.context": 5,
      "task.network.batch_norm": True,
      "task.network.dropout": 0.0,
      "task.network.width": 1 / 8,
      "task.norm.momentum": 0.9,
      "task.loss.samples": 16,
      "task.detect.score_threshold": 0.005,
      "task.detect.max_candidates": 200,
      "run.total_steps": 60,
      "schedule.rate": 3e-3,
      "schedule.burn_in_steps": 20,
    },
  ),
}
# A second training, from the weights of the first: what it changes.
SECOND = {
  "rcnn": {
    "task.learns": "svm",
    "task.loss.samples": 32,
    "task.loss.positives": 0.75,  # so that all truths are among them
    "optimizer.held": rcnn.HELD,
    "optimizer.weight_decay": 0.0,
    "task.loss.positive_weight": 10.0,  # few truths, many that are none
    "run.total_steps": 200,
    "schedule.rate": 5e-3,
  },
}


@pytest.mark.parametrize("name", CASES)
def test_eight_pictures_are_learned_by_heart(tmp_path, name):
  """Without augmentation."""
  make, side, changes = CASES[name]
  settings = {
    "data.augment.geometry": "none",
    "data.augment.flip": False,
    "data.augment.hue": 0.0,
    "data.augment.saturation": 1.0,
    "data.augment.exposure": 1.0,
    "run.image_sizes": (side,),
    "run.batch_size": 8,
    "run.log_every": 50,
    "evaluation.image_size": side,
    "evaluation.batch_size": 8,
    "optimizer.average": 0.0,
  }
  config = plan.with_changes(make(), {**settings, **changes}.items())
  if build.make_task(config).needs_proposals:
    config = with_proposals(config, tmp_path)
  if name in SECOND:
    first = tmp_path / "first"
    assert run.run_alone(config, first)["VOC07 AP"] > 0.9
    start = {"run.start_from": str(first)}
    config = plan.with_changes(config, {**SECOND[name], **start}.items())
    tmp_path = tmp_path / "second"
  metrics = run.run_alone(config, tmp_path)
  assert metrics["VOC07 AP"] > 0.9
  assert metrics.get("COCO mask AP50", 1) > 0.9
  for drawing in ("curves", "detections", "precision_recall"):
    assert (tmp_path / f"{drawing}.png").stat().st_size > 10_000
  rows = json.loads((tmp_path / "detections.json").read_text())
  assert {"image_id", "category_id", "bbox", "score"} <= rows[0].keys()
  assert len(rows) == metrics["detections"]
