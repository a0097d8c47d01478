"""R-CNN: its regions, its two trainings, its detections."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from yolo9000.boxes.sampling import Sample, SampledRois
from yolo9000.boxes.suppression import Suppression
from yolo9000.data import proposals
from yolo9000.data.batches import empty_batch
from yolo9000.detectors import rcnn
from yolo9000.training import held
from yolo9000.types import Step
from yolo9000.wordtree import Classes

VOC = Classes(tuple(f"class {n}" for n in range(20)))
THREE = Classes(("a", "b", "c"))


def test_a_region_has_its_context_around_it():
  """A ramp warped is a ramp; what lies outside of the picture is 0."""
  ramp = jnp.broadcast_to(jnp.arange(40.0)[None, :, None], (40, 40, 3)) + 0.5
  how = rcnn.Network(side=80, context=10)
  roi = jnp.array([10, 10, 25, 25]) / 40
  found = jax.jit(rcnn.warp, static_argnames="how")(ramp, roi, how=how)
  assert found.shape == (80, 80, 3)
  # 60 of 80 pixels for 15: each is a quarter, and 2.5 more on either side.
  expected = 7.5 + (np.arange(80) + 0.5) / 4
  np.testing.assert_allclose(found[40, :, 0], expected, atol=1e-3)
  corner = jnp.array([0, 0, 15, 15]) / 40
  found = jax.jit(rcnn.warp, static_argnames="how")(ramp, corner, how=how)
  assert (found[:, :8] == 0).all() and (found[:8] == 0).all()
  assert (found[12:, 12:] > 0).all()


def test_shapes_are_caffenets():
  """227 pixels to 6 x 6 x 256, and the sizes of what stands on it."""
  network = rcnn.RCNN(20, rcnn.Network(), rcnn.Norm())
  region = jax.ShapeDtypeStruct((1, 1, 227, 227, 3), jnp.float32)
  variables = jax.eval_shape(
    partial(network.init, train=False), jax.random.key(0), region
  )
  params = flatten_dict(variables["params"], sep="/")
  kernels = {
    name.removesuffix("/kernel"): array.shape
    for name, array in params.items()
    if name.endswith("kernel") and "trunk" not in name
  }
  assert kernels == {
    "head/fc6": (6 * 6 * 256, 4096),
    "head/fc7": (4096, 4096),
    "labels": (4096, 21),
    "svms": (4096, 20),
    "ridges": (6 * 6 * 256, 80),
  }
  assert held.layers(rcnn.HELD, variables) == [
    *("head/fc6", "head/fc7", "labels"),
    *(f"trunk/layer_{n:02d}" for n in (0, 2, 4, 5, 6)),
  ]


def given():
  """Rois of one picture with two truths: both, one near, one far, padding."""
  boxes = jnp.array([[0.1, 0.1, 0.5, 0.5], [0.6, 0.6, 0.9, 0.9]])
  rois = jnp.array(
    [
      *boxes.tolist(),
      [0.1, 0.1, 0.5, 0.4],  # IoU .75 with the first
      [0.0, 0.8, 0.1, 0.9],
      [0.0, 0.0, 0.0, 0.0],
    ]
  )
  chosen = SampledRois(
    rois,
    jnp.array([True, True, True, True, False]),
    jnp.array([0, 1, 0, 0, 0]),
    Sample(
      jnp.array([True, True, True, False, False]),
      jnp.array([False, False, False, True, False]),
    ),
  )
  return boxes, jnp.array([0, 2]), jnp.ones(2, bool), chosen


def test_losses_are_those_worked_out():
  boxes, labels, mask, chosen = given()
  margins = jnp.array(
    [
      [0.5, -2.0, -0.5],
      [-3.0, 0.0, 2.0],
      [9.0, -1.0, -1.0],  # overlaps the first: no example for class 0
      [-0.25, -4.0, -4.0],
      [9.0, 9.0, 9.0],  # padding
    ]
  )
  codes = jnp.zeros((5, 3, 4)).at[0, 0, 0].set(0.2)
  said = rcnn.Said(jnp.zeros((5, 4)), margins, codes)
  fit = jax.jit(partial(rcnn.fitting_loss, how=rcnn.Loss()))
  parts = fit(said, boxes, labels, mask, chosen=chosen)
  hinges = 2 * 0.5 + 0.5  # the first truth: missing .5; its class 2: .5
  hinges += 1.0  # the second truth's class 1 at 0; 2 of its own is enough
  hinges += 0.75  # the far one of class 0
  np.testing.assert_allclose(parts["label"], hinges / 4, rtol=1e-5)
  # The near roi ends .1 higher: its centre .05 of .3, its side log(.4 / .3).
  near = (0.05 / 0.3) ** 2 + np.log(4 / 3) ** 2
  np.testing.assert_allclose(parts["coord"], (0.2**2 + near) / 2 / 3, rtol=1e-4)
  tuned = rcnn.tuning_loss(said, boxes, labels, mask, chosen=chosen)
  np.testing.assert_allclose(tuned["label"], np.log(4), rtol=1e-6)
  nobody = jnp.zeros(2, bool)
  none = Sample(jnp.zeros(5, bool), jnp.zeros(5, bool))
  found = fit(said, boxes, labels, nobody, chosen=chosen._replace(sample=none))
  assert found["label"] == 0 and found["coord"] == 0


def test_each_training_teaches_its_own_layers():
  """And the gradient is finite; the other layers' is zero."""
  how = rcnn.Network(side=67, context=5, width=1 / 32)
  batch = proposals.at_random(
    empty_batch(1, size=64, max_objects=2, max_proposals=6)
  )
  batch = batch._replace(
    image=np.random.default_rng(0)
    .integers(0, 256, batch.image.shape)
    .astype(np.uint8),
    boxes=np.float32([[[0.1, 0.1, 0.6, 0.6], [0.5, 0.3, 0.9, 0.9]]]),
    mask=np.ones((1, 2), bool),
  )
  batch.proposals[0, 0] = (0.1, 0.1, 0.6, 0.5)  # IoU .8 with the first
  step = Step(jnp.int32(1), jax.random.key(0))
  for learns, taught in (
    ("softmax", {"trunk", "head", "labels"}),
    ("svm", {"svms", "ridges"}),
  ):
    options = rcnn.Options(
      learns, how, loss=rcnn.Loss(samples=8, positives=1.0)
    )
    task = rcnn.make_task(options, THREE)
    init = jax.jit(task.init, static_argnums=1)
    variables = init(jax.random.key(0), (64, 64))

    def of(params, batch, task=task, variables=variables):
      return task.loss({**variables, "params": params}, batch, step)[0]

    compute = jax.jit(jax.grad(of))
    gradient = compute(variables["params"], batch)
    learns_now = {
      name
      for name, arrays in gradient.items()
      if any(np.any(x != 0) for x in jax.tree.leaves(arrays))
    }
    assert learns_now == taught
    nothing = np.zeros_like(batch.proposals)
    nobody = np.zeros_like(batch.mask)
    for other in (
      batch._replace(proposals=nothing),
      batch._replace(mask=nobody),
      batch._replace(proposals=nothing, mask=nobody),
    ):
      found = compute(variables["params"], other)
      assert all(np.isfinite(x).all() for x in jax.tree.leaves(found))
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradient))
    assert compute._cache_size() == 1


def test_svms_score_and_the_regression_moves():
  rois = jnp.array([[0.1, 0.1, 0.5, 0.5], [0.5, 0.5, 0.9, 0.9], [0, 0, 1, 1]])
  there = jnp.array([True, True, False])
  said = rcnn.Said(
    jnp.log(jnp.array([[1, 8, 1, 0.5], [8, 1, 1, 0.5], [1, 9, 9, 9]])),
    jnp.array([[-1.0, -2.0, -2.0], [-2, 1, -2], [9, 9, 9]]),
    jnp.zeros((3, 3, 4)).at[:, :, 0].set(0.25),
  )
  how = Suppression(0.3, 0.5, 9, 4)
  run = jax.jit(rcnn.detections, static_argnames=("learns", "how"))
  found = run(said, rois, there, learns="svm", how=how)
  assert found.mask.tolist() == [True, False, False, False]
  assert found.labels[0] == 1
  np.testing.assert_allclose(found.scores[0], 1 / (1 + np.exp(-1)), rtol=1e-5)
  np.testing.assert_allclose(found.boxes[0], [0.6, 0.5, 1, 0.9], atol=1e-6)
  found = run(said, rois, there, learns="softmax", how=how)
  assert found.mask.tolist() == [True, False, False, False]
  assert found.labels[0] == 0
  np.testing.assert_allclose(found.boxes[0], rois[0], atol=1e-6)


@pytest.mark.parametrize(
  ("group", "changes", "message"),
  [
    (
      "network",
      {"side": 64},
      "side is 64 and context 16; expected",
    ),
    ("network", {"chunk": 0}, "chunk is 0; expected a whole number"),
    ("network", {"width": 0.0}, "width is 0.0; it must be above 0"),
    ("loss", {"positives": 2.0}, "positives is 2.0; expected a number"),
    ("loss", {"foreground": 0.0}, "background is 0.0 and foreground 0.0"),
  ],
)
def test_what_cannot_be_says_what_can(group, changes, message):
  options = rcnn.Options()
  values = getattr(options, group)._replace(**changes)
  with pytest.raises(ValueError, match=re.escape(message)):
    rcnn.make_task(options._replace(**{group: values}), VOC)


def test_it_learns_in_one_of_two_ways():
  with pytest.raises(ValueError, match="task.learns is 'trees'; allowed are"):
    rcnn.make_task(rcnn.Options(learns="trees"), VOC)
