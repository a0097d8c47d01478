"""R-FCN: published sizes, the votes of a roi's parts, the hardest rois."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from support import SHORT, random_batch

from yolo9000 import losses
from yolo9000.boxes.proposals import Amounts
from yolo9000.boxes.sampling import Sample
from yolo9000.boxes.suppression import Suppression
from yolo9000.detectors import faster_rcnn, rfcn
from yolo9000.types import Step
from yolo9000.wordtree import Classes

pytestmark = pytest.mark.usefixtures("libraries_promote")


def classes(count):
  return Classes(tuple(f"class {n}" for n in range(count)))


def test_published_sizes_of_the_head():
  """With 20 classes. Source: the published code, counted."""
  task = rfcn.make_task(rfcn.Options(), classes(20))
  size = (608, 608)
  variables = jax.eval_shape(partial(task.init, size=size), jax.random.key(0))
  sizes = dict.fromkeys(("shared", "classes", "boxes"), 0)
  for (layer, *_), array in flatten_dict(variables["params"]).items():
    if layer in sizes:
      sizes[layer] += array.size
  assert sizes == {"shared": 2_098_176, "classes": 1_054_725, "boxes": 401_800}


HOW = rfcn.Network(SHORT, width=1 / 16, bins=2, deviation=0.05)
OPTIONS = rfcn.Options(
  HOW,
  train_proposals=Amounts(40, 30),
  test_proposals=Amounts(30, 20),
  proposal_loss=faster_rcnn.ProposalLoss(samples=16),
  loss=rfcn.Loss(hard=8),
  detect=Suppression(0.5, 0.01, 50, 10),
)


def test_a_step_compiles_once_and_gradients_are_finite():
  """Whatever the number of truths; and predictions are within the picture."""
  task, compilations = rfcn.make_task(OPTIONS, classes(3)), []
  variables = jax.jit(partial(task.init, size=(64, 64)))(jax.random.key(0))

  @jax.jit
  @partial(jax.grad, has_aux=True)
  def gradient(params, batch):
    compilations.append(1)
    step = Step(jnp.int32(0), jax.random.key(0))
    loss, (_, parts) = task.loss({**variables, "params": params}, batch, step)
    return loss, parts

  for counts in ([3, 1], [0, 0]):
    found, parts = gradient(variables["params"], random_batch(counts))
    for array in jax.tree.leaves(found):
      assert np.isfinite(array).all()
    assert (parts["coord"] > 0) == (counts[0] > 0)
    assert np.any(found["classes"]["kernel"] != 0)
  assert len(compilations) == 1
  found = jax.jit(task.predict)(variables, random_batch([1, 1]).image)
  assert found.boxes.shape == (2, 10, 4)
  assert found.boxes.min() >= 0 and found.boxes.max() <= 1


def test_sides_are_multiples_of_a_cell():
  task = rfcn.make_task(OPTIONS, classes(3))
  task.check_size((592, 608))
  with pytest.raises(ValueError, match="size 600 must .* of 16, such as 608"):
    task.check_size((600, 608))


def test_the_hardest_rois_count_alone():
  """As their losses one by one say."""
  rng = np.random.default_rng(2)
  logits = jnp.asarray(rng.normal(size=(6, 4)), jnp.float32)
  codes = jnp.asarray(rng.normal(size=(6, 1, 4)), jnp.float32)
  boxes, labels = jnp.asarray([[0.1, 0.1, 0.6, 0.6]]), jnp.asarray([2])
  positive = jnp.asarray([1, 0, 0, 1, 0, 0], bool)
  mask = jnp.asarray([1, 1, 1, 1, 1, 0], bool)
  rois = faster_rcnn.SampledRois(
    jnp.tile(jnp.asarray([[0.1, 0.2, 0.5, 0.6]]), (6, 1)),
    mask,
    jnp.zeros(6, jnp.int32),
    Sample(positive, ~positive & mask),
  )
  each = []
  for number in range(5):
    own = jnp.arange(6) == number
    parts = losses.region_loss(
      *(logits, codes, boxes, labels),
      rois=rois.rois,
      truth=rois.truth,
      sample=Sample(positive & own, ~positive & own),
      weights=faster_rcnn.WEIGHTS,
      beta=1.0,
    )
    each.append(float(sum(parts.values())))
  sums, count = rfcn.hard_loss(
    logits, codes, boxes, labels, rois, how=rfcn.Loss(hard=3)
  )
  assert count == 3
  expected = sum(sorted(each)[-3:])
  np.testing.assert_allclose(sum(sums.values()), expected, rtol=1e-5)
  everything, count = rfcn.hard_loss(
    logits, codes, boxes, labels, rois, how=rfcn.Loss(hard=128)
  )
  assert count == 5
  np.testing.assert_allclose(sum(everything.values()), sum(each), rtol=1e-5)


@pytest.mark.parametrize(
  ("group", "changes", "message"),
  [
    ("network", {"backbone": "vgg16"}, "'vgg16'; allowed are resnet50"),
    ("network", {"bins": 0}, "bins is 0; expected a whole number in"),
    ("network", {"ratios": ()}, "ratios is (); expected numbers in"),
    ("loss", {"hard": 0}, "task.loss.hard is 0; expected a whole number in"),
    ("loss", {"foreground": 0.0}, "foreground 0.0; expected 0 <= background"),
  ],
)
def test_what_cannot_be_says_what_can(group, changes, message):
  values = getattr(OPTIONS, group)._replace(**changes)
  with pytest.raises(ValueError, match=re.escape(message)):
    rfcn.make_task(OPTIONS._replace(**{group: values}), classes(3))
