"""Images per second: python -m yolo9000.benchmarks.speed

Forward pass and training step of the detector of experiments/base.py; data.py
has the pictures.
Medians of interleaved rounds, so that a noisy machine troubles all alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from experiments import base
from yolo9000 import command_line
from yolo9000.data.batches import empty_batch
from yolo9000.tables.timing import interleaved
from yolo9000.training import build, compilation, devices, held, loop
from yolo9000.types import Batch, Task

PRODUCT, SIDE = "matrix product", 2048  # the reference, and its sides


def full_size(
  config: Any, *, width: float, size: int, batch_size: int, dtype: str
) -> Any:
  """An experiment's detector at another width and picture size, as ConfigDict.

  Class names are numbers, if data.class_names does not say others.
  """
  config = ConfigDict(config.to_dict())
  config.task.network.update(width=width, dtype=dtype)
  config.run.update(image_sizes=(size,), batch_size=batch_size)
  config.evaluation.update(image_size=size, batch_size=batch_size)
  return config


def random_batch(config: Any) -> Batch:
  """Noise with four objects on each picture."""
  size, batch_size = config.run.image_sizes[0], config.run.batch_size
  num_classes = len(config.data.class_names)
  rng = np.random.default_rng(0)
  low = rng.uniform(0, 0.5, (batch_size, 30, 2))
  mask_size = config.data.mask_size
  batch = empty_batch(
    batch_size, size=size, max_objects=30, mask_size=mask_size
  )
  return batch._replace(
    image=rng.integers(0, 256, batch.image.shape).astype(np.uint8),
    boxes=np.concatenate([low, low + 0.3], axis=-1).astype(np.float32),
    labels=rng.integers(0, num_classes, batch.labels.shape).astype(np.int32),
    mask=np.arange(30)[None].repeat(batch_size, 0) < 4,
    masks=None if batch.masks is None else batch.masks + np.uint8(255),
  )


class Jobs(NamedTuple):
  """What is timed, the most memory that each program needs, in bytes, and the
  operations that the compiler counts in it."""

  forward: Callable[[], Any]
  train_step: Callable[[], Any]
  forward_bytes: int
  train_step_bytes: int
  forward_operations: float
  train_step_operations: float


def network_jobs(
  task: Task, batch: Batch, *, still: Sequence[str] = ()
) -> Jobs:
  """Forward pass with detections, and training step.

  In training the layers of the names in `still` are held, see
  `training/held.py`.
  """
  tx = optax.sgd(1e-4, momentum=0.9)
  mesh = devices.make_mesh()
  size = batch.image.shape[1:3]
  variables = jax.jit(task.init, static_argnums=1)(jax.random.key(0), size)
  local_step = partial(
    loop.train_step,
    task=task,
    tx=tx,
    average=0.0,
    subdivisions=1,
    seed=0,
    still=still,
  )
  step, place = devices.make_step(local_step, spmd="shard_map", mesh=mesh)
  learned, _ = held.split(still, variables)
  state = loop.State(
    jnp.zeros((), jnp.int32), variables, tx.init(learned["params"]), ()
  )
  kept = [devices.replicate(jax.tree.map(jnp.copy, state), mesh)]
  placed, images = place(batch), devices.shard(batch.image, mesh)
  compiled: Any = step
  step = compiled.lower(kept[0], placed).compile()
  predict = jax.jit(task.predict).lower(variables, images).compile()

  def train_step():
    kept[0], _ = step(kept[0], placed)
    jax.block_until_ready(kept[0])

  return Jobs(
    lambda: jax.block_until_ready(predict(variables, images)),
    train_step,
    compilation.most_bytes(predict),
    compilation.most_bytes(step),
    predict.cost_analysis()["flops"],
    step.cost_analysis()["flops"],
  )


def matrix_product(dtype: str) -> Callable[[], Any]:
  """A job of 2 * SIDE**3 operations, the measure of the others."""
  one = jax.random.normal(jax.random.key(0), (SIDE, SIDE), jnp.dtype(dtype))
  product = jax.jit(jnp.matmul)
  return lambda: jax.block_until_ready(product(one, one))


def main() -> None:
  """Prints a line for each part."""
  parser = command_line.parser("yolo9000.benchmarks.speed", __doc__)
  parser.add_argument("--width", type=float, default=1.0)
  parser.add_argument("--size", type=int, default=416)
  parser.add_argument("--batch_size", type=int, default=8)
  parser.add_argument("--dtype", default="float32")
  parser.add_argument("--rounds", type=int, default=5)
  parser.add_argument("--backbone", default="darknet19")
  parser.add_argument(
    "--held",
    nargs="+",
    metavar="LAYER",
    default=[],
    help="a training step with these layers held still too, such as 'layer_0*'",
  )
  args = parser.parse_args()
  found = jax.devices()
  print(
    f"the detector of experiments/base.py, {args.backbone}, width "
    f"{args.width:g}, {args.size}x{args.size}, batch {args.batch_size}, "
    f"{args.dtype}, on {len(found)} x {found[0].device_kind}, jax "
    f"{jax.__version__}"
  )
  config = full_size(
    base.detector(),
    width=args.width,
    size=args.size,
    batch_size=args.batch_size,
    dtype=args.dtype,
  )
  if args.backbone != config.task.network.backbone:
    config.task.network.update(backbone=args.backbone, passthrough="none")
  task, batch = build.make_task(config), random_batch(config)
  made = network_jobs(task, batch)
  jobs = {"forward": made.forward, "train step": made.train_step}
  costs = {
    "forward": (made.forward_operations, made.forward_bytes),
    "train step": (made.train_step_operations, made.train_step_bytes),
  }
  if args.held:
    less = network_jobs(task, batch, still=args.held)
    jobs["held still"] = less.train_step
    costs["held still"] = less.train_step_operations, less.train_step_bytes
  jobs[PRODUCT] = matrix_product(args.dtype)
  seconds = interleaved(jobs, rounds=args.rounds)
  product = 2 * SIDE**3 / seconds.pop(PRODUCT)
  print(
    f"matrix product of {SIDE}: {product / 1e9:.0f} GFLOP/s; of this rate, the "
    f"operations counted in the programs have a share:"
  )
  for name, (operations, memory) in costs.items():
    each = seconds[name] / args.batch_size
    share = operations / seconds[name] / product
    print(
      f"{name:12} {1000 * each:8.1f} ms/image {1 / each:8.1f} images/s "
      f"{100 * share:6.0f} % {memory / 2**20:8.0f} MiB"
    )


if __name__ == "__main__":
  main()
