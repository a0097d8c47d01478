"""The field's detectors side by side: the same pictures, the same evaluation.

python -m yolo9000.main --config=experiments/detectors.py
python -m yolo9000.main --config=experiments/detectors.py:row=SSD
python -m yolo9000.main --config=experiments/detectors.py:photos
  --config.data.root=FOLDER

A miniature: drawn pictures of 192 pixels, an eighth of each paper's width, all
from scratch, 8,000 pictures each (R-CNN in each of its two trainings), the
optimizer of experiments/base.py. It
compares implementations, not papers. COCO AP and images per second stand beside
what the papers report on COCO test-dev at full size, each on another GPU. Most
are collected in M2Det's Table 2; FSSD's and DSOD's are their own, YOLOv2's of
its Tables 5 and 3. In percent of 400 pictures, seed 0, by :proposals=P:

  row               COCO AP  VOC07 AP  minutes  images/s
  YOLO                  0.1       0.9        1        49
  YOLOv2               34.3      75.8        2       170
  YOLOv3               22.1      50.7        4       110
  RetinaNet            32.2      62.3        4       112
  Faster R-CNN FPN     66.8      89.4        5        88
  R-FCN                47.2      88.8        4        75
  Mask R-CNN           68.7      90.0        6        45
  Cascade R-CNN        88.2      94.0        6        53
  SSD                  70.2      93.1        6        80
  DSSD                 26.7      53.2        6        79
  FSSD                 75.4      93.9        5        70
  DSOD                 68.0      92.7        7        78
  RFBNet               65.7      92.0        5
  RefineDet            60.7      87.9        6        80
  M2Det                67.3      90.2        7        76
  R-CNN softmax        77.3      88.3        5         1
  R-CNN                67.1      87.9        4         1
  Fast R-CNN           73.6      90.7       10         3

One run of the whole table, commit 5ef2411, 2 cores of an AMD EPYC: 120 minutes.
These cores did other work as well, so minutes of training and images/s are no
measure of what a quiet machine does; images/s were measured by turns at the
end. Two rows are of other commits. RetinaNet is of 4b3edb4, and b7879ee gives
the same digits; at 1d41644, with the same formulas, parameters and operations,
it had 35.9 and 67.5, so that a point here is less than what rounding may do.
RFBNet is of b7879ee, since which it is the network whose figure stands beside
it; the plain one had 67.9 and 92.7. At 4b3edb4 YOLO, YOLOv2, YOLOv3, Faster
R-CNN FPN and R-FCN have the same digits as here, the last four in 1.2, 2.8, 4.5
and 4.4 minutes of nearly quiet cores.

What Cascade R-CNN is for: at an IoU of .5 it finds 98.5, Faster R-CNN 94.4, at
.75 95.7 and 82.3, at .9 79.2 and 13.9. The SVMs of R-CNN are worse than the
softmax that they replace. Mask R-CNN is told by its boxes here; by its masks it
has a COCO AP of 67.5.

The same on photographs, voc_bccd's blood cells (292 to train on, 72 with 945
cells to test), VOC07 AP in percent, seed 0, commit 1d41644, each on one core of
that machine, which had other work as well:

python -m yolo9000.main --config=experiments/detectors.py:photos,row=YOLOv2
  --config.data.root=voc_bccd --config.data.train.main.split=trainval
  --config.run.total_steps=700 --config.run.evaluate_every=350

  row               half way     end  platelets   red  white  processor minutes
  YOLOv2                69.2    74.4       48.5  76.3   98.5                  9
  YOLOv3                73.0    82.7       74.8  76.1   97.3       not measured
  RetinaNet             59.7    72.4       52.2  66.1   98.8                 20
  Faster R-CNN FPN      77.6    83.7       77.0  77.2   97.0                 23

RetinaNet with the default of 1,000 steps has 77.5 (66.6, 67.6, 98.4), in about
28 processor minutes. On both cores of that machine, nearly quiet, RetinaNet has
77.8 (66.9, 67.8, 98.7) after 880 steps, in 13 minutes (commit 592404e), and
YOLOv3 84.5 (81.2, 75.5, 96.8) after 700, in 11 minutes (commit 4e57c4e).

R-CNN and Fast R-CNN look at proposals alone. A table has them by :proposals=P,
where P/main.npz and P/test.npz are, and leaves them out without. Selective
search, which needs scikit-image (pip install -e '.[proposals]'), finds those:

python -m yolo9000.proposals --config=experiments/detectors.py --out=P

That takes 9 minutes; 99.8 % of the objects have a proposal of IoU .7. Images
per second do not count it.

Arguments, separated by commas, as in --config=experiments/detectors.py:seeds=3
  quick      the miniature with few steps, to see that everything works.
  photos     photographs of one's own in --config.data.root, at 320 pixels and a
             quarter of the width, 8,000 pictures seen. Class names are those of
             the data, and so are the priors of YOLOv2 and YOLOv3. The folder is
             in VOC's layout with the splits train and test; for others set
             data.train.main.format and so on, see docs/data.md. Mask R-CNN is
             left out, because VOC's files have no masks.
  pretrained  photographs of one's own as in photos, and the networks of
             torchvision's files for COCO, whole: RetinaNet (v1), Faster R-CNN
             FPN (v1) and SSD (SSD300). Take row= and, of the file as an .npz,
             --config.run.start_from=FILE; docs/darknet.md says how to write it.
             The layers of other classes begin fresh.
  voc, coco  the papers' networks and schedules, see VOC and COCO below, with
             folder=F. F has VOCdevkit with VOC2007 and VOC2012, or coco with
             train2017, val2017 and annotations. The published backbones are
             trained on ImageNet: take row= and --config.run.start_from=FILE,
             see docs/darknet.md. Faster R-CNN holds conv1 and conv2 of VGG-16
             still, --config.optimizer.held="('backbone/layer_0[0-4]',)", and
             R-FCN, RetinaNet and those with a pyramid conv1 and the first stage
             of ResNet, "('backbone/conv1','backbone/layer1_*')". SSD and what
             extends it cut pictures as SSD does, and on VOC learn from
             difficult objects too, as their programs do. Differs: the others
             stretch pictures to a square and augment as YOLOv2.
  alternating  Faster R-CNN alone: both stages trained together, and beside it
             the paper's four steps, a row each; not with coco.
  proposals=P  with the rows R-CNN (not with coco) and Fast R-CNN.
  row=NAME   this row alone.
  seed=N     this seed alone; seeds=N that many, with means and spreads.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from experiments import ablation, base
from experiments import coco as published
from yolo9000 import detectors
from yolo9000.boxes import priors
from yolo9000.data.formats import coco, voc
from yolo9000.detectors import (
  cascade_rcnn,
  dsod,
  dssd,
  fast_rcnn,
  faster_rcnn,
  fssd,
  m2det,
  mask_rcnn,
  rcnn,
  refinedet,
  retinanet,
  rfbnet,
  rfcn,
  ssd,
  yolov2,
  yolov3,
)
from yolo9000.networks import norm
from yolo9000.tables import plan
from yolo9000.tables.plan import row

ARGUMENTS = ("quick", "photos", "pretrained", "voc", "coco", "alternating")
SIDE, WIDTH, STEPS = 192, 0.125, 1000
PHOTO_SIDE, PHOTO_WIDTH = 320, 0.25
# Levels with cells of 8, 16, 32 and 64 pixels; the last of M2Det has two cells
# a side less than the one before it.
DEFAULT_BOXES = {
  "default_boxes.size": SIDE,
  "default_boxes.sides": (29, 54, 86, 125, 169),
  "default_boxes.ratios": ((2,), (2, 3), (2, 3), (2,)),
  "default_boxes.steps": (),
}
NORMALISED = {"network.batch_norm": True, **DEFAULT_BOXES}

# Of few proposals, for few objects.
TWO_STAGES = {
  "network.frozen_norm": False,
  "network.anchor_scale": 6.0,
  "network.deviation": 0.05,
  "train_proposals.before": 500,
  "train_proposals.after": 300,
  "test_proposals.before": 300,
  "test_proposals.after": 100,
  "proposal_loss.samples": 128,
  "loss.samples": 64,
}

# Name of the row, of the detector, what the papers report, and its options
# beside those of the paper.
ROWS: tuple[tuple[str, str, Mapping[str, float], Mapping[str, Any]], ...] = (
  (
    "YOLOv2",
    "yolov2",
    {"COCO AP": 21.6, "images/s": 40},
    {
      "network.priors": (
        *((2.02, 1.15), (1.19, 2.06), (3.07, 1.8)),
        *((1.96, 3.65), (3.96, 3.29)),
      )
    },
  ),
  (
    "YOLOv3",
    "yolov3",
    {"COCO AP": 33.0, "images/s": 19.8},
    {
      "network.priors": (
        *((1.18, 1.69), (1.63, 1.3), (2.27, 1.01)),
        *((1.03, 2.35), (2.12, 2.1), (3.2, 1.52)),
        *((1.6, 3.32), (4.25, 2.64), (2.69, 4.28)),
      )
    },
  ),
  (
    "RetinaNet",
    "retinanet",
    {"COCO AP": 39.1, "images/s": 5.0},
    {
      "network.frozen_norm": False,
      "network.anchor_scale": 3.0,
      "network.deviation": 0.08,
    },
  ),
  (
    "Faster R-CNN FPN",
    "faster_rcnn",
    {"COCO AP": 36.2, "images/s": 7.0},
    TWO_STAGES,
  ),
  (
    "R-FCN",
    "rfcn",
    {"COCO AP": 29.9, "images/s": 9.0},
    {
      "network.backbone": "resnet50",
      "network.frozen_norm": False,
      "network.anchor_scale": 2.0,
      "network.deviation": 0.05,
      "train_proposals.before": 500,
      "test_proposals.before": 300,
      "test_proposals.after": 100,
      "proposal_loss.samples": 128,
      "loss.hard": 64,
    },
  ),
  (
    "Mask R-CNN",
    "mask_rcnn",
    {"COCO AP": 39.8, "images/s": 3.3},
    {**TWO_STAGES, "masks.bins": 7},
  ),
  (
    "Cascade R-CNN",
    "cascade_rcnn",
    {"COCO AP": 42.8, "images/s": 7.1},
    TWO_STAGES,
  ),
  (
    "SSD",
    "ssd",
    {"COCO AP": 28.8, "images/s": 22.0},
    {"network.extras": ssd.EXTRAS_300[:2], **NORMALISED},
  ),
  (
    "DSSD",
    "dssd",
    {"COCO AP": 33.2, "images/s": 5.5},
    {
      "network.backbone": "resnet50",
      "network.extras": ((2, 2), (2, 2)),
      "network.kernels": (3, 3, 3, 3),
      **DEFAULT_BOXES,
    },
  ),
  (
    "FSSD",
    "fssd",
    {"COCO AP": 31.8},
    {
      "network.levels": ((512, 3, 1, 1), *((256, 3, 2, 1),) * 3),
      **NORMALISED,
    },
  ),
  (
    "DSOD",
    "dsod",
    {"COCO AP": 29.3, "images/s": 17.4},
    {"network.levels": (256, 128), **DEFAULT_BOXES},
  ),
  (
    "RFBNet",
    "rfbnet",
    {"COCO AP": 34.4, "images/s": 30.3},
    {"network.kind": "enhanced", "network.extras": (), **NORMALISED},
  ),
  (
    "RefineDet",
    "refinedet",
    {"COCO AP": 33.0, "images/s": 22.3},
    {
      **NORMALISED,
      "default_boxes.sides": (29, 54, 86, 125),
      "default_boxes.ratios": ((2,),) * 4,
    },
  ),
  (
    "M2Det",
    "m2det",
    {"COCO AP": 37.6, "images/s": 18.0},
    {"network.modules": 2, "network.scales": 4, **NORMALISED},
  ),
)

# Of two detectors that look at proposals: as above.
FAST_RCNN = {"network.batch_norm": True, "loss.background": 0.0}
FAST_TOLD = {"COCO AP": 19.7}
RCNN = {
  "network.side": 67,
  "network.context": 5,
  "network.batch_norm": True,
  "loss.samples": 32,
}


# R-CNN's second training, from the first: SVMs in place of the softmax.
SVM = {
  "task.learns": "svm",
  "task.loss.positives": 0.75,  # the truths, and what is near them
  "run.start_from": f"{plan.ROW}R-CNN softmax",
  "optimizer.held": rcnn.HELD,
  "optimizer.weight_decay": 0.0,  # here the SVMs have no penalty
}


class Schedule(NamedTuple):
  """How a paper, or its program, trains.

  Attributes:
    options: of the detector.
    size: side of the pictures in pixels.
    batch: pictures of a step.
    rate: of learning, the first.
    steps: in all.
    drops: steps at which the rate becomes a tenth.
    burn_in: steps in which the rate rises.
    power: of that rise.
    decay: of the weights.
    sizes: of the pictures, if they change while training.
  """

  options: Any
  size: int
  batch: int
  rate: float
  steps: int
  drops: tuple[int, ...]
  burn_in: int = 0
  power: float = 1.0
  decay: float = 5e-4
  sizes: tuple[int, ...] = ()


def in_epochs(
  options: Any,
  size: int,
  batch: int,
  rate: float,
  epochs: int,
  drops: tuple[int, ...],
  burn_in: float,
  *,
  pictures: int,
) -> Schedule:
  """A Schedule whose steps are given as epochs of so many pictures."""

  def steps(count: float) -> int:
    return round(count * pictures / batch)

  at = tuple(map(steps, drops))
  return Schedule(options, size, batch, rate, steps(epochs), at, steps(burn_in))


# Of SSD and what extends it: section 2.2, with the program's hue. Differs: in
# the program saturation has a factor from .5 to 1.5, contrast too, brightness
# moves by up to 32 of 255 levels, and each changes half of the pictures. It
# resizes in one of five ways, drawn anew, and biases learn at twice the rate.
SSD_PICTURES = {
  "data.augment.geometry": "overlap",
  "data.augment.hue": 0.1,
  "data.augment.saturation": 1.5,
  "data.augment.exposure": 1.5,
  "data.augment.min_side": 0.001,  # the program keeps all with an area
}

# By row; those that no paper trains on the set are left out. Faster R-CNN is
# that of VGG-16, which is no row of the miniature: without batch norm it learns
# nothing from scratch. FSSD on VOC begins with a trained SSD300. DSSD is
# trained at once, not in three stages. Of YOLOv2 the 160 epochs are the
# paper's, the burn-in the program's. YOLOv3 ignores by predictions and .7, as
# the program does, which gave the paper's number. RFBNet's 300 epochs on VOC
# are the program's most; its author names 240. On COCO the drops are the
# program's, and the end is chosen. M2Det's is the paper's; the program has
# another, with more steps. RetinaNet's number needs pictures of 640 to 800
# pixels; here all have 800. R-FCN's schedule on COCO is not at hand. Fast
# R-CNN's rate drops after three quarters of its steps, as on VOC 2007.
EVERY_20K = tuple(range(20_000, 100_000, 20_000))
OF_YOLO = {"power": 4.0, "sizes": tuple(range(320, 609, 32))}
# The program scores boxes from .005 up; above .5 is the start of a curve alone.
WEAK = yolov2.Detect(score_threshold=0.005)
YOLOV2_VOC = yolov2.Options(yolov2.Network(priors=priors.VOC_2017), detect=WEAK)
YOLOV2_COCO = yolov2.Options(
  yolov2.Network(priors=priors.COCO_2017), detect=WEAK
)
YOLOV3_COCO = yolov3.Options(
  loss=yolov3.Loss(ignore_iou=0.7, overlap_of="prediction"), detect=WEAK
)
of_voc = partial(in_epochs, pictures=ablation.VOC_PICTURES)
of_coco = partial(in_epochs, pictures=published.PICTURES)
with_pyramid = partial(Schedule, size=800, burn_in=500, decay=1e-4)
RETINANET = retinanet.Options(retinanet.Network("resnet101"))
FASTER_FPN = faster_rcnn.Options(faster_rcnn.Network("resnet101"))
MASK = mask_rcnn.Options(faster_rcnn.Network("resnet101"))
CASCADE = cascade_rcnn.Options(faster_rcnn.Network("resnet101"))
SSD512, RFBNET512 = (
  options._replace(
    default_boxes=options.default_boxes._replace(sides=ssd.COCO_SIDES_512)
  )
  for options in (ssd.SSD512, rfbnet.RFBNET512_E)
)
RCNN_VOC = rcnn.Options(loss=rcnn.Loss(samples=64))  # 128 regions of 2 pictures
# With such a rate what the heads say is normalised, as in the program.
DSOD_VOC = dsod.Options(dsod.Network(head_norm=True))
DSOD_COCO = DSOD_VOC._replace(
  default_boxes=DSOD_VOC.default_boxes._replace(sides=ssd.COCO_SIDES_300)
)
VOC = {
  "R-CNN softmax": Schedule(RCNN_VOC, 500, 2, 1e-3, 100_000, EVERY_20K),
  "Fast R-CNN": Schedule(fast_rcnn.Options(), 608, 2, 1e-3, 60_000, (45_000,)),
  "YOLOv2": of_voc(YOLOV2_VOC, 416, 64, 1e-3, 160, (60, 90), 4)._replace(
    **OF_YOLO
  ),
  "Faster R-CNN": Schedule(
    faster_rcnn.VGG_OPTIONS, 608, 2, 1e-3, 70_000, (50_000,)
  ),
  "R-FCN": Schedule(rfcn.Options(), 608, 2, 1e-3, 110_000, (80_000,)),
  "SSD": Schedule(ssd.SSD300, 300, 32, 1e-3, 120_000, (80_000, 100_000)),
  "DSSD": Schedule(dssd.DSSD321, 321, 32, 1e-3, 80_000, (40_000, 60_000)),
  "FSSD": Schedule(fssd.PUBLISHED300, 300, 32, 5e-4, 80_000, (40_000, 60_000)),
  "DSOD": Schedule(DSOD_VOC, 300, 128, 0.1, 100_000, EVERY_20K),
  "RFBNet": of_voc(rfbnet.RFBNET300, 300, 32, 4e-3, 300, (150, 200, 250), 5),
  "RefineDet": Schedule(
    refinedet.REFINEDET320, 320, 32, 1e-3, 120_000, (80_000, 100_000)
  ),
}
COCO = {
  "Fast R-CNN": Schedule(
    fast_rcnn.Options(), 608, 2, 1e-3, 240_000, (180_000,)
  ),
  "YOLOv2": of_coco(YOLOV2_COCO, 544, 64, 1e-3, 160, (60, 90), 0.5)._replace(
    **OF_YOLO
  ),
  "YOLOv3": Schedule(
    YOLOV3_COCO, 608, 64, 1e-3, 500_200, (400_000, 450_000), 1000
  )._replace(**OF_YOLO),
  "RetinaNet": with_pyramid(
    RETINANET, batch=16, rate=1e-2, steps=135_000, drops=(90_000, 120_000)
  ),
  "Faster R-CNN": Schedule(
    faster_rcnn.VGG_OPTIONS, 608, 2, 1e-3, 490_000, (350_000,)
  ),
  "Faster R-CNN FPN": with_pyramid(
    FASTER_FPN, batch=16, rate=0.02, steps=90_000, drops=(60_000, 80_000)
  ),
  "Mask R-CNN": with_pyramid(
    MASK, batch=16, rate=0.02, steps=160_000, drops=(120_000,)
  ),
  "Cascade R-CNN": with_pyramid(
    CASCADE, batch=8, rate=5e-3, steps=180_000, drops=(120_000,)
  ),
  "SSD": Schedule(SSD512, 512, 32, 1e-3, 400_000, (280_000, 360_000)),
  "DSSD": Schedule(dssd.DSSD513, 513, 32, 1e-3, 150_000, (80_000, 130_000)),
  "FSSD": Schedule(
    fssd.PUBLISHED512, 512, 32, 1e-3, 380_000, (280_000, 320_000, 360_000)
  ),
  "DSOD": Schedule(
    DSOD_COCO, 300, 128, 0.1, 320_000, (80_000, 140_000, 200_000, 260_000)
  ),
  "RFBNet": of_coco(RFBNET512, 512, 32, 4e-3, 150, (90, 120, 140), 5),
  "RefineDet": Schedule(
    refinedet.REFINEDET512, 512, 32, 1e-3, 400_000, (280_000, 360_000)
  ),
  "M2Det": of_coco(m2det.M2DET512, 512, 32, 2e-3, 150, (90, 120), 5),
}


def get_config(argument: str = "") -> ConfigDict:
  """The complete config: the miniature, or as the arguments say."""
  allowed = (*ARGUMENTS, "folder=", "proposals=", *plan.TABLE_ARGUMENTS)
  chosen = plan.arguments(argument, allowed)
  full = {"voc", "coco"} & set(chosen)
  if len(full) > 1 or bool(full) != ("folder" in chosen):
    raise ValueError(
      f"argument {argument!r}: expected voc,folder=F or coco,folder=F, where F "
      f"holds the data set"
    )
  if len({"quick", "photos", "pretrained", *full} & set(chosen)) > 1:
    raise ValueError(
      f"argument {argument!r}: expected one of quick, photos, pretrained, voc "
      f"and coco"
    )
  if "alternating" in chosen and {"coco", "pretrained"} & set(chosen):
    raise ValueError(
      f"argument {argument!r}: the paper trains in four steps on VOC; expected "
      f"alternating alone, with photos, or with voc,folder=F"
    )
  files = Path(chosen["proposals"]).resolve() if "proposals" in chosen else None
  config = base.detector()
  config.name = "_".join(["detectors", *(a for a in ARGUMENTS if a in chosen)])
  config.paper = "the field, on COCO test-dev"
  config.table = "alternatives"
  config.setting = "a miniature on drawn shapes, an eighth of each width"
  config.seeds = (0,)
  config.only_row = ""
  config.speed_rounds = 5
  config.run.update(image_sizes=(SIDE,), total_steps=STEPS)
  config.evaluation.update(image_size=SIDE, metric="COCO AP")
  if full:
    full_scale(config, *full, Path(chosen["folder"]), files)
  elif "photos" in chosen:
    photos(config, files)
  elif "pretrained" in chosen:
    pretrained(config)
  else:
    # Masks of truths have twice the cells of those that are found.
    masks = {"mask_rcnn": {"data.mask_size": 28}}
    config.rows = rows(SIDE, WIDTH, masks, files)
  if "quick" in chosen:
    config.setting = "a trial of a few steps, whose numbers mean nothing"
    config.run.total_steps = 4
    config.data.test.split += "[:32]"
  if "alternating" in chosen:
    config.rows = alternating(config.rows, as_paper="voc" in chosen)
  plan.select(config, chosen)
  return config


def rows(
  side: int, width: float, more: Mapping[str, Any], files: Path | None
) -> tuple:
  """The table in miniature.

  Args:
    side: of the pictures in pixels.
    width: of the networks; 1 is the papers'.
    more: what else changes, by the detector's name.
    files: folder of proposals; without it those that need them are left out.
  """
  yolo = base.detector()
  yolo.task = ablation.yolo().task
  yolo.task.network.update(side=side // 64, width=width)
  made = [
    row("YOLO", None, {"task": yolo.task.to_dict(), "schedule.rate": 1e-3})
  ]
  for name, model, told, changes in ROWS:
    task = narrow(model, changes, side, width)
    made.append(
      row(name, told, {"task": task, **more.get(model, {})}, on="base")
    )
  if files:
    softmax = {"task": narrow("rcnn", RCNN, side, width), **found_in(files)}
    fast = {
      "task": narrow("fast_rcnn", FAST_RCNN, side, width),
      **found_in(files),
    }
    made += [
      row("R-CNN softmax", None, softmax, on="base"),
      row("R-CNN", None, {**SVM, "schedule.rate": 5e-3}),
      row("Fast R-CNN", FAST_TOLD, fast, on="base"),
    ]
  return tuple(made)


def found_in(files: Path) -> dict[str, str]:
  """The options that name a folder's proposals."""
  return {
    "data.train.main.proposals": str(files / "main.npz"),
    "data.test.proposals": str(files / "test.npz"),
  }


def alternating(rows: Sequence[Any], *, as_paper: bool) -> tuple:
  """Faster R-CNN as in rows, and in four steps, each from the one before it.

  Proposals; the detector; both again, while the features that they now share
  are held still.

  Source: Faster R-CNN, section 3.2; numbers of steps and pictures are the
  program's. Differs: the second step goes on from the first one's features
  where the paper's begins as the first did, and its proposals change with them.
  In the first step weight decay shrinks the layers that it does not teach.
  """
  known = [one for one in rows if one[0].startswith("Faster R-CNN")]
  name, _, joint, _ = known[0]
  features = ["backbone/*", "pyramid/*"]
  if dict(joint)["task"]["network"]["backbone"] == faster_rcnn.VGG:
    features = features[:1]
  others = {
    "proposals": ["box_head/*", "predictor/*"],
    "detector": ["proposals/*"],
  }
  found = [known[0]]
  for number in range(4):
    learns = ("proposals", "detector")[number % 2]
    # Held layers need a start point, which the first step may lack.
    held = others[learns] if number > 0 else []
    held = held + (features if number > 1 else [])
    changes = {
      **dict(joint if number == 0 else ()),
      "task.learns": learns,
      "optimizer.held": tuple(held),
    }
    if number > 0:
      changes["run.start_from"] = f"{plan.ROW}{found[-1][0]}"
    if as_paper:
      changes |= {
        "run.batch_size": 1 if learns == "proposals" else 2,
        "run.total_steps": 80_000 if learns == "proposals" else 40_000,
        "schedule.at": (0.75,),
      }
    on = {"on": "base"} if number == 0 else {}
    found.append(row(f"{name} step {number + 1}", None, changes, **on))
  return tuple(found)


def narrow(
  model: str, changes: Mapping[str, Any], side: int, width: float
) -> dict[str, Any]:
  """A config's task of a detector with those options, narrow."""
  config = ConfigDict({"task": detectors.defaults(model)})
  if "norm" in config.task:
    config.task.norm.update(base.norm())
  settings = {
    "detect.score_threshold": 0.005,
    "detect.max_candidates": 100,
    "detect.max_detections": 100,
    **changes,
  }
  if "width" in config.task.get("network", {}):
    settings["network.width"] = width
  if "default_boxes.size" in settings:
    growth = side / SIDE
    settings["default_boxes.size"] = side
    settings["default_boxes.sides"] = tuple(
      growth * length for length in settings["default_boxes.sides"]
    )
  settings = ((f"task.{name}", value) for name, value in settings.items())
  return plan.with_changes(config, settings).task.to_dict()


def photos(config: ConfigDict, files: Path | None) -> None:
  """On a data set of one's own."""
  config.paper = ""
  config.setting = "a quarter of each paper's width"
  config.data.root = ""  # must be given: --config.data.root=FOLDER
  config.data.class_names = ()  # those of the data
  config.data.train.main = base.source("voc", split="train", weight=1.0)
  config.data.test = base.source("voc", split="test")
  config.data.max_objects = 60
  config.data.augment.update(
    jitter=0.15, hue=0.02, saturation=1.3, exposure=1.3
  )
  config.run.image_sizes = (PHOTO_SIDE,)
  config.evaluation.update(image_size=PHOTO_SIDE, metric="VOC07 AP")
  changes = {"yolov2": {"data.priors": 5}, "yolov3": {"data.priors": 9}}
  config.rows = tuple(
    one
    for one in rows(PHOTO_SIDE, PHOTO_WIDTH, changes, files)
    if one[0] != "Mask R-CNN"  # VOC's files have no masks
  )


# Of torchvision's files for COCO: options, side of the pictures, layers that
# are held still, by torchvision's default the first two stages of ResNet and
# the first of VGG-16. Its batch norm was trained without an epsilon.
STEM = ("backbone/conv1", "backbone/layer1_*")
IN_TORCHVISION = {
  "RetinaNet": (
    "retinanet",
    retinanet.Options(
      retinanet.Network(beyond="p5"), norm=norm.Norm(epsilon=0.0)
    ),
    608,
    STEM,
  ),
  "Faster R-CNN FPN": (
    "faster_rcnn",
    faster_rcnn.Options(norm=norm.Norm(epsilon=0.0)),
    608,
    STEM,
  ),
  "SSD": (
    "ssd",
    ssd.SSD300._replace(
      default_boxes=ssd.SSD300.default_boxes._replace(
        sides=ssd.COCO_SIDES_300, clip=True
      ),
      loss=ssd.Loss(bipartite=False),
    ),
    300,
    ("trunk/layer_0[01]",),
  ),
}


def pretrained(config: ConfigDict) -> None:
  """On a data set of one's own, from what torchvision trained on COCO."""
  photos(config, None)
  config.setting = "the networks of torchvision's files for COCO"
  config.evaluation.metric = "COCO AP"
  config.schedule.update(rate=1e-4, burn_in_steps=100)
  config.rows = tuple(
    row(
      name,
      None,
      {
        "task": detectors.defaults(model, options),
        "optimizer.held": held,
        "run.image_sizes": (size,),
        "evaluation.image_size": size,
      },
      on="base",
    )
    for name, (model, options, size, held) in IN_TORCHVISION.items()
  )


def full_scale(
  config: ConfigDict, name: str, folder: Path, files: Path | None
) -> None:
  """The papers' networks, at the size and with the schedule of VOC or COCO."""
  base.full_scale(config)
  config.setting = ""
  if name == "voc":
    config.paper = "the field, on VOC 2007 test"
    schedules = VOC
    train, test = "VOC2007/trainval+VOC2012/trainval", "VOC2007/test"
    root, names = "VOCdevkit", voc.CLASS_NAMES
    config.run.epoch_images = ablation.VOC_PICTURES
    config.evaluation.metric = "VOC07 AP"
  else:
    schedules = COCO
    train, test = "train2017", "val2017"
    root, names = "coco", coco.CLASS_NAMES
    config.data.max_objects = 100
    config.run.epoch_images = published.PICTURES
  config.data.root, config.data.class_names = str(folder / root), names
  config.data.train.main = base.source(name, split=train, weight=1.0)
  config.data.test = base.source(name, split=test)
  config.data.augment.update(jitter=0.2)
  config.schedule.name = "steps"
  told = {of_row: figures for of_row, _, figures, _ in ROWS}
  models = {of_row: model for of_row, model, *_ in ROWS}
  told["Faster R-CNN"] = {"COCO AP": 21.9, "images/s": 7.0}
  # With ResNet-101 as here; the miniature's figure is of ResNeXt-101.
  told["Mask R-CNN"] = {"COCO AP": 38.2, "images/s": 5.1}
  told["Fast R-CNN"] = FAST_TOLD
  models["Faster R-CNN"] = "faster_rcnn"
  models |= {"R-CNN softmax": "rcnn", "Fast R-CNN": "fast_rcnn"}
  made = []
  for one, schedule in schedules.items():
    changes = in_full(models[one], schedule)
    if models[one] in ("rcnn", "fast_rcnn"):
      if files is None:
        continue
      changes |= found_in(files)
    if name == "voc" and "default_boxes" in changes["task"]:
      changes["data.train_on_difficult"] = True
    figures = told[one] if name == "coco" else None
    made.append(row(one, figures, changes, on="base"))
    if models[one] == "rcnn":
      made.append(row("R-CNN", None, SVM))
  config.rows = tuple(made)


def in_full(model: str, schedule: Schedule) -> dict[str, Any]:
  """The options of a row that trains as its paper does."""
  task = detectors.defaults(model, schedule.options)
  task["network"]["dtype"] = "bfloat16"  # ours
  masks = {"data.mask_size": 56} if "masks" in task else {}
  cut = SSD_PICTURES if "default_boxes" in task else {}
  return {
    "task": task,
    **masks,
    **cut,
    "schedule.rate": schedule.rate,
    "schedule.at": tuple(step / schedule.steps for step in schedule.drops),
    "schedule.factors": (0.1,) * len(schedule.drops),
    "schedule.burn_in_steps": schedule.burn_in,
    "schedule.burn_in_power": schedule.power,
    "optimizer.weight_decay": schedule.decay,
    "run.image_sizes": schedule.sizes or (schedule.size,),
    "run.batch_size": schedule.batch,
    "run.total_steps": schedule.steps,
    "evaluation.image_size": schedule.size,
  }
