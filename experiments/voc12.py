"""Table 4: VOC 2012, trained on 2007 and 2012.

python -m yolo9000.main --config=experiments/voc12.py

The miniature is the last row of experiments/ablation.py, in VOC10 AP: there
96.0, mean of three seeds (94.9 to 96.6), at commit 8ef61ce. The paper's 73.4 by
class: aero 86.3, bike 82.0, bird 74.8, boat 59.2, bottle 51.8, bus 79.8, car
76.5, cat 90.6, chair 52.1, cow 78.2, table 58.5, dog 89.3, horse 82.5, mbike
83.4, person 81.3, plant 49.1, sheep 77.2, sofa 62.4, train 83.8, tv 68.7.

Arguments, as in --config=experiments/voc12.py:full,folder=F
  quick  the miniature with few steps, to see that everything works.
  full   the paper's setting at 544 pixels; F as for experiments/ablation.py.
         The paper trains on all of 2007 and on trainval of 2012; the server of
         VOC measures it on test of 2012. Here train of 2012 trains and val
         measures. --config.detector.data.test.split and
         --config.detector.data.train.main.split change that.
  row=, seed=, seeds=  as in experiments/ablation.py.
"""

from ml_collections import ConfigDict

from experiments import ablation, base
from yolo9000.tables import plan
from yolo9000.tables.plan import row

ARGUMENTS = ("quick", "full")
PICTURES = 4_952 + 5_011 + 5_717  # 2007 test and trainval, 2012 train


def get_config(argument: str = "") -> ConfigDict:
  """The ablation's last row, on more pictures of 2012."""
  arguments = base.arguments(argument, ARGUMENTS, full="full")
  config = ablation.one_row("hi-res detector", arguments)
  config.name = "_".join(["voc12", *(k for k in ARGUMENTS if k in arguments)])
  config.output = "voc12"  # below the workdir
  config.paper = "Table 4, VOC 2012 test"
  config.recorded = {}
  config.rows = (row("YOLOv2", {"VOC10 AP": 73.4}),)
  if "full" in arguments:
    full_scale(config.detector)
  plan.select(config, arguments)
  return config


def full_scale(detector: ConfigDict) -> None:
  """The ablation's training, 160 epochs, with other splits."""
  data, run = detector.data, detector.run
  data.train.main.split = "VOC2007/trainval+VOC2007/test+VOC2012/train"
  data.test.split = "VOC2012/val"
  run.update(
    epoch_images=PICTURES, total_steps=160 * PICTURES // run.batch_size
  )
