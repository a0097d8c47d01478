"""Mask R-CNN's targets and their error, against torchvision's."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from yolo9000 import losses

project = jax.jit(losses.project_masks, static_argnames=("side", "aligned"))
value_and_gradient = jax.jit(jax.value_and_grad(losses.mask_loss))


def assert_close(found, expected, tolerance=1e-5):
  """To so much of the largest entry."""
  error = np.abs(np.asarray(found) - expected).max()
  assert error <= tolerance * np.abs(expected).max()


def whole_pictures(golden):
  """Masks of whole pictures, whose frame is the picture; rois; truths."""
  masks = jnp.asarray(golden["project_masks/gt_masks"], jnp.float32)
  height, width = masks.shape[1:]
  edges = np.float32([width, height, width, height])
  frames = jnp.tile(jnp.float32([[0, 0, 1, 1]]), (len(masks), 1))
  rois = jnp.asarray(golden["project_masks/boxes"] / edges)
  return masks, frames, rois, jnp.asarray(golden["project_masks/matched_idxs"])


@pytest.mark.parametrize("side", [14, 28])
def test_targets_are_torchvisions(goldens, side):
  golden = goldens("tv_rcnn")
  found = project(*whole_pictures(golden), side=side, aligned=False)
  assert_close(found, golden[f"project_masks/M{side}/out"], 2e-5)


def test_loss_and_gradient_are_torchvisions(goldens):
  golden = goldens("tv_rcnn")
  masks, frames, rois, truth = whole_pictures(golden)
  targets = project(masks, frames, rois, truth, side=14, aligned=False)
  logits = golden["mask_loss/mask_logits"].transpose(0, 2, 3, 1)
  labels = jnp.asarray(golden["mask_loss/gt_labels"])[truth]
  everything = jnp.ones(len(rois), bool)
  value, gradient = value_and_gradient(
    jnp.asarray(logits), targets, labels, everything
  )
  count = len(rois)
  expected = count * golden["mask_loss/loss_mask"]
  np.testing.assert_allclose(value, expected, rtol=1e-5)
  expected = golden["mask_loss/grad_mask_logits"].transpose(0, 2, 3, 1)
  assert_close(gradient, count * expected, 2e-5)
  # Rois that are not counted are as if they were not there.
  more = [
    jnp.concatenate([x, y])
    for x, y in (
      (jnp.asarray(logits), 50 * jnp.ones_like(logits[:2])),
      (targets, targets[:2]),
      (labels, labels[:2]),
    )
  ]
  counted = jnp.arange(len(rois) + 2) < len(rois)
  padded, own = value_and_gradient(*more, counted)
  np.testing.assert_allclose(padded, value, rtol=1e-6)
  assert not own[len(rois) :].any()
  none, own = value_and_gradient(*more, jnp.zeros_like(counted))
  assert none == 0 and not own.any()


def test_frames_say_where_a_mask_lies():
  """A mask in the frame of its box is that of the whole picture there.

  A roi that is its truth's box sees the mask itself, each cell the mean of
  four; one that goes beyond it sees zeros there; without a frame nothing.
  """
  rng = np.random.default_rng(0)
  mask = jnp.asarray(rng.random((8, 8)), jnp.float32)
  whole = jnp.zeros((32, 32), jnp.float32).at[8:16, 16:24].set(mask)
  frame = jnp.float32([0.5, 0.25, 0.75, 0.5])
  rois = jnp.float32(
    [frame, [0.55, 0.3, 0.7, 0.45], [0.4, 0.2, 0.8, 0.5], [0, 0, 0.25, 0.25]]
  )
  truth = jnp.zeros(4, jnp.int32)
  of = partial(project, side=4, aligned=True)
  found = of(mask[None], frame[None], rois, truth)
  means = mask.reshape(4, 2, 4, 2).mean((1, 3))
  np.testing.assert_allclose(found[0], means, atol=1e-6)
  picture = jnp.float32([[0, 0, 1, 1]])
  np.testing.assert_allclose(
    found, of(whole[None], picture, rois, truth), atol=1e-6
  )
  assert found[2, 0, 0] < 0.02 and found[2].max() > 0.2 and not found[3].any()
  assert not of(mask[None], jnp.zeros((1, 4)), rois, truth).any()
