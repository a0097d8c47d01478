"""Layers that are held still: what they are, and that nothing is computed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import tiny_config

from yolo9000.data.batches import empty_batch
from yolo9000.detectors import network_rows
from yolo9000.networks.shapes import operations
from yolo9000.tables import run
from yolo9000.training import build, checkpoint, held, loop
from yolo9000.training import devices as parallel
from yolo9000.training.start import flat

pytestmark = pytest.mark.usefixtures("libraries_promote")
HELD = ("layer_00", "layer_0[24]")
IS_HELD = {"optimizer__held": HELD}
STILL = ("layer_00", "layer_02", "layer_04")


@pytest.fixture(scope="module")
def start(tmp_path_factory):
  """An .npz with arrays that a network would not begin with."""
  path = tmp_path_factory.mktemp("start") / "start.npz"
  task = build.make_task(tiny_config())
  arrays = flat(task.init(jax.random.key(7), (64, 64)))
  rng = np.random.default_rng(0)
  arrays = {
    name: rng.uniform(0.5, 1.5, array.shape).astype("float32")
    if name.startswith("batch_stats")
    else np.asarray(array)
    for name, array in arrays.items()
  }
  np.savez(path, **arrays)
  return path


def is_held(name):
  return any(
    f"/{layer}/" in name or f"/{layer}_norm/" in name for layer in STILL
  )


@pytest.mark.parametrize("subdivisions", [1, 2])
def test_what_is_held_stays_to_the_bit_and_the_rest_learns(
  start, tmp_path, subdivisions
):
  """Parameters, statistics and the running average, on two devices."""
  config = tiny_config(
    optimizer__held=HELD,
    optimizer__average=0.9,
    run__start_from=str(start),
    run__subdivisions=subdivisions,
  )
  run.run_alone(config, tmp_path)
  state = checkpoint.read(tmp_path, "latest")
  with np.load(start) as arrays:
    first = dict(arrays)
  assert sum(map(is_held, first)) == 15
  for kind in ("variables", "average"):
    for name, array in flat(state[kind]).items():
      same = np.array_equal(array, first[name])
      assert same is is_held(name), (kind, name)
  lines = (tmp_path / "start.txt").read_text().splitlines()
  assert [line for line in lines if "held" in line] == [
    f"{layer}: taken, held still" for layer in STILL
  ]
  assert "layer_06: taken" in lines


def test_the_optimizer_has_nothing_for_what_is_held():
  config = tiny_config(optimizer__held=HELD, run__start_from=".")
  state = loop.init_state(
    config, build.make_task(config), build.make_optimizer(config)
  )
  paths = jax.tree_util.tree_flatten_with_path(state.opt_state)[0]
  names = " ".join(jax.tree_util.keystr(path) for path, _ in paths)
  assert "layer_06" in names
  assert not any(layer in names for layer in STILL)


def compiled(config):
  """The training step and its batch."""
  task, tx = build.make_task(config), build.make_optimizer(config)
  size = config.run.image_sizes[0]
  mesh = parallel.make_mesh()
  step, place = parallel.make_step(
    loop.step_of(config, task, tx), spmd="shard_map", mesh=mesh
  )
  state = parallel.replicate(loop.init_state(config, task, tx), mesh)
  batch = place(empty_batch(4, size=size, max_objects=5))
  return step.lower(state, batch).compile()


def test_no_gradient_is_computed_for_what_is_held():
  """By the compiler's count: operations, and memory between the layers.

  Of a layer that learns, the gradients of its kernel and of its input take as
  many operations as its output each. The first layer's input has none, and the
  input of the first that learns needs none.
  """
  wide = {
    "task__network__width": 1 / 8,
    "run__start_from": ".",
    "run__image_sizes": (160,),
  }
  config = tiny_config(**wide)
  whole, less = compiled(config), compiled(tiny_config(**wide, **IS_HELD))
  layers = network_rows(config.task.to_dict(), build.read_classes(config.data))
  ends = [operations(layers[:n], (160, 160, 3)) for n in (0, 1, 3, 5, 7)]
  each = 4 // jax.device_count()
  first, second, third, fourth = each * np.diff(ends)
  expected = first + 2 * second + 2 * third + fourth
  flops = [one.cost_analysis()["flops"] for one in (whole, less)]
  assert (
    expected < flops[0] - flops[1] < 1.6 * expected
  )  # and of norms and pools
  memory = [one.memory_analysis().temp_size_in_bytes for one in (whole, less)]
  assert memory[1] < 0.7 * memory[0]


def test_a_held_layer_is_normalised_by_its_own_statistics():
  """Then its output for a picture does not depend on the rest of the batch."""
  config = tiny_config()
  task = build.make_task(config)
  variables = task.init(jax.random.key(0), (64, 64))
  everything = ("layer_*",)
  batch = empty_batch(2, size=64, max_objects=5)
  noise = np.random.default_rng(0).integers(0, 256, batch.image.shape)
  batch = batch._replace(image=noise.astype(np.uint8))
  batch = jax.tree.map(jnp.asarray, batch)
  step = loop.Step(jnp.int32(1), jax.random.key(0))

  def statistics(names):
    with held.by_own_statistics(names):
      return flat({"": task.loss(variables, batch, step)[1][0]})

  old = flat({"": variables["batch_stats"]})
  for name, array in statistics(everything).items():
    np.testing.assert_array_equal(array, old[name])
  for name, array in statistics(()).items():
    assert not np.array_equal(array, old[name]), name


def test_split_and_join():
  variables = {
    "params": {
      "a": {"b": {"kernel": 1}, "b_norm": {"scale": 2}},
      "c": {"k": 3},
    },
    "batch_stats": {"a": {"b_norm": {"mean": 4}}},
  }
  learned, still = held.split(("a/*",), variables)
  assert learned == {"params": {"c": {"k": 3}}, "batch_stats": {}}
  assert held.join(learned, still) == variables
  assert held.layers(("a/b",), variables) == ["a/b"]
  assert held.split((), variables) == (
    variables,
    {"params": {}, "batch_stats": {}},
  )


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (
      {"optimizer__held": ("layer_01",)},
      r"has 'layer_01'; the layers are layer_00, lay",
    ),
    (
      {"optimizer__held": ("layer_*",)},
      "which are all layers; expected one that learns",
    ),
    (
      {"optimizer__held": HELD, "run__start_from": ""},
      "run.start_from is ''; expected what",
    ),
    (
      {"run__start_layers": 2, "optimizer__held": HELD},
      "names layer_02, layer_04, of which",
    ),
    (
      {"run__start_layers": -1},
      "run.start_layers is -1; it must be at least 0",
    ),
  ],
)
def test_what_cannot_be_held(start, tmp_path, changes, message):
  config = tiny_config(**{"run__start_from": str(start), **changes})
  with pytest.raises(ValueError, match=message):
    loop.train(config, tmp_path / "run")
