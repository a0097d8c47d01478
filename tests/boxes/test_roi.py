"""Pooling and alignment of rois, against torchvision's and against loops."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import rois as oracle
from oracles.torchvision import last

from yolo9000.boxes import roi

# By the names of the recorded numbers; the largest roi there is wider than a
# map, and a bin of it has more cells than `most` by itself.
ALIGN = {
  f"roi_align_sr{samples}_{name}": partial(
    roi.align, samples=samples, aligned=name == "aligned", most=8
  )
  for samples in (0, 2)
  for name in ("legacy", "aligned")
}
POSITION_ALIGN = {
  f"ps_roi_align_sr{samples}": partial(
    roi.position_align, samples=samples, most=8
  )
  for samples in (0, 2)
}
KINDS = {
  "roi_pool": roi.pool,
  "ps_roi_pool": partial(roi.position_pool, skip_last=True),
  "whole ps_roi_pool": roi.position_pool,
  **ALIGN,
  **POSITION_ALIGN,
}


@partial(jax.jit, static_argnames=("kind", "bins"))
def value_and_gradient(features, rois, cotangent, *, kind, bins):
  """Of one kind, rois of one picture."""
  find = partial(KINDS[kind], bins=bins)
  found, back = jax.vjp(find, features, rois)
  return found, *back(cotangent)


@pytest.mark.parametrize("scale", ["s8", "s1"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if " " not in kind])
def test_values_and_gradients_are_torchvisions(goldens, kind, scale):
  """Rois beyond the map, without area, on borders between cells too.

  All rois are given for both pictures; only a picture's own have a cotangent.
  """
  golden = {
    name.split("/")[2]: array
    for name, array in goldens("tv_ops").items()
    if name.startswith(f"{kind}/{scale}/")
  }
  image, rois = golden["rois"][:, 0].astype(int), golden["rois"][:, 1:]
  rois_cells = jnp.asarray(rois * golden["spatial_scale"])
  maps, cotangent = last(golden["x"]), last(golden["dout"])
  for number in range(2):
    own = image == number
    found, gradient, of_rois = value_and_gradient(
      maps[number],
      rois_cells,
      jnp.where(own[:, None, None, None], cotangent, 0.0),
      kind=kind,
      bins=tuple(golden["output_hw"].tolist()),
    )
    # 0 / 0 there, for want of points.
    expected = np.nan_to_num(last(golden["out"]))[own]
    np.testing.assert_allclose(found[own], expected, atol=1e-5)
    expected = last(golden["dx"])[number]
    error = np.abs(gradient - expected).max()
    assert error <= 1e-5 * np.abs(golden["dx"]).max()
    np.testing.assert_array_equal(of_rois, 0)


def test_levels_are_torchvisions(goldens):
  golden = goldens("tv_ops")
  found = roi.level_of(
    jnp.asarray(golden["level_mapper/boxes"]), lowest=2, highest=5
  )
  np.testing.assert_array_equal(found, golden["level_mapper/levels"])


@pytest.mark.parametrize("side", [224, 56])
def test_alignment_on_levels_is_torchvisions(goldens, side):
  """Rois of the first picture come first."""
  golden = goldens("tv_ops")
  scales, case = golden[f"multiscale/c{side}/scales"], f"multiscale/c{side}"
  start = 0
  for image in range(2):
    rois = jnp.asarray(golden[f"multiscale/boxes{image}"])
    own = slice(start, start + len(rois))
    start += len(rois)
    level = roi.level_of(rois, lowest=2, highest=5, canonical_side=side)
    np.testing.assert_array_equal(level, golden[f"{case}/levels"][own])
    found = roi.align_levels(
      [last(golden[f"multiscale/feat{n}"])[image] for n in range(4)],
      rois * jnp.asarray(scales)[level][:, None],
      level,
      bins=(3, 2),
      samples=2,
      aligned=False,
    )
    expected = last(golden[f"{case}/out"])[own]
    np.testing.assert_allclose(found, expected, atol=1e-5)


SLOW = {
  "roi_pool": oracle.pool,
  "ps_roi_pool": partial(oracle.position_pool, skip=1),
  "whole ps_roi_pool": oracle.position_pool,
}
for name, kind in {**ALIGN, **POSITION_ALIGN}.items():
  how = {k: v for k, v in kind.keywords.items() if k != "most"}
  slow = oracle.align if name in ALIGN else oracle.position_align
  SLOW[name] = partial(slow, **how)


def drawn(seed):
  """A map and rois in its cells; the map has many equal numbers."""
  rng = np.random.default_rng(seed)
  features = rng.integers(-3, 4, (9, 11, 12)).astype(np.float32)
  corner = rng.uniform(-2, 11, (12, 2))
  rois = np.concatenate([corner, corner + rng.uniform(0, 9, (12, 2))], axis=1)
  rois[3:6] = np.round(rois[3:6] * 2) / 2  # on borders
  rois[0] = (4, 4, 4, 4)
  rois[1] = (0, 0, 11, 9)
  rois[2] = 0  # padding
  return features, rois.astype(np.float32)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", KINDS)
def test_values_are_those_of_loops(kind, seed):
  """Their order and padding do not matter, and gradients are finite."""
  features, rois = drawn(seed)
  bins = (3, 2)
  expected = SLOW[kind](features, rois, bins)
  order = np.random.default_rng(seed).permutation(len(rois))
  for rows in (np.arange(len(rois)), order):
    found, *gradients = value_and_gradient(
      jnp.asarray(features),
      jnp.asarray(rois[rows]),
      jnp.ones(expected.shape, jnp.float32),
      kind=kind,
      bins=bins,
    )
    np.testing.assert_allclose(found, expected[rows], atol=2e-5)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_the_gradient_of_equal_numbers_goes_to_the_first():
  flat = jnp.zeros((4, 4, 1))
  rois = jnp.asarray([[1.0, 1, 2, 2]])
  ones = jnp.ones((1, 1, 1, 1))
  _, gradient, _ = value_and_gradient(
    flat, rois, ones, kind="roi_pool", bins=(1, 1)
  )
  np.testing.assert_array_equal(np.argwhere(gradient), [[1, 1, 0]])


@pytest.mark.parametrize("seed", range(2))
def test_a_roi_has_what_its_level_alone_would_give(seed):
  """Also of bfloat16, as the map is."""
  rng = np.random.default_rng(seed)
  shapes = ((8, 12, 2), (4, 6, 2), (2, 3, 2))
  maps = [jnp.asarray(rng.normal(size=s), jnp.float32) for s in shapes]
  low = rng.uniform(0, 30, (10, 2))
  rois = np.concatenate([low, low + rng.uniform(0, 60, (10, 2))], axis=1)
  given = jnp.asarray(rois, jnp.float32)
  level = roi.level_of(
    given, lowest=2, highest=4, canonical_side=16, canonical_level=3
  )
  assert level.tolist() == [
    oracle.level_of(row, 2, 4, side=16, level=3) for row in rois
  ]
  cells = given / (8.0 * 2.0 ** level.astype(jnp.float32))[:, None]
  how = dict(bins=(2, 2), samples=2, aligned=True)
  found = roi.align_levels(maps, cells, level, **how)
  half = roi.align_levels(
    [x.astype(jnp.bfloat16) for x in maps], cells, level, **how
  )
  assert half.dtype == jnp.bfloat16
  np.testing.assert_allclose(half.astype(np.float32), found, atol=0.05)
  for number, own in enumerate(level.tolist()):
    alone = roi.align(maps[own], cells[number][None], **how)
    np.testing.assert_allclose(found[number], alone[0], atol=1e-6)


def test_channels_that_do_not_fit_the_bins_are_refused():
  with pytest.raises(ValueError, match="10 channels for 3 x 3 bins; expected"):
    roi.position_pool(jnp.zeros((4, 4, 10)), jnp.zeros((1, 4)), bins=(3, 3))
