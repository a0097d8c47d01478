"""Table 5: COCO, all twelve figures.

python -m yolo9000.main --config=experiments/coco.py

The miniature is the last row of experiments/ablation.py, in COCO's figures: in
percent AP 51.1, at IoU .5 96.2, at .75 48.5; of medium objects 48.8, of large
ones 56.7 (there are no small ones); AR of 1, 10, 100 detections 43.4, 58.3,
58.4. VOC07 AP is 89.7. Seed 0, 4 minutes on 2 cores (x86-64, no GPU) beside
other jobs, commit 61c50e1 but for a line of a docstring. YOLOv2 has 21.6 and
44.0 on COCO.

Arguments, as in --config=experiments/coco.py:full,folder=F
  quick  the miniature with few steps, to see that everything works.
  full   the paper's setting at 544 pixels. F has coco, with train2017, val2017
         and annotations in it, and imagenet as for experiments/ablation.py.
         train2017 are the pictures of trainval35k; the paper's figures are of
         test-dev2015, whose annotations only the organisers have.
  row=, seed=, seeds=  as in experiments/ablation.py.
"""

from pathlib import Path

from ml_collections import ConfigDict

from experiments import ablation, base
from yolo9000.boxes import priors
from yolo9000.data.formats import coco
from yolo9000.scoring.coco import COCO_FIGURES
from yolo9000.tables import plan
from yolo9000.tables.plan import row

ARGUMENTS = ("quick", "full")
# YOLOv2's row of Table 5.
PAPER = dict(
  zip(
    COCO_FIGURES,
    (21.6, 44.0, 19.2, 5.0, 22.4, 35.5, 20.7, 31.6, 33.3, 9.8, 36.5, 54.4),
    strict=True,
  )
)
PICTURES = 118_287  # of train2017


def get_config(argument: str = "") -> ConfigDict:
  """The ablation's last row, measured as COCO does."""
  arguments = base.arguments(argument, ARGUMENTS, full="full")
  config = ablation.one_row("hi-res detector", arguments)
  config.name = "_".join(["coco", *(k for k in ARGUMENTS if k in arguments)])
  config.output = "coco"  # below the workdir
  config.paper = "Table 5, COCO test-dev2015"
  config.recorded = {}
  config.rows = (row("YOLOv2", PAPER),)
  config.detector.evaluation.metric = "COCO AP"
  if "full" in arguments:
    full_scale(config.detector, Path(arguments["folder"]))
  plan.select(config, arguments)
  return config


def full_scale(detector: ConfigDict, folder: Path) -> None:
  """As for VOC ("a similar training strategy"), 160 epochs.

  Differs: the program's yolo.cfg of January 2017 trains 120,000 steps of 64
  pictures, about 65 epochs, with rates of its own.
  """
  detector.data.train.main = base.source("coco", split="train2017", weight=1.0)
  detector.data.test = base.source("coco", split="val2017")
  detector.data.update(
    root=str(folder / "coco"),
    class_names=coco.CLASS_NAMES,
    max_objects=100,  # the program takes 30 of a picture
  )
  detector.task.network.priors = priors.COCO_2017
  run = detector.run
  run.update(
    epoch_images=PICTURES, total_steps=160 * PICTURES // run.batch_size
  )
