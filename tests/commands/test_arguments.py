"""What the arguments of commands say to a detector."""

from argparse import Namespace

import pytest

from yolo9000 import arguments
from yolo9000.training.trained import Trained
from yolo9000.wordtree import Classes
from yolo9000.wordtree.tree import WordTree

TREE = WordTree(("animal", "stone", "dog"), (-1, -1, 0))
CHOSEN = Namespace(nodes="leaves", **dict.fromkeys(arguments.FLAGS.values()))


def trained(**detect):
  """All that `read_detect` looks at."""
  classes = Classes(TREE.ids, TREE)
  return Trained(None, detect, {}, classes, (64, 64), "stretch", None, 1e-5, 0)


def test_nodes_are_an_option_of_what_can_answer_them():
  leaves = {"classes": [1, 2]}
  assert arguments.read_detect(CHOSEN, trained(classes=())) == leaves
  walks = trained(classes=(), walk="path")
  assert arguments.read_detect(CHOSEN, walks) == {**leaves, "walk": "none"}
  with pytest.raises(ValueError, match="whose answers are nodes"):
    arguments.read_detect(CHOSEN, trained(score_threshold=0.5))
