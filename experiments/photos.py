"""Your own photographs, from weights that are trained already.

python -m yolo9000.main --config=experiments/photos.py
  --config.data.root=FOLDER --config.run.start_from=yolov3-tiny.weights

Tiny YOLOv2 of full width, from the first 13 layers of the program's released
tiny YOLOv3, or of any file or run that begins with them. Of their seven
convolutions the first five are held still. Beside it the same network from
scratch. Class names and priors are those of the data. FOLDER is in VOC's layout
and has the splits train and test; for others set data.train.main.format and
data.test.format, and the splits, see docs/data.md.

On voc_fruit (chanjianliu's fruit_recognition, MIT licence; apple, banana,
orange; 240 photos to train on, 60 with 117 objects to test), 2 cores of an AMD
EPYC without a GPU, commit e1cb406, seed 0, from the start: VOC07 AP .825 in
12.7 minutes; .744 after 300 steps, .779 after 600. Tried with the same seed:
.808 with jitter .3, hue .05 and an average of .998; .777 with batches of 4 and
colours distorted less (1.3 for 1.5).

Arguments, as in --config=experiments/photos.py:seeds=3
  row=NAME   this row alone.
  seed=N     this seed alone; seeds=N that many, with means and spreads.
"""

from ml_collections import ConfigDict

from experiments import base
from yolo9000.boxes import priors
from yolo9000.tables import plan
from yolo9000.tables.plan import row

SIZE, LARGER = 288, 320


def get_config(argument: str = "") -> ConfigDict:
  """The complete config: from the start and, beside it, from scratch."""
  chosen = plan.arguments(argument, ("row=", "seed=", "seeds="))
  config = base.detector(class_names=())  # those of the data
  config.name = "photos"
  config.paper = ""
  config.table = "alternatives"
  config.setting = "tiny YOLOv2"
  config.seeds = (0,)
  config.only_row = ""  # all
  config.data.root = ""  # must be given: --config.data.root=FOLDER
  config.data.priors = 5
  config.data.train.main = base.source("voc", split="train", weight=1.0)
  config.data.test = base.source("voc", split="test")
  config.data.augment.update(jitter=0.3, hue=0.02)
  base.transfer(config, learning=2)
  config.task.network.priors = priors.VOC  # until the data are known
  config.task.loss.prior_pull_images = 0
  config.schedule.update(rate=1e-3, burn_in_steps=30)
  config.run.update(
    total_steps=1000,
    image_sizes=(SIZE,),
    evaluate_every=250,
  )
  config.evaluation.update(image_size=LARGER, batch_size=8)
  scratch = {
    "run.start_from": "",
    "run.start_layers": 0,
    "optimizer.held": (),
  }
  config.rows = (
    row("from the start"),
    row("from scratch", None, scratch, on="base"),
  )
  plan.select(config, chosen)
  return config
