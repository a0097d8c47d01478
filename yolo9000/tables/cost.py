"""What a table will do and cost, before it is started: main's --dry-run.

Costs are counted in the lowered program of a training step, memory in the
compiled one, so they hold for every detector.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import jax
import numpy as np
from ml_collections import ConfigDict

from yolo9000.data.batches import empty_batch
from yolo9000.tables import plan
from yolo9000.tables.accelerators import ACCELERATORS, REACHED
from yolo9000.tables.plan import Plan, Stage
from yolo9000.training import build, compilation, devices, loop
from yolo9000.training.trained import with_tuples
from yolo9000.types import Batch, Step, Task

# What a core computes and moves in a second, so that two measured times come
# out right (two cores): a training step at full width and 416 pixels, 423 ms a
# picture (benchmarks/speed.py, commit 943bd3e), and the narrow networks of
# experiments/ablation.py, 10.8 minutes in all (commit 1161c01).
CORE_FLOPS, CORE_BYTES = 350e9, 15e9


class Cost(NamedTuple):
  """Of one picture in training, forward and back.

  Attributes:
    operations: multiplications and additions.
    moved: bytes that go to and from memory, if nothing stays in a cache.
  """

  operations: float
  moved: float


def of_picture(config: Any) -> Cost:
  """The mean over run.image_sizes.

  Of many sizes the smallest and the largest are counted; between them costs
  grow with the area.
  """
  text = json.dumps(
    {"data": plan.as_json(config.data), "task": plan.as_json(config.task)},
    sort_keys=True,
  )
  sizes = config.run.image_sizes
  ends = sorted({min(sizes), max(sizes)})
  costs = np.array([_of_size(text, size) for size in ends])
  areas = np.square(ends)
  mean = np.mean(np.square(sizes))
  return Cost(*(float(np.interp(mean, areas, c)) for c in costs.T))


@functools.lru_cache(maxsize=256)
def _of_size(text: str, size: int) -> Cost:
  """Lowers the gradient of the loss of one picture; compiles nothing."""
  config = ConfigDict(with_tuples(json.loads(text)))
  task = build.make_task(config)
  key = jax.eval_shape(lambda: jax.random.key(0))
  variables = jax.eval_shape(lambda k: task.init(k, (size, size)), key)
  batch = _empty(config, task, size, 1)
  step = Step(jax.ShapeDtypeStruct((), "int32"), key)

  def loss(params: Any, rest: Any, batch: Any, step: Step) -> Any:
    return task.loss({**rest, "params": params}, batch, step)[0]

  lowered = jax.jit(jax.grad(loss)).lower(
    variables["params"],
    {k: v for k, v in variables.items() if k != "params"},
    batch,
    step,
  )
  counted = lowered.cost_analysis()
  if counted is None:  # not every backend counts
    return Cost(float("nan"), float("nan"))
  return Cost(counted["flops"], counted["bytes accessed"])


def _empty(config: Any, task: Task, size: int, count: int) -> Batch:
  """So many pictures to train on, as its arrays are."""
  data = config.data
  most = build.max_proposals(next(iter(data.train.values())))
  return empty_batch(
    count,
    size=size,
    max_objects=data.max_objects,
    max_proposals=most if task.needs_proposals else 0,
    mask_size=data.mask_size,
  )


def step_bytes(config: Any) -> int:
  """The most memory that a training step needs on one of these devices.

  Of run.batch_size pictures, of the largest of run.image_sizes, by the
  compiler: this compiles the step.
  """
  run, task = config.run, build.make_task(config)
  tx, mesh = build.make_optimizer(config), devices.make_mesh()
  state = jax.eval_shape(lambda: loop.init_state(config, task, tx))
  batch = _empty(config, task, max(run.image_sizes), run.batch_size)
  # pmap's step is the same program, and says nothing of its memory.
  step, place = devices.make_step(
    loop.step_of(config, task, tx), spmd="shard_map", mesh=mesh
  )
  like: Any = devices.like_replicated(state, mesh)
  lowered = cast(Any, step).lower(like, place(batch))
  return compilation.most_bytes(lowered.compile())


def _memory(config: Any) -> str:
  """The memory of a step in words, or why it is not known."""
  try:
    return f"{step_bytes(config) / 2**20:,.0f} MiB a device"
  except (ValueError, jax.errors.JaxRuntimeError) as error:
    return f"memory is not known: {str(error).splitlines()[0]}"


def operations(config: Any) -> float:
  """Of all pictures of a training."""
  run = config.run
  return of_picture(config).operations * run.total_steps * run.batch_size


def seconds_here(config: Any) -> float:
  """An estimate for the devices of this machine; nan for unknown ones."""
  kind = jax.devices()[0].device_kind
  if kind == "cpu":
    one, cores = of_picture(config), os.cpu_count() or 1
    each = one.operations / CORE_FLOPS + one.moved / CORE_BYTES
    return each / cores * config.run.total_steps * config.run.batch_size
  rates = [
    1e12 * one.tflops * REACHED * jax.device_count()
    for one in ACCELERATORS.values()
    if kind.startswith(one.device_kind)
  ]
  return operations(config) / (rates[0] if rates else float("nan"))


def schedule(config: Any) -> str:
  """How a stage trains, in words."""
  run, rate, tx = config.run, config.schedule, config.optimizer
  pictures = run.total_steps * run.batch_size
  words = [f"{pictures:,} pictures in {run.total_steps:,} steps"]
  epochs = run.epoch_images and pictures / run.epoch_images
  if epochs:
    words.append(f"{epochs:.0f} epochs of {run.epoch_images:,}")
  words.append(f"{tx.name}, rate {rate.rate:g}")
  if rate.name == "steps":
    for at, factor in zip(rate.at, rate.factors, strict=True):
      when = f"epoch {at * epochs:.0f}" if epochs else f"{100 * at:.0f} %"
      words.append(f"divided by {1 / factor:g} at {when}")
  elif rate.name == "polynomial":
    words.append(f"polynomial of power {rate.power:g}")
  else:
    words.append(rate.name)
  if rate.burn_in_steps:
    words.append(f"the first {rate.burn_in_steps} steps burn in")
  words.append(f"decay {tx.weight_decay:g}, momentum {tx.momentum:g}")
  sizes = run.image_sizes
  if len(sizes) > 1:
    words.append(
      f"sizes {min(sizes)}..{max(sizes)} every {run.resize_every} steps"
    )
  else:
    words.append(f"size {sizes[0]}")
  return ", ".join(words)


def describe(
  made: Plan, stages: Sequence[Stage], workdir: Path, *, memory: bool = False
) -> str:
  """The rows' chains, every stage's schedule and cost, and the sum.

  Args:
    made: of the table.
    stages: those that are to be run.
    workdir: of the table; finished stages cost nothing more.
    memory: of every stage too, which takes as long as compiling it does.
  """
  lines = ["Rows, each a chain of stages:"]
  for row in made.rows:
    lines.append(f"  {row.title}: {row.error or ' > '.join(row.stages)}")
  lines.append("Stages, each run once:")
  total = seconds = 0.0
  for stage in stages:
    done = (plan.folder(workdir, stage.key) / "results.json").exists()
    state = " (done)" if done else ""
    if not stage.trains:
      size = stage.config.evaluation.image_size
      lines.append(f"  {stage.key}{state}: {stage.parent} at size {size}")
      continue
    try:
      count = operations(stage.config)
    except ValueError as error:
      lines.append(f"  {stage.key}: cannot be: {error}")
      continue
    here = seconds_here(stage.config)
    line = (
      f"  {stage.key}{state}: {schedule(stage.config)}; "
      f"{count / 1e15:.3g} PFLOP, about {in_words(here)} here"
    )
    if memory and not done:
      line += f", {_memory(stage.config)}"
    lines.append(line)
    total += 0 if done else count
    seconds += 0 if done else here
  lines.append(
    f"To do: {total / 1e15:.3g} PFLOP, about {in_words(seconds)} here without "
    f"evaluation and compilation; estimated from operations, not measured."
  )
  hours = ", ".join(
    f"{name} {total / (1e12 * one.tflops * REACHED) / 3600:.2g}"
    for name, one in ACCELERATORS.items()
  )
  lines.append(
    f"Hours of one accelerator at {100 * REACHED:.0f} % of its published "
    f"bfloat16 rate: {hours}."
  )
  return "\n".join(lines)


def in_words(seconds: float) -> str:
  """A time in minutes or hours."""
  if seconds != seconds:
    return "unknown time"
  if seconds < 5400:
    return f"{seconds / 60:.1f} minutes"
  return f"{seconds / 3600:.1f} hours"
