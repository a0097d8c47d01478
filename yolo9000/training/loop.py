"""The one training loop, from a config to a trained model.

The loop knows a model only as a Task, four functions.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable
from functools import partial
from operator import gt
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from yolo9000.darknet.cfg import Network
from yolo9000.data.records import Dataset
from yolo9000.files import write_whole
from yolo9000.tables import plots
from yolo9000.training import build, compilation, evaluation, processes, trained
from yolo9000.training import devices as parallel
from yolo9000.training.checkpoint import Checkpoints
from yolo9000.training.log import Log
from yolo9000.types import Batch, Detections, Task

logger = logging.getLogger("yolo9000")


class Preempted(Exception):
  """SIGTERM came; the state is saved and the same command goes on from it."""


class NonFiniteLoss(FloatingPointError):
  """A part of the loss is not a number; says where."""


class State(NamedTuple):
  """Everything that a step changes, and all that a checkpoint holds."""

  step: Array  # updates done
  variables: Any  # params and batch_stats
  opt_state: Any
  average: Any  # running average of variables; () without one


def init_state(config: Any, task: Task, tx: Any) -> State:
  """The state before the first step, a function of the seed alone."""
  size = config.run.image_sizes[0]
  init = jax.jit(task.init, static_argnums=1)
  variables = init(jax.random.key(config.run.seed), size)
  average = (
    jax.tree.map(jnp.copy, variables) if config.optimizer.average else ()
  )
  return State(
    jnp.zeros((), jnp.int32), variables, tx.init(variables["params"]), average
  )


def make_folder(config: Any, workdir: Path) -> None:
  """Makes the run's folder, with the tree that its model is read with."""
  workdir.mkdir(parents=True, exist_ok=True)
  trained.keep_tree(config.task.to_dict().get("tree"), workdir)


def start_point(config: Any, state: State, workdir: Path) -> State:
  """The state with what run.start_from has of it, see `trained.read_start`.

  Writes start.txt, which says of each layer whether it was taken and why not.

  Raises:
    ValueError: if it cannot be read, or nothing of it fits.
  """
  run, task = config.run, config.task
  layers = trained.run_table(task, config.data.class_names)
  network = Network(layers, (run.image_sizes[0],) * 2 + (3,))
  start = trained.read_start(
    *(run.start_from, run.start_cfg, network), epsilon=task.norm_epsilon
  )
  fresh = jax.device_get(state.variables)
  variables, report = trained.take(layers, fresh, *start)
  if processes.first():
    text = "\n".join([run.start_from, *report, ""])
    write_whole(workdir / "start.txt", text)
  count = sum(line.endswith(": taken") for line in report)
  logger.info(
    "%s: %d of %d layers start from %s; start.txt says which",
    *(workdir, count, len(report), run.start_from),
  )
  average = variables if config.optimizer.average else ()
  return state._replace(variables=variables, average=average)


def train_step(
  state: State,
  batch: Batch,
  *,
  task: Task,
  tx: Any,
  average: float,
  subdivisions: int,
) -> tuple[State, dict[str, Array]]:
  """One update on one device's share of the batch; collectives over AXIS.

  The share is computed in so many subdivisions, one after the other, and its
  update is that of the whole, but for batch norm: each subdivision is
  normalised by its own statistics, as in the original program. Which pictures
  those are depends on the number of devices.
  """
  devices = jax.lax.axis_size(parallel.AXIS)
  images_seen = (state.step + 1) * (len(batch.image) * devices)

  def gradient(stats, part):
    def loss_fn(params):
      variables = {"params": params, "batch_stats": stats}
      return task.loss(variables, part, images_seen)

    gradient = jax.value_and_grad(loss_fn, has_aux=True)
    (loss, (stats, parts)), grads = gradient(state.variables["params"])
    return stats, (grads, parts, loss)

  stats, means = in_parts(
    gradient, state.variables["batch_stats"], batch, subdivisions
  )
  stats, (grads, parts, loss) = jax.lax.pmean((stats, means), parallel.AXIS)
  updates, opt_state = tx.update(
    grads, state.opt_state, state.variables["params"]
  )
  params = optax.apply_updates(state.variables["params"], updates)
  variables = {"params": params, "batch_stats": stats}
  averaged = state.average
  if average:
    # Young averages forget faster, or they would remember the initial weights.
    age = state.step.astype(jnp.float32)
    rate = 1 - jnp.minimum(average, (1 + age) / (10 + age))
    averaged = optax.incremental_update(variables, averaged, rate)
  new = State(state.step + 1, variables, opt_state, averaged)
  return new, {"loss": loss, **parts}


def in_parts(
  compute: Callable[[Any, Any], tuple[Any, Any]],
  carry: Any,
  batch: Any,
  count: int,
) -> tuple[Any, Any]:
  """compute(carry, part) -> (carry, result) on equal parts of a batch in turn.

  Returns:
    The last carry and the mean of the results.
  """
  if count == 1:
    return compute(carry, batch)
  parts = jax.tree.map(
    lambda x: x.reshape(count, len(x) // count, *x.shape[1:]), batch
  )

  def add(held, part):
    carry, total = held
    carry, result = compute(carry, part)
    return (carry, jax.tree.map(jnp.add, total, result)), None

  part = jax.tree.map(lambda x: x[0], parts)
  shapes = jax.eval_shape(compute, carry, part)[1]
  zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
  (carry, total), _ = jax.lax.scan(add, (carry, zeros), parts)
  return carry, jax.tree.map(lambda x: x / count, total)


def due(done: int, every: int, total: int) -> bool:
  """Whether something that happens every so many steps, and at the end, is due.

  done counts finished steps. every 0 means at the end alone.
  """
  return done == total or (every > 0 and done % every == 0)


def check_finite(
  step: int,
  parts: dict[str, float],
  batch: Batch,
  data: Iterable[Dataset],
  workdir: Path,
) -> None:
  """Stops the run at a loss that is not finite, and keeps the batch.

  Raises:
    NonFiniteLoss: naming the step, the parts and the pictures.
  """
  if all(np.isfinite(value) for value in parts.values()):
    return
  own = f"_process_{jax.process_index()}" if jax.process_count() > 1 else ""
  path = workdir / f"nonfinite_step_{step}{own}.npz"
  np.savez(path, **batch._asdict())
  records = [record for dataset in data for record in dataset.records]
  pictures = "\n  ".join(records[n].path for n in batch.index)
  raise NonFiniteLoss(
    f"step {step}: the loss is not finite: {parts}\n"
    f"The batch is in {path}; its pictures are\n  {pictures}\n"
    f"A lower schedule.rate, more schedule.burn_in_steps or "
    f"optimizer.clip_norm often help."
  )


def score(
  config: Any, task: Task, state: State, data: Dataset
) -> tuple[dict[str, Any], list[Detections]]:
  """Metrics and detections of a trained state on a split.

  It predicts with the running average where there is one.
  """
  detections = evaluation.predict_all(
    task.predict,
    state.average or state.variables,
    data,
    image_size=config.evaluation.image_size,
    resize=config.data.resize,
    batch_size=config.evaluation.batch_size,
    num_threads=config.data.num_threads,
  )
  judge = partial(task.evaluate, detections, data.records)
  return processes.on_first(judge), detections


def evaluate_run(config: Any, source: Path, workdir: Path) -> dict[str, Any]:
  """Metrics of the finished run in `source`, evaluated as `config` says.

  Writes what `evaluation.write_report` writes to workdir; trains nothing.
  """
  build.check_config(config)
  data = build.test_data(config)
  task, tx = build.make_task(config), build.make_optimizer(config)
  like = jax.eval_shape(partial(init_state, config, task, tx))
  with contextlib.closing(Checkpoints(source)) as checkpoints:
    state = checkpoints.restore_latest(
      parallel.like_replicated(like, parallel.make_mesh())
    )
  metrics, detections = score(config, task, state, data)
  if processes.first():
    evaluation.write_report(workdir, detections, data)
  return metrics


def train(config: Any, workdir: Path) -> dict[str, Any]:
  """Trains from the latest checkpoint in workdir, or from the start.

  Writes metrics.jsonl and checkpoints, and at the end curves.png and what
  `evaluation.write_report` writes.

  Returns:
    The final metrics.

  Raises:
    ValueError: for a config that cannot be, before anything is computed.
    NonFiniteLoss: see `check_finite`.
    Preempted: after SIGTERM; the state is saved.
  """
  run, total = config.run, config.run.total_steps
  build.check_config(config)
  processes.on_first(partial(make_folder, config, workdir))
  processes.check_shared(workdir)

  # Data, model, optimizer.
  train_data = build.training_data(config)
  test_data = build.test_data(config)
  task, tx = build.make_task(config), build.make_optimizer(config)
  mesh = parallel.make_mesh()
  local_step = partial(
    train_step,
    task=task,
    tx=tx,
    average=config.optimizer.average,
    subdivisions=run.subdivisions,
  )
  step_fn, place = parallel.make_step(local_step, spmd=run.spmd, mesh=mesh)
  on_cpu = jax.default_backend() == "cpu"

  with contextlib.ExitStack() as stack:
    # The state: fresh, or the latest checkpoint's.
    checkpoints = stack.enter_context(contextlib.closing(Checkpoints(workdir)))
    state = init_state(config, task, tx)
    start = done = processes.on_first(lambda: checkpoints.latest_step or 0)
    if run.start_from and not start:
      state = start_point(config, state, workdir)
    state = parallel.replicate(state, mesh)
    like = parallel.like_replicated(state, mesh)
    if start:
      state = checkpoints.restore_latest(like, start)
      logger.info("%s: goes on from step %d", workdir, start)
    batches, empty = build.training_batches(config, train_data, start)
    stack.enter_context(contextlib.closing(batches))
    writes = processes.first()
    log = Log(workdir, start, total, run.batch_size, writes=writes)
    stack.enter_context(contextlib.closing(log))
    compiled = stack.enter_context(
      compilation.ahead(step_fn, like, place, empty)
    )
    stop = stack.enter_context(processes.sigterm())

    # The loop.
    unchecked: list[tuple[int, Batch, Any]] = []
    metrics, stopping = {}, False
    for step in range(start, total):
      with log.waiting():
        batch = next(batches)
      compiled[batch.image.shape[1]].result()
      state, parts = step_fn(state, place(batch))
      done, stopping = step + 1, stop()
      evaluates = due(done, run.evaluate_every, total) and not stopping
      saves = due(done, run.checkpoint_every, total) or stopping

      # A step's loss is looked at while the next step runs, but before anything
      # is made of the state. On the CPU at once: virtual devices can deadlock
      # when steps queue up.
      if on_cpu:
        jax.block_until_ready(state)
      unchecked.append((step, batch, parts))
      while len(unchecked) > (0 if on_cpu or saves or evaluates else 1):
        number, images, parts = unchecked.pop(0)
        parts = {k: float(v) for k, v in jax.device_get(parts).items()}
        check_finite(number, parts, images, train_data.values(), workdir)
        log.add(parts)

      if due(done, run.log_every, total):
        log.write_mean(done)
      if evaluates:
        with log.paused():
          metrics, detections = score(config, task, state, test_data)
        if processes.on_first(partial(gt, metrics["metric"], log.best)):
          checkpoints.save_best(done, state)
        log.write(step=done, **metrics)
      if saves:
        checkpoints.save(done, state)
      if stopping:
        break

    if not metrics and not stopping:  # stopped after its last step, before here
      metrics, detections = score(config, task, state, test_data)
    stopping = stopping or stop()
  if stopping:
    raise Preempted(f"{workdir}: SIGTERM; saved at step {done} of {total}")
  if writes:
    plots.curves(workdir / "curves.png", log.lines)
    evaluation.write_report(workdir, detections, test_data)
  return metrics
