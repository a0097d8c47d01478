"""The paper's Table 2, the rows that YOLOv2 itself has, in miniature.

python -m yolo9000.main --config=experiments/ablation.py

On 2 cores (x86-64, no GPU): 9.7 minutes in all, from a fresh clone, with the
installation, while other jobs ran beside it. VOC07 AP in percent on 400 drawn
pictures, seed 0, commit bb2540e:

  row                  ours   paper   minutes of training
  priors and location  27.0    74.4   3.1
  passthrough          63.0    75.4   2.5
  multi-scale          61.0    76.8   2.8
  hi-res detector      70.5    78.6   none: the row above, at 256 pixels

Another order of rounding moves them by two points: before convolutions became
matrix products on CPU (commit df70242) they were 29.6, 63.9, 59.2, 68.3.

Most objects here are one to four cells large, so where in its cell an object
lies decides its AP, and the passthrough's finer grid is worth 36 points instead
of the paper's one. In 19,200 pictures multi-scale training pays at the largest
size alone: at 128, 192 and 256 pixels its weights give 39.0, 61.0 and 70.5,
those of the row before it 40.5, 63.0 and 68.3.

Arguments, as in --config=experiments/ablation.py:quick
  quick  the same with fewer steps, to see that everything works.
  voc    the paper's setting at full scale.
"""

from ml_collections import ConfigDict

from yolo9000 import priors
from yolo9000.data import shapes, voc

ARGUMENTS = ("quick", "voc")


def get_config(argument: str = "") -> ConfigDict:
  """The complete config: the miniature, or one of ARGUMENTS."""
  if argument not in ("", *ARGUMENTS):
    raise ValueError(
      f"argument {argument!r} is unknown; there are {', '.join(ARGUMENTS)}"
    )
  config = miniature()
  if argument == "quick":
    quick(config)
  elif argument == "voc":
    full_scale(config)
  return config


def miniature() -> ConfigDict:
  """Drawn pictures, an eighth of the width, 192 pixels for the paper's 416."""
  config = ConfigDict()
  config.name = "ablation"
  source = dict(format="shapes", root="", class_names=(), map=(), outside=False)
  config.data = dict(
    root="",  # the roots of the data sets begin here
    train=dict(main=dict(source, split="train", weight=1.0)),
    test=dict(source, split="test"),
    class_names=shapes.CLASS_NAMES,
    max_objects=30,
    train_on_difficult=False,
    geometry="crop",
    jitter=0.1,
    hue=0.02,  # the classes of shapes are told apart by hue
    saturation=1.2,
    exposure=1.2,
    flip=True,
    min_side=0.005,
    resize="stretch",
    broken_share=0.0,  # of pictures that cannot be read; 0: they are errors
    num_threads=2,
    num_processes=0,
  )
  config.task = dict(
    model="yolov2",
    # python -m yolo9000.priors --config=experiments/ablation.py
    priors=(
      (0.82, 1.38),
      (1.49, 0.84),
      (1.43, 2.55),
      (2.68, 1.49),
      (3.28, 3.43),
    ),
    passthrough="none",
    program_reorg=False,
    width=0.125,
    dtype="float32",
    norm_momentum=0.95,
    norm_epsilon=1e-5,
    norm_axis="",  # each device alone; "data" is across devices
    program_norm=False,
    class_error="softmax",
    tree="",  # a .tree file whose nodes are the classes
    weights=dict(coord=1.0, objectness=5.0, background=1.0, label=1.0),
    ignore_iou=0.6,
    small_box_weight=True,
    prior_pull=0.01,
    prior_pull_images=1600,
    rescore=True,
    match_predicted_shape=False,
    slot_rule="none",  # there are no pictures with a label alone
    objectness_rule="paper",
    label_warm_up_images=0,
    class_agnostic_nms=False,
    iou_threshold=0.45,
    score_threshold=0.005,
    max_candidates=300,
    max_detections=100,
    max_cells=0,
    metric="VOC07 AP",
    groups={},
  )
  config.optimizer = dict(
    name="adamw",
    momentum=0.9,
    weight_decay=5e-4,
    clip_norm=0.0,
    average=0.99,  # of the weights that are evaluated; 0 is off
  )
  config.schedule = dict(
    name="cosine",
    rate=1.2e-2,
    burn_in_steps=100,
    burn_in_power=1.0,
    at=(),
    factors=(),
    power=4.0,
  )
  config.run = dict(
    seed=0,
    start_from="",  # a run's folder or a .weights file, see model.read_start
    start_cfg="",
    total_steps=2400,
    batch_size=8,
    image_sizes=(192,),
    resize_every=10,
    spmd="pmap",
    log_every=50,
    checkpoint_every=500,
    evaluate_every=0,
  )
  config.evaluation = dict(classes=(), image_size=192, batch_size=16)
  config.paper = "Table 2, VOC 2007 test"  # where its numbers are from
  # name, the paper's VOC07 AP, what is added to the row above.
  config.rows = (
    ("priors and location", 74.4, ()),
    ("passthrough", 75.4, (("task.passthrough", "paper"),)),
    ("multi-scale", 76.8, (("run.image_sizes", (128, 160, 192, 224, 256)),)),
    ("hi-res detector", 78.6, (("evaluation.image_size", 256),)),
  )
  return config


def quick(config: ConfigDict) -> None:
  """The same rows, a minute in all; the numbers mean nothing."""
  config.name = "ablation_quick"
  config.data.train.main.split = "train[:64]"
  config.data.test.split = "test[:32]"
  config.task.width = 0.0625
  config.run.update(total_steps=20, image_sizes=(64,), resize_every=2)
  config.evaluation.image_size = 64
  config.rows = (
    *config.rows[:2],
    ("multi-scale", 76.8, (("run.image_sizes", (64, 96)),)),
    ("hi-res detector", 78.6, (("evaluation.image_size", 96),)),
  )


def full_scale(config: ConfigDict) -> None:
  """Section 3 of the paper: 160 epochs of VOC 2007 + 2012 trainval.

  --config.data.root=VOCdevkit, which holds VOC2007 and VOC2012. Not as in the
  paper: the detector starts from random weights, not from ImageNet's, so its
  numbers are out of reach; and the first 1000 steps burn in, as in the later
  program.
  """
  config.name = "ablation_voc"
  pictures, epochs, batch = 16551, 160, 64
  split = "VOC2007/trainval+VOC2012/trainval"
  config.data.train.main.update(format="voc", split=split)
  config.data.test.update(format="voc", split="VOC2007/test")
  config.data.update(
    root="VOCdevkit",
    class_names=voc.CLASS_NAMES,
    jitter=0.2,
    hue=0.1,
    saturation=1.5,
    exposure=1.5,
    num_threads=16,
  )
  config.task.update(
    priors=priors.VOC_2017,
    width=1.0,
    dtype="bfloat16",
    norm_momentum=0.99,
    small_box_weight=False,
    prior_pull_images=12800,
  )
  config.optimizer.update(name="sgd", average=0.0)
  config.schedule.update(
    name="steps",
    rate=1e-3,
    burn_in_steps=1000,
    burn_in_power=4.0,
    at=(60 / epochs, 90 / epochs),
    factors=(0.1, 0.1),
  )
  steps = epochs * pictures // batch
  config.run.update(
    total_steps=steps,
    batch_size=batch,
    image_sizes=(416,),
    checkpoint_every=1000,
    evaluate_every=steps // 16,
  )
  config.evaluation.update(image_size=416, batch_size=64)
  config.rows = (
    *config.rows[:2],
    ("multi-scale", 76.8, (("run.image_sizes", tuple(range(320, 609, 32))),)),
    ("hi-res detector", 78.6, (("evaluation.image_size", 544),)),
  )
