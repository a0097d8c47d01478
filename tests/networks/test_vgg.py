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
from yolo9000.networks import input as pictures
from yolo9000.networks import torchvision as published
from yolo9000.networks.chain import Chain, max_pool
from yolo9000.networks.norm import L2Norm
from yolo9000.networks.rows import layer_name
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


def vgg16(seed=0):
  """A narrow VGG-16 by torchvision's names: of features, and of classes."""
  rng = np.random.default_rng(seed)
  made, inputs = {}, 3
  for number, here in zip(published.OF_VGG16, published.CONVS, strict=False):
    filters = VGG16[here].filters // 16
    made[f"features.{number}.weight"] = rng.normal(size=(filters, inputs, 3, 3))
    made[f"features.{number}.bias"] = rng.normal(size=filters)
    inputs = filters
  for number, (rows, inputs) in ((0, (256, 32 * 49)), (3, (256, 256))):
    made[f"classifier.{number}.weight"] = rng.normal(size=(rows, inputs))
    made[f"classifier.{number}.bias"] = rng.normal(size=rows)
  return {name: np.float32(array) for name, array in made.items()}


@pytest.mark.parametrize("kind", ["for pictures of classes", "for detectors"])
def test_vgg16_alone_is_a_start(kind):
  """Its first layer on a picture, its connected layers on a grid."""
  theirs = vgg16()
  image = jnp.asarray(np.random.default_rng(1).random((1, 9, 9, 3)), "f")
  if kind == "for detectors":
    seen = (
      image * 255 - jnp.float32(pictures.CAFFE_MEAN[::-1])[None, None, None]
    )
    for name in theirs:
      if name.startswith("classifier"):
        theirs[name] = np.full_like(theirs[name], np.nan)
  else:
    seen = pictures.standardise(image)
  found = published.converted(theirs)
  whole = {
    "backbone": {layer_name(n) for n in published.CONVS[:13]},
    "trunk": {layer_name(n) for n in published.CONVS},
  }
  if kind == "for detectors":
    whole["trunk"] = whole["backbone"]
  else:
    whole |= {where: {"fc6", "fc7"} for where in ("head", "box_head")}
  arrays = {tuple(name.split("/")) for name in found}
  assert arrays == {
    ("params", where, layer, kind)
    for where, layers in whole.items()
    for layer in layers
    for kind in ("kernel", "bias")
  }

  conv = partial(
    jax.lax.conv_general_dilated,
    window_strides=(1, 1),
    padding="VALID",
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )
  expected = conv(seen, theirs["features.0.weight"].transpose(2, 3, 1, 0))
  expected += theirs["features.0.bias"][None, None, None]
  first = "params/backbone/layer_00/"
  got = conv(pictures.as_caffe(image), jnp.asarray(found[f"{first}kernel"]))
  got += found[f"{first}bias"][None, None, None]
  of_largest(got, expected)
  if kind == "for detectors":
    return

  grid = np.random.default_rng(2).normal(size=(7, 7, 32)).astype("f")
  weight = theirs["classifier.0.weight"]
  expected = weight @ grid.transpose(2, 0, 1).ravel()
  fc6 = found["params/box_head/fc6/kernel"]
  np.testing.assert_allclose(grid.ravel() @ fc6, expected, rtol=1e-3, atol=1e-3)
  # On a grid that is 0 but at every third place the convolution says the same.
  sparse = np.zeros_like(grid)
  sparse[::3, ::3] = grid[::3, ::3]
  expected = weight[::4] @ sparse.transpose(2, 0, 1).ravel()
  kernel = found[f"params/trunk/{layer_name(FC7 - 1)}/kernel"]
  got = np.einsum("yxi,yxio->o", grid[::3, ::3], kernel)
  np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-3)
