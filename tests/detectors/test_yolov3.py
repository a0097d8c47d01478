"""YOLOv3: its networks, its options, classes in a tree."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from yolo9000 import losses
from yolo9000.darknet.cfg import read_cfg
from yolo9000.detectors import classifier, yolov3
from yolo9000.networks.chain import Chain
from yolo9000.networks.rows import Conv, Yolo
from yolo9000.networks.shapes import operations
from yolo9000.types import Batch, Step
from yolo9000.wordtree import Classes, WordTree

COCO = Classes(tuple(f"class {n}" for n in range(80)))
TINY = dict(form="tiny", priors=yolov3.COCO_TINY)
TREE = Classes(
  ("animal", "plant", "dog", "cat", "rose"),
  WordTree(("animal", "plant", "dog", "cat", "rose"), (-1, -1, 0, 0, 1)),
)


def rows_of(classes=COCO, **network):
  options = yolov3.Options(yolov3.Network(**network))
  return yolov3.network_rows(options, classes)


def shapes_of(rows, size):
  """Output and variables, without computing them."""
  init = partial(Chain(rows).init_with_output, train=False)
  image = jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)
  return jax.eval_shape(init, jax.random.key(0), image)


def count(arrays):
  return sum(x.size for x in jax.tree.leaves(arrays))


@pytest.mark.parametrize(
  ("network", "floats", "learned", "billions"),
  [
    ({}, 62_001_757, 61_949_149, 65.86),
    ({"form": "spp"}, 63_052_381, None, 66.22),
    (TINY, 8_858_734, None, 5.56),
  ],
  ids=["full", "spp", "tiny"],
)
def test_published_sizes(network, floats, learned, billions):
  """Numbers in the weights files, those learned, and operations at 416.

  The levels have cells of 32, 16 and 8 pixels, at each size of the paper.
  """
  rows = rows_of(**network)
  for side in (416,) if network else (320, 416, 608):
    levels, variables = shapes_of(rows, (side, side))
    assert [level.shape for level in levels] == [
      (1, side // cell, side // cell, 255)
      for cell in (32, 16, 8)[: len(levels)]
    ]
    assert count(variables) == floats
    if learned:
      assert count(variables["params"]) == learned
  assert round(operations(rows, (416, 416, 3)) / 1e9, 2) == billions


def test_darknet53_has_its_published_size():
  network = classifier.Network(backbone="darknet53")
  names = Classes(tuple(f"class {n}" for n in range(1000)))
  rows = classifier.network_rows(classifier.Options(network), names)
  assert sum(isinstance(row, Conv) for row in rows) == 53
  _, variables = shapes_of(rows, (64, 64))
  assert count(variables) == 41_645_640
  of_last = 1024 * 1000 + 1000
  assert count(variables["params"]) - of_last == 40_584_928
  assert round(operations(rows, (256, 256, 3)) / 1e9, 1) == 18.7


@pytest.mark.parametrize(
  ("golden", "form"),
  [("yolov3", "full"), ("yolov3spp", "spp"), ("yolov3tiny", "tiny")],
)
def test_they_are_the_programs_rows(goldens, golden_network, golden, form):
  """But for the numbers of filters, which the recorded ones have fewer of."""
  cfg, _ = golden_network(goldens(f"fwd_{golden}"))
  theirs = read_cfg(cfg).layers
  head = theirs[-1]
  priors = tuple((w / 32, h / 32) for w, h in head.priors_px)
  names = Classes(tuple(f"class {n}" for n in range(head.num_classes)))
  ours = rows_of(names, form=form, priors=priors)
  assert without_filters(ours) == without_filters(theirs)
  wide = [row.filters for row in ours if isinstance(row, Conv)]
  narrow = [row.filters for row in theirs if isinstance(row, Conv)]
  answers = len(head.own) * (5 + head.num_classes)
  assert narrow == [n if n == answers else max(2, n // 16) for n in wide]


def without_filters(rows):
  return [
    row._replace(filters=0) if isinstance(row, Conv) else row for row in rows
  ]


def test_the_released_tiny_network_is_ours(shared):
  path = shared / "darknet" / "weights" / "yolov3-tiny.cfg"
  if not path.is_file():
    pytest.skip(f"{path} is not here")
  assert read_cfg(path).layers == rows_of(**TINY)


def test_width_leaves_the_answers_alone():
  rows = rows_of(width=0.25)
  filters = [row.filters for row in rows if isinstance(row, Conv)]
  assert filters[0] == 8 and filters[51] == 256
  assert [n for n in filters if n == 255] == [255] * 3
  assert [row.own for row in rows if isinstance(row, Yolo)] == [
    *((6, 7, 8), (3, 4, 5), (0, 1, 2)),
  ]


@pytest.mark.parametrize(
  ("group", "changes", "message"),
  [
    ("network", {"form": "nano"}, "'nano'; allowed are full, spp, tiny"),
    (
      "network",
      {"priors": ((1.0, 1.0),) * 4},
      "are 4; expected a multiple",
    ),
    ("network", {"priors": ((116.0, 90.0),) * 3}, "look like pixels"),
    ("network", {"classes": "softmax"}, "allowed are 'logistic' and 'tree'"),
    ("network", {"classes": "tree"}, "is 'tree', but data.tree is none"),
    ("network", {"width": 0.0}, "width is 0.0; it must be above 0"),
    ("network", {"dtype": "int8"}, "'int8'; allowed are float32, bfloat16"),
    ("loss", {"overlap_of": "box"}, "'box'; allowed are prior, prediction"),
    ("loss", {"ignore_iou": -1.0}, "ignore_iou is -1.0; expected a number in"),
    ("detect", {"iou_threshold": 1.0}, "iou_threshold is 1.0; expected a"),
    ("detect", {"classes": ("cat",)}, "unknown are ['cat']"),
  ],
)
def test_what_cannot_be_says_what_can(group, changes, message):
  options = yolov3.Options()
  values = getattr(options, group)._replace(**changes)
  with pytest.raises(ValueError, match=re.escape(message)):
    yolov3.make_task(options._replace(**{group: values}), COCO)


def test_sizes_are_multiples_of_32():
  task = yolov3.make_task(yolov3.Options(), COCO)
  with pytest.raises(ValueError, match="size 100 must be a positive multiple"):
    task.check_size((64, 100))


def test_in_a_tree_the_last_truth_of_a_slot_counts():
  logits = jnp.asarray(
    np.random.default_rng(0).normal(size=(3, 5)), jnp.float32
  )
  labels = jnp.array([2, 4, 3])
  taught = jnp.array([[1, 1, 0], [0, 1, 1], [0, 0, 0]], bool)
  found = yolov3.class_error(TREE.tree)(logits, labels, taught)
  expected = losses.tree_error(
    logits[:2], jnp.array([4, 3]), jnp.eye(2, dtype=bool), tree=TREE.tree
  )
  np.testing.assert_allclose(found[:2], expected, rtol=1e-6)
  assert np.isfinite(found).all()


def test_a_tree_is_traced_to_loss_and_detections():
  """Its nodes are the labels; no box has a class by its objectness alone."""
  network = yolov3.Network(**TINY, classes="tree", width=1 / 16)
  options = yolov3.Options(network)
  task = yolov3.make_task(options, TREE)
  size = (64, 96)
  variables = jax.eval_shape(partial(task.init, size=size), jax.random.key(0))
  batch = Batch(
    *(
      jax.ShapeDtypeStruct(shape, kind)
      for shape, kind in (
        *(((2, *size, 3), np.uint8), ((2, 3, 4), np.float32)),
        *(((2, 3), np.int32), ((2, 3), bool), ((2,), np.int32)),
        *(((2,), bool), ((2,), np.int32)),
      )
    )
  )
  step = Step(jax.ShapeDtypeStruct((), np.int32), jax.random.key(0))
  value, (_, parts) = jax.eval_shape(task.loss, variables, batch, step)
  assert value.shape == ()
  assert set(parts) == {"coord", "objectness", "background", "label"}
  found = jax.eval_shape(task.predict, variables, batch.image)
  slots = 3 * (2 * 3 + 4 * 6)
  assert found.scores.shape == (2, min(100, slots * 5))
  agnostic = options._replace(
    detect=options.detect._replace(class_agnostic=True)
  )
  with pytest.raises(ValueError, match="always a top node"):
    yolov3.make_task(agnostic, TREE)
