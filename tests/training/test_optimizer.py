from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from yolo9000.training import optimizer

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "learning_rate.npz")
NAMES = sorted(k.rsplit("/", 1)[0] for k in GOLDEN if k.endswith("/rate"))


def schedule_of(name):
  """Our schedule for the [net] section of one of the program's files."""
  section = {}
  for line in str(GOLDEN[f"{name}/net_section"]).splitlines():
    key, _, value = line.replace(" ", "").partition("=")
    section.setdefault(key, value)
  base, burn = float(section["learning_rate"]), int(section.get("burn_in", 0))
  if section["policy"] == "poly":
    schedule = optimizer.polynomial(
      base,
      iterations=int(section["max_batches"]),
      power=float(section.get("power", 4)),
    )
  else:
    at = [int(n) for n in section["steps"].split(",")]
    factors = [float(n) for n in section["scales"].split(",")]
    if name.startswith("head") and at[0] < 0:
      # A bug of 2022's program: -1 is compared as a huge unsigned number, so
      # neither it nor any later step ever comes.
      at, factors = [], []
    schedule = optimizer.steps(base, at=at, factors=factors)
  return optimizer.burn_in(schedule, iterations=burn, power=4.0)


@pytest.mark.parametrize("name", NAMES)
def test_schedule_is_the_programs(name):
  iterations = jnp.asarray(GOLDEN[f"{name}/iteration"].astype(np.int32))
  rates = jax.vmap(schedule_of(name))(iterations)
  # The absolute part is float32's grain in 1 - iteration / max_batches, which
  # the polynomial raises to the fourth power at its very end.
  np.testing.assert_allclose(
    rates, GOLDEN[f"{name}/rate"], rtol=2e-5, atol=1e-24
  )


def test_all_27_schedules_are_there():
  assert len(NAMES) == 27


def make(name="sgd", **options):
  settings = dict(momentum=0.9, weight_decay=0.1, clip_norm=0.0)
  schedule = optimizer.steps(0.5, at=(2,), factors=(0.1,))
  return optimizer.make_optimizer(
    schedule, name=name, **{**settings, **options}
  )


def test_sgd_by_hand():
  """Kernel 1, gradient 1, decay .1, momentum .9, rates .5 then .05.

  v1 = 1 + .1 * 1 = 1.1, w1 = 1 - .5 * 1.1 = .45.
  v2 = .9 * 1.1 + 1 + .1 * .45 = 2.035, w2 = .45 - .05 * 2.035 = .34825.
  A bias does not decay: 1 - .5 = .5, then .5 - .05 * 1.9 = .405.
  """
  tx = make()
  params = {"layer_00": {"kernel": jnp.ones(1), "bias": jnp.ones(1)}}
  state = tx.init(params)
  seen = []
  for _ in range(2):
    updates, state = tx.update(
      jax.tree.map(jnp.ones_like, params), state, params
    )
    params = optax.apply_updates(params, updates)
    seen.append([float(params["layer_00"][k][0]) for k in ("kernel", "bias")])
  np.testing.assert_allclose(seen, [[0.45, 0.5], [0.34825, 0.405]], rtol=1e-6)


def test_decay_acts_on_kernels_alone():
  params = {
    "layer_00": {"kernel": 0.0},
    "layer_00_norm": {"scale": 0.0, "bias": 0.0},
  }
  assert optimizer.decays(params) == {
    "layer_00": {"kernel": True},
    "layer_00_norm": {"scale": False, "bias": False},
  }


def test_clip_norm_bounds_the_update():
  params = {"kernel": jnp.zeros(4)}
  tx = make(clip_norm=1.0, weight_decay=0.0)
  updates, _ = tx.update(
    {"kernel": jnp.full(4, 100.0)}, tx.init(params), params
  )
  np.testing.assert_allclose(jnp.linalg.norm(updates["kernel"]), 0.5, rtol=1e-5)


def options(**changes):
  return {
    **dict(name="steps", rate=1e-3, total_steps=160, burn_in_steps=0),
    **dict(burn_in_power=4.0, at=(60 / 160, 90 / 160), factors=(0.1, 0.1)),
    **dict(power=4.0),
    **changes,
  }


def test_the_papers_detection_schedule():
  rate = optimizer.make_schedule(**options())
  found = [float(rate(n)) for n in (1, 59, 60, 89, 90, 160)]
  expected = [1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5]
  np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_the_first_update_has_a_rate():
  rate = optimizer.make_schedule(**options(burn_in_steps=10))
  assert float(rate(1)) == pytest.approx(1e-3 * 0.1**4)


def test_cosine_ends_at_zero():
  rate = optimizer.make_schedule(**options(name="cosine"))
  np.testing.assert_allclose(
    [float(rate(n)) for n in (0, 80, 160)], [1e-3, 5e-4, 0], atol=1e-9
  )


def test_unknown_names_say_what_is_allowed():
  with pytest.raises(ValueError, match="'step'; allowed are constant, steps"):
    optimizer.make_schedule(**options(name="step"))
  with pytest.raises(ValueError, match="'adam'; allowed are sgd, adamw"):
    make("adam")
  with pytest.raises(ValueError, match="need as many factors"):
    optimizer.make_schedule(**options(factors=(0.1,)))
