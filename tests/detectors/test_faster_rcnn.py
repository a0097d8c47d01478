"""Faster R-CNN, against torchvision's and the published sizes."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from support import SHORT, random_batch

from yolo9000.boxes.proposals import Amounts, Proposals
from yolo9000.boxes.suppression import Suppression
from yolo9000.detectors import faster_rcnn
from yolo9000.types import Step
from yolo9000.wordtree import Classes

pytestmark = pytest.mark.usefixtures("libraries_promote")


def classes(count):
  return Classes(tuple(f"class {n}" for n in range(count)))


def fractions(boxes_px, height_width):
  """xyxy in [0, 1]."""
  edges = np.tile(np.asarray(height_width)[::-1], 2).astype(np.float32)
  return jnp.asarray(boxes_px / edges[None])


@pytest.mark.parametrize("image", range(2))
def test_detections_are_torchvisions(goldens, image):
  """The same ones in the same order; the second image is smaller."""
  golden = goldens("tv_rcnn")
  size = golden["image_shapes"][image]
  own = slice(0, 35) if image == 0 else slice(35, 60)
  rois = fractions(golden[f"roi_post/proposals{image}"], size)
  logits = jnp.asarray(golden["roi_post/class_logits"][own])
  codes = jnp.asarray(golden["roi_post/box_regression"][own]).reshape(-1, 5, 4)
  assert tuple(golden["roi_post/reg_weights"]) == faster_rcnn.WEIGHTS
  how = Suppression(
    float(golden["roi_post/nms_thresh"]),
    float(golden["roi_post/score_thresh"]),
    1000,
    int(golden["roi_post/detections_per_img"]),
  )
  find = jax.jit(partial(faster_rcnn.detections, how=how))
  expected = fractions(golden[f"roi_post/boxes{image}"], size)
  # Padding is never found, whatever is said of it.
  more = 3
  found = find(
    jnp.pad(logits, ((0, more), (0, 0)), constant_values=9.0),
    jnp.pad(codes, ((0, more), (0, 0), (0, 0))),
    jnp.pad(rois, ((0, more), (0, 0)), constant_values=1.0),
    jnp.arange(len(rois) + more) < len(rois),
  )
  assert found.mask.sum() == len(expected)
  # Labels count from 1 there.
  labels = golden[f"roi_post/labels{image}"]
  np.testing.assert_array_equal(found.labels + 1, labels)
  np.testing.assert_allclose(found.boxes, expected, atol=1e-5)
  scores = golden[f"roi_post/scores{image}"]
  np.testing.assert_allclose(found.scores, scores, atol=1e-6)


@pytest.mark.parametrize(
  ("options", "num_classes", "expected"),
  [
    (faster_rcnn.VGG_OPTIONS, 20, 137_078_239),
    (faster_rcnn.Options(), 80, 41_704_036),
    (
      faster_rcnn.Options(faster_rcnn.Network("resnet101")),
      *(80, 60_643_940),
    ),
  ],
)
def test_published_sizes(options, num_classes, expected):
  """Parameters but batch norm's, and as many answers as anchors.

  Source: the published code, counted.
  """
  task = faster_rcnn.make_task(options, classes(num_classes))
  size = (608, 608)
  variables = jax.eval_shape(partial(task.init, size=size), jax.random.key(0))
  params = flatten_dict(variables["params"])
  learned = {k: v for k, v in params.items() if not k[-2].endswith("_norm")}
  assert sum(v.size for v in learned.values()) == expected
  how = options.network
  network = faster_rcnn.FasterRCNN(how, options.norm, num_classes)
  image = jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)
  raw = jax.eval_shape(partial(network.apply, train=False), variables, image)
  count = len(faster_rcnn.anchors(size, how))
  assert raw.proposal_codes.shape == (1, count, 4)
  assert count == sum(faster_rcnn.counts(size, how))
  assert raw.codes.shape == (1, 1, 1 + num_classes, 4)


def test_the_papers_anchors():
  """128, 256 and 512 pixels at each place of 16; 32 to 512 on levels."""
  how = faster_rcnn.VGG_OPTIONS.network
  found = faster_rcnn.anchors((32, 32), how) * 32
  sides = found[:, 2:] - found[:, :2]
  area = np.sqrt(np.prod(sides, axis=1))[:9]
  np.testing.assert_allclose(area, [128, 256, 512] * 3, rtol=0.01)
  how = faster_rcnn.Network()
  found = faster_rcnn.anchors((64, 64), how) * 64
  ends = np.cumsum(faster_rcnn.counts((64, 64), how)) - 1
  area = np.sqrt(np.prod(found[ends, 2:] - found[ends, :2], axis=1))
  np.testing.assert_allclose(area, [32, 64, 128, 256, 512], rtol=0.02)


def small(**changes):
  """Of 64 pixels, with a pyramid or by changes."""
  network = dict(backbone=SHORT, width=1 / 16, bins=3, deviation=0.05)
  network |= changes.pop("network", {})
  options = faster_rcnn.Options(
    faster_rcnn.Network(**network),
    train_proposals=Amounts(40, 30),
    test_proposals=Amounts(30, 20),
    proposal_loss=faster_rcnn.ProposalLoss(samples=16),
    loss=faster_rcnn.Loss(samples=12),
    detect=Suppression(0.5, 0.01, 50, 10),
  )
  options = options._replace(**changes)
  return faster_rcnn.make_task(options, classes(3))


def begin(task):
  """Fresh variables for pictures of 64 pixels."""
  return jax.jit(partial(task.init, size=(64, 64)))(jax.random.key(0))


def step(key=0):
  return Step(jnp.int32(0), jax.random.key(key))


@pytest.fixture(scope="module")
def trained():
  """A small one with a pyramid: variables, its gradient, its compilations."""
  task, compilations = small(), []

  @jax.jit
  @partial(jax.value_and_grad, has_aux=True)
  def gradient(params, variables, batch, step):
    compilations.append(1)
    loss, (_, parts) = task.loss({**variables, "params": params}, batch, step)
    return loss, parts

  variables = begin(task)
  run = partial(gradient, variables["params"], variables)
  return task, variables, run, compilations


def test_a_step_compiles_once(trained):
  """Whatever the numbers of truths; gradients are finite with none."""
  _, _, run, compilations = trained
  for counts in ([5, 1], [0, 3], [0, 0]):
    given = random_batch(counts)
    (loss, parts), gradient = run(given, step())
    assert set(parts) == {"objectness", "proposal_coord", "label", "coord"}
    np.testing.assert_allclose(loss, sum(parts.values()), rtol=1e-6)
    for array in jax.tree.leaves(gradient):
      assert np.isfinite(array).all()
  assert parts["coord"] == parts["proposal_coord"] == 0
  assert len(compilations) == 1


def test_what_is_sampled_is_the_keys_alone(trained):
  """And the picture's, whatever place of the batch it has."""
  _, _, run, _ = trained
  given = random_batch([3, 4])
  (first, parts), _ = run(given, step())
  (again, _), _ = run(given, step())
  assert first == again
  (other, _), _ = run(given, step(1))
  assert first != other
  turned = jax.tree.map(lambda x: x[::-1], given)
  (_, same), _ = run(turned, step())
  for name, value in parts.items():
    np.testing.assert_allclose(same[name], value, rtol=1e-4)


def test_predictions_are_within_the_picture(trained):
  task, variables, _, _ = trained
  found = jax.jit(task.predict)(variables, random_batch([1, 1]).image)
  assert found.boxes.shape == (2, 10, 4)
  assert found.boxes.min() >= 0 and found.boxes.max() <= 1
  assert np.all(np.diff(found.scores, axis=1) <= 0)


def test_with_vgg_and_dropout_stages_count_alone():
  """The parts of a stage's loss, and gradients of its head alone."""
  expected = {
    "proposals": ({"objectness", "proposal_coord"}, "proposals"),
    "detector": ({"label", "coord"}, "box_head"),
  }
  for learns, (names, head) in expected.items():
    task = small(
      network=dict(backbone="vgg16", dropout=0.5, anchor_scale=1.0),
      proposal_loss=faster_rcnn.ProposalLoss(samples=16, inside=True),
      learns=learns,
    )
    variables = begin(task)

    @jax.jit
    @partial(jax.grad, has_aux=True)
    def gradient(params, given, task=task):
      loss, (_, parts) = task.loss(
        {"params": params, "batch_stats": {}}, given, step()
      )
      return loss, parts

    given = random_batch([2, 0])
    found, parts = gradient(variables["params"], given)
    assert set(parts) == names
    for name in ("proposals", "box_head"):
      moved = any(np.any(x != 0) for x in jax.tree.leaves(found[name]))
      assert moved == (name == head), (learns, name)


def test_truths_are_proposals_too():
  """Not those that are padding or a line; padding is no sample."""
  line = [0.2, 0.3, 0.2, 0.9]
  boxes = jnp.asarray([[0.1, 0.1, 0.4, 0.5], [0.0, 0.0, 0.0, 0.0], line])
  nothing = Proposals(jnp.zeros((3, 4)), jnp.zeros(3), jnp.zeros(3, bool))
  found = faster_rcnn.sample_rois(
    jax.random.key(0),
    nothing,
    boxes,
    jnp.array([True, False, True]),
    how=faster_rcnn.Loss(samples=4),
  )
  assert found.mask.tolist() == [True, False, False, False]
  np.testing.assert_array_equal(found.rois[0], boxes[0])
  assert found.sample.positive.tolist() == found.mask.tolist()
  assert not found.sample.negative.any()


@pytest.mark.parametrize(
  ("group", "changes", "message"),
  [
    ("network", {"backbone": "vgg"}, "'vgg'; allowed are resnet50"),
    ("network", {"width": 0.0}, "width is 0.0; it must be above 0"),
    ("network", {"ratios": ()}, "ratios is (); expected numbers in"),
    ("network", {"dropout": 1.0}, "dropout is 1.0; expected a number"),
    ("network", {"dtype": "int8"}, "'int8'; allowed are float32, bfloat16"),
    ("proposal_loss", {"low": 0.8}, "low is 0.8 and high 0.7; expected 0 <="),
    ("proposal_loss", {"samples": 0}, "task.proposal_loss.samples is 0"),
    ("loss", {"positives": 1.5}, "positives is 1.5; expected a number in"),
    ("loss", {"background": 0.5}, "background is 0.5 and foreground 0.5"),
    ("train_proposals", {"after": 0}, "task.train_proposals.after is 0"),
    ("test_proposals", {"min_side": -1.0}, "task.test_proposals.min_side is"),
    ("detect", {"iou_threshold": 1.0}, "iou_threshold is 1.0; expected a"),
  ],
)
def test_what_cannot_be_says_what_can(group, changes, message):
  options = faster_rcnn.Options()
  values = getattr(options, group)._replace(**changes)
  with pytest.raises(ValueError, match=re.escape(message)):
    faster_rcnn.make_task(options._replace(**{group: values}), classes(3))


def test_other_things_that_cannot_be():
  with pytest.raises(ValueError, match="learns is 'boxes'; allowed are both"):
    small(learns="boxes")
  with pytest.raises(ValueError, match="size 100 must .* of 32, such as 96"):
    small().check_size((64, 100))
  with pytest.raises(ValueError, match="size 100 must .* of 16, such as 96"):
    small(network=dict(backbone="vgg16")).check_size((64, 100))
