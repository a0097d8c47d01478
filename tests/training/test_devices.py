"""One step on many devices: what it sends, and what must not change it."""

import re
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, Mesh
from jax.sharding import PartitionSpec as P
from support import ROOT

from experiments import base
from yolo9000.benchmarks import devices as benchmark_devices
from yolo9000.benchmarks import speed
from yolo9000.data import batches
from yolo9000.detectors import yolov1
from yolo9000.training import build, loop
from yolo9000.training import devices as parallel
from yolo9000.wordtree import Classes

pytestmark = pytest.mark.usefixtures("libraries_promote")


def mesh_of(count):
  return Mesh(np.array(jax.devices()[:count]), (parallel.AXIS,))


def random_batch(count, size):
  rng = np.random.default_rng(0)
  low = rng.uniform(0, 0.5, (count, 3, 2))
  batch = batches.empty_batch(count, size=size, max_objects=3)
  return batch._replace(
    image=rng.integers(0, 256, batch.image.shape).astype(np.uint8),
    boxes=np.concatenate([low, low + 0.3], axis=-1).astype(np.float32),
    mask=np.ones((count, 3), bool),
    index=np.arange(count, dtype=np.int32),
  )


def updated(task, batch, *, devices, subdivisions):
  """Parameters and parts of the loss after two steps."""
  tx = optax.sgd(1e-2, momentum=0.9)
  variables = jax.jit(task.init, static_argnums=1)(
    jax.random.key(0), (128, 128)
  )
  local_step = partial(
    loop.train_step,
    task=task,
    tx=tx,
    average=0.0,
    subdivisions=subdivisions,
    seed=0,
  )
  mesh = mesh_of(devices)
  step, place = parallel.make_step(local_step, spmd="shard_map", mesh=mesh)
  opt_state = tx.init(variables["params"])
  state = loop.State(jnp.zeros((), jnp.int32), variables, opt_state, ())
  state = parallel.replicate(state, mesh)
  for _ in range(2):
    state, parts = step(state, place(batch))
    jax.block_until_ready(state)
  return jax.device_get((state.variables["params"], parts))


def test_devices_and_subdivisions_do_not_change_an_update():
  """YOLO without batch norm, with dropout, whose masks are each picture's."""
  network = yolov1.Network(side=2, width=1 / 32)
  task = yolov1.make_task(yolov1.Options(network), Classes(("a", "b", "c")))
  batch = random_batch(8, 128)
  expected = updated(task, batch, devices=1, subdivisions=1)
  got = updated(task, batch, devices=2, subdivisions=2)
  for a, b in zip(*map(jax.tree.leaves, (got, expected)), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
  # It is the dropout that would have shown it.
  shuffled = batch._replace(index=batch.index[::-1].copy())
  other = updated(task, shuffled, devices=1, subdivisions=1)
  assert abs(other[1]["loss"] - expected[1]["loss"]) > 1e-4


def test_parts_of_a_batch_are_averaged_and_the_carry_goes_through():
  """Worked out by hand: of 1 2 | 3 4 | 5 6."""

  def compute(carry, part):
    return carry * 10 + part["a"][0], {"mean": part["a"].mean()}

  batch = {"a": jnp.arange(1.0, 7.0)}
  carry, result = loop.in_parts(compute, jnp.zeros(()), batch, 3)
  assert carry == 135 and result["mean"] == 3.5


def test_rows_come_back_as_they_went():
  mesh = parallel.make_mesh()
  rows = np.arange(12.0).reshape(4, 3)
  np.testing.assert_array_equal(
    parallel.own_part(parallel.shard(rows, mesh)), rows
  )


PROGRAM = """
  %all-reduce.7 = (f32[4]{0}, f32[3,2]{1,0}, /*index=2*/bf16[8]{0}, f32[]) \
all-reduce(%a, %b, %c, %d), channel_id=1, to_apply=%region
  ROOT %gather = f32[10]{0} all-gather-start(%x), dimensions={0}
  %got = f32[4]{0} get-tuple-element(%all-reduce.7), index=0
  %done = f32[10]{0} all-gather-done(%gather)
"""


def test_collectives_are_read_from_a_programs_text():
  assert benchmark_devices.collectives(PROGRAM) == [
    ("all-reduce", 16 + 24 + 16 + 4),
    ("all-gather", 40),
  ]


def test_a_step_has_one_all_reduce_whatever_the_number_of_devices():
  """Weak scaling, from the programs for 2 and for 8 devices.

  What is sent is each gradient, each batch statistic, and the parts of the loss
  with their sum, once.
  """
  words = "--devices=2,8 --width=.0625 --size=64 --batch_size=1"
  done = subprocess.run(
    [sys.executable, "-m", "yolo9000.benchmarks.devices", *words.split()],
    capture_output=True,
    text=True,
    timeout=1200,
  )
  assert done.returncode == 0, done.stderr
  found = re.findall(
    r"(\d) devices: (\d+) collectives, (\d+) bytes, memory .* (\d+) bytes",
    done.stdout,
  )
  (two, *same, memory), (eight, *same_8, memory_8) = found
  assert (two, eight) == ("2", "8") and same == same_8
  assert abs(int(memory_8) / int(memory) - 1) < 0.01
  config = speed.full_size(
    base.detector(), width=0.0625, size=64, batch_size=1, dtype="float32"
  )
  task = build.make_task(config)
  variables = jax.eval_shape(lambda: task.init(jax.random.key(0), (64, 64)))
  numbers = sum(x.size for x in jax.tree.leaves(variables))
  assert same[0] == "1" and 4 <= int(same[1]) / 4 - numbers <= 10
  for name in ("TPU v5e", "TPU v6e", "H100", "H200"):
    assert len(re.findall(rf"{name} +[\d.]+ ms computing", done.stdout)) == 2


def test_a_ring_sends_nearly_everything_twice():
  """By hand: 2 x 7/8 of 450 GB over a link of 450 GB/s; 16 GPUs use NICs."""
  one = benchmark_devices.ACCELERATORS["H100"]
  assert one.all_reduce_seconds(450 * 10**9, 8) == pytest.approx(1.75)
  assert one.all_reduce_seconds(10**9, 1) == 0
  assert one.all_reduce_seconds(50 * 10**9, 16) == pytest.approx(1.875)


def test_checked_axes_would_sum_gradients_twice():
  """Why make_step turns check_vma off: with it, JAX itself sums gradients of
  what is replicated, and the mean over the axis changes nothing any more."""

  def gradient(w, x):
    grad = jax.grad(lambda w: jnp.sum(w * x))(w)
    return jax.lax.pmean(grad, parallel.AXIS)

  def of(**options):
    specs = dict(in_specs=(P(), P(parallel.AXIS)), out_specs=P())
    mapped = jax.shard_map(gradient, mesh=mesh_of(2), **specs, **options)
    return float(jax.jit(mapped)(jnp.ones(()), jnp.array([1.0, 3.0])))

  assert of(check_vma=False) == 2.0
  assert of() == 4.0


def test_the_mesh_is_not_explicit():
  """jax.make_mesh makes axes Explicit, with which scatters are errors."""
  assert set(parallel.make_mesh().axis_types) == {AxisType.Auto}


MANY = """
import sys
import jax
import jax.numpy as jnp
jax.config.update("jax_num_cpu_devices", 8)
sys.path.insert(0, {tests!r})
from pathlib import Path
from support import tiny_config
from yolo9000.training import build, loop
from yolo9000.types import Detections, Task

def loss(variables, batch, step):
  weights = variables["params"]["layer"]["kernel"]
  value = jnp.mean((weights - batch.image.mean() / 255) ** 2)
  return value, ({{}}, {{"all": value}})

def predict(variables, images):
  count = len(images)
  return Detections(
    jnp.zeros((count, 1, 4)), jnp.zeros((count, 1)),
    jnp.zeros((count, 1), jnp.int32), jnp.zeros((count, 1), bool),
  )

def init(key, size):
  params = {{"layer": {{"kernel": jnp.zeros((64, 64))}}}}
  return {{"params": params, "batch_stats": {{}}}}

made = Task(init, loss, predict, lambda size: None)
build.make_task = lambda config, classes: made
config = tiny_config(
  run__total_steps=150, run__batch_size=8, run__image_sizes=(32,),
  run__spmd="shard_map", evaluation__batch_size=8, run__log_every=100,
)
print(loop.train(config, Path({workdir!r})).metrics["detections"])
"""


def test_more_devices_than_cores_do_not_lock_up(tmp_path):
  """Eight virtual ones: the loop awaits each step on the CPU.

  Steps that queue up there can wait for each other for ever.
  """
  code = MANY.format(tests=str(ROOT / "tests"), workdir=str(tmp_path))
  done = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, timeout=1200
  )
  assert done.returncode == 0, done.stderr[-2000:]
  assert done.stdout == "0\n"
