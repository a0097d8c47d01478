"""One complete detector, one complete classifier, and what experiments share.

detector() is YOLOv2 and classifier() is Darknet-19, both in miniature: drawn
pictures, an eighth of the paper's width. Every other file of this folder begins
with one of them and says what it changes. Nothing runs this file itself.

Each option is explained where it is defined: `task` by Options and its groups
in yolo9000/detectors/NAME.py, `data.augment` in yolo9000/data/augment.py,
`evaluation` in yolo9000/scoring/, `optimizer` and `schedule` in
yolo9000/training/optimizer.py. On the command line an option has the name that
it has here: --config.task.network.width=0.25.
"""

from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from yolo9000.data.formats import shapes
from yolo9000.networks.rows import Conv, layer_name
from yolo9000.networks.tiny import TINY
from yolo9000.tables import plan

OUTLINES = tuple(shapes.OUTLINES)  # disc, ring, box, triangle, cross
# A map of class names: "red disc" is a disc.
TO_OUTLINES = tuple((name, name.split()[1]) for name in shapes.CLASS_NAMES)
IMAGENET = 1_281_167  # pictures


def detector(
  class_names: Sequence[str] = OUTLINES, tree: str | Sequence[int] = ""
) -> ConfigDict:
  """YOLOv2, on pictures of two to seven drawn objects."""
  config = training(
    size=160, batch_size=8, total_steps=1500, rate=2e-3, metric="VOC07 AP"
  )
  config.data = dict(
    root="",  # in front of the data sets' own roots
    train=dict(
      main=source("shapes", split="boxes[:2000]", map=TO_OUTLINES, weight=1.0),
    ),
    test=source("shapes", split="boxes_test", map=TO_OUTLINES),
    # (): the nodes of the file data.tree, or the training data's own classes.
    class_names=class_names,
    tree=tree,  # a .tree file, or the number of each class's parent; "": none
    priors=0,  # so many by k-means on the training data, not the network's
    max_objects=30,  # of a picture
    mask_size=0,  # side of the truths' masks, in cells; 0: none are read
    train_on_difficult=False,
    augment=dict(
      kind="detection",
      geometry="crop",
      jitter=0.1,
      hue=0.1,
      saturation=1.5,
      exposure=1.5,
      flip=True,
      min_side=0.005,
    ),
    resize="stretch",
    broken_share=0.0,  # of pictures that cannot be read; 0: they are errors
    num_threads=2,
    num_processes=0,
  )
  config.task = dict(
    model="yolov2",
    network=dict(
      backbone="darknet19",
      passthrough="paper",
      program_reorg=False,
      # python -m yolo9000.priors --config=experiments/ablation.py
      priors=(
        (1.68, 0.96),
        (0.99, 1.72),
        (2.56, 1.5),
        (1.63, 3.04),
        (3.3, 2.74),
      ),
      location="direct",
      classes="softmax",
      width=0.125,
      dtype="float32",
    ),
    norm=norm(),
    loss=dict(
      weights=dict(coord=1.0, objectness=5.0, background=1.0, label=1.0),
      ignore_iou=0.6,
      small_box_weight=True,
      prior_pull=0.01,
      prior_pull_images=1600,
      rescore=True,
      match_predicted_shape=False,
    ),
    detect=dict(
      iou_threshold=0.45,
      score_threshold=0.005,
      max_candidates=300,
      max_detections=100,
      class_agnostic=False,
      classes=(),  # those that can be answers; (): all
    ),
  )
  return config


def classifier(
  class_names: Sequence[str] = OUTLINES, tree: str | Sequence[int] = ""
) -> ConfigDict:
  """Darknet-19, on pictures of one drawn object each."""
  config = training(
    size=64, batch_size=32, total_steps=1000, rate=5e-3, metric="top-1"
  )
  config.data = dict(
    root="",
    train=dict(
      main=source("shapes", split="labels", map=TO_OUTLINES, weight=1.0),
    ),
    test=source("shapes", split="labels_test", map=TO_OUTLINES),
    class_names=class_names,
    tree=tree,
    priors=0,
    max_objects=0,
    mask_size=0,
    train_on_difficult=False,
    augment=dict(
      kind="classification",
      short_side=(1.0, 8 / 7),
      angle=7.0,  # degrees
      aspect=1.0,
      border="black",
      hue=0.1,
      saturation=1.5,
      exposure=1.5,
      flip=True,
    ),
    resize="centre_crop",
    broken_share=0.0,
    num_threads=2,
    num_processes=0,
  )
  config.task = dict(
    model="classifier",
    network=dict(
      backbone="darknet19",
      batch_norm=True,
      classes="softmax",
      width=0.125,
      dtype="float32",
    ),
    norm=norm(),
    detect=dict(classes=()),
  )
  return config


def norm() -> dict[str, Any]:
  """Batch norm, as all networks of the miniatures have it."""
  return dict(
    momentum=0.95,
    epsilon=1e-5,
    axis="",  # each device alone; "data": across devices
    program=False,
  )


def training(
  *, size: int, batch_size: int, total_steps: int, rate: float, metric: str
) -> ConfigDict:
  """The sections that do not depend on the network."""
  return ConfigDict(
    dict(
      optimizer=dict(
        name="adamw",
        momentum=0.9,
        weight_decay=5e-4,
        clip_norm=10.0,  # 0: off
        average=0.99,  # of the weights that are evaluated; 0: off
        held=(),  # layers of the start point that do not learn: ("layer_0*",)
      ),
      schedule=dict(
        name="cosine",
        rate=rate,
        burn_in_steps=100,
        burn_in_power=1.0,
        at=(),  # "steps": parts of the training, and there the factors
        factors=(),
        power=4.0,  # "polynomial"
      ),
      run=dict(
        seed=0,
        start_from="",  # a run's folder, a .weights file or an .npz
        start_cfg="",  # of that .weights file; see training/start.py
        start_layers=0,  # its first rows alone, so many; 0: all that fit
        total_steps=total_steps,
        extend=0,  # steps more, for a run that is finished; see docs/tables.md
        batch_size=batch_size,  # over all devices
        image_sizes=(size,),  # sides in pixels; several: one at a time
        resize_every=10,  # steps
        epoch_images=0,  # what --dry-run calls an epoch; 0: nothing
        subdivisions=1,  # of a batch, see train_step in training/loop.py
        spmd="pmap",
        profile=0,  # steps to record with jax.profiler, in the run's profile
        tensorboard=False,  # event files too, in the run's tensorboard
        log_every=50,
        checkpoint_every=500,
        evaluate_every=0,  # 0: at the end alone
      ),
      evaluation=dict(
        metric=metric,
        groups={},  # means over classes, by the group's name
        classes=(),  # those that count; (): all
        image_size=size,
        batch_size=16,
      ),
    )
  )


def source(format: str, **options: Any) -> dict[str, Any]:
  """One data set. One to train on needs a weight, its share of the pictures."""
  complete = dict(
    format=format,  # of yolo9000/data/formats
    root="",
    split="",
    class_names=(),  # those of the data set; (): as its files say
    map=(),  # from its classes to the network's, pairs or a file; (): the same
    outside=False,  # whether its paths may leave root
    proposals="",  # a file below data.root; "": none
    max_proposals=2000,  # of a picture, the first so many
  )
  return complete | options


def transfer(config: ConfigDict, *, learning: int) -> None:
  """From the first layers of tiny YOLOv2, of which the last `learning` learn.

  --config.run.start_from=FILE must be given: yolov3-tiny.weights,
  yolov2-tiny.weights, or a run with this backbone.
  """
  config.task.network.update(backbone="tiny", passthrough="none", width=1.0)
  config.run.start_layers = len(TINY)
  convolutions = [
    layer_name(n) for n, one in enumerate(TINY) if isinstance(one, Conv)
  ]
  config.optimizer.held = tuple(convolutions[:-learning])


def full_scale(config: ConfigDict) -> None:
  """The paper's width, optimizer and batch norm, not the miniature's."""
  config.task.network.width = 1.0
  config.task.network.dtype = "bfloat16"  # ours; the program has float32
  config.task.norm.momentum = 0.99  # as in the program
  config.optimizer.update(name="sgd", clip_norm=0.0, average=0.0)
  config.data.num_processes = 8
  config.run.checkpoint_every = 5000


def imagenet(config: ConfigDict) -> None:
  """A classifier as in section 3: 160 epochs at 224, as in darknet19.cfg.

  Below data.root are the folders train and val, and in both a folder for each
  class. Differs: a step has 128 pictures on all devices together.
  """
  full_scale(config)
  config.data.train = dict(main=source("folders", split="train", weight=1.0))
  config.data.test = source("folders", split="val")
  config.data.augment.update(
    short_side=(0.5, 1.75), aspect=0.75, hue=0.1, saturation=0.75, exposure=0.75
  )
  config.schedule.update(name="polynomial", rate=0.1, burn_in_steps=0)
  config.run.update(
    total_steps=160 * IMAGENET // 128,
    batch_size=128,
    image_sizes=(224,),
    log_every=100,
  )
  config.evaluation.update(image_size=224, batch_size=128)


def arguments(text: str, own: Sequence[str], *, full: str) -> dict[str, str]:
  """Arguments of an experiment with a table, as in voc,folder=F,seeds=3.

  Args:
    text: after the colon of --config=FILE:text.
    own: those of the experiment, beside folder=, row=, stage=, seed=, seeds=.
    full: the one of them that is the paper's setting.

  Raises:
    ValueError: for an unknown one, if full and folder= are not together, or
      with quick, which is of the miniature.
  """
  found = plan.arguments(text, (*own, "folder=", *plan.TABLE_ARGUMENTS))
  if (full in found) != ("folder" in found):
    raise ValueError(
      f"argument {text!r}: {full} and folder= need each other; expected "
      f"{full},folder=F, where F holds the data sets that the top of the "
      f"experiment file names"
    )
  if full in found and "quick" in found:
    raise ValueError(
      f"argument {text!r}: quick is the miniature with few steps; expected it "
      f"without {full}"
    )
  return found


def one_argument(
  text: str, own: Sequence[str], *, with_folder: Sequence[str]
) -> tuple[str, str]:
  """The name and the folder of an experiment's only argument, as in own=F.

  Args:
    text: after the colon of --config=FILE:text; "" for none.
    own: all that there are.
    with_folder: those of them that need a folder.

  Raises:
    ValueError: for another one.
  """
  name, _, folder = text.partition("=")
  if name not in ("", *own) or bool(folder) != (name in with_folder):
    known = [f"{one}=FOLDER" if one in with_folder else one for one in own]
    raise ValueError(
      f"argument {text!r} is unknown; there are {', '.join(known)}"
    )
  return name, folder
