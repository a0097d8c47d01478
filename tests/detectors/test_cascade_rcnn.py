"""Cascade R-CNN: what each stage sees, learns from and adds."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import SHORT, random_batch

from yolo9000 import boxes as box
from yolo9000.boxes import coding, sampling
from yolo9000.boxes.proposals import Amounts
from yolo9000.boxes.suppression import Suppression
from yolo9000.detectors import cascade_rcnn, faster_rcnn
from yolo9000.types import Step
from yolo9000.wordtree import Classes

pytestmark = pytest.mark.usefixtures("libraries_promote")

CLASSES = Classes(("a", "b", "c"))
HOW = faster_rcnn.Network(SHORT, width=1 / 16, bins=3, deviation=0.05)
OPTIONS = cascade_rcnn.Options(
  HOW,
  train_proposals=Amounts(40, 30),
  test_proposals=Amounts(30, 20),
  proposal_loss=faster_rcnn.ProposalLoss(samples=16),
  loss=faster_rcnn.Loss(samples=12),
  detect=Suppression(0.5, 0.01, 50, 10),
)


@pytest.fixture(scope="module")
def task():
  return cascade_rcnn.make_task(OPTIONS, CLASSES)


@pytest.fixture(scope="module")
def variables(task):
  return jax.jit(partial(task.init, size=(64, 64)))(jax.random.key(0))


def test_a_step_compiles_once_and_has_the_parts_of_every_stage(task, variables):
  """Gradients are finite without truths and reach every head."""
  compilations = []

  @jax.jit
  @partial(jax.grad, has_aux=True)
  def gradient(params, batch):
    compilations.append(1)
    step = Step(jnp.int32(0), jax.random.key(0))
    loss, (_, parts) = task.loss({**variables, "params": params}, batch, step)
    return loss, parts

  for counts in ([5, 1], [0, 0]):
    found, parts = gradient(variables["params"], random_batch(counts))
    for array in jax.tree.leaves(found):
      assert np.isfinite(array).all()
    for number in range(3):
      for name in (f"box_heads_{number}", f"predictors_{number}"):
        assert any(np.any(x != 0) for x in jax.tree.leaves(found[name])), name
  stages = {f"{name}_{n}" for name in ("label", "coord") for n in (1, 2, 3)}
  assert set(parts) == {"objectness", "proposal_coord", *stages}
  assert all(parts[f"coord_{n}"] == 0 for n in (1, 2, 3))
  assert len(compilations) == 1


def test_stages_see_the_boxes_of_those_before_and_scores_are_means(variables):
  network = cascade_rcnn.CascadeRCNN(HOW, OPTIONS.norm, 3, 3)
  rois = jnp.asarray([[[0.1, 0.2, 0.5, 0.7], [0.0, 0.3, 1.0, 0.9]]])
  mask = jnp.asarray([[True, False]])
  image = jnp.asarray(np.random.default_rng(1).random((1, 64, 64, 3), "f"))
  run = partial(
    network.apply,
    variables,
    image,
    train=False,
    choose=lambda *_: faster_rcnn.Rois(rois, mask),
  )
  raw = jax.jit(run)()
  logits = np.stack([said.logits for said in raw.stages])
  share = np.exp(logits - logits.max(-1, keepdims=True))
  share /= share.sum(-1, keepdims=True)
  np.testing.assert_allclose(raw.scores, share.mean(0), rtol=1e-4)

  weights = OPTIONS.stages.codes
  raw = jax.jit(
    partial(run, refine=lambda n, said: cascade_rcnn.decoded(said, weights(n)))
  )()
  for number in (0, 1):
    before, after = raw.stages[number : number + 2]
    expected = box.clip(
      coding.decode(
        before.codes[0, 0, 0], before.chosen.rois[0, 0], weights(number)
      )
    )
    np.testing.assert_allclose(after.chosen.rois[0, 0], expected, rtol=1e-5)
    assert not after.chosen.rois[0, 1].any()
    assert after.chosen.mask.tolist() == [[True, False]]


def test_weights_are_the_inverse_of_the_programs_deviations():
  assert OPTIONS.stages.codes(0) == faster_rcnn.WEIGHTS
  assert OPTIONS.stages.codes(2) == (30.0, 30.0, 15.0, 15.0)


@pytest.mark.parametrize(
  ("foreground", "positive"),
  [(0.6, [1, 1, 0, 0, 1, 0]), (0.7, [1, 0, 0, 0, 1, 0])],
)
def test_later_stages_ask_for_more_and_learn_from_truths(foreground, positive):
  """Rois of IoU 1, .65, 0 and padding; a truth, and one that is a line."""
  boxes = jnp.asarray([[0.0, 0.0, 0.4, 0.4], [0.6, 0.0, 0.6, 0.9]])
  rois = jnp.asarray(
    [
      [0.0, 0.0, 0.4, 0.4],
      [0.0, 0.0, 0.26, 0.4],
      [0.5, 0.5, 0.9, 0.9],
      [0.0, 0.0, 0.4, 0.4],
    ]
  )
  found = sampling.every_roi(
    rois,
    jnp.asarray([True, True, True, False]),
    boxes,
    jnp.asarray([True, True]),
    foreground=foreground,
  )
  assert found.mask.tolist() == [True, True, True, False, True, False]
  np.testing.assert_array_equal(found.sample.positive, positive)
  np.testing.assert_array_equal(
    found.sample.negative, found.mask & ~found.sample.positive
  )


def test_later_stages_learn_from_the_rois_of_the_first():
  """Not from the truths of earlier ones, even if rois are too few."""
  batch = random_batch([5, 1])
  count, most = 7, batch.boxes.shape[1]
  for number, more in ((1, 0), (2, most)):
    rois = jnp.zeros((2, count + more, 4))
    nothing = jnp.zeros((2, count + more))
    codes = jnp.zeros((2, count + more, 1, 4))
    chosen = faster_rcnn.Rois(rois, nothing.astype(bool))
    said = cascade_rcnn.Said(chosen, nothing, codes)
    found = cascade_rcnn.learned_from(number, said, batch, OPTIONS)
    assert found.rois.shape == (2, count + most, 4)
    np.testing.assert_array_equal(found.rois[:, count:], batch.boxes)


def test_predictions_are_within_the_picture(task, variables):
  found = jax.jit(task.predict)(variables, random_batch([1, 1]).image)
  assert found.boxes.shape == (2, 10, 4)
  assert found.boxes.min() >= 0 and found.boxes.max() <= 1


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"foreground": 0.5}, "task.stages.foreground is 0.5"),
    ({"weights": (10.0, 20.0, 30.0)}, "task.stages.weights is (10.0, 20.0"),
    ({"weights": ((1.0, 0.0),) * 3}, "two numbers above 0"),
    ({"loss": (1.0, 1.0, -1.0)}, "task.stages.loss is (1.0, 1.0, -1.0)"),
    ({"foreground": (0.5, 0.6)}, "expected a value for every stage in each"),
    ({"foreground": (0.5, 0.6, 0.0)}, "(0.5, 0.6, 0.0); expected IoU above 0"),
    (
      {"foreground": (0.4, 0.6, 0.7)},
      "begins with 0.4, and task.loss.foreground is 0.5; expected the same",
    ),
  ],
)
def test_what_cannot_be_says_what_can(changes, message):
  stages = OPTIONS.stages._replace(**changes)
  with pytest.raises(ValueError, match=re.escape(message)):
    cascade_rcnn.make_task(OPTIONS._replace(stages=stages), CLASSES)
  with pytest.raises(ValueError, match="allowed are resnet50"):
    cascade_rcnn.make_task(
      OPTIONS._replace(network=HOW._replace(backbone="vgg")), CLASSES
    )
