"""Fast R-CNN: its size, its learning, its detections."""

import math
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from yolo9000.boxes import coding
from yolo9000.boxes.suppression import Suppression
from yolo9000.data import proposals
from yolo9000.data.batches import empty_batch
from yolo9000.detectors import fast_rcnn
from yolo9000.types import Step
from yolo9000.wordtree import Classes

VOC = Classes(tuple(f"class {n}" for n in range(20)))
SIZE = (64, 64)


def batch_of(count, *, boxes=None, most=12):
  """Random pictures with random proposals, and these truths on each."""
  batch = empty_batch(count, size=64, max_objects=2, max_proposals=most)
  rng = np.random.default_rng(0)
  batch = proposals.at_random(batch)._replace(
    image=rng.integers(0, 256, batch.image.shape).astype(np.uint8),
    index=np.arange(count, dtype=np.int32),
  )
  if boxes is None:
    return batch
  return batch._replace(
    boxes=np.tile(np.float32(boxes)[None], (count, 1, 1)),
    labels=np.tile(np.int32([[3, 7]]), (count, 1)),
    mask=np.ones((count, 2), bool),
  )


@pytest.fixture(scope="module")
def small():
  """A narrow one, its variables, and the gradient of its loss."""
  compilations = []
  how = fast_rcnn.Network(width=1 / 32)
  loss = fast_rcnn.Loss(samples=8)
  task = fast_rcnn.make_task(fast_rcnn.Options(how, loss=loss), VOC)
  variables = jax.jit(task.init, static_argnums=1)(jax.random.key(0), SIZE)

  @jax.jit
  def gradient(batch, key):
    compilations.append(1)

    def of(params):
      loss, (_, parts) = task.loss(
        {**variables, "params": params}, batch, Step(jnp.int32(1), key)
      )
      return loss, parts

    return jax.value_and_grad(of, has_aux=True)(variables["params"])

  return task, variables, gradient, compilations


def test_it_is_vgg_16_with_two_answers():
  """13 convolutions, fc6, fc7, and 21 logits and 84 codes of a roi."""
  task = fast_rcnn.make_task(fast_rcnn.Options(), VOC)
  variables = jax.eval_shape(
    partial(task.init, size=(600, 600)), jax.random.key(0)
  )
  count = sum(math.prod(x.shape) for x in jax.tree.leaves(variables["params"]))
  vgg16 = 138_357_544 - 4097 * 1000  # without the classes of ImageNet
  assert count == vgg16 + 4097 * (21 + 84)


TRUTHS = ((0.1, 0.1, 0.6, 0.5), (0.5, 0.4, 0.9, 0.9))


def test_gradients_are_finite_with_and_without_truths(small):
  """Nor does it matter for compilation what there is, proposals too."""
  _, _, gradient, compilations = small
  key = jax.random.key(0)
  for boxes in (TRUTHS, None):
    empty = batch_of(2, boxes=boxes)
    empty.proposals[:] = 0
    flat = batch_of(2, boxes=boxes)
    flat.proposals[..., 2] = flat.proposals[..., 0]
    for batch in (empty, flat):
      (loss, _), found = gradient(batch, key)
      assert np.isfinite(loss)
      assert all(np.isfinite(x).all() for x in jax.tree.leaves(found))
  (loss, parts), found = gradient(batch_of(2, boxes=TRUTHS), key)
  assert loss == pytest.approx(sum(parts.values()))
  assert parts["label"] > 0 and parts["coord"] > 0
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(found))
  assert any(np.any(x != 0) for x in jax.tree.leaves(found))
  (loss, parts), found = gradient(batch_of(2), key)
  assert parts["coord"] == 0 and np.isfinite(loss)
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(found))
  assert len(compilations) == 1


def test_what_is_drawn_is_the_steps_and_the_pictures(small):
  """Rois and dropout; a picture that is not valid has no part in the loss."""
  _, _, gradient, _ = small
  batch = batch_of(2, boxes=TRUTHS)
  first, again = (gradient(batch, jax.random.key(0))[0][0] for _ in range(2))
  other = gradient(batch, jax.random.key(1))[0][0]
  assert first == again and first != other
  moved = batch._replace(
    **{
      name: np.asarray(value)[::-1]
      for name, value in batch._asdict().items()
      if value is not None
    }
  )
  turned = gradient(moved, jax.random.key(0))[0][0]
  np.testing.assert_allclose(turned, first, rtol=1e-4)


def test_order_and_padding_of_proposals_do_not_matter(small):
  """To what is found; padding is among them or behind."""
  task, variables, *_ = small
  batch = batch_of(2)
  predict = jax.jit(task.predict)
  cut = batch.proposals.copy()
  cut[:, 9:] = 0
  order = np.random.default_rng(1).permutation(cut.shape[1])
  expected = predict(variables, batch.image, cut)
  found = predict(variables, batch.image, cut[:, order])
  assert expected.mask.any()
  for a, b in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
    np.testing.assert_allclose(a, b, atol=1e-6)


def test_padding_of_proposals_is_no_detection(small):
  task, variables, *_ = small
  batch = batch_of(2)
  cut = batch.proposals.copy()
  cut[:, 5:] = 0
  found = jax.jit(task.predict)(variables, batch.image, cut)
  some = found.mask.sum(1)
  assert (some <= 5 * 20).all() and task.needs_proposals
  assert task.inputs(batch)[1] is batch.proposals


def test_each_class_moves_a_proposal_to_its_own_box():
  """Worked out: two proposals for three classes, and one of padding."""
  rois = jnp.array([[0.1, 0.1, 0.5, 0.5], [0.5, 0.5, 0.9, 0.9], [0, 0, 0, 0]])
  truths = jnp.array([[0.2, 0.1, 0.6, 0.5], [0.4, 0.5, 0.9, 0.8]])
  logits = jnp.log(jnp.array([[1, 7, 1, 1], [1, 1, 1, 7], [0.1, 9, 9, 9]]))
  codes = jnp.zeros((3, 4, 4))
  said = coding.encode(truths, rois[:2], fast_rcnn.WEIGHTS)
  codes = codes.at[jnp.arange(2), jnp.array([1, 3])].set(said)
  how = Suppression(0.3, 0.2, 12, 5)
  found = jax.jit(fast_rcnn.detections, static_argnames="how")(
    logits, codes, rois, jnp.array([True, True, False]), how=how
  )
  assert found.mask.tolist() == [True, True, False, False, False]
  assert found.labels[:2].tolist() == [0, 2]
  np.testing.assert_allclose(found.scores[:2], 0.7, rtol=1e-5)
  np.testing.assert_allclose(found.boxes[:2], truths, atol=1e-6)


def test_a_box_that_leaves_the_picture_is_no_detection():
  """Two widths to the left of the edge; the other class stays."""
  codes = jnp.zeros((1, 3, 4)).at[0, 1, 0].set(-20.0)
  found = fast_rcnn.detections(
    jnp.array([[0.0, 4.0, 3.0]]),
    codes,
    jnp.array([[0.0, 0.4, 0.2, 0.6]]),
    jnp.array([True]),
    how=Suppression(0.3, 0.01, 2, 2),
  )
  assert found.mask.tolist() == [True, False] and found.labels[0] == 1


@pytest.mark.parametrize(
  ("group", "changes", "message"),
  [
    ("network", {"width": 0.0}, "width is 0.0; it must be above 0"),
    ("network", {"dtype": "int8"}, "'int8'; allowed are float32, bfloat16"),
    ("network", {"dropout": 1.0}, "dropout is 1.0; expected a number in"),
    ("loss", {"samples": 0}, "samples is 0; expected a whole number"),
    ("loss", {"background": 0.6}, "background is 0.6 and foreground 0.5"),
    ("detect", {"iou_threshold": 1.0}, "iou_threshold is 1.0; expected a"),
  ],
)
def test_what_cannot_be_says_what_can(group, changes, message):
  options = fast_rcnn.Options()
  values = getattr(options, group)._replace(**changes)
  with pytest.raises(ValueError, match=re.escape(message)):
    fast_rcnn.make_task(options._replace(**{group: values}), VOC)
