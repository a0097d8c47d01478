from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from yolo9000.networks import chain, darknet19
from yolo9000.networks.rows import Conv, operations
from yolo9000.training import devices

GOLDEN = np.load(Path(__file__).parent / "golden" / "reorg.npz")


def network(layers, **options):
  settings = dict(dtype=jnp.float32, momentum=0.9, epsilon=1e-5)
  return chain.Darknet(layers=layers, **{**settings, **options})


def stored_floats(layers):
  """Parameters and batch statistics: what a .weights file holds."""
  net = network(layers)
  init = partial(net.init, train=False)
  shapes = jax.eval_shape(
    init, jax.random.key(0), jnp.zeros((1, 64, 64, 3), jnp.float32)
  )
  return sum(x.size for x in jax.tree.leaves(shapes))


def imagenet(network):
  return darknet19.classifier(
    network=network, batch_norm=True, num_classes=1000, width=1.0
  )


def yolov2(outputs=125, passthrough="paper", width=1.0):
  return darknet19.yolov2(
    network="darknet19",
    outputs=outputs,
    passthrough=passthrough,
    program_reorg=False,
    width=width,
  )


@pytest.mark.parametrize(
  ("layers", "floats"),
  [
    (
      imagenet("darknet19"),
      20_856_776,
    ),
    (yolov2(), 67_158_109),
    (yolov2(outputs=425), 67_465_609),
    (yolov2(passthrough="program"), 50_676_061),
    (yolov2(passthrough="program", outputs=425), 50_983_561),
  ],
  ids=["darknet19", "voc 2017", "coco 2017", "voc", "coco"],
)
def test_networks_have_as_many_numbers_as_the_programs_files(layers, floats):
  """The sizes of the released .weights files, less their headers."""
  assert stored_floats(layers) == floats


def test_darknet19_is_table_6():
  rows = imagenet("darknet19")
  written = [
    f"{r.filters} {r.size}x{r.size}"
    if isinstance(r, Conv)
    else type(r).__name__
    for r in rows
  ]
  assert written == (
    "32 3x3,MaxPool,64 3x3,MaxPool,128 3x3,64 1x1,128 3x3,MaxPool,256 3x3,"
    "128 1x1,256 3x3,MaxPool,512 3x3,256 1x1,512 3x3,256 1x1,512 3x3,MaxPool,"
    "1024 3x3,512 1x1,1024 3x3,512 1x1,1024 3x3,1000 1x1,AveragePool"
  ).split(",")


@pytest.mark.parametrize("passthrough", ["none", "paper", "program"])
@pytest.mark.parametrize("size", [(96, 96), (64, 160)])
def test_output_is_a_grid_of_32_pixel_cells(passthrough, size):
  net = network(yolov2(outputs=30, passthrough=passthrough, width=1 / 16))
  image = jnp.zeros((2, *size, 3), jnp.float32)
  variables = net.init(jax.random.key(0), image, train=False)
  out = net.apply(variables, image, train=False)
  assert out.shape == (2, size[0] // 32, size[1] // 32, 30)


def test_width_leaves_the_outputs_alone():
  rows = yolov2(outputs=125, width=0.25)
  filters = [r.filters for r in rows if isinstance(r, Conv)]
  assert filters[0] == 8 and filters[-2] == 256 and filters[-1] == 125


def test_an_unknown_passthrough_names_the_allowed():
  message = "'v3'; allowed with network 'darknet19' are bare, none, paper"
  with pytest.raises(ValueError, match=message):
    yolov2(passthrough="v3")


@pytest.mark.parametrize("case", [f"case{n}" for n in range(6)])
def test_reorg_is_the_programs(case):
  shape, stride = GOLDEN[f"{case}/x_shape"], int(GOLDEN[f"{case}/stride"])
  x = jnp.arange(np.prod(shape)).reshape(shape).transpose(0, 2, 3, 1)
  out = chain.reorg_program(x, stride)
  np.testing.assert_array_equal(
    out.transpose(0, 3, 1, 2), GOLDEN[f"{case}/out"]
  )


def test_space_to_depth_by_hand():
  # One channel, 2 x 4: blocks [[0 1][4 5]] and [[2 3][6 7]], offset first.
  x = jnp.arange(8).reshape(1, 2, 4, 1)
  out = chain.space_to_depth(x, 2)
  np.testing.assert_array_equal(out[0, 0], [[0, 1, 4, 5], [2, 3, 6, 7]])
  # Channels stay together within an offset.
  x = jnp.stack([x[..., 0], x[..., 0] + 100], axis=-1)
  out = chain.space_to_depth(x, 2)
  np.testing.assert_array_equal(out[0, 0, 0], [0, 100, 1, 101, 4, 104, 5, 105])


def test_half_of_the_programs_reorg_is_plain():
  x = jnp.arange(64 * 26 * 26).reshape(1, 26, 26, 64)
  same = chain.reorg_program(x, 2) == chain.space_to_depth(x, 2)
  assert same.mean() == 0.5


@pytest.mark.parametrize(
  ("size", "stride", "side"), [(2, 2, 6), (2, 2, 7), (2, 1, 5), (3, 2, 7)]
)
def test_max_pool_against_loops(size, stride, side):
  x = np.random.default_rng(0).normal(size=(2, side, side, 3))
  x = x.astype(np.float32)
  out = -(-side // stride)
  expected = np.full((2, out, out, 3), -np.inf, np.float32)
  before = (size - 1) // 2  # the program's shift of wide windows
  x_ = np.pad(
    x, [(0, 0), (before, 0), (before, 0), (0, 0)], constant_values=-np.inf
  )
  for i in range(out):
    for j in range(out):
      window = x_[:, i * stride :, j * stride :][:, :size, :size]
      expected[:, i, j] = window.max((1, 2))
  got = chain.max_pool(
    jnp.asarray(x), size=size, stride=stride, padding=size - 1
  )
  np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
  ("shape", "size", "strides", "padding"),
  [
    ((2, 4, 3, 13), 3, (1, 1), 1),  # more channels than pixels: a product
    ((2, 4, 3, 5), 1, (1, 1), 0),
    ((2, 2, 2, 5), 5, (1, 1), 2),
    ((2, 4, 3, 13), 3, (2, 2), 1),  # these are XLA's
    ((2, 4, 3, 13), 3, (1, 1), 0),
    ((2, 4, 3, 12), 3, (1, 1), 1),
  ],
)
def test_convolve_is_convolution_in_value_and_gradient(
  shape, size, strides, padding
):
  x = jax.random.normal(jax.random.key(0), shape)
  kernel = jax.random.normal(jax.random.key(1), (size, size, shape[-1], 7))
  pad = [(padding, padding)] * 2
  names = dict(dimension_numbers=("NHWC", "HWIO", "NHWC"))

  def loss(function, x, kernel):
    return jnp.sum(jnp.sin(function(x, kernel, strides, pad, **names)))

  ours, theirs = (
    jax.value_and_grad(partial(loss, function), argnums=(0, 1))(x, kernel)
    for function in (chain.convolve, jax.lax.conv_general_dilated)
  )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
    *(ours, theirs),
  )


def test_the_first_of_equal_maxima_gets_the_gradient():
  gradient = jax.grad(
    lambda x: chain.max_pool(x, size=2, stride=2, padding=1).sum()
  )(jnp.ones((1, 2, 2, 1)))
  np.testing.assert_array_equal(gradient[0, ..., 0], [[1, 0], [0, 0]])


def test_leaky_slope_at_zero_is_a_tenth():
  net = network((Conv(1, 1, batch_norm=False),))
  image = jnp.ones((1, 1, 1, 3))
  variables = net.init(jax.random.key(0), image, train=False)
  zero = jax.tree.map(jnp.zeros_like, variables)
  gradient = jax.grad(lambda v: net.apply(v, image, train=False).sum())(zero)
  np.testing.assert_allclose(gradient["params"]["layer_00"]["bias"], [0.1])


def test_bfloat16_computes_in_16_bits_and_keeps_32():
  layers = yolov2(outputs=30, width=1 / 16)
  image = jax.random.uniform(jax.random.key(1), (2, 64, 64, 3))
  wide = network(layers)
  variables = wide.init(jax.random.key(0), image, train=False)
  exact, _ = wide.apply(variables, image, train=True, mutable=["batch_stats"])
  with jax.numpy_dtype_promotion("standard"):  # Flax promotes inside
    half = network(layers, dtype=jnp.dtype("bfloat16"))
    out, new = half.apply(variables, image, train=True, mutable=["batch_stats"])
  assert {x.dtype.name for x in jax.tree.leaves((new, out))} == {"float32"}
  assert not np.array_equal(out, exact)
  np.testing.assert_allclose(out, exact, atol=0.2 * np.abs(exact).max())


def test_batch_norm_across_devices_is_that_of_the_whole_batch():
  layers = (Conv(4, 3), Conv(2, 1, False, "linear"))
  images = jax.random.uniform(jax.random.key(0), (4, 8, 8, 3))
  variables = network(layers).init(jax.random.key(1), images, train=False)

  def run(net, images):
    return net.apply(variables, images, train=True, mutable=["batch_stats"])

  whole, stats = run(network(layers), images)
  halves = images.reshape(2, 2, 8, 8, 3)
  joined, their_stats = jax.pmap(
    partial(run, network(layers, axis_name=devices.AXIS)), devices.AXIS
  )(halves)
  np.testing.assert_allclose(joined.reshape(whole.shape), whole, atol=1e-5)
  for a, b in zip(
    jax.tree.leaves(stats), jax.tree.leaves(their_stats), strict=True
  ):
    np.testing.assert_allclose(b[0], a, atol=1e-6)
  alone, _ = jax.pmap(partial(run, network(layers)), devices.AXIS)(halves)
  assert not np.allclose(alone.reshape(whole.shape), whole, atol=1e-3)


@pytest.mark.parametrize(
  ("network", "billions"), [("darknet19", 5.58), ("yolov1", 8.52)]
)
def test_classifiers_have_the_papers_number_of_operations(network, billions):
  """At 224; the paper's section 3 and the text after Table 2."""
  count = operations(imagenet(network), (224, 224, 3))
  assert round(count / 1e9, 2) == billions
