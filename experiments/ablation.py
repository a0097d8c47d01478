"""The paper's Table 2, from YOLO to YOLOv2, in miniature.

python -m yolo9000.main --config=experiments/ablation.py

On 2 cores (x86-64, no GPU) 12.8 minutes from a fresh clone, with the
installation, at commit 1161c01. VOC07 AP in percent on 400 drawn pictures, mean
and standard deviation of seeds 0, 1, 2 (:seeds=3), commit 8ef61ce; seed 0 is
the same at 1161c01:

  row                  seeds           ours        paper  step, p of its t-test
  YOLO                  0.9  0.7  2.5   1.4 +-1.0  63.4
  batch norm           20.5 16.3 19.2  18.7 +-2.1  65.8  +17.3  .005
  hi-res classifier    22.8 20.7 18.6  20.7 +-2.1  69.5   +2.0  .29
  anchor boxes         19.3 36.7 33.4  29.8 +-9.3  69.2   +9.1  .28
  new network          39.3 42.3 42.8  41.5 +-1.9  69.6  +11.7  .11
  priors and location  62.0 63.6 59.9  61.8 +-1.8  74.4  +20.3  .007
  passthrough          89.5 89.0 89.3  89.2 +-0.3  75.4  +27.4  .002
  multi-scale          89.2 87.8 87.6  88.2 +-0.9  76.8   -1.0  .13
  hi-res detector      89.7 89.9 89.0  89.5 +-0.5  78.6   +1.3  .10

A classifier of drawn shapes and 12,000 pictures are not ImageNet and 160 epochs
of VOC, so what makes training quick weighs more than in the paper. Where a step
goes the other way, or is another one altogether, REMARKS say why; they stand in
the report.

Arguments, separated by commas, as in --config=experiments/ablation.py:seeds=3
  quick      few steps, to see that everything works.
  voc        the paper's setting: ImageNet, then VOC 2007 + 2012.
  folder=F   where :voc finds imagenet/train, imagenet/val and VOCdevkit.
  row=NAME   this row alone, with the stages that it stands on.
  stage=NAME every row up to this stage, one of config.stages.
  seed=N     this seed alone; seeds=N that many, with means and spreads.
"""

from collections.abc import Iterable
from pathlib import Path

from ml_collections import ConfigDict

from yolo9000.boxes import priors
from yolo9000.data.formats import shapes, voc
from yolo9000.tables import plan

ARGUMENTS = ("quick", "voc")
# Of the run in the docstring; the report shows them.
REMARKS = {
  "batch norm": (
    "Without it nothing is learned: the classifier of the first row has "
    "19.8 % of five classes right, at rate 5e-3 and at 1e-3 (seed 0), so "
    "this step is that of training at all."
  ),
  "hi-res classifier": (
    "It shows in the classes: of the objects found, 91 % have the right "
    "one, in the row above 67 %. YOLO still finds few, 41 %."
  ),
  "anchor boxes": (
    "The other way than in the paper, and by far in recall: 41 to 80 % (81 "
    "to 88 in the paper). The paper's -0.3 AP is of a YOLO that is trained "
    "long; 12,000 pictures teach its nine cells, which have no weights in "
    "common, half of what they teach one set of weights. It is the most "
    "unsteady row: 19 to 37 over seeds, where the next one has 39 to 43."
  ),
  "passthrough": (
    "Objects here are one to four of five cells large: the finer grid "
    "raises the recall of small ones from 69 to 93 %, and the overlap from "
    "67 to 74 %."
  ),
  "multi-scale": (
    "The other way than in the paper at this size: 12,000 pictures are "
    "shared by four sizes, and it pays at the largest alone. At 128, 160 "
    "and 224 pixels its weights give 74.3, 88.2 and 89.5, those of the row "
    "above 76.7, 89.2 and 86.5 (means of three seeds)."
  ),
}
STEPS = 1500  # of a detector, 8 pictures each
OTHERS = ("folder=", *plan.TABLE_ARGUMENTS)  # with values


def get_config(argument: str = "") -> ConfigDict:
  """The complete config: the miniature, or as the arguments say."""
  arguments = plan.arguments(argument, (*ARGUMENTS, *OTHERS))
  config = before_choosing(arguments)
  plan.select(config, arguments)
  return config


def before_choosing(arguments: dict[str, str]) -> ConfigDict:
  """With all rows; the experiments of other tables begin with this."""
  config = miniature()
  if "quick" in arguments:
    quick(config)
  if "voc" in arguments:
    full_scale(config, arguments.get("folder", "."))
  return config


def miniature() -> ConfigDict:
  """Drawn pictures, an eighth of the width, 160 pixels for the paper's 416."""
  config = ConfigDict()
  config.name = "ablation"
  config.paper = "Table 2, VOC 2007 test"  # where its numbers are from
  config.remarks = REMARKS
  config.seeds = (0,)
  config.only_row = config.only_stage = ""  # all
  # One after the other; of no steps means left out. A stage starts from the
  # weights of the one before it.
  config.stages = ("classifier", "hires", "yolo", "detector")
  config.classifier = classifier(size=64, steps=1000, rate=5e-3)
  config.hires = classifier(size=160, steps=0, rate=2e-3)
  config.yolo = detector(yolo_task(), size=192, steps=STEPS, rate=1e-3)
  config.detector = detector(yolov2_task(), size=160, steps=0, rate=2e-3)
  # python -m yolo9000.priors --config=experiments/ablation.py
  clusters = (
    (1.68, 0.96),
    (0.99, 1.72),
    (2.56, 1.5),
    (1.63, 3.04),
    (3.3, 2.74),
  )
  config.rows = rows(
    hires=150,
    steps=STEPS,
    clusters=clusters,
    sizes=(128, 160, 192, 224),  # the paper's 320 to 608
    largest=224,
  )
  return config


def rows(
  *,
  hires: int,
  steps: int,
  clusters: Iterable,
  sizes: tuple[int, ...],
  largest: int,
) -> tuple:
  """Table 2: name, the paper's VOC07 AP, what is added to the row above."""
  norm = (
    ("classifier.task.batch_norm", True),
    ("hires.task.batch_norm", True),
    ("yolo.task.batch_norm", True),
    ("yolo.task.dropout", 0.0),
  )
  convolutional = (
    ("yolo.run.total_steps", 0),
    ("detector.run.total_steps", steps),
  )
  network = tuple(
    (f"{stage}.task.network", "darknet19")
    for stage in ("classifier", "hires", "detector")
  )
  boxes = (
    ("detector.task.priors", clusters),
    ("detector.task.location", "direct"),
  )
  return (
    ("YOLO", 63.4, ()),
    ("batch norm", 65.8, norm),
    ("hi-res classifier", 69.5, (("hires.run.total_steps", hires),)),
    ("anchor boxes", 69.2, convolutional),
    ("new network", 69.6, network),
    ("priors and location", 74.4, boxes),
    ("passthrough", 75.4, (("detector.task.passthrough", "paper"),)),
    ("multi-scale", 76.8, (("detector.run.image_sizes", sizes),)),
    ("hi-res detector", 78.6, (("detector.evaluation.image_size", largest),)),
  )


def data(split: str, test: str, **options) -> dict:
  """Where pictures come from and what happens to them."""
  outlines = tuple((name, name.split()[1]) for name in shapes.CLASS_NAMES)
  source = dict(format="shapes", root="", class_names=(), map=outlines)
  source["outside"] = False
  return dict(
    root="",  # the roots of the data sets begin here
    train=dict(main=dict(source, split=split, weight=1.0)),
    test=dict(source, split=test),
    class_names=tuple(shapes.OUTLINES),
    train_on_difficult=False,
    hue=0.1,
    saturation=1.5,
    exposure=1.5,
    flip=True,
    broken_share=0.0,  # of pictures that cannot be read; 0: they are errors
    num_threads=2,
    num_processes=0,
    **options,
  )


def training(
  *, size: int, test_size: int, steps: int, batch: int, rate: float
) -> dict:
  """Optimizer, schedule, run and evaluation of a stage."""
  return dict(
    optimizer=dict(
      name="adamw",
      momentum=0.9,
      weight_decay=5e-4,
      clip_norm=10.0,
      average=0.99,  # of the weights that are evaluated; 0 is off
    ),
    schedule=dict(
      name="cosine",
      rate=rate,
      burn_in_steps=100,
      burn_in_power=1.0,
      at=(),
      factors=(),
      power=4.0,
    ),
    run=dict(
      seed=0,
      start_from="",  # a run's folder or a .weights file, see model.read_start
      start_cfg="",
      total_steps=steps,
      batch_size=batch,
      image_sizes=(size,),
      resize_every=10,
      epoch_images=0,  # what --dry-run calls an epoch; 0: nothing
      subdivisions=1,  # of a batch, see train.train_step
      spmd="pmap",
      log_every=50,
      checkpoint_every=500,
      evaluate_every=0,
    ),
    evaluation=dict(classes=(), image_size=test_size, batch_size=16),
  )


def network() -> dict:
  """What all three tasks have."""
  return dict(
    width=0.125,
    dtype="float32",
    norm_momentum=0.95,
    norm_epsilon=1e-5,
    norm_axis="",  # each device alone; "data" is across devices
    program_norm=False,
  )


def classifier(*, size: int, steps: int, rate: float) -> ConfigDict:
  """Pictures of one object each."""
  pictures = data(
    "labels",
    "labels_test",
    max_objects=0,
    short_side=(1.0, 8 / 7),
    angle=7.0,  # degrees
    aspect=1.0,
    border="black",
    resize="centre_crop",
  )
  task = dict(
    network(),
    model="classifier",
    network="yolov1",
    batch_norm=False,
    class_error="softmax",
    tree="",
  )
  run = training(size=size, test_size=size, steps=steps, batch=32, rate=rate)
  return ConfigDict(dict(run, data=pictures, task=task))


def detector(task: dict, *, size: int, steps: int, rate: float) -> ConfigDict:
  """Pictures of two to seven objects."""
  pictures = data(
    "boxes[:2000]",
    "boxes_test",
    max_objects=30,
    geometry="crop",
    jitter=0.1,
    min_side=0.005,
    resize="stretch",
  )
  run = training(size=size, test_size=size, steps=steps, batch=8, rate=rate)
  return ConfigDict(dict(run, data=pictures, task=task))


def detections() -> dict:
  """From what a network says to its score."""
  return dict(
    rescore=True,
    iou_threshold=0.45,
    score_threshold=0.005,
    max_candidates=300,
    max_detections=100,
    metric="VOC07 AP",
    groups={},
  )


def yolo_task() -> dict:
  """YOLO, with the head of the program; :voc has that of the paper."""
  return dict(
    network(),
    **detections(),
    model="yolov1",
    head="local",
    batch_norm=False,
    dropout=0.5,
    num_boxes=2,
    side=3,
    square_root=True,
    exclusive=False,
    weights=dict(coord=5.0, objectness=1.0, background=0.5, label=1.0),
    by_size=False,
    clip_gradient=0.0,
  )


def yolov2_task() -> dict:
  """YOLO's network with anchor boxes, which rows turn into YOLOv2."""
  return dict(
    network(),
    **detections(),
    model="yolov2",
    network="yolov1",
    priors=priors.hand_picked(cells=5),
    location="offset",
    passthrough="none",
    program_reorg=False,
    class_error="softmax",
    tree="",  # a .tree file whose nodes are the classes
    weights=dict(coord=1.0, objectness=5.0, background=1.0, label=1.0),
    ignore_iou=0.6,
    small_box_weight=True,
    prior_pull=0.01,
    prior_pull_images=1600,
    match_predicted_shape=False,
    slot_rule="none",  # there are no pictures with a label alone
    objectness_rule="paper",
    label_warm_up_images=0,
    class_agnostic_nms=False,
    max_cells=0,
  )


def quick(config: ConfigDict) -> None:
  """The same rows, minutes in all; the numbers mean nothing."""
  config.name = "ablation_quick"
  config.remarks = ConfigDict()
  for name in config.stages:
    stage = config[name]
    size = 64 if name == "yolo" else 96
    stage.task.width = 0.0625
    stage.run.update(image_sizes=(size,), resize_every=2)
    stage.evaluation.image_size = size
    stage.data.test.split += "[:32]"
  config.classifier.run.total_steps = config.yolo.run.total_steps = 8
  config.yolo.task.side = 1
  clusters = ((0.4, 0.5), (0.9, 1.2))
  sizes = dict(sizes=(64, 96), largest=128)
  config.rows = rows(hires=4, steps=8, clusters=clusters, **sizes)


IMAGENET, CLASSIFIER_BATCH = 1_281_167, 128
VOC_PICTURES, BATCH = 16_551, 64  # 2007 and 2012 trainval


def full_scale(config: ConfigDict, folder: str) -> None:
  """The paper: ImageNet, then VOC 2007 + 2012 trainval, tested on VOC 2007.

  Not known to work: the first row, without batch norm at the rate of a network
  with it; YOLO's paper does not say how its classifier was trained.

  Below folder are imagenet/train and imagenet/val, with a folder for each of
  1000 classes in both, and VOCdevkit, which holds VOC2007 and VOC2012.
  """
  config.name = "ablation_voc"
  config.remarks = ConfigDict()
  train = Path(folder) / "imagenet" / "train"
  if train.is_dir():
    classes = tuple(sorted(p.name for p in train.iterdir() if p.is_dir()))
  else:  # enough for --dry-run
    classes = tuple(f"class {n}" for n in range(1000))
  for name in config.stages:
    stage = config[name]
    stage.task.update(
      width=1.0,
      dtype="bfloat16",  # ours; the program computes in float32
      norm_momentum=0.99,  # as in the program
    )
    stage.data.num_processes = 8
    stage.optimizer.update(name="sgd", average=0.0, clip_norm=0.0)
    stage.run.update(log_every=100, checkpoint_every=5000)
  # The paper's section 3: 160 epochs at 224, rate .1, power 4; then 10 at 448.
  for stage, epochs in ((config.classifier, 160), (config.hires, 10)):
    main = dict(format="folders", root="train", split="", map=())
    stage.data.train.main.update(main)
    stage.data.test.update(dict(main, root="val"))
    stage.data.update(
      root=str(train.parent),
      class_names=classes,
      # darknet19.cfg and, for 448, darknet19_448.cfg.
      short_side=(0.5, 1.75) if epochs == 160 else (1.0, 8 / 7),
      aspect=0.75,
      hue=0.1,
      saturation=0.75,
      exposure=0.75,
    )
    stage.run.update(
      batch_size=CLASSIFIER_BATCH,
      epoch_images=IMAGENET,
      image_sizes=(224 if epochs == 160 else 448,),
    )
    stage.schedule.update(
      name="polynomial", rate=0.1 if epochs == 160 else 1e-3, burn_in_steps=0
    )
    stage.evaluation.update(
      image_size=stage.run.image_sizes[0], batch_size=CLASSIFIER_BATCH
    )
  ten_epochs = 10 * IMAGENET // CLASSIFIER_BATCH
  config.classifier.run.total_steps = 160 * IMAGENET // CLASSIFIER_BATCH
  for stage in (config.yolo, config.detector):
    split = "VOC2007/trainval+VOC2012/trainval"
    stage.data.train.main.update(format="voc", split=split, map=())
    stage.data.test.update(format="voc", split="VOC2007/test", map=())
    stage.data.update(
      root=str(Path(folder) / "VOCdevkit"),
      class_names=voc.CLASS_NAMES,
      jitter=0.2,  # YOLO's paper, section 2.2, and yolo-voc.cfg
      hue=0.1,  # yolo-voc.cfg
      saturation=1.5,  # both
      exposure=1.5,  # both
    )
    stage.run.update(batch_size=BATCH, epoch_images=VOC_PICTURES)
    stage.evaluation.batch_size = BATCH
  # YOLO's paper, section 2.2: 135 epochs, 1e-2, /10 after 75 and 105; "for the
  # first epochs we slowly raise the rate", for which 1000 steps are ours.
  config.yolo.schedule.update(
    name="steps",
    rate=1e-2,
    burn_in_steps=1000,
    burn_in_power=1.0,
    at=(75 / 135, 105 / 135),
    factors=(0.1, 0.1),
  )
  config.yolo.task.update(head="connected", side=7)
  config.yolo.run.update(
    image_sizes=(448,), total_steps=135 * VOC_PICTURES // BATCH
  )
  config.yolo.evaluation.image_size = 448
  # The paper, section 3: 160 epochs, 1e-3, /10 at 60 and 90. The burn-in is the
  # later program's.
  config.detector.schedule.update(
    name="steps",
    rate=1e-3,
    burn_in_steps=1000,
    burn_in_power=4.0,
    at=(60 / 160, 90 / 160),
    factors=(0.1, 0.1),
  )
  config.detector.task.update(
    priors=priors.hand_picked(cells=13),
    small_box_weight=False,  # January 2017
    prior_pull_images=12_800,  # the program
  )
  config.detector.run.image_sizes = (416,)
  config.detector.evaluation.image_size = 416
  config.rows = rows(
    hires=ten_epochs,
    steps=160 * VOC_PICTURES // BATCH,
    clusters=priors.VOC_2017,
    sizes=tuple(range(320, 609, 32)),
    largest=544,
  )
