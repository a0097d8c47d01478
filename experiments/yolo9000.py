"""Table 7 and section 4: YOLO9000, which finds classes that never had a box.

python -m yolo9000.main --config=experiments/yolo9000.py

The default is a miniature. Its tree has 5 outlines, each in 4 colours. Boxes
name the outline alone, on pictures in which 5 of the 20 coloured classes never
occur; image labels name the coloured class, on pictures of one object. Each
node has its own AP; the objects of a node are its own and those of all nodes
below it.

One row alone is --config.only_row="joint, tree", several seeds are
--config.seeds="(0,1,2)".

On 2 cores (x86-64, no GPU), commit a68d150: 8.4 minutes in all. VOC07 AP in
percent on 400 drawn pictures of seeds 0, 1, 2 and their mean:

  row                  never boxed        boxed coarsely     coarse
  joint, tree          65.0 57.2 56.4 60  67.8 61.8 59.0 63  82.7 82.5 83.0 83
  boxes alone, tree     8.7 18.1 24.6 17  22.0 23.6 24.3 23  67.3 79.8 82.6 77
  joint, flat softmax  13.5 12.6  5.8 11   6.0  5.1  5.7  6  72.9 78.3 82.3 78
    fine classes alone 41.2 40.5 36.8 40  58.8 53.9 39.3 51

The paper has 19.7 over 200 classes of ImageNet and 16.0 on the 156 of them that
never had a box. The row of boxes alone sees as many pictures with boxes as
joint training, 24,000. Nothing teaches its fine classes, so it shows what
chance gives them. A flat softmax over all nodes gives the probability to the
outline, which boxes teach. The last row takes the softmax over the fine classes
alone, to show what it learned of them; it still stays behind the tree, most of
all on the classes that were never boxed.

The miniature is made so that this can work: a fine class differs from its
siblings in its colour, which image labels can teach and which carries over from
one outline to another. Classes that differ in their proportions would not do.

The other choices (:choices, seed 0, the same commit; 23 minutes):

  slot by objectness   65.0  67.8  82.7    the first row above
  without warm-up      63.5  67.6  81.7
  slot by score        19.0  20.2  85.9    the program's rule
  slot by probability  12.8  21.7  84.4    the paper's
  boxes alone, 48,000  19.7  27.4  89.4    as many pictures as joint training

From scratch the two published rules teach no colour: a label goes to the slot
that already predicts it, whether an object is there or not. The paper's network
begins as a classifier of the same classes; from the one of
experiments/classifier.py, --config.run.start_from=runs/classifier/tree_128, the
three rules have 56.2 71.2 83.2, 17.7 21.9 88.0 and 18.1 19.4 89.2 (commit
3a4acfe, 16 minutes). The warm-up hardly matters. Against boxes alone on as many
pictures, all of them with boxes, the coarse classes lose 7 points.

Arguments, as in --config=experiments/yolo9000.py:choices
  choices   the three rules for the slot that an image label makes responsible,
            the warm-up, and boxes alone on as many pictures.
  quick     the first table with few steps, to see that everything works.
  own=F     your own classes, tree and pictures in folder F: see the README.
  animals=F the first table on 64-pixel photographs of Tiny ImageNet, see below.
  full=F    the paper's setting: COCO and ImageNet's 9,418 classes at 544; F has
            the original program's tree and maps. --config.data.root=FOLDER must
            hold the pictures, see `full` below.

:animals, 54 nodes on photographs of 64 pixels, starts from yolov3-tiny.weights,
see `base.transfer`:

python -m yolo9000.main --config=experiments/yolo9000.py:animals=F
  --config.run.start_from=yolov3-tiny.weights

VOC07 AP in percent on 110 mosaics of nine photographs, seeds 0, 1, 2 and their
mean, or seed 0 alone; 3 to 7 minutes a row and seed on 2 cores that did other
work as well, an Intel Xeon (the first two rows, and seed 0 of the two slots,
commit fd8b8fb; of the first row seed 0 at 862034f with evaluate_every 200) and
an AMD EPYC (the rest, commit bf3c305):

  row                  never boxed        boxed coarsely     coarse
  joint, tree          12.8 17.3 11.6 14  15.9 14.9 14.1 15  42.6 40.7 41.8 42
  boxes alone, tree     3.8  3.9  3.7  4   8.8  7.9  8.2  8  37.0 37.6 36.8 37
  slot by score         5.2  9.2  3.1  6   7.6  8.1  6.8  8  41.1 40.6 41.2 41
  slot by probability   3.0  2.8  3.6  3   6.2  6.1  7.0  6  37.7 38.7 39.2 39
  without warm-up      10.5               15.0               41.6
  joint, flat softmax   6.6                2.1               39.7
    fine classes alone 18.4               18.3
  boxes of fine classes 8.2               24.9               38.1

The last row needs files that docs/joint-training.md writes; that page has the
classes one by one, and what follows for the rules and the tree. From scratch,
at a quarter of Darknet-19's width and 128 pixels (commit a68d150, seed 0), the
first row had 2.0 2.0 11.8.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from experiments import base
from yolo9000.boxes import priors
from yolo9000.darknet.text import read_map
from yolo9000.data.formats import shapes
from yolo9000.tables.plan import row
from yolo9000.wordtree.files import read_tree

ARGUMENTS = ("choices", "quick", "own", "animals", "full")
WITH_FOLDER = ("own", "animals", "full")
BOXED = tuple(n for n in shapes.CLASS_NAMES if n not in shapes.NEVER_BOXED)
STEPS = 6000
PHOTO_STEPS = 800
# The program's priors, in cells; the paper gives YOLO9000 three, not five.
YOLO9000 = ((0.77871, 1.14074), (3.00525, 4.31277), (9.22725, 9.61974))


def get_config(argument: str = "") -> ConfigDict:
  """The complete config: the miniature, or one of ARGUMENTS."""
  name, folder = base.one_argument(argument, ARGUMENTS, with_folder=WITH_FOLDER)
  if name == "own":
    return own(Path(folder))
  if name == "animals":
    return animals(Path(folder))
  if name == "full":
    return full(Path(folder))
  config = miniature()
  if name == "choices":
    config.name = "yolo9000_choices"
    config.rows = choices()
  elif name == "quick":
    quick(config)
  return config


def rows(fine: Sequence[str], *, boxes_alone: int) -> tuple:
  """The table: name, the paper's VOC07 AP, the differences.

  Args:
    fine: the classes that boxes do not teach.
    boxes_alone: steps in which boxes alone are as many pictures with boxes as
      in joint training.
  """
  only_boxes = {
    "data.train.labels.weight": 0.0,
    "run.total_steps": boxes_alone,
  }
  flat = {
    "task.network.classes": "softmax",
    # A softmax over all classes needs those of every cell.
    "task.joint.few_cells": False,
    "task.detect.max_cells": 0,
  }
  only_fine = {
    "task.detect.classes": tuple(fine),
    "evaluation.classes": tuple(fine),
  }
  return (
    row("joint, tree", 19.7),
    row("boxes alone, tree", None, only_boxes),
    row("joint, flat softmax", None, flat, on="base"),
    row("flat softmax, fine classes alone", None, only_fine),
  )


def choices() -> tuple:
  """The rules for the slot that a label teaches, the warm-up, more boxes."""
  warm_up, rule = "task.joint.warm_up_images", "task.joint.slot_rule"
  weight = "data.train.labels.weight"
  return (
    row("slot by objectness"),
    row("without warm-up", None, {warm_up: 0}, on="base"),
    row("slot by score", None, {rule: "score"}, on="base"),
    row("slot by probability", None, {rule: "probability"}, on="base"),
    row("boxes alone, as many pictures", None, {weight: 0.0}, on="base"),
  )


def joint(class_names: Sequence[str], tree: str | Sequence[int]) -> ConfigDict:
  """What all settings have in common: not yet the pictures."""
  config = base.detector(tuple(class_names), tree)
  config.paper = "section 4, ImageNet detection (16.0 on classes never boxed)"
  config.table = "alternatives"
  config.setting = ""
  config.seeds = (0,)
  config.only_row = ""  # all
  config.task.model = "yolo9000"
  config.task.network.classes = "tree"
  config.task.joint = dict(
    slot_rule="objectness",
    objectness_rule="paper",
    warm_up_images=4000,
    few_cells=False,
  )
  config.task.detect.update(
    max_detections=200, walk="none", tree_threshold=0.5, max_cells=0
  )
  config.optimizer.clip_norm = 0.0
  config.schedule.rate = 5e-3
  config.run.total_steps = STEPS
  config.run.image_sizes = (128,)
  config.evaluation.image_size = 128
  return config


def miniature() -> ConfigDict:
  """Drawn pictures, an eighth of the width, 128 pixels."""
  config = joint(shapes.NODES, shapes.PARENTS)
  config.name = "yolo9000"
  config.setting = "a miniature on drawn shapes, an eighth of the paper's width"
  config.data.train = dict(
    boxes=base.source(
      "shapes", split="boxes", map=base.TO_OUTLINES, weight=1.0
    ),
    labels=base.source("shapes", split="labels", weight=1.0),
  )
  config.data.test = base.source("shapes", split="boxes_test")
  config.data.augment.update(
    hue=0.02,  # the colours are told apart by hue
    saturation=1.2,
    exposure=1.2,
  )
  config.task.network.priors = (
    (0.77, 1.32),
    (1.39, 0.8),
    (1.16, 2.11),
    (2.39, 1.34),
    (2.09, 2.7),
  )
  config.evaluation.groups = {
    "coarse": base.OUTLINES,
    "boxed coarsely": BOXED,
    "never boxed": shapes.NEVER_BOXED,
  }
  config.rows = rows(shapes.CLASS_NAMES, boxes_alone=STEPS // 2)
  return config


def quick(config: ConfigDict) -> None:
  """The same rows in few steps; the numbers mean nothing."""
  config.name = "yolo9000_quick"
  config.setting = "a trial of a few steps, whose numbers mean nothing"
  config.data.test.split = "boxes_test[:32]"
  config.task.network.width = 0.0625
  config.task.joint.warm_up_images = 40
  config.run.update(total_steps=20, image_sizes=(64,))
  config.evaluation.image_size = 64
  config.rows = rows(shapes.CLASS_NAMES, boxes_alone=10)


def own(folder: Path) -> ConfigDict:
  """One's own classes and pictures, at 416 and half the width; no table.

  The folder has classes.tree, the table boxes.csv (image, label, xmin, ymin,
  xmax, ymax) of pictures with boxes on any nodes, and pictures without boxes in
  labels, a folder for each node that has some. Tested on boxes.csv itself until
  --config.data.test.split names another table.
  """
  config = joint((), str(folder / "classes.tree"))
  config.name = "yolo9000_own"
  config.data.root = str(folder)
  config.data.train = dict(
    boxes=base.source("csv", split="boxes.csv", weight=1.0),
    labels=base.source("folders", split="labels", weight=1.0),
  )
  config.data.test = base.source("csv", split="boxes.csv")
  config.data.augment.jitter = 0.2
  config.task.network.update(priors=priors.VOC_2017, width=0.5)
  config.run.update(image_sizes=(416,), evaluate_every=1000)
  config.evaluation.image_size = 416
  config.rows = ()
  return config


def animals(folder: Path) -> ConfigDict:
  """Small photographs: boxes on 7 coarse classes, labels of 34 fine ones.

  The folder has reference.tree, the nodes' names in wordnet_edges.tsv and
  classes.tsv, and the data sets det_mosaic, det, cls, eval_mosaic.
  """
  tree = read_tree(folder / "reference.tree")
  edges = read_table(folder / "wordnet_edges.tsv")
  classes = read_table(folder / "classes.tsv")
  names = {edge["child"]: edge["child_name"] for edge in edges}
  names |= {one["wnid"]: one["name"] for one in classes}
  fine = [one["name"] for one in classes]
  seen = [one["name"] for one in classes if one["det_images"] != "0"]
  coarse = "instances_coarse.json"
  config = joint([names[node] for node in tree.ids], tree.parents)
  config.name = "yolo9000_animals"
  config.setting = "a miniature on photographs of 64 pixels, 54 nodes"
  config.data.root = str(folder)
  config.data.train = dict(
    mosaics=base.source("coco", root="det_mosaic", split=coarse, weight=1.0),
    singles=base.source(
      "coco", root="det", split=coarse, weight=1.0, geometry="zoom out"
    ),
    labels=base.source(
      "folders",
      split="cls",
      map=tuple((one["wnid"], one["name"]) for one in classes),
      weight=2.0,
      geometry="zoom out",
    ),
  )
  config.data.test = base.source(
    "coco", root="eval_mosaic", split="instances_fine.json"
  )
  config.data.augment.update(jitter=0.2, hue=0.05)
  base.transfer(config, learning=1)
  # A picture of a mosaic has a side of 3 cells, one alone of up to 9.
  config.task.network.priors = (
    *((1.1, 1.3), (1.9, 1.9), (2.7, 2.7)),
    *((4.5, 4.5), (7.5, 7.5)),
  )
  config.task.joint.warm_up_images = 800
  config.schedule.rate = 1e-3
  config.run.update(total_steps=PHOTO_STEPS, image_sizes=(288,))
  config.evaluation.image_size = 288
  config.evaluation.groups = {
    "coarse": tuple(sorted({one["coarse_name"] for one in classes})),
    "boxed coarsely": tuple(seen),
    "never boxed": tuple(n for n in fine if n not in seen),
  }
  all_fine = {
    f"data.train.{name}.split": "instances_fine.json"
    for name in ("mosaics", "singles")
  }
  config.rows = (
    *rows(fine, boxes_alone=PHOTO_STEPS // 2),
    row("joint, tree, boxes of fine classes", None, all_fine, on="base"),
    *choices()[1:4],
  )
  return config


def full(folder: Path) -> ConfigDict:
  """COCO and ImageNet's 9,418 classes at 544, 1 picture to 4.

  The folder has 9k.tree, coco9k.map and inet9k.map of the original program.
  --config.data.root holds coco, imagenet (a folder for each synset of the tree)
  and ILSVRC's detection images in VOC's layout, as imagenet_detection. Start
  from the classifier on the same tree: --config.run.start_from=RUN.

  Schedule, decay and priors as in yolo9000.cfg; slot and objectness rule as in
  the paper, no warm-up. 44 of the 200 classes are boxed in the paper, and no
  published list says which. Here 56 count as boxed: 38 that are nodes of COCO's
  classes, and 18 that lie below one.
  """
  tree = read_tree(folder / "9k.tree")
  detection, coco = (
    read_map(folder / name, num_nodes=len(tree.ids))
    for name in ("inet9k.map", "coco9k.map")
  )
  nodes = tuple(tree.ids[n] for n in detection)
  boxed = [n for n in detection if set(tree.path(n)) & set(coco)]
  config = joint((), str(folder / "9k.tree"))
  config.name = "yolo9000_full"
  base.full_scale(config)
  config.data.train = dict(
    boxes=base.source(
      "coco",
      root="coco",
      split="train2017",
      map=str(folder / "coco9k.map"),
      weight=1.0,
    ),
    labels=base.source("folders", split="imagenet", weight=4.0),
  )
  config.data.test = base.source("voc", root="imagenet_detection", split="val")
  config.data.augment.update(jitter=0.2, saturation=0.75, exposure=0.75)
  config.task.network.update(priors=YOLO9000, passthrough="bare")
  config.task.loss.update(small_box_weight=False, prior_pull_images=12_800)
  config.task.joint.update(
    slot_rule="probability", warm_up_images=0, few_cells=True
  )
  config.task.detect.update(
    classes=nodes,
    max_cells=289,  # all of 544 pixels: exact
  )
  config.schedule.update(
    name="steps",
    rate=1e-3,
    burn_in_steps=1000,
    burn_in_power=4.0,
    at=(400_000 / 500_200, 450_000 / 500_200),
    factors=(0.1, 0.1),
  )
  config.run.update(
    total_steps=500_200,
    batch_size=64,
    image_sizes=tuple(range(320, 609, 32)),
  )
  config.evaluation.update(classes=nodes, image_size=544, batch_size=64)
  config.evaluation.groups = {
    "boxed": tuple(tree.ids[n] for n in boxed),
    "never boxed": tuple(tree.ids[n] for n in detection if n not in boxed),
  }
  config.rows = rows(nodes, boxes_alone=500_200 // 5)
  return config


def read_table(path: Path) -> list[dict[str, str]]:
  """Rows of a table of tab separated columns."""
  with path.open(newline="") as file:
    return list(csv.DictReader(file, delimiter="\t"))
