"""VGG-16 as SSD has it, its pools and its norm, against torchvision's."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict
from oracles import torchvision
from oracles.torchvision import last

from yolo9000.detectors import fast_rcnn, faster_rcnn, ssd
from yolo9000.networks import input as pictures
from yolo9000.networks import torchvision as published
from yolo9000.networks.chain import Chain, max_pool
from yolo9000.networks.norm import L2Norm
from yolo9000.networks.rows import layer_name, widen
from yolo9000.networks.shapes import output_shapes
from yolo9000.networks.vgg import CONV4_3, CONV5_3, FC7, VGG16
from yolo9000.wordtree import Classes


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


def vgg16(*, for_detectors=False):
  """A narrow VGG-16 by torchvision's names: of features, and of classes."""
  rng = np.random.default_rng(0)
  made, inputs = {}, 3
  for number, here in zip(published.OF_VGG16, published.CONVS, strict=False):
    filters = VGG16[here].filters // 16
    kernel = rng.normal(0, np.sqrt(2 / 9 / inputs), (filters, inputs, 3, 3))
    made[f"features.{number}.weight"] = kernel
    made[f"features.{number}.bias"] = rng.normal(size=filters)
    inputs = filters
  for number, (rows, inputs) in ((0, (256, 32 * 49)), (3, (256, 256))):
    made[f"classifier.{number}.weight"] = rng.normal(size=(rows, inputs))
    made[f"classifier.{number}.bias"] = rng.normal(size=rows)
  return {
    name: np.full_like(array, np.nan, np.float32)
    if for_detectors and name.startswith("classifier")
    else np.float32(array)
    for name, array in made.items()
  }


@pytest.mark.parametrize("for_detectors", [True, False])
def test_what_vgg16_alone_says_stays_as_it_was(for_detectors):
  """At conv5_3; around the picture is Caffe's grey, for them too."""
  theirs = vgg16(for_detectors=for_detectors)
  image = jnp.asarray(np.random.default_rng(1).random((1, 40, 48, 3)), "f")
  grey = jnp.asarray(pictures.CAFFE_MEAN[::-1], jnp.float32)[None, None, None]
  wide = jnp.ones((1, 42, 50, 3)) * (grey / 255)
  wide = wide.at[:, 1:-1, 1:-1].set(image)
  x = wide * 255 - grey if for_detectors else pictures.standardise(wide)
  x = jax.lax.conv_general_dilated(
    x,
    theirs["features.0.weight"],
    (1, 1),
    padding="VALID",
    dimension_numbers=("NHWC", "OIHW", "NHWC"),
  )
  x = jax.nn.relu(x + theirs["features.0.bias"][None, None, None])
  rows = widen(VGG16[: CONV5_3 + 1], 1 / 16)
  rest = {
    layer_name(here - 1): {
      "kernel": theirs[f"features.{number}.weight"].transpose(2, 3, 1, 0),
      "bias": theirs[f"features.{number}.bias"],
    }
    for number, here in zip(
      published.OF_VGG16[1:], published.CONVS[1:], strict=False
    )
  }
  expected = Chain(rows[1:]).apply({"params": rest}, x, train=False)
  found = unflatten_dict(published.converted(theirs), sep="/")
  got = Chain(rows).apply(
    {"params": found["params"]["backbone"]},
    pictures.as_caffe(image),
    train=False,
  )
  of_largest(got, expected)


def test_connected_layers_of_vgg16_are_taken_where_they_are():
  """By SSD, Faster and Fast R-CNN, or left to begin fresh."""
  classes = Classes(("a", "b"))
  how = {"width": 1 / 16}
  vgg = faster_rcnn.VGG_OPTIONS.network._replace(**how)
  tasks = {
    "trunk": ssd.make_task(ssd.Options(ssd.Network(**how)), classes),
    "backbone": faster_rcnn.make_task(
      faster_rcnn.VGG_OPTIONS._replace(network=vgg), classes
    ),
    "head": fast_rcnn.make_task(
      fast_rcnn.Options(fast_rcnn.Network(**how)), classes
    ),
  }
  theirs = vgg16()
  found = published.converted(theirs)
  fewer = published.converted(vgg16(for_detectors=True))
  for first, task in tasks.items():
    side = 300 if first == "trunk" else 320
    init = partial(task.init, size=(side, side))
    made = jax.eval_shape(init, jax.random.key(0))
    for arrays, is_whole in ((found, True), (fewer, False)):
      taken = {
        name
        for name, array in flatten_dict(made, sep="/").items()
        if name in arrays and arrays[name].shape == array.shape
      }
      layers = {name.rpartition("/")[0] for name in taken}
      assert len(layers) == (15 if is_whole else 13), first
  fc6, fc7 = theirs["classifier.0.weight"], theirs["classifier.3.weight"]
  bias = theirs["classifier.3.bias"]
  grid = np.random.default_rng(2).normal(size=(7, 7, 32)).astype("f")
  expected = fc6 @ grid.transpose(2, 0, 1).ravel()
  sparse = np.zeros_like(grid)
  sparse[::3, ::3] = grid[::3, ::3]
  of_sparse = (fc6 @ sparse.transpose(2, 0, 1).ravel())[::4]
  for where in ("head", "box_head"):
    got = grid.ravel() @ found[f"params/{where}/fc6/kernel"]
    of_largest(got, expected)
    np.testing.assert_array_equal(found[f"params/{where}/fc7/kernel"], fc7.T)
    np.testing.assert_array_equal(found[f"params/{where}/fc7/bias"], bias)
  places = found[f"params/trunk/{layer_name(FC7 - 1)}/kernel"]
  got = np.einsum("yxi,yxio->o", grid[::3, ::3], places)
  of_largest(got, of_sparse)  # 0 everywhere else
  last = f"params/trunk/{layer_name(FC7)}"
  np.testing.assert_array_equal(found[f"{last}/kernel"][0, 0].T, fc7[::4, ::4])
  np.testing.assert_array_equal(found[f"{last}/bias"], bias[::4])


def test_vgg16_without_its_connected_layers_is_an_error():
  theirs = vgg16()
  del theirs["classifier.3.bias"]
  with pytest.raises(ValueError, match="VGG-16 without classifier.3.bias: whi"):
    published.converted(theirs)
