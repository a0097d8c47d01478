"""Table 3: one set of weights at five sizes, accuracy against speed.

python -m yolo9000.main --config=experiments/sizes.py --workdir=runs/ablation

The weights are those of the row multi-scale of experiments/ablation.py. In its
workdir they are found; elsewhere they are trained first. Speed is measured at
the end, all sizes in turns. sizes/report.html, below the workdir, has the
figure, VOC07 AP against images per second. On 2 cores (x86-64, no GPU), commit
8ef61ce, seed 0; the speed is that of the miniature's narrow network, in batches
of 16:

  size   VOC07 AP  images/s   paper: size  VOC07 AP  images/s on a Titan X
    96       43.6      2257           288      69.0        91
   128       73.1      1437           352      73.7        81
   160       89.2       975           416      76.8        67
   192       90.0       714           480      77.8        59
   224       89.7       534           544      78.6        40

Arguments, as in --config=experiments/sizes.py:voc,folder=F
  quick, voc, folder=  as in experiments/ablation.py.
  row=, seed=, seeds=  as there.
"""

from ml_collections import ConfigDict

from experiments import ablation, base
from yolo9000.tables import plan
from yolo9000.tables.plan import row

ARGUMENTS = ("quick", "voc")
# The paper's size, VOC07 AP and frames per second on a Titan X (Maxwell). The
# first one is the size at which the row multi-scale is evaluated.
PAPER = {
  416: {"size": 416, "VOC07 AP": 76.8, "images/s": 67},
  288: {"size": 288, "VOC07 AP": 69.0, "images/s": 91},
  352: {"size": 352, "VOC07 AP": 73.7, "images/s": 81},
  480: {"size": 480, "VOC07 AP": 77.8, "images/s": 59},
  544: {"size": 544, "VOC07 AP": 78.6, "images/s": 40},
}


def get_config(argument: str = "") -> ConfigDict:
  """The ablation's multi-scale row, evaluated at each size."""
  arguments = base.arguments(argument, ARGUMENTS, full="voc")
  config = ablation.one_row("multi-scale", arguments)
  config.name = config.name.replace("ablation", "sizes")
  config.output = "sizes"  # below the workdir
  config.paper = "Table 3, VOC 2007 test, on a Titan X"
  config.table = "sizes"
  config.recorded = {}
  config.speed_rounds = 5
  ours = config.detector.evaluation.image_size  # for the paper's 416
  smaller = 1 if "voc" in arguments else 2  # 32 pixels for the paper's 64
  config.rows = tuple(
    at_size(ours + (size - 416) // smaller, paper)
    for size, paper in PAPER.items()
  )
  config.shown = tuple(sorted((name for name, *_ in config.rows), key=number))
  plan.select(config, arguments)
  return config


def number(name: str) -> int:
  """The size in a row's name."""
  return int(name.removeprefix("size "))


def at_size(size: int, paper: dict[str, float]) -> tuple:
  """A row, of the same weights at this size."""
  change = {"detector.evaluation.image_size": size}
  return row(f"size {size}", paper, change, on="base")
