"""Your own photographs, from weights that are trained already.

python -m yolo9000.main --config=experiments/photos.py:folder=F,start=yolov3-tiny.weights
"""

from pathlib import Path

from ml_collections import ConfigDict

from experiments import base
from yolo9000.boxes.priors import kmeans, shapes_in_cells
from yolo9000.data import sources
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats.reading import Source
from yolo9000.data.records import Dataset
from yolo9000.networks.backbone import BACKBONES
from yolo9000.tables import plan
from yolo9000.tables.plan import row

NEEDED = ("folder=", "start=")
# Of each backbone: what follows it, and which of its layers are held still.
PASSTHROUGH = {"tiny": "none", "darknet19": "paper"}
DEFAULTS = dict(
  format="voc",
  train="train",
  test="test",
  network="tiny",
  size="288",
  steps="800",
  priors="5",
)


def get_config(argument: str = "") -> ConfigDict:
  """The complete config: two rows, from the start and from scratch."""
  known = (*NEEDED, *(f"{name}=" for name in DEFAULTS), *plan.TABLE_ARGUMENTS)
  given = plan.arguments(argument, known)
  if missing := [name for name in NEEDED if name[:-1] not in given]:
    raise ValueError(
      f"argument {argument!r} lacks {' and '.join(missing)}; expected "
      f"folder=F,start=W, the data set and the weights to start from"
    )
  config = transfer(given["folder"], given["start"], {**DEFAULTS, **given})
  plan.select(config, given)
  return config


def transfer(folder: str, start: str, how: dict[str, str]) -> ConfigDict:
  """YOLOv2 with the backbone of `start`, on the data set in `folder`."""
  size, steps, count = (int(how[key]) for key in ("size", "steps", "priors"))
  described = base.source(how["format"], split=how["train"])
  data = sources.read(
    Source(**described)._replace(root=folder), Flaws(strict=True)
  )
  config = base.detector(class_names=data.class_names)
  config.name = "photos"
  config.paper = ""
  config.table = "alternatives"
  config.setting = f"{how['network']} YOLOv2 on {Path(folder).name}"
  config.seeds = (0,)
  config.only_row = config.only_stage = ""
  config.data.root = folder
  config.data.train.main = {**described, "weight": 1.0}
  config.data.test = base.source(how["format"], split=how["test"])
  config.data.augment.update(jitter=0.2, hue=0.02)
  backbone = how["network"]
  config.task.network.update(
    backbone=backbone,
    passthrough=PASSTHROUGH[backbone],
    priors=priors(data, count=count, size=size),
    width=1.0,
  )
  config.task.loss.prior_pull_images = 0
  config.schedule.update(rate=1e-3, burn_in_steps=50)
  config.run.update(
    start_from=start,
    start_layers=len(BACKBONES[backbone]),
    total_steps=steps,
    image_sizes=(size,),
    evaluate_every=200,
  )
  config.optimizer.held = ("layer_0?", "layer_10", "layer_12")
  config.evaluation.update(image_size=size, batch_size=8)
  scratch = {"run.start_from": "", "run.start_layers": 0, "optimizer.held": ()}
  config.rows = (
    row("from the start"),
    row("from scratch", None, scratch, on="base"),
  )
  return config


def priors(data: Dataset, *, count: int, size: int) -> tuple:
  """As python -m yolo9000.priors finds them, of the pictures to train on."""
  shapes = shapes_in_cells(data.records, image_size=size, resize="stretch")
  found = kmeans(shapes, count, seed=0).shapes
  return tuple((round(float(w), 2), round(float(h), 2)) for w, h in found)
