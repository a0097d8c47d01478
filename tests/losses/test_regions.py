"""The losses of both stages, against torchvision's."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from yolo9000 import losses
from yolo9000.boxes import coding, matching
from yolo9000.boxes.sampling import Sample

WEIGHTS = (10.0, 10.0, 5.0, 5.0)


def truths_of(golden, image):
  """Padded by two."""
  boxes = golden[f"rpn_loss/gt_boxes{image}"]
  mask = np.arange(6) < len(boxes)
  return jnp.pad(jnp.asarray(boxes), ((0, 6 - len(boxes)), (0, 0))), mask


@pytest.fixture(scope="module")
def found(goldens):
  """Boxes, and what anchors are to find, of two pictures."""
  golden = goldens("tv_rcnn")
  boxes, masks = zip(*(truths_of(golden, n) for n in range(2)), strict=True)
  boxes, masks = jnp.stack(boxes), jnp.asarray(np.stack(masks))
  match = partial(matching.match, high=0.7, low=0.3, keep_best=True)
  anchors = jnp.asarray(golden["anchors"])
  return boxes, jax.jit(jax.vmap(match, (None, 0, 0)))(anchors, boxes, masks)


def test_what_anchors_find_is_torchvisions(goldens, found):
  golden = goldens("tv_rcnn")
  boxes, matches = found
  labels = np.where(matches.ignored, -1, np.where(matches.assigned, 1, 0))
  np.testing.assert_array_equal(labels, golden["rpn_loss/labels"])
  assigned = np.asarray(matches.assigned[0])
  truth = boxes[0][matches.truth[0]]
  expected = golden["rpn_loss/matched_gt_boxes0"][assigned]
  np.testing.assert_array_equal(truth[assigned], expected)
  anchors = jnp.asarray(golden["anchors"])
  codes = coding.encode(truth, anchors, (1.0,) * 4)[assigned]
  expected = golden["rpn_loss/regression_targets0"][assigned]
  assert np.abs(codes - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("which", ["sampled", "all"])
def test_proposal_loss_and_gradient_are_torchvisions(goldens, found, which):
  """With the stored sample; the second picture has no truth."""
  golden = goldens("tv_rcnn")
  boxes, matches = found
  sample = Sample(matches.assigned, ~matches.assigned & ~matches.ignored)
  if which == "sampled":
    sample = Sample(
      *(jnp.asarray(golden[f"rpn_loss/{n}_mask"] > 0) for n in ("pos", "neg"))
    )

  @jax.jit
  @partial(jax.value_and_grad, argnums=(0, 1), has_aux=True)
  def loss(logits, codes):
    of_picture = partial(
      losses.proposal_loss, anchors=jnp.asarray(golden["anchors"]), beta=1 / 9
    )
    parts = jax.vmap(
      lambda a, b, c, t, s: of_picture(a, b, c, truth=t, sample=s)
    )(logits, codes, boxes, matches.truth, sample)
    counts = jnp.sum(sample.positive | sample.negative, axis=1)
    parts = losses.over_counted(parts, counts, jnp.ones(2, bool))
    return sum(parts.values()), parts

  given = (golden["proposals/objectness"], golden["proposals/deltas"])
  (_, parts), gradient = loss(*map(jnp.asarray, given))
  case = f"rpn_loss/{which}"
  for name, stored in (
    ("objectness", "loss_objectness"),
    ("proposal_coord", "loss_rpn_box_reg"),
  ):
    expected = golden[f"{case}/{stored}"]
    np.testing.assert_allclose(parts[name], expected, rtol=1e-5)
  for got, name in zip(gradient, ("objectness", "deltas"), strict=True):
    expected = golden[f"{case}/grad_{name}"]
    assert np.abs(got - expected).max() <= 1e-5 * np.abs(expected).max()


@partial(jax.jit, static_argnames=("beta",))
@partial(jax.value_and_grad, argnums=(0, 1), has_aux=True)
def region(logits, codes, boxes, labels, rois, truth, sample, beta):
  parts = losses.region_loss(
    *(logits, codes, boxes, labels),
    rois=rois,
    truth=truth,
    sample=sample,
    weights=WEIGHTS,
    beta=beta,
  )
  count = jnp.maximum(jnp.sum(sample.positive | sample.negative), 1)
  parts = {k: v / count.astype(jnp.float32) for k, v in parts.items()}
  return sum(parts.values()), parts


def given(golden, labels):
  """Each roi has a truth of its own, which is what its targets say."""
  rois = jnp.tile(jnp.asarray([[2.0, 3.0, 12.0, 17.0]]), (len(labels), 1))
  targets = jnp.asarray(golden["fastrcnn_loss/regression_targets"])
  boxes = coding.decode(targets, rois, WEIGHTS)
  logits = jnp.asarray(golden["fastrcnn_loss/class_logits"])
  codes = jnp.asarray(golden["fastrcnn_loss/box_regression"]).reshape(-1, 5, 4)
  sample = Sample(jnp.asarray(labels > 0), jnp.asarray(labels == 0))
  classes = jnp.asarray(np.maximum(labels - 1, 0))
  return logits, codes, boxes, classes, rois, jnp.arange(len(labels)), sample


@pytest.mark.parametrize("case", ["", "all_background/"])
def test_region_loss_and_gradient_are_torchvisions(goldens, case):
  golden = goldens("tv_rcnn")
  labels = golden["fastrcnn_loss/labels"] * (case == "")
  (_, parts), gradient = region(*given(golden, labels), beta=1 / 9)
  for name, stored in (("label", "classifier"), ("coord", "box_reg")):
    expected = golden[f"fastrcnn_loss/{case}loss_{stored}"]
    np.testing.assert_allclose(parts[name], expected, rtol=1e-5)
  if case:
    return
  for got, name in zip(
    gradient, ("class_logits", "box_regression"), strict=True
  ):
    expected = golden[f"fastrcnn_loss/grad_{name}"]
    error = np.abs(got.reshape(expected.shape) - expected).max()
    assert error <= 1e-5 * np.abs(expected).max()


def test_order_and_padding_do_not_matter(goldens):
  """Padding has no area, and numbers that would count; no truth is finite."""
  golden = goldens("tv_rcnn")
  arrays = given(golden, golden["fastrcnn_loss/labels"])
  (expected, _), _ = region(*arrays, beta=1.0)
  order = np.random.default_rng(0).permutation(41)
  logits, codes, boxes, labels, rois, truth, sample = arrays

  def padded(x):
    return jnp.pad(x[order], ((0, 3),) + ((0, 0),) * (x.ndim - 1))

  sample = Sample(*(padded(x) for x in sample))
  moved = (padded(logits), padded(codes), boxes, labels, padded(rois))
  (value, _), gradient = region(*moved, padded(truth), sample, beta=1.0)
  np.testing.assert_allclose(value, expected, rtol=1e-5)
  for array in gradient:
    np.testing.assert_array_equal(array[41:], 0)
  nobody = Sample(*(jnp.zeros(44, bool),) * 2)
  (value, _), gradient = region(*moved, padded(truth), nobody, beta=1.0)
  assert value == 0
  for array in gradient:
    np.testing.assert_array_equal(array, 0)


def test_one_box_whatever_the_class(goldens):
  """With the codes of every class equal it is the same."""
  golden = goldens("tv_rcnn")
  logits, codes, *others = given(golden, golden["fastrcnn_loss/labels"])
  one = codes[:, :1]
  (_, parts), _ = region(logits, one, *others, beta=1.0)
  every = jnp.broadcast_to(one, codes.shape)
  (_, expected), _ = region(logits, every, *others, beta=1.0)
  np.testing.assert_allclose(parts["coord"], expected["coord"], rtol=1e-6)
