"""Images per second: python -m yolo9000.benchmarks.speed

Forward pass and training step of YOLOv2; `benchmark_data` has the pictures.
Medians of interleaved rounds, so that a noisy machine troubles all alike.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from yolo9000.benchmarks.data import interleaved
from yolo9000.boxes import priors
from yolo9000.data import batches
from yolo9000.detectors import yolov2
from yolo9000.training import build, loop
from yolo9000.training import devices as parallel
from yolo9000.types import Batch, Task


def make_task(
  *, num_classes: int, priors: Any, width: float, dtype: str, **options: Any
) -> Task:
  """YOLOv2 as the paper trains it, for so many classes.

  options replace those of `yolov2.make_task` that are given here.
  """
  chosen: dict[str, Any] = dict(
    class_names=[str(n) for n in range(num_classes)],
    priors=priors,
    network="darknet19",
    location="direct",
    passthrough="paper",
    program_reorg=False,
    width=width,
    dtype=dtype,
    norm_momentum=0.99,
    norm_epsilon=1e-5,
    norm_axis="",
    program_norm=False,
    class_error="softmax",
    tree=None,
    weights=dict(coord=1.0, objectness=5.0, background=1.0, label=1.0),
    ignore_iou=0.6,
    small_box_weight=False,
    prior_pull=0.01,
    prior_pull_images=0,
    rescore=True,
    match_predicted_shape=False,
    slot_rule="none",
    objectness_rule="paper",
    label_warm_up_images=0,
    class_agnostic_nms=False,
    iou_threshold=0.45,
    score_threshold=0.005,
    max_candidates=300,
    max_detections=100,
    max_cells=0,
    metric="VOC07 AP",
    groups={},
    scored_classes=(),
  )
  return yolov2.make_task(**{**chosen, **options})


def random_batch(*, size: int, batch_size: int, num_classes: int) -> Batch:
  """Noise with four objects on each picture."""
  rng = np.random.default_rng(0)
  low = rng.uniform(0, 0.5, (batch_size, 30, 2))
  batch = batches.empty_batch(batch_size, size=size, max_objects=30)
  return batch._replace(
    image=rng.integers(0, 256, batch.image.shape).astype(np.uint8),
    boxes=np.concatenate([low, low + 0.3], axis=-1).astype(np.float32),
    labels=rng.integers(0, num_classes, batch.labels.shape).astype(np.int32),
    mask=np.arange(30)[None].repeat(batch_size, 0) < 4,
  )


class Jobs(NamedTuple):
  """What is timed, and the most memory that each program needs, in bytes."""

  forward: Callable[[], Any]
  train_step: Callable[[], Any]
  forward_bytes: int
  train_step_bytes: int


def network_jobs(task: Task, batch: Batch) -> Jobs:
  """Forward pass with detections, and training step."""
  tx = optax.sgd(1e-4, momentum=0.9)
  mesh = parallel.make_mesh()
  variables = jax.jit(task.init, static_argnums=1)(jax.random.key(0), 64)
  local_step = partial(
    loop.train_step, task=task, tx=tx, average=0.0, subdivisions=1
  )
  step, place = parallel.make_step(local_step, spmd="shard_map", mesh=mesh)
  state = loop.State(
    *(jnp.zeros((), jnp.int32), variables, tx.init(variables["params"]), ())
  )
  kept = [parallel.replicate(jax.tree.map(jnp.copy, state), mesh)]
  placed, images = place(batch), parallel.shard(batch.image, mesh)
  compiled: Any = step
  step = compiled.lower(kept[0], placed).compile()
  predict = jax.jit(task.predict).lower(variables, images).compile()

  def train_step():
    kept[0], _ = step(kept[0], placed)
    jax.block_until_ready(kept[0])

  return Jobs(
    lambda: jax.block_until_ready(predict(variables, images)),
    train_step,
    most_bytes(predict),
    most_bytes(step),
  )


def prediction_speeds(
  configs: Mapping[str, Any], *, rounds: int
) -> dict[str, float]:
  """Images per second of each run's detections, measured in turns.

  Args:
    configs: of runs, by name; at evaluation.image_size, a batch of
      evaluation.batch_size.
    rounds: of which the median counts.
  """
  jobs: dict[str, Callable[[], Any]] = {}
  for name, config in configs.items():
    task, size = build.make_task(config), config.evaluation.image_size
    init = jax.jit(task.init, static_argnums=1)
    variables = init(jax.random.key(0), size)
    shape = (config.evaluation.batch_size, size, size, 3)
    images = jnp.asarray(
      np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    )
    run = partial(task.predict, variables, images)
    jobs[name] = lambda run=run: jax.block_until_ready(run())
  seconds = interleaved(jobs, rounds=rounds)
  return {
    name: config.evaluation.batch_size / seconds[name]
    for name, config in configs.items()
  }


def most_bytes(compiled: Any) -> int:
  """Arguments, results and what lies between them, by the compiler."""
  memory = compiled.memory_analysis()
  return (
    memory.argument_size_in_bytes
    + memory.output_size_in_bytes
    + memory.temp_size_in_bytes
    - memory.alias_size_in_bytes
  )


def main() -> None:
  """Prints a line for each part."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--width", type=float, default=1.0)
  parser.add_argument("--size", type=int, default=416)
  parser.add_argument("--batch_size", type=int, default=8)
  parser.add_argument("--dtype", default="float32")
  parser.add_argument("--rounds", type=int, default=5)
  args = parser.parse_args()
  devices = jax.devices()
  print(
    f"YOLOv2, width {args.width:g}, {args.size}x{args.size}, batch "
    f"{args.batch_size}, {args.dtype}, on {len(devices)} x "
    f"{devices[0].device_kind}, jax {jax.__version__}"
  )
  task = make_task(
    num_classes=20,
    priors=priors.VOC_2017,
    width=args.width,
    dtype=args.dtype,
  )
  made = network_jobs(
    task,
    random_batch(size=args.size, batch_size=args.batch_size, num_classes=20),
  )
  jobs = {"forward": made.forward, "train step": made.train_step}
  for name, seconds in interleaved(jobs, rounds=args.rounds).items():
    each = seconds / args.batch_size
    print(f"{name:12} {1000 * each:8.1f} ms/image {1 / each:8.1f} images/s")


if __name__ == "__main__":
  main()
