"""Functions of JAX as ONNX, also with a side that is open."""

import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime
import pytest
from jax import lax

from yolo9000.export.onnx import model_of
from yolo9000.export.program import CannotExport

TABLE = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
KERNEL = np.random.default_rng(2).normal(size=(3, 3, 2, 4)).astype(np.float32)


def index_of(x):
  """Some numbers from -2 to 6 that depend on x."""
  return (jnp.abs(x[..., 0]) * 3).astype(jnp.int32).reshape(-1)[:4] - 2


def scattered(x):
  rows = jnp.zeros((4, *x.shape[1:]), x.dtype)
  both = jnp.broadcast_to(x[:1], (6, *x.shape[1:]))
  where = jnp.array([0, 1, 1, 3, 3, 3])
  return (
    rows.at[where].add(both),
    rows.at[where].max(both),
    rows.at[2].set(x[0]),
  )


def convolved(x):
  numbers = ("NHWC", "HWIO", "NHWC")
  return [
    lax.conv_general_dilated(x, KERNEL, *how, dimension_numbers=numbers)
    for how in (((1, 1), "SAME"), ((2, 1), ((0, 2), (1, 0))))
  ] + [
    lax.conv_general_dilated(
      *(x, KERNEL, (1, 1), "VALID"),
      rhs_dilation=(1, 2),
      dimension_numbers=numbers,
    ),
    lax.conv_general_dilated(
      *(x, KERNEL[:, :, :1], (1, 1), "SAME"),
      feature_group_count=2,
      dimension_numbers=numbers,
    ),
    lax.conv_general_dilated(
      *(x, KERNEL[:2], (1, 1), ((1, 0), (2, 1))),
      lhs_dilation=(2, 3),
      dimension_numbers=numbers,
    ),
  ]


def pooled(x):
  return [
    lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 2, 1), (1, 2, 1, 1), how)
    for how in ("VALID", ((0, 0), (1, 1), (0, 1), (0, 0)))
  ] + [
    lax.reduce_window(x, 0.0, lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"),
  ]


def counted(x):
  def body(carry):
    n, y = carry
    return n + 1, y + n * x[0, 0, 0, 0]

  return lax.while_loop(lambda c: c[0] < 4, body, (0.0, x.mean()))


def counted_each(x):
  """Each picture as often as its own first number says."""

  def one(picture):
    limit = jnp.abs(picture[0, 0, 0]) * 5
    return lax.while_loop(
      lambda c: c[0] < limit,
      lambda c: (c[0] + 1, c[1] * 0.5),
      (0.0, picture),
    )

  return jax.vmap(one)(x)


def deep(x):
  """More numbers after each other than Python's calls may be deep."""
  for _ in range(1200):
    x = jnp.tanh(x)
  return x


FUNCTIONS = {
  "arithmetic": lambda x: [
    *(jnp.abs(x), -x, x**2, x**3, jnp.exp(x), jnp.log1p(x**2), jnp.expm1(x)),
    *(jnp.sqrt(x**2), lax.rsqrt(1 + x**2), jnp.tanh(x), jax.nn.sigmoid(x)),
    *(jnp.floor(x), jnp.ceil(x), jnp.round(x * 2), jnp.sign(x), jnp.sin(x)),
    *(jnp.clip(x, -0.5, 0.5), jnp.maximum(x, 0), jnp.minimum(x, 0.1)),
    *(jax.nn.relu(x), jax.nn.leaky_relu(x, 0.3), jax.nn.softmax(x), x / 3),
    *(jax.nn.gelu(x), lax.erf(x), jnp.power(jnp.abs(x), 0.5)),
  ],
  "rounding": lambda x: [
    lax.round(y, how)
    for how in lax.RoundingMethod
    for y in (x, jnp.round(x * 4) / 2, jnp.sign(x) * 0.49999997)
  ],
  "a deep one": lambda x: [deep(x)],
  "leaky units": lambda x: [
    jnp.where(x > 0, x, 0.1 * x),
    jnp.where(x > 0, 0.1 * x, x),
    jnp.where(x > 1, x, 0.1 * x),
  ],
  "whole numbers": lambda x: [
    (x * 10).astype(jnp.int32) // 3,
    (x * 10).astype(jnp.int32) % 3,
    lax.rem((x * 10).astype(jnp.int32), 3),
    (x * 10).astype(jnp.int32).astype(jnp.uint8).astype(jnp.float32) * 0,
  ],
  "truths": lambda x: [
    *((x > 0) & (x < 1), (x > 0) | ~(x < 1), (x > 0) ^ (x < 1)),
    *(jnp.any(x > 2, 1), jnp.all(x > -2, (1, 2)), (x != x[:1]), x >= 0, x <= 0),
    *(jnp.isfinite(jnp.log(x)), jnp.where(x > 0, x > 1, x < -1)),
  ],
  "reductions": lambda x: [
    *(x.sum(0), x.max((1, 2)), x.min(-1), x.mean(), jnp.prod(x, 3)),
    *(x.argmax(1), x.argmin(-1), jnp.cumsum(x, 1), jnp.sort(x, 2)),
    *lax.top_k(x, 2),
  ],
  "shapes": lambda x: [
    *(x.reshape(x.shape[0], -1), x.transpose(3, 0, 2, 1), x[:, None, 0]),
    *(jnp.concatenate([x, x[:, :1]], 1), jnp.stack([x, x], 2), x[..., ::-1]),
    *(x[:, 1:4:2, ::2], jnp.split(x, 2, 1)[1], jnp.repeat(x, 2, 1)),
    *(jnp.pad(x, ((0, 0), (1, 2), (0, 1), (0, 0)), constant_values=7.0),),
    *(lax.pad(x, 0.0, ((0, 0, 0), (-1, 0, 0), (0, -2, 0), (0, 0, 0))),),
    *(x + jnp.arange(4.0)[None, :, None, None], jnp.ones_like(x)),
    *(
      x * jnp.asarray(x.shape[0], x.dtype),
      jnp.zeros((x.shape[0], 2)),
      x[:, None].squeeze(1),
    ),
  ],
  "taking": lambda x: [
    *(jnp.take(TABLE, index_of(x), 0, mode="clip"),),
    *(jnp.take(TABLE, index_of(x), 0, mode="fill"),),
    *(jnp.take(TABLE > 0, index_of(x), 0, mode="fill"),),
    *(jnp.asarray(TABLE)[:, jnp.array([2, 0])], x[:, jnp.array([1, 1, 0])]),
    *(jnp.take_along_axis(x, x.argmax(1, keepdims=True), 1),),
    *(jax.vmap(lambda y: y[y[:, 0, 0].argmax()])(x), x[0, jnp.array([0, 2])]),
    *(lax.dynamic_slice_in_dim(x, x.argmax(), 2, 1), x[0, 1, 2, 0]),
  ],
  "putting": scattered,
  "products": lambda x: [
    *(x[:, 0] @ TABLE[:2], jnp.einsum("bhwc,bhvc->bhwv", x, x)),
    *(jnp.einsum("bhwc,hd->bdwc", x, TABLE[:4]), x.reshape(-1, 2) @ TABLE[:2]),
  ],
  "convolutions": convolved,
  "pools": pooled,
  "loops": lambda x: [*counted(x), *counted_each(x)],
}


def run(function, size, pictures):
  """What the file gives, and what JAX does, in the same order."""
  names = [f"y{n:02}" for n in range(60)]

  def named(x):
    found = function(x)
    found = found if isinstance(found, list | tuple) else [found]
    return dict(zip(names, found, strict=False))

  expected = named(jnp.asarray(pictures))
  shape = jax.export.symbolic_shape(f"b, {size[0]}, {size[1]}, 2")
  model = model_of(
    named,
    jax.ShapeDtypeStruct(shape, np.float32),
    sorted(expected),
    steps=(0 if size[0].isdigit() else 1, 0 if size[1].isdigit() else 1),
  )
  session = onnxruntime.InferenceSession(model.SerializeToString())
  found = session.run(sorted(expected), {"images": pictures})
  return found, [expected[name] for name in sorted(expected)]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_gives_the_same(name):
  rng = np.random.default_rng(3)
  for count in (1, 3):
    pictures = rng.normal(size=(count, 4, 5, 2)).astype(np.float32)
    found, expected = run(FUNCTIONS[name], "45", pictures)
    for n, (one, other) in enumerate(zip(found, expected, strict=True)):
      assert one.dtype == other.dtype, n
      np.testing.assert_allclose(
        one, other, rtol=1e-4, atol=1e-5, err_msg=f"{n}"
      )


@pytest.mark.parametrize("name", ["convolutions", "pools", "reductions"])
def test_open_sides(name):
  pictures = np.random.default_rng(4).normal(size=(2, 7, 6, 2))
  found, expected = run(FUNCTIONS[name], "hw", pictures.astype(np.float32))
  for one, other in zip(found, expected, strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
  ("function", "told"),
  [
    (lambda x: jnp.fft.fft(x), "fft .* at all"),
    (lambda x: jnp.linalg.inv(x[:, :2, :2, 0]), "at all"),
    (lambda x: lax.sort([x, x]), "sort .* of several arrays together"),
    (lambda x: x.at[x[0, 0, 0].argmax()].set(0.0), "known only later"),
    (lambda x: (x > 0).astype(jnp.int32) & 1, "bit by bit"),
  ],
)
def test_what_has_no_form_is_named(function, told):
  with pytest.raises(CannotExport, match=rf"test_primitives.py:\d+.*{told}"):
    run(function, "45", np.ones((1, 4, 5, 2), np.float32))
