"""VGG-16 as SSD has it, its pools and its norm, against torchvision's."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import torchvision
from oracles.torchvision import last

from yolo9000.detectors import ssd
from yolo9000.networks.chain import Chain, max_pool
from yolo9000.networks.norm import L2Norm
from yolo9000.networks.shapes import output_shapes
from yolo9000.networks.vgg import CONV4_3, FC7, VGG16


def of_largest(found, expected, part=1e-4):
  found = np.asarray(found)
  np.testing.assert_allclose(
    found, expected, atol=part * np.abs(expected).max()
  )


def test_levels_are_torchvisions(goldens):
  golden = goldens("tv_backbones")
  rows, levels = ssd.trunk(ssd.Network(width=1 / 16))
  of_trunk = torchvision.variables(golden, "vgg/w/", "backbone.", "trunk")
  maps = jax.jit(
    lambda variables, x: Chain(rows).apply(
      variables, x, train=False, method="outputs"
    )
  )(of_trunk, last(golden["vgg/x"])[..., ::-1])  # ours reads the reverse
  maps = [maps[level] for level in levels]
  scale = torchvision.variables(golden, "vgg/w/", "backbone.", "conv4_3_norm")
  maps[0] = L2Norm(20.0).apply(scale, maps[0])
  for n, x in enumerate(maps):
    of_largest(x, last(golden[f"vgg/out{n}"]))


def test_rows_are_where_they_are_said_to_be():
  shapes = output_shapes(VGG16, (300, 300, 3))
  assert shapes[CONV4_3] == (38, 38, 512) and shapes[FC7] == (19, 19, 1024)
  image = jax.ShapeDtypeStruct((1, 64, 64, 3), np.float32)
  init = partial(Chain(VGG16).init, train=False)
  made = jax.eval_shape(init, jax.random.key(0), image)
  count = sum(math.prod(x.shape) for x in jax.tree.leaves(made))
  assert count == 20_483_904  # as in the PyTorch port


@pytest.mark.parametrize(
  ("case", "size", "stride", "padding"),
  [
    ("2_2_ceil", 2, 2, 1),
    ("2_2_floor", 2, 2, 0),
    ("3_1_p1", 3, 1, 2),
    ("3_2_ceil", 3, 2, 1),
    ("3_2_p1", 3, 2, 2),
    ("3_2_p1_ceil", 3, 2, 2),
  ],
)
def test_pools_are_torchvisions(goldens, case, size, stride, padding):
  golden = goldens("tv_backbones")
  found = max_pool(
    last(golden["pool/x"]), size=size, stride=stride, padding=padding
  )
  expected = last(golden[f"pool/{case}"])
  np.testing.assert_array_equal(found, expected)


def test_length_is_torchvisions(goldens):
  golden = goldens("tv_backbones")
  x = last(golden["l2norm/x"])
  norm = L2Norm(float(golden["l2norm/scale"]))
  found, variables = norm.init_with_output(jax.random.key(0), x)
  of_largest(found, last(golden["l2norm/out"]))
  # Where all is zero its square root has no derivative.
  gradient = jax.grad(lambda x: jnp.sum(norm.apply(variables, x)))(x)
  assert np.isfinite(gradient).all() and (np.asarray(x) == 0).all(-1).any()
