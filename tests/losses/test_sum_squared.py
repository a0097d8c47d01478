"""The loss of the first YOLO, golden and by hand."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import darknet_truth

from yolo9000 import losses
from yolo9000.losses.sum_squared import clipped
from yolo9000.networks.rows import Detection

CASES = (
  *("base", "norescore", "nosqrt", "softmax", "forced", "zero_truths"),
  *("scales", "no_overlap_rmse", "voc_7x7x2", "voc_7x7x3", "negative_wh"),
)


# Compiled once for all cases that have the same options and shapes.
@partial(jax.jit, static_argnames=("how", "rescore", "by_size"))
@partial(jax.grad, has_aux=True)
def gradient_and_parts(output, boxes, labels, mask, **options):
  parts = losses.sum_squared_loss(output, boxes, labels, mask, **options)
  return sum(parts.values()), parts


@pytest.mark.parametrize("case", CASES)
def test_gradient_is_the_programs(goldens, case):
  """To 1e-4 of the largest entry; the program of both eras."""
  whole = goldens("detection_train")
  golden = {
    k.split("/")[1]: whole[k] for k in whole if k.startswith(f"{case}/")
  }
  hyper = dict(zip(whole["hyper_names"].tolist(), golden["hyper"], strict=True))
  how = Detection(
    *(int(hyper[name]) for name in ("side", "classes", "n")),
    square_root=bool(hyper["sqrt"]),
    exclusive=bool(hyper["softmax"]),
  )
  weights = losses.Weights(
    *(
      float(hyper[f"{name}_scale"])
      for name in ("coord", "object", "noobject", "class")
    )
  )
  for x, rows, delta in zip(
    golden["x"], golden["truth"], golden["delta"], strict=True
  ):
    gradient, _ = gradient_and_parts(
      jnp.asarray(x),
      *darknet_truth.of_cells(rows, how.side),
      how=how,
      weights=weights,
      rescore=bool(hyper["rescore"]),
      by_size=bool(hyper["forced"]),
    )
    error = np.abs(-gradient - delta).max()
    assert error <= 1e-4 * np.abs(golden["delta"]).max()


PAPER = dict(
  how=Detection(2, 2, 2),
  weights=losses.Weights(5.0, 1.0, 0.5, 1.0),
  rescore=True,
  by_size=False,
)


def test_by_hand():
  """The truth is in the last of four cells; its second box is half as sure."""
  output = np.zeros(2 * 2 * (2 + 2 * 5), np.float32)
  classes, confidences, numbers = np.split(output, (8, 16))
  classes.reshape(4, 2)[3] = [0.0, 1.0]
  confidences.reshape(4, 2)[:] = [[0.1, 0], [0, 0], [0, 0], [0.2, 0.5]]
  numbers.reshape(4, 2, 4)[3, 1] = [0.5, 0.5, 0.5, 0.5]  # roots of a quarter
  boxes = np.array(
    [[0.625, 0.625, 0.875, 0.875], [0, 0, 1, 1], [0, 0, 1, 1]], np.float32
  )
  _, parts = gradient_and_parts(
    jnp.asarray(np.concatenate([classes, confidences, numbers])),
    jnp.asarray(boxes),
    jnp.array([0, 1, 1]),
    jnp.array([True, False, False]),
    **PAPER,
  )
  np.testing.assert_allclose(parts["coord"], 0, atol=1e-6)
  np.testing.assert_allclose(parts["objectness"], 0.5**2 / 2)
  np.testing.assert_allclose(
    parts["background"], 0.5 * (0.1**2 + 0.2**2) / 2, rtol=1e-6
  )
  np.testing.assert_allclose(parts["label"], 1.0)


def test_of_two_truths_in_a_cell_the_first_is_taught():
  rng = np.random.default_rng(0)
  output = jnp.asarray(rng.normal(size=48), jnp.float32)
  low = np.array([[0.1, 0.1], [0.2, 0.2], [0.6, 0.6]], np.float32)
  boxes = jnp.asarray(np.concatenate([low, low + 0.2], 1))
  labels = jnp.array([0, 1, 1])
  _, both = gradient_and_parts(
    output, boxes, labels, jnp.array([True, True, True]), **PAPER
  )
  _, one = gradient_and_parts(
    output, boxes, labels, jnp.array([True, False, True]), **PAPER
  )
  assert both == one


def test_gradients_are_finite_without_truths():
  none = jnp.zeros((3, 4)), jnp.zeros(3, jnp.int32), jnp.zeros(3, bool)
  found = np.asarray(gradient_and_parts(jnp.ones(48), *none, **PAPER)[0])
  assert np.isfinite(found).all()
  assert not found[:8].any() and not found[16:].any()


def test_no_error_of_an_output_is_beyond_the_clip():
  gradient = jax.jit(jax.grad(lambda x: jnp.sum(5 * clipped(x, 2.0) ** 2)))
  np.testing.assert_allclose(
    gradient(jnp.array([0.1, 3.0, -3.0])), [1.0, 2.0, -2.0], rtol=1e-6
  )
