"""What runs a table of layers, layer by layer."""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from yolo9000.networks import chain
from yolo9000.networks.rows import (
  Conv,
  MaxPool,
  Reorg,
  Route,
  Shortcut,
  Softmax,
  Upsample,
  Yolo,
)
from yolo9000.networks.shapes import LayerError, output_shapes
from yolo9000.wordtree import WordTree

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "reorg.npz")
reorg_program = jax.jit(chain.reorg_program, static_argnums=1)
space_to_depth = jax.jit(chain.space_to_depth, static_argnums=1)
softmax = jax.jit(chain.softmax, static_argnums=0)


@pytest.mark.parametrize("case", [f"case{n}" for n in range(6)])
def test_reorg_is_the_programs(case):
  shape, stride = GOLDEN[f"{case}/x_shape"], int(GOLDEN[f"{case}/stride"])
  x = np.arange(np.prod(shape)).reshape(shape).transpose(0, 2, 3, 1)
  out = np.asarray(reorg_program(x, stride))
  np.testing.assert_array_equal(
    out.transpose(0, 3, 1, 2), GOLDEN[f"{case}/out"]
  )


def test_space_to_depth_by_hand():
  # One channel, 2 x 4: blocks [[0 1][4 5]] and [[2 3][6 7]], offset first.
  x = np.arange(8).reshape(1, 2, 4, 1)
  out = space_to_depth(x, 2)
  np.testing.assert_array_equal(out[0, 0], [[0, 1, 4, 5], [2, 3, 6, 7]])
  # Channels stay together within an offset.
  x = np.stack([x[..., 0], x[..., 0] + 100], axis=-1)
  out = space_to_depth(x, 2)
  np.testing.assert_array_equal(out[0, 0, 0], [0, 100, 1, 101, 4, 104, 5, 105])


def test_half_of_the_programs_reorg_is_plain():
  x = np.arange(64 * 26 * 26).reshape(1, 26, 26, 64)
  same = reorg_program(x, 2) == space_to_depth(x, 2)
  assert np.asarray(same).mean() == 0.5


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
  pool = partial(chain.max_pool, size=size, stride=stride, padding=size - 1)
  np.testing.assert_array_equal(jax.jit(pool)(x), expected)


@pytest.mark.parametrize(
  ("shape", "size", "strides", "padding", "dilation"),
  [
    ((2, 4, 3, 13), 3, (1, 1), 1, 1),  # more channels than pixels: a product
    ((2, 4, 3, 5), 1, (1, 1), 0, 1),
    ((2, 2, 2, 5), 5, (1, 1), 2, 1),
    ((2, 4, 3, 13), 3, (2, 2), 1, 1),  # these are XLA's
    ((2, 4, 3, 13), 3, (1, 1), 0, 1),
    ((2, 4, 3, 12), 3, (1, 1), 1, 1),
    ((2, 4, 3, 13), 3, (1, 1), 1, 2),
  ],
)
def test_convolve_is_convolution_in_value_and_gradient(
  shape, size, strides, padding, dilation
):
  rng = np.random.default_rng(0)
  x = rng.normal(size=shape).astype(np.float32)
  kernel = rng.normal(size=(size, size, shape[-1], 7)).astype(np.float32)
  pad = [(padding, padding)] * 2
  names = dict(
    dimension_numbers=("NHWC", "HWIO", "NHWC"), rhs_dilation=(dilation,) * 2
  )

  def loss(function, x, kernel):
    return jnp.sum(jnp.sin(function(x, kernel, strides, pad, **names)))

  @jax.jit
  def both(x, kernel):
    return [
      jax.value_and_grad(partial(loss, function), argnums=(0, 1))(x, kernel)
      for function in (chain.convolve, jax.lax.conv_general_dilated)
    ]

  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
    *both(x, kernel),
  )


def test_the_first_of_equal_maxima_gets_the_gradient():
  gradient = jax.jit(
    jax.grad(lambda x: chain.max_pool(x, size=2, stride=2, padding=1).sum())
  )(np.ones((1, 2, 2, 1), np.float32))
  np.testing.assert_array_equal(gradient[0, ..., 0], [[1, 0], [0, 0]])


def test_levels_with_a_shortcut_and_an_upsampling_by_hand():
  """Layer 0 doubles the picture's one channel."""
  first, second = (Yolo(((1.0, 1.0),), (0,), n) for n in (1, 7))
  layers = (
    *(Conv(1, 1, batch_norm=False, activation="linear"), Shortcut(0)),
    *(Upsample(), Route((-1,) * 6), first),
    *(Route((0,) * 12), second),
  )
  x = jnp.arange(6.0).reshape(1, 2, 3, 1)
  params = {"kernel": jnp.full((1, 1, 1, 1), 2.0), "bias": jnp.zeros(1)}
  run = partial(chain.Chain(layers).apply, train=False)
  levels = jax.jit(run)({"params": {"layer_00": params}}, x)
  assert [level.shape for level in levels] == [(1, 4, 6, 6), (1, 2, 3, 12)]
  by_hand = 4 * np.arange(6.0).reshape(2, 3).repeat(2, 0).repeat(2, 1)
  np.testing.assert_array_equal(levels[0][0, ..., 5], by_hand)
  np.testing.assert_array_equal(levels[1][0, ..., 0], 2 * x[0, ..., 0])
  with pytest.raises(LayerError, match="reads layer 4, Yolo, which no row"):
    output_shapes((*layers[:5], Route((4,))), (2, 3, 1))
  with pytest.raises(LayerError, match="7 classes, a Yolo before it 1; expec"):
    output_shapes(layers, (2, 3, 1))


def test_leaky_slope_at_zero_is_a_tenth():
  net = chain.Chain((Conv(1, 1, batch_norm=False),))
  image = jnp.ones((1, 1, 1, 3))
  zero = {"kernel": jnp.zeros((1, 1, 3, 1)), "bias": jnp.zeros(1)}

  @jax.jit
  @jax.grad
  def gradient_of(params):
    return net.apply({"params": params}, image, train=False).sum()

  gradient = gradient_of({"layer_00": zero})
  np.testing.assert_allclose(gradient["layer_00"]["bias"], [0.1])


def test_bfloat16_computes_in_16_bits_and_keeps_32():
  first = (Conv(8, 3), MaxPool(), Conv(16, 3), MaxPool(), Conv(16, 3))
  passthrough = (Route((2,)), Reorg(), Route((-1, 4)))
  layers = (*first, *passthrough, Conv(8, 3), Conv(6, 1, False, "linear"))
  image = np.random.default_rng(0).uniform(size=(2, 32, 32, 3))
  image = image.astype(np.float32)

  def train(dtype, variables):
    net = chain.Chain(layers, jnp.dtype(dtype))
    apply = partial(net.apply, train=True, mutable=["batch_stats"])
    return jax.jit(apply)(variables, image)

  init = partial(chain.Chain(layers).init, train=False)
  variables = jax.jit(init)(jax.random.key(0), image)
  exact, _ = train("float32", variables)
  with jax.numpy_dtype_promotion("standard"):  # Flax promotes inside
    out, new = train("bfloat16", variables)
  assert {x.dtype.name for x in jax.tree.leaves((new, out))} == {"float32"}
  assert not np.array_equal(out, exact)
  np.testing.assert_allclose(out, exact, atol=0.05 * np.abs(exact).max())


# 0 -> 2 3, 1 -> 4, 2 -> 5
TREE = WordTree(tuple("abcdef"), (-1, -1, 0, 0, 1, 2))


def test_softmax_layer_by_hand():
  logits = np.log(np.float32([[3, 1, 1, 4]]))
  plain = softmax(Softmax(), logits)
  np.testing.assert_allclose(plain[0], np.array([3, 1, 1, 4]) / 9, rtol=1e-6)
  groups = softmax(Softmax(groups=2), logits)
  np.testing.assert_allclose(groups[0], [0.75, 0.25, 0.2, 0.8], rtol=1e-6)
  warm = softmax(Softmax(temperature=2.0), logits)
  roots = np.sqrt([3, 1, 1, 4])
  np.testing.assert_allclose(warm[0], roots / roots.sum(), rtol=1e-6)
  odds = np.log(np.float32([[3, 1, 9, 3, 5, 7]]))
  tree = softmax(Softmax(tree=TREE), odds)
  np.testing.assert_allclose(tree[0], [0.75, 0.25, 0.75, 0.25, 1, 1], rtol=1e-6)
