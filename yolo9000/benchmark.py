"""Images per second: python -m yolo9000.benchmark

Forward pass and training step of YOLOv2; `benchmark_data` has the pictures.
Medians of interleaved rounds, so that a noisy machine troubles all alike.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from yolo9000 import parallel, priors, train, yolov2
from yolo9000.benchmark_data import interleaved
from yolo9000.data import pipeline


def network_jobs(
  *, width: float, size: int, batch_size: int, dtype: str
) -> dict[str, Callable[[], Any]]:
  """Forward pass with detections, and training step, of YOLOv2 for VOC."""
  task = yolov2.make_task(
    class_names=[str(n) for n in range(20)],
    priors=priors.VOC_2017,
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
  tx = optax.sgd(1e-4, momentum=0.9)
  mesh = parallel.make_mesh()
  variables = jax.jit(task.init, static_argnums=1)(jax.random.key(0), 64)
  local_step = partial(train.train_step, task=task, tx=tx, average=0.0)
  step, place = parallel.make_step(local_step, spmd="shard_map", mesh=mesh)
  rng = np.random.default_rng(0)
  low = rng.uniform(0, 0.5, (batch_size, 30, 2))
  batch = pipeline.empty_batch(batch_size, size=size, max_objects=30)
  batch = batch._replace(
    image=rng.integers(0, 256, batch.image.shape).astype(np.uint8),
    boxes=np.concatenate([low, low + 0.3], axis=-1).astype(np.float32),
    labels=rng.integers(0, 20, batch.labels.shape).astype(np.int32),
    mask=np.arange(30)[None].repeat(batch_size, 0) < 4,
  )
  state = train.State(
    *(jnp.zeros((), jnp.int32), variables, tx.init(variables["params"]), ())
  )
  kept = [parallel.replicate(jax.tree.map(jnp.copy, state), mesh)]
  predict, images = jax.jit(task.predict), parallel.shard(batch.image, mesh)
  placed = place(batch)

  def train_step():
    kept[0], _ = step(kept[0], placed)
    jax.block_until_ready(kept[0])

  return {
    "forward": lambda: jax.block_until_ready(predict(variables, images)),
    "train step": train_step,
  }


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
  jobs = network_jobs(
    width=args.width,
    size=args.size,
    batch_size=args.batch_size,
    dtype=args.dtype,
  )
  for name, seconds in interleaved(jobs, rounds=args.rounds).items():
    each = seconds / args.batch_size
    print(f"{name:12} {1000 * each:8.1f} ms/image {1 / each:8.1f} images/s")


if __name__ == "__main__":
  main()
