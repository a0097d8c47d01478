"""Proposals, samples and what rois are to find."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import proposals as oracle

from yolo9000.boxes import coding, sampling
from yolo9000.boxes.proposals import WEIGHTS, Amounts, large_enough, propose

find = jax.jit(propose, static_argnames=("levels", "image_size", "how"))


def fractions(boxes_px, height_width):
  """xyxy in [0, 1]."""
  edges = np.tile(np.asarray(height_width)[::-1], 2).astype(np.float32)
  return jnp.asarray(boxes_px / edges[None])


@pytest.mark.parametrize("least", ["8", "1e-3"])
def test_small_boxes_are_torchvisions(goldens, least):
  """One with a side of just so many pixels is large enough."""
  golden = goldens("tv_ops")
  case = f"remove_small_{least}"
  side = float(golden[f"{case}/min_size"])
  found = large_enough(jnp.asarray(golden[f"{case}/boxes"]), (side, side))
  np.testing.assert_array_equal(np.flatnonzero(found), golden[f"{case}/keep"])


@pytest.mark.parametrize("image", range(2))
@pytest.mark.parametrize("when", ["train", "test"])
def test_proposals_are_torchvisions(goldens, when, image):
  """The same ones in the same order.

  The second image is smaller than what the anchors are for, so they are given
  as fractions of the image.
  """
  golden = goldens("tv_rcnn")
  size = tuple(golden["image_shapes"][image].tolist())
  anchors = fractions(golden["anchors"], size)
  codes = jnp.asarray(golden["proposals/deltas"][image])
  expected = fractions(golden["proposals/decoded"][image], size)
  error = np.abs(coding.decode(codes, anchors, WEIGHTS) - expected).max()
  assert error <= 1e-5 * np.abs(expected).max()
  found = find(
    jnp.asarray(golden["proposals/objectness"][image]),
    codes,
    anchors,
    levels=tuple(golden["num_per_level"].tolist()),
    image_size=size,
    how=Amounts(
      int(golden[f"proposals/{when}/pre_nms_top_n"]),
      int(golden[f"proposals/{when}/post_nms_top_n"]),
      float(golden["proposals/nms_thresh"]),
      float(golden["proposals/min_size"]),
    ),
  )
  assert found.mask.all()
  expected = fractions(golden[f"proposals/{when}/boxes{image}"], size)
  np.testing.assert_allclose(found.boxes, expected, atol=1e-5)
  np.testing.assert_allclose(
    found.scores, golden[f"proposals/{when}/scores{image}"], atol=1e-6
  )


@pytest.mark.parametrize("after", [5, 60])
def test_proposals_are_those_of_loops(after):
  """Fewer than there is room for are padded; two levels, the second short."""
  rng = np.random.default_rng(after)
  low = rng.uniform(0, 0.7, (40, 2))
  anchors = np.concatenate([low, low + rng.uniform(0, 0.3, (40, 2))], axis=1)
  logits = rng.permutation(40).astype(np.float32)
  how = Amounts(25, after, 0.3, min_side=5.0)
  found = find(
    jnp.asarray(logits),
    jnp.zeros((40, 4)),
    jnp.asarray(anchors, jnp.float32),
    levels=(32, 8),
    image_size=(50, 100),
    how=how,
  )
  expected = oracle.propose(
    *(logits, anchors, (32, 8)),
    before=25,
    after=after,
    threshold=0.3,
    sides=(5 / 100, 5 / 50),
  )
  assert len(found.mask) == min(after, 25 + 8)
  count = int(found.mask.sum())
  assert count == len(expected)
  np.testing.assert_allclose(found.boxes[:count], expected, atol=1e-6)
  np.testing.assert_array_equal(found.boxes[count:], 0)
  np.testing.assert_array_equal(found.scores[count:], 0)


sample = jax.jit(sampling.balanced, static_argnames=("samples", "positives"))


@pytest.mark.parametrize(
  ("positive", "negative"), [(30, 60), (3, 60), (30, 4), (2, 3), (0, 9), (0, 0)]
)
def test_so_many_are_sampled(positive, negative):
  """Of those allowed alone, by the key alone, and always as many indices."""
  rng = np.random.default_rng(positive)
  kinds = np.repeat([1, 0, -1], [positive, negative, 100 - positive - negative])
  kinds = rng.permutation(kinds)
  given = jnp.asarray(kinds == 1), jnp.asarray(kinds == 0)
  how = dict(samples=16, positives=4)
  found = sample(jax.random.key(0), *given, **how)
  for chosen, allowed in zip(found, given, strict=True):
    assert not (chosen & ~allowed).any()
  expected = oracle.counts(positive, negative, 16, 4)
  assert [int(x.sum()) for x in found] == list(expected)
  again = sample(jax.random.key(0), *given, **how)
  for one, other in zip(found, again, strict=True):
    np.testing.assert_array_equal(one, other)
  index, real = sampling.in_order(found, 16)
  chosen = np.flatnonzero(found.positive | found.negative)
  assert len(index) == 16
  np.testing.assert_array_equal(index[real], chosen)


def test_each_is_sampled_as_often():
  """Wherever it stands: 4 of 8 positives, and 12 of 24 negatives."""
  positive = jnp.arange(40) < 8
  negative = (jnp.arange(40) >= 8) & (jnp.arange(40) < 32)
  how = partial(sampling.balanced, samples=16, positives=4)
  keys = jax.random.split(jax.random.key(1), 2000)
  found = jax.jit(jax.vmap(lambda key: how(key, positive, negative)))(keys)
  often = np.mean(found.positive | found.negative, axis=0)
  # Five deviations of a mean of 2,000 draws, sqrt(.25 / 2000), are .056.
  np.testing.assert_allclose(often[:32], 0.5, atol=0.056)
  np.testing.assert_array_equal(often[32:], 0)


assign = jax.jit(sampling.assign, static_argnames=("foreground", "background"))


def numbers(found):
  """-1: none, -2: not learned from."""
  other = np.where(found.negative, -1, -2)
  return np.where(found.positive, found.truth, other)


@pytest.mark.parametrize("background", [(0.0, 0.5), (0.1, 0.5)])
@pytest.mark.parametrize("truths", [0, 3])
def test_rois_find_what_loops_say(truths, background):
  """Their order and padding do not matter, nor do the truths'."""
  rng = np.random.default_rng(truths)
  low = rng.uniform(0, 0.5, (20, 2)).astype(np.float32)
  rois = np.concatenate([low, low + rng.uniform(0.2, 0.5, (20, 2))], axis=1)
  rois = rois.astype(np.float32)
  boxes = rois[:truths] + np.float32(0.02)
  expected = oracle.assign(rois, boxes, 0.5, background)
  order = rng.permutation(20)
  for rows, more in ((np.arange(20), 0), (order, 3)):
    found = assign(
      jnp.pad(jnp.asarray(rois[rows]), ((0, more), (0, 0))),
      jnp.arange(20 + more) < 20,
      jnp.pad(jnp.asarray(boxes), ((0, 2 + more), (0, 0)), constant_values=0.5),
      jnp.arange(truths + 2 + more) < truths,
      foreground=0.5,
      background=background,
    )
    got = numbers(found)
    np.testing.assert_array_equal(got[:20], np.array(expected)[rows])
    np.testing.assert_array_equal(got[20:], -2)


@pytest.mark.parametrize("image", range(2))
def test_samples_of_rois_are_torchvisions(goldens, image):
  """The truths stand behind the proposals; the second image has none."""
  golden = goldens("tv_rcnn")
  boxes = golden[f"roi_samples/gt_boxes{image}"]
  labels = golden[f"roi_samples/gt_labels{image}"]
  rois = np.concatenate([golden[f"roi_samples/proposals{image}"], boxes])
  found = assign(
    jnp.asarray(rois),
    jnp.ones(len(rois), bool),
    jnp.pad(jnp.asarray(boxes), ((0, 2), (0, 0))),
    jnp.arange(len(boxes) + 2) < len(boxes),
    foreground=0.5,
    background=(0.0, 0.5),
  )
  expected = golden[f"roi_samples/assigned_labels{image}"]
  got = np.zeros(len(rois), int)
  positive = np.asarray(found.positive)
  got[positive] = labels[found.truth[positive]]
  np.testing.assert_array_equal(got, expected)
  assert (found.positive | found.negative).all()
  matched = golden[f"roi_samples/assigned_matched_idxs{image}"]
  np.testing.assert_array_equal(found.truth[positive], matched[positive])

  chosen = sampling.Sample(
    jnp.asarray(golden[f"roi_samples/pos_mask{image}"] > 0),
    jnp.asarray(golden[f"roi_samples/neg_mask{image}"] > 0),
  )
  index, real = sampling.in_order(chosen, 40)
  index = index[real]
  sampled = golden[f"roi_samples/sampled_proposals{image}"]
  np.testing.assert_array_equal(rois[index], sampled)
  for name, values in (("labels", got), ("matched_idxs", found.truth)):
    expected = golden[f"roi_samples/sampled_{name}{image}"]
    values = np.where(positive, values, 0)
    np.testing.assert_array_equal(values[index], expected)
  if image == 0:  # of the second there are no targets
    truth = np.where(positive, found.truth, 0)  # as there
    codes = coding.encode(
      jnp.asarray(boxes)[truth[index]],
      jnp.asarray(rois)[index],
      (10.0, 10.0, 5.0, 5.0),
    )
    expected = golden["roi_samples/regression_targets0"]
    error = np.abs(codes - expected).max()
    assert error <= 1e-5 * np.abs(expected).max()
