"""The loss of a level of YOLOv3, golden and by hand."""

import inspect
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from yolo9000 import boxes as box
from yolo9000 import losses

PROGRAM = dict(
  class_error=losses.logistic_error,
  ignore_iou=0.7,
  overlap_of="prediction",
  truth_iou=1.0,
  small_box_weight=True,
)
STATIC = (*PROGRAM, "own")
level_loss = jax.jit(losses.level_loss, static_argnames=STATIC)


@partial(jax.jit, static_argnames=STATIC)
@partial(jax.grad, has_aux=True)
def gradient_and_parts(raw, boxes, labels, mask, **options):
  """Of a batch: the gradient of the sum, and each picture's parts."""
  parts = jax.vmap(partial(losses.level_loss, **options))(
    raw, boxes, labels, mask
  )
  return sum(jnp.sum(part) for part in parts.values()), parts


CASES = (
  *("stride32_mask678", "stride16_mask345", "stride8_mask012", "zero_truths"),
  *("ignore_50", "ignore_70", "all_in_other_masks", "ninety_truths"),
  *("max_boxes_7", "same_cell", "multi_label", "class0_saturated"),
  *("truth_thresh_65", "truth_thresh_multi_label", "one_class"),
  *("tiny_mask_135", "no_mask_all_anchors", "stop_at_zero_x"),
  *("tiny_huge_borders", "label_map", "sharp_logits"),
)


@pytest.mark.parametrize("case", CASES)
def test_gradient_is_the_programs(goldens, case):
  """To 1e-4 of the largest entry; its cost is the sum of their squares."""
  whole = goldens("yolo_train")
  assert set(whole["cases"]) == set(CASES)
  golden = {
    k.split("/")[1]: whole[k] for k in whole if k.startswith(f"{case}/")
  }
  hyper = dict(zip(whole["hyper_names"].tolist(), golden["hyper"], strict=True))
  truth = golden["truth"][:, : int(hyper["max_boxes"])]
  labels = truth[..., 4].astype(np.int32)
  if "map" in golden:
    labels = golden["map"][labels]
  size = np.float32([hyper["net_w"], hyper["net_h"]])
  raw = jnp.asarray(golden["x"].transpose(0, 3, 4, 1, 2))  # (B, Y, X, A, F)
  gradient, _ = gradient_and_parts(
    raw,
    jnp.asarray(box.cxcywh_to_xyxy(truth[..., :4])),
    jnp.asarray(labels),
    jnp.asarray(np.cumprod(truth[..., 0] != 0, axis=1).astype(bool)),
    prior_shapes=jnp.asarray(golden["anchors"] / size),
    own=tuple(golden["mask"].tolist()),
    **{
      **PROGRAM,
      "ignore_iou": round(float(hyper["ignore_thresh"]), 4),
      "truth_iou": round(float(hyper["truth_thresh"]), 4),
    },
  )
  descent = -np.asarray(gradient.transpose(0, 3, 4, 1, 2))
  np.testing.assert_array_equal(golden["grad"], golden["delta"])
  expected = golden["grad"]
  if case == "class0_saturated":
    # The program takes back class 0 in the two slots where it is sure of it.
    forgotten = (expected[:, :, 5] == -1) & (descent[:, :, 5] == 0)
    assert forgotten.sum() == 2
    descent[:, :, 5][forgotten] = -1
  np.testing.assert_allclose(
    descent, expected, rtol=0, atol=1e-4 * np.abs(expected).max()
  )
  np.testing.assert_array_equal(descent == 0, expected == 0)
  np.testing.assert_allclose((descent**2).sum(), golden["cost"], rtol=1e-4)
  assert_activations(golden)


def assert_activations(golden):
  """The output is logistic but for w and h."""
  output = np.array(jax.nn.sigmoid(golden["x"]))
  output[:, :, 2:4] = golden["x"][:, :, 2:4]
  np.testing.assert_allclose(output, golden["output"], atol=1e-4)


ONE = dict(prior_shapes=jnp.array([[1.0, 1.0], [0.1, 0.1]]), own=(0,))


def test_one_truth_by_hand():
  """A 1 x 1 grid, all logits 0, one truth (.5, .5, .5, 1).

  Every sigmoid is 1/2, and so are the targets of x and y: their cross-entropies
  are ln 2 each. t_w should be ln 1/2 and t_h 0. With 2 - w h = 1.5 that makes
  coord. Objectness is ln 2, and two classes make twice that.
  """
  truth = (
    jnp.array([[0.25, 0.0, 0.75, 1.0]]),
    jnp.array([1]),
    jnp.array([True]),
  )
  parts = level_loss(jnp.zeros((1, 1, 1, 7)), *truth, **ONE, **PROGRAM)
  ln2 = np.log(2)
  expected = {
    "coord": 1.5 * (2 * ln2 + ln2**2 / 2),
    "objectness": ln2,
    "background": 0.0,
    "label": 2 * ln2,
  }
  assert parts.keys() == expected.keys()
  for name, value in expected.items():
    np.testing.assert_allclose(parts[name], value, rtol=1e-6, err_msg=name)
  # The level of the small prior does not teach it; nor does it overlap there.
  other = level_loss(
    jnp.zeros((1, 1, 1, 7)), *truth, **{**ONE, "own": (1,)}, **PROGRAM
  )
  np.testing.assert_allclose(other.pop("background"), ln2, rtol=1e-6)
  assert not any(other.values())


@pytest.mark.parametrize("overlap_of", ["prediction", "prior"])
def test_what_overlaps_is_a_prediction_or_a_prior(overlap_of):
  """The truth is the whole picture, of another prior; the prior covers .64.

  The slot predicts a box of e^-4 of the prior's area.
  """
  raw = jnp.zeros((1, 1, 1, 6)).at[0, 0, 0, 2:4].set(-2.0)
  shapes = jnp.array([[0.8, 0.8], [1.0, 1.0]])
  truth = jnp.array([[0.0, 0, 1, 1]]), jnp.array([0]), jnp.array([True])
  options = {**PROGRAM, "ignore_iou": 0.5, "overlap_of": overlap_of}
  parts = level_loss(raw, *truth, prior_shapes=shapes, own=(0,), **options)
  expected = np.log(2) if overlap_of == "prediction" else 0.0
  np.testing.assert_allclose(parts["background"], expected, rtol=1e-6)


def picture(seed=0, truths=5):
  rng = np.random.default_rng(seed)
  low = rng.uniform(0, 0.6, (truths, 2))
  boxes = np.concatenate([low, low + rng.uniform(0.1, 0.4, (truths, 2))], 1)
  return (
    jnp.asarray(rng.normal(size=(3, 4, 2, 8)), jnp.float32),
    jnp.asarray(boxes, jnp.float32),
    jnp.asarray(rng.integers(0, 3, truths), jnp.int32),
    jnp.ones(truths, bool),
  )


SHAPES = dict(
  prior_shapes=jnp.array([[0.1, 0.2], [0.2, 0.1], [0.3, 0.3]]), own=(1, 2)
)


def test_without_truths_all_is_background_and_gradients_are_finite():
  raw, boxes, labels, mask = picture()
  for padding in (boxes, jnp.zeros_like(boxes), boxes * 1e6):
    gradient, parts = gradient_and_parts(
      *(raw[None], padding[None], labels[None], ~mask[None]),
      **SHAPES,
      **PROGRAM,
    )
    assert np.isfinite(gradient).all()
    assert parts["coord"] == parts["objectness"] == parts["label"] == 0
    expected = np.logaddexp(0, raw[..., 4]).sum()
    np.testing.assert_allclose(parts["background"][0], expected, rtol=1e-6)


def test_padding_and_order_do_not_matter():
  raw, _, labels, mask = picture(truths=4)
  corner = jnp.array([[0.1, 0.1], [0.6, 0.1], [0.1, 0.7], [0.6, 0.7]])
  boxes = jnp.concatenate([corner, corner + 0.25], axis=1)  # a slot each
  parts = level_loss(raw, boxes, labels, mask, **SHAPES, **PROGRAM)
  order, pad = jnp.array([2, 0, 3, 1]), ((0, 3), (0, 0))
  again = level_loss(
    raw,
    jnp.pad(boxes[order], pad, constant_values=0.3),
    jnp.pad(labels[order], pad[0], constant_values=2),
    jnp.pad(mask[order], pad[0]),
    **SHAPES,
    **PROGRAM,
  )
  assert parts["coord"] > 0
  for name in parts:
    np.testing.assert_allclose(parts[name], again[name], rtol=1e-6)


def test_static_mistakes_are_errors():
  raw, *truth = picture()
  unchecked = inspect.unwrap(losses.level_loss)  # by the tests' shapes
  with pytest.raises(ValueError, match="A = 1 priors of its own"):
    unchecked(raw, *truth, **{**SHAPES, "own": (0,)}, **PROGRAM)
  with pytest.raises(ValueError, match="at least one class"):
    unchecked(raw[..., :5], *truth, **SHAPES, **PROGRAM)
  with pytest.raises(ValueError, match="'box'; allowed are prior, prediction"):
    unchecked(raw, *truth, **SHAPES, **{**PROGRAM, "overlap_of": "box"})
