"""Table 5: COCO, all twelve figures.

python -m yolo9000.main --config=experiments/coco.py

The miniature is the ablation's last row, in COCO's figures: in percent AP 51.1,
at IoU .5 96.2, at .75 48.5; of medium objects 48.8, of large ones 56.7 (there
are no small ones); AR of 1, 10, 100 detections 43.4, 58.3, 58.4. VOC07 AP is
89.7. Seed 0, 4 minutes on 2 cores (x86-64, no GPU) beside other jobs, commit
61c50e1 but for a line of a docstring. YOLOv2 has 21.6 and 44.0 on COCO.

Arguments, as in --config=experiments/coco.py:full,folder=F
  quick  the miniature with few steps, to see that everything works.
  full   the paper's setting at 544 pixels. F has coco, with train2017, val2017
         and annotations in it, and imagenet as for experiments/ablation.py.
         train2017 are the pictures of trainval35k; the paper's figures are of
         test-dev2015, whose annotations only the organisers have.
  row=, seed=, seeds=  as in experiments/ablation.py.
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

from yolo9000.boxes import priors
from yolo9000.data.formats import coco
from yolo9000.scoring import metrics
from yolo9000.tables import plan

ARGUMENTS = ("quick", "full")
# YOLOv2's row of Table 5.
PAPER = dict(
  zip(
    metrics.COCO_FIGURES,
    (21.6, 44.0, 19.2, 5.0, 22.4, 35.5, 20.7, 31.6, 33.3, 9.8, 36.5, 54.4),
    strict=True,
  )
)
PICTURES = 118_287  # of train2017


def get_config(argument: str = "") -> ConfigDict:
  """The ablation's last row, measured as COCO does."""
  ablation = run_path(str(Path(__file__).with_name("ablation.py")))
  arguments = plan.arguments(argument, (*ARGUMENTS, *ablation["OTHERS"]))
  full = "full" in arguments
  if full:
    arguments["voc"] = ""  # its schedule
  config = ablation["before_choosing"](arguments)
  config.name = "coco" + "".join(f"_{k}" for k in ARGUMENTS if k in arguments)
  config.output = "coco"  # below the workdir
  config.paper = "Table 5, COCO test-dev2015"
  changes = plan.changes_of(config, "hi-res detector")
  config.detector.task.metric = "COCO AP"
  if full:
    full_scale(config.detector, Path(arguments.get("folder", ".")))
    steps = 160 * PICTURES // config.detector.run.batch_size
    changes += (
      ("detector.task.priors", priors.COCO_2017),
      ("detector.run.total_steps", steps),
    )
  config.rows = (("YOLOv2", PAPER, changes),)
  plan.select(config, arguments)
  return config


def full_scale(detector: ConfigDict, folder: Path) -> None:
  """As for VOC ("a similar training strategy"), 160 epochs.

  Differs: the program's yolo.cfg of January 2017 trains 120,000 steps of 64
  pictures, about 65 epochs, with rates of its own.
  """
  source = dict(format="coco", map=())
  detector.data.train.main.update(source, split="train2017")
  detector.data.test.update(source, split="val2017")
  detector.data.update(
    root=str(folder / "coco"),
    class_names=coco.CLASS_NAMES,
    max_objects=100,  # the program takes 30 of a picture
  )
  detector.run.epoch_images = PICTURES
