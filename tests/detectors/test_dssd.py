"""DSSD: maps and boxes of the published sizes, its modules by slow loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from yolo9000.detectors import dssd
from yolo9000.networks.norm import Norm
from yolo9000.wordtree import Classes


def traced(options, num_classes):
  """Sizes of maps, parameters and boxes, without computing anything."""
  network = dssd.DSSD(
    options.network, Norm(), options.default_boxes.per_cell, num_classes
  )
  size, grids = options.default_boxes.size, []

  def init(key, x):
    raw, variables = network.init_with_output(
      key, x, train=False, capture_intermediates=True, mutable=True
    )
    grids.extend(raw.grids)
    maps = variables.pop("intermediates")
    return maps, variables["params"], raw.codes

  image = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
  maps, params, codes = jax.eval_shape(init, jax.random.key(0), image)
  shapes = {
    name: jax.tree.map(lambda x: x.shape[1:], of["__call__"][0])
    for name, of in maps.items()
    if "__call__" in of and name != "heads"
  }
  count = sum(x.size for x in jax.tree.leaves(params))
  boxes = options.default_boxes.on(tuple(grids))
  assert codes.shape == (1, *boxes.shape)
  return shapes, count, len(boxes)


@pytest.mark.parametrize(
  ("options", "num_classes", "sides", "boxes", "parameters"),
  [
    (dssd.DSSD321, 20, (40, 20, 10, 5, 3, 1), 17_080, 162_023_664),
    (dssd.DSSD513, 80, (64, 32, 16, 8, 4, 2, 1), 43_688, 211_954_392),
  ],
)
def test_published_sizes(options, num_classes, sides, boxes, parameters):
  """Maps and boxes are the authors' program's.

  How many parameters it has is not published. The numbers are those of our
  reading of the paper: 42,500,160 of ResNet-101, and the rest counted by hand.
  """
  shapes, count, found = traced(options, num_classes)
  assert found == boxes
  first, *others = sides
  backbone = shapes["backbone"]
  assert backbone[1] == (first, first, 512)
  assert backbone[3] == (others[0], others[0], 2048)
  for number, side in enumerate(others[1:]):
    assert shapes[f"extra_{number}"] == (side, side, 1024)
  for number, side in enumerate(sides[:-1]):
    assert shapes[f"back_{number}"] == (side, side, 512)
  for number, side in enumerate(sides):
    assert shapes[f"predict_{number}_0"] == (side, side, 1024)
  assert list(sides) == dssd.cells(options.default_boxes.size, options.network)
  assert count == parameters


def convolved(x, kernel, pad):
  """Of one picture, by loops."""
  size = kernel.shape[0]
  x = np.pad(x, ((pad, pad), (pad, pad), (0, 0)))
  rows, cols = x.shape[0] - size + 1, x.shape[1] - size + 1
  found = np.zeros((rows, cols, kernel.shape[3]))
  for row, col in np.ndindex(rows, cols):
    window = x[row : row + size, col : col + size]
    found[row, col] = np.einsum("abc,abcd->d", window, kernel)
  return found / np.sqrt(1 + 1e-5)  # batch norm that has seen nothing


@pytest.mark.parametrize("merge", dssd.MERGES)
@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 1)])
def test_a_deconvolution_is_figure_3(merge, size, stride):
  keys = jax.random.split(jax.random.key(0), 3)
  side = 2 * stride + size  # of three cells
  level = jax.random.normal(keys[0], (1, 3, 3, 2))
  same = jax.random.normal(keys[1], (1, side, side, 3))
  module = dssd.Deconvolution(4, size, stride, merge, Norm(), jnp.float32)
  found, variables = module.init_with_output(keys[2], level, same, train=False)
  kernels = {
    name: np.asarray(group["kernel"])
    for name, group in variables["params"].items()
    if "kernel" in group
  }
  larger = np.zeros((side, side, 4))
  for row, col, down, right in np.ndindex(3, 3, size, size):
    # Flax keeps the kernel of a deconvolution turned round.
    kernel = kernels["larger"][size - 1 - down, size - 1 - right]
    place = row * stride + down, col * stride + right
    larger[place] += np.asarray(level[0, row, col]) @ kernel
  larger = convolved(larger, kernels["after"], 1)
  same = np.maximum(convolved(np.asarray(same[0]), kernels["first"], 1), 0)
  same = convolved(same, kernels["second"], 1)
  joined = larger * same if merge == "product" else larger + same
  np.testing.assert_allclose(found[0], np.maximum(joined, 0), atol=1e-5)


def test_a_residual_block_is_figure_2():
  """(c): the shortcut is convolved too."""
  keys = jax.random.split(jax.random.key(0))
  x = jax.random.normal(keys[0], (1, 4, 5, 3))
  module = dssd.Residual(2, 3, 1, Norm(), jnp.float32)
  found, variables = module.init_with_output(keys[1], x, train=False)
  conv1, conv2, conv3, shortcut = (
    np.asarray(variables["params"][name]["kernel"])
    for name in ("conv1", "conv2", "conv3", "shortcut")
  )
  y = np.maximum(convolved(np.asarray(x[0]), conv1, 0), 0)
  y = np.maximum(convolved(y, conv2, 0), 0)
  y = convolved(y, conv3, 0) + convolved(np.asarray(x[0]), shortcut, 0)
  assert found.shape == (1, 2, 3, 8)
  np.testing.assert_allclose(found[0], np.maximum(y, 0), atol=1e-5)


def test_what_cannot_be_says_what_can():
  classes = Classes(("a",))
  for change, message in (
    (dict(backbone="vgg"), "'vgg'; allowed are resnet50, resnet101"),
    (dict(width=0.0), "width is 0.0; it must be above 0"),
    (dict(merge="max"), "merge is 'max'; allowed are product, sum"),
    (dict(kernels=(3,)), r"kernels is \(3,\); expected 6, as"),
  ):
    options = dssd.Options(dssd.Network(**change))
    with pytest.raises(ValueError, match=message):
      dssd.make_task(options, classes)
  # 38 cells would become 19, and those 9, of which 18 are made again.
  shapes = dssd.DSSD321.default_boxes._replace(size=300)
  with pytest.raises(ValueError, match="size is 300: levels have .38, 19, 9"):
    dssd.make_task(dssd.Options(default_boxes=shapes), classes)
