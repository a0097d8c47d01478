"""Your own PASCAL VOC folder: YOLOv2 from scratch.

python -m yolo9000.main --config=experiments/voc.py --config.data.root=FOLDER

As it stands it is for BCCD, blood cells of three classes (MIT licence,
Shenggan's BCCD_Dataset; 292 pictures to train on, 72 to test): a quarter of the
paper's width, 320 pixels, 20,000 pictures seen. On 2 cores (x86-64, no GPU) it
took 18 minutes, with other jobs beside it, and ended at VOC07 AP .809 (RBC
.777, WBC .984, platelets .667), VOC10 AP .824. On the way, step and VOC07 AP:
500 .54, 1000 .74, 1500 .75, 2000 .78, 2500 .77, 3000 .78, 4000 .80, 4500 .80.
Measured at commit 3ecc569, seed 0. (At c171856, before convolutions became
matrix products on CPU, it took 12 minutes and ended at .797.)

For other classes change class_names, then the priors by the command below; for
larger data raise total_steps. Other formats, several data sets and maps of
class names are described in docs/data.md.
"""

from ml_collections import ConfigDict

from experiments import base


def get_config() -> ConfigDict:
  """The complete config."""
  config = base.detector(class_names=("RBC", "WBC", "Platelets"))
  config.name = "voc"
  config.paper = ""
  config.rows = ()
  config.data.root = ""  # must be given: --config.data.root=FOLDER
  config.data.train.main = base.source("voc", split="trainval", weight=1.0)
  config.data.test = base.source("voc", split="test")
  config.data.augment.update(
    jitter=0.15, hue=0.02, saturation=1.3, exposure=1.3
  )
  # python -m yolo9000.priors --config=experiments/voc.py
  #   --config.data.root=FOLDER --k=3
  # Three: cells differ in size by class, and more priors of nearly one shape
  # only compete for the same objects.
  config.task.network.priors = ((0.66, 0.85), (1.66, 2.12), (3.32, 3.99))
  config.task.network.width = 0.25
  config.task.loss.prior_pull_images = 0
  config.optimizer.update(clip_norm=0.0, average=0.998)
  config.schedule.rate = 5e-3
  config.run.update(
    total_steps=5000,
    batch_size=4,
    image_sizes=(320,),
    log_every=100,
    checkpoint_every=1000,
    evaluate_every=500,
  )
  config.evaluation.update(image_size=320, batch_size=8)
  return config
