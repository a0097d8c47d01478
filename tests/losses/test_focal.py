"""Focal loss and smooth L1, against torchvision's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from yolo9000 import losses


def check(loss, x, golden, case):
  """The loss and the gradient of its sum, to 1e-5 of the largest entry."""
  x = jnp.asarray(x)
  gradient = jax.grad(lambda x: jnp.sum(loss(x)))(x)
  for got, name in ((loss(x), "loss"), (gradient, "grad_of_sum")):
    expected = golden[f"{case}/{name}"]
    error = np.abs(np.asarray(got) - expected).max()
    assert error <= 1e-5 * np.abs(expected).max(), name


@pytest.mark.parametrize("alpha", [0.25, 0.5, 0.75, None])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
def test_focal_loss_is_torchvisions(goldens, alpha, gamma):
  golden = goldens("tv_ops")
  targets = jnp.asarray(golden["focal/targets"] > 0)

  def loss(x):
    return losses.focal_loss(x, targets, alpha=alpha, gamma=gamma)

  name = -1 if alpha is None else alpha
  check(loss, golden["focal/logits"], golden, f"focal/a{name}_g{gamma:g}")


def test_focal_loss_of_extreme_logits(goldens):
  golden = goldens("tv_ops")
  targets = jnp.asarray(golden["focal_extreme/targets"] > 0)

  def loss(x):
    return losses.focal_loss(x, targets, alpha=0.25, gamma=2.0)

  check(loss, golden["focal_extreme/logits"], golden, "focal_extreme")


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_loss_is_finite_with_its_gradient(gamma):
  logits = jnp.float32([-1e4, -100, 0, 100, 1e4])
  for true in (True, False):
    targets = jnp.full(5, true)

    def loss(x, targets=targets):
      return jnp.sum(losses.focal_loss(x, targets, alpha=0.25, gamma=gamma))

    value, gradient = jax.value_and_grad(loss)(logits)
    assert np.isfinite(value) and np.isfinite(gradient).all()


@pytest.mark.parametrize(
  ("beta", "name"), [(1.0, "1"), (1 / 9, "1_9"), (1 / 3, "1_3"), (0.0, "0")]
)
def test_smooth_l1_is_torchvisions(goldens, beta, name):
  golden = goldens("tv_ops")
  target = jnp.asarray(golden["smooth_l1/target"])

  def loss(x):
    return losses.smooth_l1(x - target, beta=beta)

  check(loss, golden["smooth_l1/input"], golden, f"smooth_l1/beta_{name}")
