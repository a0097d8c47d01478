"""Mask R-CNN, against torchvision's and the published sizes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from oracles import torchvision
from support import SHORT

from yolo9000.boxes.proposals import Amounts
from yolo9000.boxes.suppression import Suppression
from yolo9000.data.batches import empty_batch
from yolo9000.detectors import faster_rcnn, mask_rcnn
from yolo9000.types import Step
from yolo9000.wordtree import Classes

COCO = Classes(tuple(f"class {n}" for n in range(80)))


def assert_close(found, expected, tolerance=1e-5):
  """To so much of the largest entry."""
  error = np.abs(np.asarray(found) - expected).max()
  assert error <= tolerance * np.abs(expected).max()


def test_the_head_is_torchvisions(goldens):
  golden = goldens("tv_rcnn")
  params = {}
  for part in ("mask_head", "mask_predictor"):
    params |= torchvision.variables(
      golden, f"{part}/w/", f"roi_heads.{part}.", "mask_head"
    )["params"]
  head = mask_rcnn.MaskHead(5, (8, 8), 7)
  x = torchvision.last(golden["mask_head/x"])
  found, kept = jax.jit(
    lambda x: head.apply({"params": params}, x, capture_intermediates=True)
  )(x)
  kept = kept["intermediates"]["conv_1"]["__call__"][0]
  assert_close(jax.nn.relu(kept), torchvision.last(golden["mask_head/out"]))
  expected = torchvision.last(golden["mask_head/mask_logits"])
  assert_close(found, expected)


def test_probabilities_are_torchvisions(goldens):
  golden = goldens("tv_rcnn")
  logits = torchvision.last(golden["mask_loss/mask_logits"])
  labels = jnp.asarray(golden["mask_inference/labels"])
  found = mask_rcnn.probabilities(logits, labels)
  assert_close(found, golden["mask_inference/probs"][:, 0])


@pytest.mark.parametrize(
  ("backbone", "expected"),
  [("resnet50", 44_347_573), ("resnet101", 63_287_477)],
)
def test_published_sizes(backbone, expected):
  """Parameters but batch norm's; masks of 28 cells.

  Source: the published code, counted.
  """
  how = faster_rcnn.Network(backbone=backbone)
  task = mask_rcnn.make_task(mask_rcnn.Options(network=how), COCO)
  size = (800, 1344)
  variables = jax.eval_shape(partial(task.init, size=size), jax.random.key(0))
  params = flatten_dict(variables["params"])
  learned = {k: v for k, v in params.items() if not k[-2].endswith("_norm")}
  assert sum(v.size for v in learned.values()) == expected
  image = jax.ShapeDtypeStruct((1, *size, 3), np.uint8)
  found = jax.eval_shape(task.predict, variables, image)
  assert found.masks.shape == (1, 100, 28, 28)


def small(**changes):
  """A narrow one, with few proposals."""
  options = mask_rcnn.Options(
    network=faster_rcnn.Network(
      backbone=SHORT, frozen_norm=False, anchor_scale=4.0, width=1 / 16
    ),
    train_proposals=Amounts(20, 20),
    test_proposals=Amounts(20, 20),
    loss=faster_rcnn.Loss(samples=16),
    masks=mask_rcnn.Masks(bins=4),
    detect=Suppression(0.5, 0.05, 20, 5),
  )
  return options._replace(**changes)


def test_masks_are_learned_from_what_is_known(libraries_promote):
  """Finite without truths; a truth of unknown mask teaches none."""
  task = mask_rcnn.make_task(small(), Classes(("cat", "dog")))
  size = 64
  variables = task.init(jax.random.key(0), (size, size))
  batch = empty_batch(3, size=size, max_objects=2, mask_size=8)
  rng = np.random.default_rng(0)
  batch = jax.tree.map(jnp.asarray, batch)._replace(
    image=jnp.asarray(rng.integers(0, 256, batch.image.shape), jnp.uint8),
    boxes=jnp.tile(jnp.float32([[0.1, 0.1, 0.6, 0.7]]), (3, 2, 1)),
    mask=jnp.array([[True, False], [False, False], [True, False]]),
    index=jnp.arange(3, dtype=jnp.int32),
  )
  step, compilations = Step(np.int32(1), jax.random.key(0)), []

  @jax.jit
  def gradient(masks):
    compilations.append(1)

    def of(params):
      full = {**variables, "params": params}
      value, (_, parts) = task.loss(full, batch._replace(masks=masks), step)
      return value, parts

    return jax.grad(of, has_aux=True)(variables["params"])

  known = batch.masks.at[2, 0, 2:6].set(255)
  found = {}
  for name, masks in (("unknown", batch.masks), ("known", known)):
    grads, parts = gradient(masks)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((grads, parts)))
    moved = sum(np.abs(x).sum() for x in jax.tree.leaves(grads["mask_head"]))
    found[name] = float(parts["mask"]), float(moved)
  assert found["unknown"] == (0, 0) and len(compilations) == 1
  assert 0.3 < found["known"][0] < 3 and found["known"][1] > 0
  with pytest.raises(ValueError, match="no masks; expected data.mask_size"):
    jax.eval_shape(task.loss, variables, batch._replace(masks=None), step)
  shown = jax.jit(task.predict)(variables, batch.image)
  assert shown.masks.shape == (3, 5, 8, 8)
  assert 0 <= shown.masks.min() and shown.masks.max() <= 1


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"masks": mask_rcnn.Masks(bins=0)}, "masks.bins is 0; expected a"),
    (
      {"masks": mask_rcnn.Masks(weight=0.0)},
      "weight is 0.0; expected a",
    ),
    (
      {"network": faster_rcnn.Network("vgg16")},
      "backbone is 'vgg16'; expected a residual network",
    ),
  ],
)
def test_what_cannot_be_says_what_can(changes, message):
  with pytest.raises(ValueError, match=message):
    mask_rcnn.make_task(small(**changes), COCO)
