"""Table 3: one set of weights at five sizes, accuracy against speed.

python -m yolo9000.main --config=experiments/sizes.py --workdir=runs/ablation

The weights are those of the row multi-scale of experiments/ablation.py: in its
workdir they are found, elsewhere trained first. Below it, sizes/report.html has
the figure, VOC07 AP against images per second, measured in turns at the
end. On 2 cores (x86-64, no GPU), commit 8ef61ce, seed 0; the speed is of the
miniature's narrow network and batches of 16:

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

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

from yolo9000.tables import plan

ARGUMENTS = ("quick", "voc")
# The paper's VOC07 AP and frames per second on a Titan X (Maxwell).
PAPER = {
  288: {"VOC07 AP": 69.0, "images/s": 91},
  352: {"VOC07 AP": 73.7, "images/s": 81},
  416: {"VOC07 AP": 76.8, "images/s": 67},
  480: {"VOC07 AP": 77.8, "images/s": 59},
  544: {"VOC07 AP": 78.6, "images/s": 40},
}


def get_config(argument: str = "") -> ConfigDict:
  """The ablation's multi-scale row, evaluated at each size."""
  ablation = run_path(str(Path(__file__).with_name("ablation.py")))
  allowed = (*ARGUMENTS, *ablation["OTHERS"])
  arguments = plan.arguments(argument, allowed)
  config = ablation["before_choosing"](arguments)
  config.name = config.name.replace("ablation", "sizes")
  config.output = "sizes"  # below the workdir
  config.paper = "Table 3, VOC 2007 test, on a Titan X"
  config.speed_rounds = 5
  first = plan.changes_of(config, "multi-scale")
  own = config.detector.evaluation.image_size  # for the paper's 416
  rows = []
  # That one first: it is the one that training evaluates at.
  for size in sorted(PAPER, key=lambda size: size != 416):
    ours = own + (size - 416) // (1 if "voc" in arguments else 2)
    changes = (*first, ("detector.evaluation.image_size", ours))
    rows.append((f"size {ours}", PAPER[size], changes))
    first = ()
  config.rows = tuple(rows)
  plan.select(config, arguments)
  return config
