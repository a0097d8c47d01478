"""YOLO9000 in miniature: fine classes are detected that never had a box.

python -m yolo9000.main --config=experiments/yolo9000.py

A tree of 5 outlines, each in 4 colours. Boxes say the outline alone, on
pictures in which 5 of the 20 coloured classes never occur; image labels say the
coloured class, on pictures of one object. Each node has its own AP, its truths
are its own and those of all below it.

On 2 cores (x86-64, no GPU), commit a68d150: 8.4 minutes in all. VOC07 AP in
percent on 400 drawn pictures of seeds 0, 1, 2 and their mean; a seed is
--config.run.seed=1 --workdir=runs/seed1:

  row                  never boxed        boxed coarsely     coarse
  joint, tree          65.0 57.2 56.4 60  67.8 61.8 59.0 63  82.7 82.5 83.0 83
  boxes alone, tree     8.7 18.1 24.6 17  22.0 23.6 24.3 23  67.3 79.8 82.6 77
  joint, flat softmax  13.5 12.6  5.8 11   6.0  5.1  5.7  6  72.9 78.3 82.3 78
    fine classes alone 41.2 40.5 36.8 40  58.8 53.9 39.3 51

The paper has 19.7 over 200 classes of ImageNet and 16.0 on the 156 of them that
never had a box. Boxes alone sees as many pictures with boxes as joint training,
24,000; its fine classes are never taught, so that row is their chance level. A
flat softmax over all nodes gives the probability to the outline, which boxes
teach; even with the softmax taken over the fine classes alone, which tells what
it learned of them, it stays behind the tree, most of all on the never boxed.

The miniature is made with care: what tells a fine class from its siblings is
its colour, which image labels can teach and which carries over from one outline
to another. Classes told apart by their proportions would not do that.

The other choices (:choices, seed 0, the same commit; 23 minutes):

  slot by objectness   65.0  67.8  82.7    the first row above
  without warm-up      63.5  67.6  81.7
  slot by score        19.0  20.2  85.9    the program's rule
  slot by probability  12.8  21.7  84.4    the paper's
  boxes alone, 48,000  19.7  27.4  89.4    as many pictures as joint training

From scratch the two published rules teach no colour: a label goes to the slot
that already says it, on what it lies or not. They were made for a network that
begins as a classifier of the same classes. The warm-up hardly matters. Against
boxes alone on as many pictures, all of them with boxes, the coarse classes lose
7 points.

Arguments, as in --config=experiments/yolo9000.py:choices
  choices   the three rules for the slot that an image label makes responsible,
            the warm-up, and boxes alone on as many pictures.
  quick     the first table with few steps, to see that everything works.
  own=F     your own classes, tree and pictures in folder F: see the README.
  animals=F the first table on 64-pixel photographs of Tiny ImageNet, see below.
  full=F    the paper's setting: COCO and ImageNet's 9,418 classes at 544; F has
            the original program's tree and maps.

:animals on 110 mosaics of nine photographs, VOC07 AP in percent, seed 0, commit
a68d150, 19 minutes beside other jobs:

  row                  never boxed   boxed coarsely   coarse
  joint, tree                  2.0              2.0     11.8
  boxes alone, tree            1.3              2.7     12.3
  joint, flat softmax          1.0              1.2     13.0
    fine classes alone         2.9              3.2        -

From scratch 1,280 pictures with boxes and 1,700 with labels are far too few:
coarse classes are hardly found, and no row has learned the fine ones.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from yolo9000.boxes import priors
from yolo9000.darknet import text
from yolo9000.data.formats import shapes
from yolo9000.wordtree import files as tree_files

ARGUMENTS = ("choices", "quick", "own", "animals", "full")
WITH_FOLDER = ("own", "animals", "full")
OUTLINES = tuple(shapes.OUTLINES)
BOXED = tuple(n for n in shapes.CLASS_NAMES if n not in shapes.NEVER_BOXED)
COARSE = tuple((name, name.split()[1]) for name in shapes.CLASS_NAMES)
STEPS = 6000


def get_config(argument: str = "") -> ConfigDict:
  """The complete config: the miniature, or one of ARGUMENTS."""
  name, _, folder = argument.partition("=")
  if name not in ("", *ARGUMENTS) or bool(folder) != (name in WITH_FOLDER):
    raise ValueError(
      f"argument {argument!r} is unknown; there are choices, quick, "
      f"{', '.join(f'{one}=FOLDER' for one in WITH_FOLDER)}"
    )
  config = miniature()
  if name == "choices":
    config.name = "yolo9000_choices"
    config.rows = choices()
  elif name == "quick":
    config.name = "yolo9000_quick"
    config.data.test.split = "boxes_test[:32]"
    config.task.width = 0.0625
    config.task.label_warm_up_images = 40
    config.run.update(image_sizes=(64,))
    config.evaluation.image_size = 64
    set_rows(config, steps=20, fine=shapes.CLASS_NAMES)
  elif name == "own":
    own(config, Path(folder))
  elif name == "animals":
    animals(config, Path(folder))
  elif name == "full":
    full(config, Path(folder))
  return config


def miniature() -> ConfigDict:
  """Drawn pictures, an eighth of the width, 128 pixels."""
  config = ConfigDict()
  config.name = "yolo9000"
  source = dict(format="shapes", root="", class_names=(), outside=False)
  config.data = dict(
    root="",  # the roots of the data sets begin here
    train=dict(
      boxes=dict(source, split="boxes", map=COARSE, weight=1.0),
      labels=dict(source, split="labels", map=(), weight=1.0),
    ),
    test=dict(source, split="boxes_test", map=()),
    class_names=shapes.NODES,
    max_objects=30,
    train_on_difficult=False,
    geometry="crop",
    jitter=0.1,
    hue=0.02,  # the colours are told apart by hue
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
    priors=((0.77, 1.32), (1.39, 0.8), (1.16, 2.11), (2.39, 1.34), (2.09, 2.7)),
    network="darknet19",
    location="direct",
    passthrough="paper",
    program_reorg=False,
    width=0.125,
    dtype="float32",
    norm_momentum=0.95,
    norm_epsilon=1e-5,
    norm_axis="",  # each device alone; "data" is across devices
    program_norm=False,
    class_error="tree",
    tree=shapes.PARENTS,
    weights=dict(coord=1.0, objectness=5.0, background=1.0, label=1.0),
    ignore_iou=0.6,
    small_box_weight=True,
    prior_pull=0.01,
    prior_pull_images=1600,
    rescore=True,
    match_predicted_shape=False,
    slot_rule="objectness",
    objectness_rule="paper",
    label_warm_up_images=4000,
    class_agnostic_nms=False,
    iou_threshold=0.45,
    score_threshold=0.005,
    max_candidates=300,
    max_detections=200,
    max_cells=0,
    metric="VOC07 AP",
    groups={
      "coarse": OUTLINES,
      "boxed coarsely": BOXED,
      "never boxed": shapes.NEVER_BOXED,
    },
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
    rate=5e-3,
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
    total_steps=STEPS,
    batch_size=8,
    image_sizes=(128,),
    resize_every=10,
    epoch_images=0,  # what --dry-run calls an epoch; 0: nothing
    subdivisions=1,  # of a batch, see train.train_step
    spmd="pmap",
    log_every=50,
    checkpoint_every=500,
    evaluate_every=0,
  )
  config.evaluation = dict(classes=(), image_size=128, batch_size=16)
  config.paper = "section 4, ImageNet detection (16.0 on classes never boxed)"
  set_rows(config, steps=STEPS, fine=shapes.CLASS_NAMES)
  return config


def set_rows(config: ConfigDict, *, steps: int, fine: Sequence[str]) -> None:
  """The table: name, the paper's VOC07 AP, what is added to the row above.

  Boxes alone are as many pictures with boxes as in joint training. A flat
  softmax is evaluated twice, the second time with the fine classes alone.
  """
  config.run.total_steps = steps
  weights = {name: data.weight for name, data in config.data.train.items()}
  boxed = round(steps * (1 - weights["labels"] / sum(weights.values())))
  config.rows = (
    ("joint, tree", 19.7, ()),
    (
      "boxes alone, tree",
      None,
      (("data.train.labels.weight", 0.0), ("run.total_steps", boxed)),
    ),
    (
      "joint, flat softmax",
      None,
      (
        ("data.train.labels.weight", config.data.train.labels.weight),
        ("run.total_steps", steps),
        ("task.class_error", "softmax"),
        ("task.max_cells", 0),
      ),
    ),
    (
      "flat softmax, fine classes alone",
      None,
      (("evaluation.classes", tuple(fine)),),
    ),
  )


def choices() -> tuple:
  """The rules for the slot that a label teaches, the warm-up, more boxes."""
  label = "data.train.labels.weight"
  return (
    ("slot by objectness", None, ()),
    ("without warm-up", None, (("task.label_warm_up_images", 0),)),
    (
      "slot by score",
      None,
      (("task.label_warm_up_images", 4000), ("task.slot_rule", "score")),
    ),
    ("slot by probability", None, (("task.slot_rule", "probability"),)),
    (
      "boxes alone, as many pictures",
      None,
      (("task.slot_rule", "objectness"), (label, 0.0)),
    ),
  )


def own(config: ConfigDict, folder: Path) -> None:
  """One's own classes and pictures, at 416 and half the width; no table.

  The folder has classes.tree, the table boxes.csv (image, label, xmin, ymin,
  xmax, ymax) of pictures with boxes on any nodes, and pictures without boxes in
  labels, a folder for each node that has some. Tested on boxes.csv itself until
  --config.data.test.split says better.
  """
  config.name = "yolo9000_own"
  boxes = dict(
    dict(format="csv", root=str(folder), split="boxes.csv"),
    **dict(class_names=(), map=(), outside=False),
  )
  labels = dict(boxes, format="folders", split="labels", weight=1.0)
  config.data.train = ConfigDict(
    dict(boxes=dict(boxes, weight=1.0), labels=labels)
  )
  config.data.test = ConfigDict(boxes)
  config.data.update(
    class_names=(), jitter=0.2, hue=0.1, saturation=1.5, exposure=1.5
  )
  with config.unlocked(), config.ignore_type():
    config.task.tree = str(folder / "classes.tree")
    config.task.groups = ConfigDict()
  config.task.update(priors=priors.VOC_2017, width=0.5)
  config.run.update(image_sizes=(416,), evaluate_every=1000)
  config.evaluation.image_size = 416
  config.rows = ()


def animals(config: ConfigDict, folder: Path) -> None:
  """Small photographs: boxes on 7 coarse classes, labels of 34 fine ones.

  The folder has reference.tree, the nodes' names in wordnet_edges.tsv and
  classes.tsv, and the data sets det_mosaic, det, cls, eval_mosaic.
  """
  tree = tree_files.read_tree(folder / "reference.tree")
  edges = read_table(folder / "wordnet_edges.tsv")
  classes = read_table(folder / "classes.tsv")
  names = {edge["child"]: edge["child_name"] for edge in edges}
  names |= {row["wnid"]: row["name"] for row in classes}
  config.name = "yolo9000_animals"
  boxes = dict(
    format="coco",
    split="instances_coarse.json",
    class_names=(),
    map=(),
    outside=False,
  )
  config.data.train = ConfigDict(
    dict(
      mosaics=dict(boxes, root=str(folder / "det_mosaic"), weight=1.0),
      singles=dict(
        dict(boxes, root=str(folder / "det"), weight=1.0),
        geometry="zoom out",
      ),
      labels=dict(
        dict(format="folders", root=str(folder), split="cls", class_names=()),
        map=tuple((row["wnid"], row["name"]) for row in classes),
        outside=False,
        weight=2.0,
        geometry="zoom out",
      ),
    )
  )
  config.data.test = ConfigDict(
    dict(boxes, root=str(folder / "eval_mosaic"), split="instances_fine.json")
  )
  config.data.update(
    class_names=tuple(names[node] for node in tree.ids),
    jitter=0.2,
    hue=0.05,
    saturation=1.5,
    exposure=1.5,
  )
  config.task.update(
    priors=((0.75, 0.75), (1.2, 1.2), (1.6, 1.6), (2.0, 2.0), (4.5, 4.5)),
    width=0.25,
    tree=tree.parents,
  )
  seen = [row["name"] for row in classes if row["det_images"] != "0"]
  fine = [row["name"] for row in classes]
  with config.unlocked():
    config.task.groups = ConfigDict(
      {
        "coarse": tuple(sorted({row["coarse_name"] for row in classes})),
        "boxed coarsely": tuple(seen),
        "never boxed": tuple(n for n in fine if n not in seen),
      }
    )
  set_rows(config, steps=STEPS, fine=fine)


def full(config: ConfigDict, folder: Path) -> None:
  """COCO and ImageNet's 9,418 classes at 544, 1 picture to 4.

  The folder has 9k.tree, coco9k.map and inet9k.map of the original program.
  --config.data.root holds coco, imagenet (a folder for each synset of the tree)
  and ILSVRC's detection images in VOC's layout, as imagenet_detection. Start
  from the classifier on the same tree: --config.run.start_from=RUN.

  Schedule, decay and priors as in yolo9000.cfg; slot and objectness rule as in
  the paper, no warm-up. 44 of the 200 classes are boxed in the paper; no
  published list gives these: 38 are nodes of COCO's classes and 18 more lie
  below one, which here together are the boxed ones.
  """
  tree = tree_files.read_tree(folder / "9k.tree")
  detection, coco = (
    text.read_map(folder / name, num_nodes=len(tree.ids))
    for name in ("inet9k.map", "coco9k.map")
  )
  boxed = [n for n in detection if set(tree.path(n)) & set(coco)]
  config.name = "yolo9000_full"
  source = dict(class_names=(), outside=False)
  config.data.train = ConfigDict(
    dict(
      boxes=dict(
        dict(source, format="coco", root="coco", split="train2017"),
        map=str(folder / "coco9k.map"),
        weight=1.0,
      ),
      labels=dict(
        dict(source, format="folders", root="imagenet", split=""),
        map=(),
        weight=4.0,
      ),
    )
  )
  config.data.test = ConfigDict(
    dict(source, format="voc", root="imagenet_detection", split="val", map=())
  )
  config.data.update(
    class_names=(),
    max_objects=30,  # as in the program
    jitter=0.2,
    hue=0.1,
    saturation=0.75,
    exposure=0.75,
    num_processes=8,
  )
  with config.unlocked(), config.ignore_type():
    config.task.tree = str(folder / "9k.tree")
    config.task.groups = ConfigDict(
      {
        "boxed": tuple(tree.ids[n] for n in boxed),
        "never boxed": tuple(tree.ids[n] for n in detection if n not in boxed),
      }
    )
  config.task.update(
    priors=priors.YOLO9000,
    passthrough="bare",
    width=1.0,
    dtype="bfloat16",
    norm_momentum=0.99,
    small_box_weight=False,
    prior_pull_images=12_800,
    slot_rule="probability",
    label_warm_up_images=0,
    max_cells=289,  # all of 544 pixels: exact
  )
  config.optimizer.update(name="sgd", average=0.0)
  config.schedule.update(
    name="steps",
    rate=1e-3,
    burn_in_steps=1000,
    burn_in_power=4.0,
    at=(400_000 / 500_200, 450_000 / 500_200),
    factors=(0.1, 0.1),
  )
  config.run.update(
    batch_size=64, image_sizes=tuple(range(320, 609, 32)), checkpoint_every=5000
  )
  nodes = tuple(tree.ids[n] for n in detection)
  config.evaluation.update(image_size=544, batch_size=64, classes=nodes)
  set_rows(config, steps=500_200, fine=nodes)


def read_table(path: Path) -> list[dict[str, str]]:
  """Rows of a table of tab separated columns."""
  with path.open(newline="") as file:
    return list(csv.DictReader(file, delimiter="\t"))
