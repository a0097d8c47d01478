"""Images per second: python -m yolo9000.benchmark

Medians of interleaved rounds, so that a noisy machine troubles all alike.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import optax

from yolo9000 import parallel, priors, train, yolov2
from yolo9000.data import augment, pipeline, shapes
from yolo9000.data.reading import Flaws, Source
from yolo9000.data.records import Dataset, Record, read_picture


def interleaved(
  jobs: dict[str, Callable[[], Any]], *, rounds: int
) -> dict[str, float]:
  """Median seconds of each job over so many rounds, after one to warm up."""
  times: dict[str, list[float]] = {name: [] for name in jobs}
  for number in range(rounds + 1):
    for name, job in jobs.items():
      start = time.perf_counter()
      job()
      if number:
        times[name].append(time.perf_counter() - start)
  return {name: statistics.median(values) for name, values in times.items()}


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
    weights=dict(coord=1.0, objectness=5.0, background=1.0, label=1.0),
    ignore_iou=0.6,
    small_box_weight=False,
    prior_pull=0.01,
    prior_pull_images=0,
    rescore=True,
    match_predicted_shape=False,
    class_agnostic_nms=False,
    iou_threshold=0.45,
    score_threshold=0.005,
    max_candidates=300,
    max_detections=100,
    metric="VOC07 AP",
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


def pipeline_job(
  folder: Path, *, size: int, batch_size: int, threads: int, images: int
) -> Callable[[], Any]:
  """Batches from 500x375 JPEG files, augmented as for VOC."""
  records = []
  drawn = shapes.read(Source("shapes", "", "train[:64]"), Flaws(strict=True))
  for number, record in enumerate(drawn.records):
    image = cv2.resize(drawn.read_image(record), (500, 375))
    noise = np.random.default_rng(number).normal(0, 3.5, image.shape)
    path = folder / f"{number}.jpg"
    cv2.imwrite(str(path), np.clip(image + noise, 0, 255).astype(np.uint8))
    scaled = record.boxes_px * np.array([500, 375, 500, 375]) / shapes.SIDE
    records.append(
      Record(
        *(str(path), 500, 375, scaled.astype(np.float32)),
        *(record.labels, record.difficult),
      )
    )
  bytes_each = np.mean([Path(r.path).stat().st_size for r in records])
  print(f"500x375 JPEGs of {bytes_each / 1000:.0f} kB in the mean")
  batches = pipeline.train_batches(
    [Dataset(records, shapes.CLASS_NAMES, read_picture, [])],
    weights=[1.0],
    augmentation=augment.Augmentation("crop", 0.2, 0.1, 1.5, 1.5, True, 0.005),
    train_on_difficult=False,
    batch_size=batch_size,
    size_of_step=lambda step: size,
    max_objects=30,
    seed=0,
    start_step=0,
    broken_share=0.0,
    num_threads=threads,
    num_processes=0,
  )
  return lambda: [next(batches) for _ in range(images // batch_size)]


def main() -> None:
  """Prints a line for each part."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--width", type=float, default=1.0)
  parser.add_argument("--size", type=int, default=416)
  parser.add_argument("--batch_size", type=int, default=8)
  parser.add_argument("--dtype", default="float32")
  parser.add_argument("--threads", type=int, default=os.cpu_count())
  parser.add_argument("--rounds", type=int, default=5)
  args = parser.parse_args()
  with tempfile.TemporaryDirectory() as folder:
    job = pipeline_job(
      Path(folder),
      size=args.size,
      batch_size=32,
      threads=args.threads,
      images=640,
    )
    seconds = interleaved({"": job}, rounds=args.rounds)[""]
    print(
      f"{'pipeline':12} {seconds / 0.64:8.1f} ms/image "
      f"{640 / seconds:8.1f} images/s"
    )
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
