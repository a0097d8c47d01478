"""Residual networks and feature pyramids, against torchvision's."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import torchvision

from yolo9000.networks import input as pictures
from yolo9000.networks.fpn import FeaturePyramid, resize_nearest
from yolo9000.networks.norm import FrozenBatchNorm
from yolo9000.networks.resnet import ResNet, resnet
from yolo9000.networks.torchvision import OF_NORM

SIZES = ("even", "odd", "odd_floor")


def assert_close(found, expected):
  """To 1e-5 of the largest entry; expected has channels first."""
  expected = expected.transpose(0, 2, 3, 1)
  error = np.abs(np.asarray(found) - expected).max()
  assert error <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("size", ["even", "odd"])
def test_stages_are_torchvisions(goldens, size, frozen):
  golden = goldens("tv_backbones")
  variables = torchvision.variables(golden, "resnet/w/", "", "backbone")
  network = ResNet((1, 2, 1, 1), (4, 8, 12, 16), 8, frozen=frozen)
  x = torchvision.last(golden[f"resnet/{size}/x"])
  # Frozen it does in training as in prediction.
  run = jax.jit(partial(network.apply, train=frozen))
  for number, found in enumerate(run(variables, x), 2):
    assert_close(found, golden[f"resnet/{size}/c{number}"])


def test_frozen_batch_norm_is_torchvisions_and_does_not_learn(goldens):
  golden = goldens("tv_backbones")
  variables = {"params": {}, "batch_stats": {}}
  for name, place in OF_NORM.items():
    collection, own = place.split("/{}/")
    variables[collection][own] = jnp.asarray(golden[f"frozen_bn/{name}"])
  norm = FrozenBatchNorm(1e-5, jnp.float32)
  x = torchvision.last(golden["frozen_bn/x"])
  assert_close(norm.apply(variables, x), golden["frozen_bn/out"])
  gradient = jax.grad(lambda v, x: jnp.sum(norm.apply(v, x)), argnums=(0, 1))
  of_own, of_input = gradient(variables, x)
  assert all(not np.any(g) for g in jax.tree.leaves(of_own))
  assert np.all(of_input != 0)


def test_a_dilated_last_stage_has_the_same_weights_and_16_pixels_a_cell():
  x = jax.ShapeDtypeStruct((1, 128, 96, 3), jnp.float32)
  found = {}
  for dilated in (False, True):
    network = resnet("resnet101", width=1.0, dilated=dilated)
    init = partial(network.init_with_output, train=False)
    stages, variables = jax.eval_shape(init, jax.random.key(0), x)
    cells = 8 if dilated else 4
    assert stages[-1].shape == (1, cells, cells * 3 // 4, 2048)
    assert stages[2].shape == (1, 8, 6, 1024)
    found[dilated] = jax.tree.map(lambda a: a.shape, variables)
  assert found[True] == found[False]


def test_published_networks_by_name():
  for change, message in (
    (dict(which="resnet18"), "resnet18'; allowed are resnet50, resnet101"),
    (dict(width=0.0), "width is 0.0; it must be above 0"),
  ):
    with pytest.raises(ValueError, match=message):
      resnet(**{"which": "resnet50", "width": 1.0, **change})


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
  ("case", "beyond"),
  [
    *(("plain", "none"), ("maxpool", "pool")),
    *(("p6p7_c5", "c5"), ("p6p7_p5", "p5")),
  ],
)
def test_pyramids_are_torchvisions(goldens, case, beyond, size):
  golden = goldens("tv_fpn")
  variables = torchvision.variables(
    golden, f"{case}/w/", "backbone.fpn.", "pyramid"
  )
  network = FeaturePyramid(16 if beyond == "p5" else 10, beyond)
  maps = [
    torchvision.last(golden[f"{case}/{size}/in_c{number}"])
    for number in (3, 4, 5)
  ]
  expected = sorted(k for k in golden if k.startswith(f"{case}/{size}/out"))
  found = jax.jit(network.apply)(variables, maps)
  for level, name in zip(found, expected, strict=True):
    assert_close(level, golden[name])


@pytest.mark.parametrize("case", [f"nearest{n}" for n in range(4)])
def test_enlarging_is_torchvisions(goldens, case):
  golden = goldens("tv_fpn")
  x = torchvision.last(golden[f"{case}/x"])
  size = golden[f"{case}/size_hw"].tolist()
  assert_close(resize_nearest(x, size), golden[f"{case}/out"])


def test_a_pyramid_that_cannot_be_says_what_can():
  with pytest.raises(ValueError, match="'p6'; allowed are none, pool, c5, p5"):
    FeaturePyramid(4, "p6").init(jax.random.key(0), [jnp.zeros((1, 2, 2, 3))])


def test_standardised_pictures():
  """The mean of ImageNet becomes 0, one deviation more 1."""
  mean = jnp.asarray(pictures.MEAN)[None, None, None]
  more = mean + jnp.asarray(pictures.DEVIATION)[None, None, None]
  np.testing.assert_allclose(pictures.standardise(mean), 0, atol=1e-6)
  np.testing.assert_allclose(pictures.standardise(more), 1, atol=1e-6)
