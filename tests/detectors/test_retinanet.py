"""RetinaNet, against torchvision's and the published sizes."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from oracles import torchvision

from yolo9000 import boxes as box
from yolo9000 import losses
from yolo9000.boxes import anchors as grids_of_boxes
from yolo9000.boxes.suppression import Suppression
from yolo9000.detectors import retinanet
from yolo9000.wordtree import Classes

COCO = Classes(tuple(f"class {n}" for n in range(80)))


def assert_close(found, expected, tolerance=1e-5):
  """To so much of the largest entry."""
  error = np.abs(np.asarray(found) - expected).max()
  assert error <= tolerance * np.abs(expected).max()


def test_what_answers_begins_near_its_bias():
  """Whatever the deviation of the convolutions before it."""
  options = retinanet.Options(retinanet.Network(width=1 / 8, deviation=0.5))
  task = retinanet.make_task(options, Classes(("a", "b", "c")))
  variables = jax.jit(partial(task.init, size=(64, 64)))(jax.random.key(0))
  for tower in ("classes", "boxes"):
    layers = variables["params"]["heads"][tower]
    for layer, expected in (("conv_0", 0.5), ("answer", 0.01)):
      deviation = np.std(layers[layer]["kernel"])
      np.testing.assert_allclose(deviation, expected, rtol=0.1)


def test_heads_are_torchvisions(goldens):
  golden = goldens("tv_retinanet")
  heads = retinanet.Heads(9, 5, 8, 0.01, jnp.float32)
  variables = torchvision.variables(golden, "head/w/", "head.", "heads")
  levels = [torchvision.last(golden[f"head/feat{n}"]) for n in range(3)]
  logits, codes = jax.jit(heads.apply)(variables, levels)
  assert_close(logits, golden["head/cls_logits"])
  assert_close(codes, golden["head/bbox_regression"])
  fresh = heads.init(jax.random.key(0), levels)["params"]
  bias = fresh["classes"]["answer"]["bias"]
  np.testing.assert_allclose(bias, golden["head/init_cls_bias"], rtol=1e-6)


def fractions(boxes_px, height_width):
  """xyxy in [0, 1]."""
  height, width = (float(side) for side in height_width)
  return jnp.asarray(boxes_px / np.float32([width, height, width, height]))


def test_anchors_are_torchvisions(goldens):
  golden = goldens("tv_retinanet")
  grids = [tuple(row) for row in golden["feature_hw"].tolist()]
  found = grids_of_boxes.anchors(
    tuple(golden["image_hw"].tolist()),
    grids,
    strides=(8, 16, 32),
    sizes_px=[golden[f"anchor_sizes{n}"].tolist() for n in range(3)],
    ratios=[(0.5, 1.0, 2.0)] * 3,
  )
  expected = fractions(golden["anchors"], golden["image_hw"])
  np.testing.assert_allclose(found, expected, atol=1e-6)


HOW = ("high", "low", "keep_best", "alpha", "gamma", "box_error", "beta")


@partial(jax.jit, static_argnames=HOW)
@partial(jax.value_and_grad, argnums=(0, 1), has_aux=True)
def value_and_gradient(logits, codes, truth, anchors, **how):
  parts = losses.dense_loss(logits, codes, *truth, anchors=anchors, **how)
  return sum(parts.values()), parts


@pytest.mark.parametrize("image", range(3))
@pytest.mark.parametrize("variant", ["l1", "smooth_l1", "giou"])
def test_loss_and_gradient_are_torchvisions(goldens, variant, image):
  """The parts, and gradients to 1e-4 of the largest entry; image 1 is empty."""
  golden = goldens("tv_retinanet")
  size = golden["image_hw"]
  boxes, labels = (golden[f"loss/gt_{n}{image}"] for n in ("boxes", "labels"))
  padding = 5 - len(boxes)
  truth = (
    jnp.pad(fractions(boxes, size), ((0, padding), (0, 0))),
    jnp.asarray(np.pad(labels, (0, padding))),
    jnp.arange(5) < len(boxes),
  )
  (_, parts), gradient = value_and_gradient(
    *(
      jnp.asarray(golden[f"loss/{name}"][image])
      for name in ("cls_logits", "bbox_regression")
    ),
    truth,
    fractions(golden["anchors"], size),
    high=0.5,
    low=0.4,
    keep_best=True,
    alpha=0.25,
    gamma=2.0,
    box_error="giou" if variant == "giou" else "smooth_l1",
    beta=float(variant == "smooth_l1"),
  )
  one = f"loss/image{image}"
  np.testing.assert_allclose(
    parts["label"], golden[f"{one}/classification"], rtol=1e-5
  )
  if variant == "l1":  # recorded for single images with it alone
    np.testing.assert_allclose(
      parts["coord"], golden[f"{one}/bbox_regression_loss"], rtol=1e-5
    )
  of_logits = golden["loss/grad_cls_logits"]
  of_codes = golden[f"loss/{variant}/grad_bbox_regression"]
  for found, expected in zip(gradient, (of_logits, of_codes), strict=True):
    # Of the mean of three images.
    error = np.abs(found / 3 - expected[image]).max()
    assert error <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("image", range(2))
@pytest.mark.parametrize("case", ["post", "post_full"])
def test_detections_are_torchvisions(goldens, case, image):
  """The same ones in the same order; of some levels not all are looked at.

  The second image is smaller than what the anchors are for, so they are given
  as fractions of the image.
  """
  golden = goldens("tv_retinanet")
  size = golden["post/image_shapes"][image]
  found = jax.jit(retinanet.detections, static_argnames=("how", "levels"))(
    *(
      jnp.asarray(golden[f"post/{name}"][image])
      for name in ("cls_logits", "bbox_regression")
    ),
    anchors=fractions(golden["anchors"], size),
    levels=tuple(golden["post/num_per_level"].tolist()),
    how=Suppression(
      float(golden[f"{case}/nms_thresh"]),
      float(golden[f"{case}/score_thresh"]),
      int(golden[f"{case}/topk_candidates"]),
      int(golden[f"{case}/detections_per_img"]),
    ),
  )
  kept = np.asarray(found.mask)
  np.testing.assert_array_equal(
    found.labels[kept], golden[f"{case}/labels{image}"]
  )
  assert_close(found.scores[kept], golden[f"{case}/scores{image}"])
  expected = fractions(golden[f"{case}/boxes{image}"], size)
  assert_close(found.boxes[kept], expected)


@pytest.mark.parametrize(
  ("backbone", "beyond", "expected"),
  [
    ("resnet50", "c5", 37_915_572),
    ("resnet50", "p5", 33_786_804),
    ("resnet101", "c5", 56_855_476),
    ("resnet101", "p5", 52_726_708),
  ],
)
def test_published_sizes(backbone, beyond, expected):
  """Parameters but batch norm's, and as many answers as anchors, at full size.

  Source: the published code, counted.
  """
  how = retinanet.Network(backbone=backbone, beyond=beyond)
  task = retinanet.make_task(retinanet.Options(network=how), COCO)
  size = (800, 1344)
  variables = jax.eval_shape(partial(task.init, size=size), jax.random.key(0))
  params = flatten_dict(variables["params"])
  learned = {k: v for k, v in params.items() if not k[-2].endswith("_norm")}
  assert sum(v.size for v in learned.values()) == expected
  network = retinanet.RetinaNet(how, retinanet.Norm(), 80)
  image = jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)
  run = partial(network.apply, train=False)
  logits, codes = jax.eval_shape(run, variables, image)
  assert retinanet.grids(size) == [
    *((100, 168), (50, 84), (25, 42), (13, 21), (7, 11))
  ]
  assert codes.shape == (1, len(retinanet.anchors(size, how)), 4)
  assert logits.shape == (*codes.shape[:2], 80)


def test_anchors_have_the_papers_areas():
  """32^2 to 512^2 on P3 to P7, times 1, 2^(2/3) and 2^(4/3)."""
  size = (512, 512)
  found = retinanet.anchors(size, retinanet.Network()) * 512
  sides = np.sqrt(box.area(found))
  start = 0
  for (rows, cols), base in zip(
    retinanet.grids(size), (32, 64, 128, 256, 512), strict=True
  ):
    level = sides[start : start + rows * cols * 9]
    start += len(level)
    expected = np.tile(base * 2 ** (np.arange(3) / 3), 3 * rows * cols)
    np.testing.assert_allclose(level, expected, atol=1)  # whole pixels
  assert start == len(found)


@pytest.mark.parametrize(
  ("group", "changes", "message"),
  [
    ("network", {"backbone": "vgg"}, "'vgg'; allowed are resnet50, resnet101"),
    ("network", {"width": 0.0}, "width is 0.0; it must be above 0"),
    ("network", {"dtype": "int8"}, "'int8'; allowed are float32, bfloat16"),
    ("network", {"beyond": "pool"}, "'pool'; allowed are 'c5' and 'p5'"),
    ("network", {"ratios": ()}, "ratios is (); expected numbers in"),
    ("network", {"scales": 0}, "scales is 0"),
    ("loss", {"low": 0.6}, "low is 0.6 and high 0.5; expected 0 <= low"),
    ("loss", {"gamma": -1.0}, "task.loss.gamma is -1.0; expected a number"),
    ("loss", {"alpha": 2.0}, "task.loss.alpha is 2.0; expected a number in"),
    ("loss", {"box_error": "l2"}, "'l2'; allowed are smooth_l1, giou"),
    ("detect", {"iou_threshold": 1.0}, "iou_threshold is 1.0; expected a"),
  ],
)
def test_what_cannot_be_says_what_can(group, changes, message):
  options = retinanet.Options()
  values = getattr(options, group)._replace(**changes)
  with pytest.raises(ValueError, match=re.escape(message)):
    retinanet.make_task(options._replace(**{group: values}), COCO)


def test_sizes_are_multiples_of_32():
  task = retinanet.make_task(retinanet.Options(), COCO)
  with pytest.raises(ValueError, match="size 100 must .* of 32, such as 96"):
    task.check_size((64, 100))
