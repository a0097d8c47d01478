"""Table 6 and section 3: Darknet-19 as a classifier, on a tree and flat.

python -m yolo9000.main --config=experiments/classifier.py

The default is a miniature, pictures of one drawn object each; the second row
goes on at twice the size, as the paper does from 224 to 448. In percent of 400
pictures, seed 0, commit 3a4acfe, on 2 cores of an AMD EPYC that did other work
as well (2.2 minutes on quiet ones, at commit 09275eb):

  row       top-1  top-5
  tree 64    97.2  100.0
  tree 128   98.0  100.0
  flat 64    84.2  100.0

The colour is always right. A wrong outline shares no node with the label's
path, so the hierarchical accuracy is the top-1.

Arguments, as in --config=experiments/classifier.py:wordtree
  quick      the miniature with few steps, to see that everything works.
  wordtree   the paper's setting: 160 epochs at 224, then 10 at 448, on
             WordTree1k: --config.data.tree=1k.tree, which `python -m
             yolo9000.wordtree build wordnet` makes. --config.data.root=FOLDER
             must hold the folders train and val, with a folder for each synset
             in both. With 9k.tree and its synsets it is what YOLO9000 starts
             from.
  imagenet=F the same on the 1000 classes that F/train and F/val have folders
             for, flat: Darknet-19 of Table 6.
"""

from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from experiments import base
from yolo9000.data.formats import shapes
from yolo9000.tables.plan import row

ARGUMENTS = ("quick", "wordtree", "imagenet")
# Darknet-19 at 224 pixels in section 4, and in Table 6 with section 3.
TREE = {"top-1": 71.9, "top-5": 90.4}
FLAT = {"top-1": 72.9, "top-5": 91.2}
FLAT_448 = {"top-1": 76.5, "top-5": 93.3}
TEN_EPOCHS = 10 * base.IMAGENET // 128


def get_config(argument: str = "") -> ConfigDict:
  """The complete config: the miniature, or one of ARGUMENTS."""
  name, folder = base.one_argument(
    argument, ARGUMENTS, with_folder=("imagenet",)
  )
  if name == "wordtree":
    return wordtree()
  if name == "imagenet":
    return imagenet(Path(folder))
  config = miniature()
  if name == "quick":
    quick(config)
  return config


def of_table(class_names: tuple[str, ...], tree: Any) -> ConfigDict:
  """What all settings have in common: not yet the pictures."""
  config = base.classifier(class_names, tree)
  config.paper = "Table 6's network, section 4's tree (71.9 top-1 at 224)"
  config.table = "alternatives"
  config.setting = ""
  config.optimizer.update(clip_norm=0.0, average=0.0)
  return config


def miniature() -> ConfigDict:
  """Drawn pictures of one object, an eighth of the width, 64 pixels."""
  config = of_table(shapes.NODES, shapes.PARENTS)
  config.name = "classifier"
  config.setting = "a miniature on drawn shapes, an eighth of the paper's width"
  config.data.train.main.map = config.data.test.map = ()
  config.data.augment.update(
    hue=0.02,  # the colours are told apart by hue
    saturation=1.2,
    exposure=1.2,
  )
  config.task.network.classes = "tree"
  config.run.total_steps = 2000
  config.evaluation.batch_size = 32
  config.rows = (
    row("tree 64", TREE),
    row("tree 128", None, larger("tree 64", size=128, steps=200)),
    row("flat 64", FLAT, {"task.network.classes": "softmax"}, on="base"),
  )
  return config


def larger(start: str, *, size: int, steps: int) -> dict[str, Any]:
  """What a row changes that goes on with another row's weights."""
  return {
    "run.start_from": f"row {start}",
    "run.image_sizes": (size,),
    "run.total_steps": steps,
    "schedule.rate": 1e-3,
    "evaluation.image_size": size,
  }


def quick(config: ConfigDict) -> None:
  """The same rows in seconds; the numbers mean nothing."""
  config.name = "classifier_quick"
  config.setting = "a trial of a few steps, whose numbers mean nothing"
  config.data.test.split = "labels[:32]"
  config.task.network.width = 0.0625
  config.run.total_steps = 20
  flat = {"task.network.classes": "softmax", "run.total_steps": 10}
  config.rows = (
    row("tree 64", TREE),
    row("tree 128", None, larger("tree 64", size=128, steps=10)),
    row("flat 64", FLAT, flat, on="base"),
  )


def wordtree() -> ConfigDict:
  """The paper's setting; data.root and data.tree must be given."""
  config = of_table((), "")
  config.name = "classifier_wordtree"
  base.imagenet(config)
  config.task.network.classes = "tree"
  config.rows = (
    row("tree 224", TREE),
    row("tree 448", None, larger("tree 224", size=448, steps=TEN_EPOCHS)),
  )
  return config


def imagenet(folder: Path) -> ConfigDict:
  """Flat classes, those that folder/train has."""
  names = sorted(path.name for path in (folder / "train").iterdir())
  config = of_table(tuple(names), "")
  config.name = "classifier_imagenet"
  base.imagenet(config)
  config.data.root = str(folder)
  config.rows = (
    row("flat 224", FLAT),
    row("flat 448", FLAT_448, larger("flat 224", size=448, steps=TEN_EPOCHS)),
  )
  return config
