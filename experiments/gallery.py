"""A gallery of good and bad training: six rows, of which one is right.

python -m yolo9000.main --config=experiments/gallery.py

The miniature of YOLOv2 detects things of four colours, whatever their outline.
All rows start from one classifier. docs/gallery.md shows their curves and
pictures, and says how each fault is recognised and what to do about it. On 2
cores (AMD EPYC, no GPU), commit ac5e359, seed 0, in percent on 400 pictures:

  row                 VOC07 AP  recall  overlap  right class
  good                    64.9      92       67           99
  rate too high           14.6      70       61           74
  pictures too small       8.9      29       60           92
  learned by heart        19.0      72       63           77
  colours spoiled         21.9      96       72           22
  rate too low             4.6      54       60           80

The cores had other work, so the time was not measured; --dry-run estimates 3.5
minutes without evaluation and compilation.

Arguments, separated by commas, as in --config=experiments/gallery.py:seed=1
  row=NAME   this row alone; seed=N this seed alone; seeds=N that many.
"""

from ml_collections import ConfigDict

from experiments import base
from yolo9000.data.formats import shapes
from yolo9000.tables import plan
from yolo9000.tables.plan import row

COLOURS = tuple(shapes.HUES)  # red, yellow, green, blue
# A map of class names: "red disc" is red.
TO_COLOURS = tuple((name, name.split()[0]) for name in shapes.CLASS_NAMES)
SMALL = 64  # pixels; the others have 160


def get_config(argument: str = "") -> ConfigDict:
  """The complete config."""
  config = ConfigDict()
  config.name = "gallery"
  config.paper = ""
  config.table = "alternatives"
  config.setting = "a miniature on drawn shapes"
  config.seeds = (0,)
  config.only_row = config.only_stage = ""
  config.stages = ("classifier", "detector")
  config.classifier = classifier()
  config.detector = detector()
  config.rows = rows(config.detector)
  plan.select(config, plan.arguments(argument, plan.TABLE_ARGUMENTS))
  return config


def classifier() -> ConfigDict:
  """Of outlines and colours, from which all rows start."""
  config = base.classifier(shapes.CLASS_NAMES)
  config.data.train.main.map = config.data.test.map = ()
  config.data.augment.hue = 0.02  # the colours are told apart by hue
  config.run.total_steps = 600
  return config


def detector() -> ConfigDict:
  """As it should be."""
  config = base.detector(COLOURS)
  config.data.train.main.map = config.data.test.map = TO_COLOURS
  config.data.augment.hue = 0.02
  config.schedule.rate = 4e-3
  config.run.update(total_steps=800, log_every=20, evaluate_every=100)
  return config


def rows(good: ConfigDict) -> tuple:
  """What is right, and what is wrong by one thing each."""
  scale = SMALL / good.run.image_sizes[0]
  smaller = tuple((scale * w, scale * h) for w, h in good.task.network.priors)
  small = {
    "run.image_sizes": (SMALL,),
    "evaluation.image_size": SMALL,
    "task.network.priors": smaller,  # the same shapes, in cells
  }
  wrong = {
    "rate too high": {"schedule.rate": 0.2},
    "pictures too small": small,
    "learned by heart": {"data.train.main.split": "boxes[:8]"},
    "colours spoiled": {"data.augment.hue": 0.5},
    "rate too low": {"schedule.rate": 4e-5},
  }
  found = [row("good")]
  for name, changes in wrong.items():
    of_detector = {f"detector.{key}": value for key, value in changes.items()}
    found.append(row(name, None, of_detector, on="good"))
  return tuple(found)
