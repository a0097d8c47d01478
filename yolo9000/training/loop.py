"""The one training loop, from a config to a trained model.

The loop knows a detector only as a Task, a few pure functions.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from functools import partial
from operator import gt
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from yolo9000 import detectors
from yolo9000.darknet.weights import PROGRAM_EPSILON
from yolo9000.data.records import Dataset
from yolo9000.files import write_whole
from yolo9000.networks.rows import Network
from yolo9000.training import (
  build,
  checks,
  compilation,
  devices,
  held,
  processes,
  start,
  validation,
)
from yolo9000.training.checkpoint import Checkpoints
from yolo9000.training.devices import AXIS
from yolo9000.training.evaluation import evaluate
from yolo9000.training.log import Log
from yolo9000.types import Batch, Detections, Step, Task
from yolo9000.wordtree import Classes

logger = logging.getLogger("yolo9000")


class Preempted(Exception):
  """A signal came; the state is saved, and the same command goes on from it."""


class State(NamedTuple):
  """Everything that a step changes, and all that a checkpoint holds."""

  step: Array  # updates done
  variables: Any  # params and batch_stats
  opt_state: Any
  average: Any  # running average of variables; () without one


class Outcome(NamedTuple):
  """Of a finished training.

  Attributes:
    metrics: the final ones.
    detections: of the test pictures.
    data: the test pictures.
    parameters: numbers that the network has, batch statistics left out.
    operations: of one picture in training, counted in the lowered step; None if
      they are not known, or nothing was trained.
  """

  metrics: dict[str, Any]
  detections: list[Detections]
  data: Dataset
  parameters: int
  operations: float | None = None


def init_state(config: Any, task: Task, tx: Any) -> State:
  """The state before the first step, a function of the seed alone."""
  size = (config.run.image_sizes[0],) * 2
  variables = task.init(jax.random.key(config.run.seed), size)
  average = (
    jax.tree.map(jnp.copy, variables) if config.optimizer.average else ()
  )
  learned, _ = held.split(config.optimizer.held, variables)
  opt_state = tx.init(learned["params"])
  return State(jnp.zeros((), jnp.int32), variables, opt_state, average)


def train_step(
  state: State,
  batch: Batch,
  *,
  task: Task,
  tx: Any,
  average: float,
  subdivisions: int,
  seed: int,
  still: Sequence[str] = (),
) -> tuple[State, dict[str, Array]]:
  """One update on one device's share of the batch; collectives over AXIS.

  Layers of the names in `still` are held, see `held.py`.

  The share is computed in so many subdivisions, one after the other, and its
  update is that of the whole, but for batch norm, where each subdivision is
  normalised by its own statistics, as in the original program, and for losses
  `over_counted`, where each divides by its own counts. Which pictures those are
  depends on the number of devices.
  """
  num_devices = jax.lax.axis_size(AXIS)
  images_seen = (state.step + 1) * (len(batch.image) * num_devices)
  step = Step(
    images_seen, jax.random.fold_in(jax.random.key(seed), images_seen)
  )

  learned, kept = held.split(still, state.variables)

  def gradient(stats, part):
    def loss_fn(params):
      variables = held.join({"params": params, "batch_stats": stats}, kept)
      with held.by_own_statistics(still):
        loss, (new, parts) = task.loss(variables, part, step)
      new, _ = held.split(still, {"batch_stats": new})
      return loss, (new["batch_stats"], parts)

    gradient = jax.value_and_grad(loss_fn, has_aux=True)
    (loss, (stats, parts)), grads = gradient(learned["params"])
    return stats, (grads, parts, loss)

  stats, means = in_parts(gradient, learned["batch_stats"], batch, subdivisions)
  stats, (grads, parts, loss) = jax.lax.pmean((stats, means), AXIS)
  updates, opt_state = tx.update(grads, state.opt_state, learned["params"])
  params = optax.apply_updates(learned["params"], updates)
  learned = {"params": params, "batch_stats": stats}
  averaged = state.average
  if average:
    # Young averages forget faster, or they would remember the initial weights.
    age = state.step.astype(jnp.float32)
    rate = 1 - jnp.minimum(average, (1 + age) / (10 + age))
    mean, same = held.split(still, averaged)
    mean = optax.incremental_update(learned, mean, rate)
    averaged = held.join(mean, same)
  variables = held.join(learned, kept)
  new = State(state.step + 1, variables, opt_state, averaged)
  return new, {"loss": loss, **parts}


def step_of(config: Any, task: Task, tx: Any) -> Callable[..., Any]:
  """`train_step` with a run's options."""
  return partial(
    train_step,
    task=task,
    tx=tx,
    average=config.optimizer.average,
    subdivisions=config.run.subdivisions,
    seed=config.run.seed,
    still=config.optimizer.held,
  )


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


def num_parameters(state: State) -> int:
  """Numbers in `params`, which training changes unless they are held still."""
  return sum(leaf.size for leaf in jax.tree.leaves(state.variables["params"]))


def operations(config: Any, steps: Iterable[Future]) -> float | None:
  """Of one picture, the mean over the sizes whose steps were compiled."""
  counts = [step.result() for step in steps if step.done()]
  if not counts or None in counts:
    return None
  each = config.run.batch_size / jax.device_count() / config.run.subdivisions
  return float(np.mean(counts)) / each


def due(done: int, every: int, total: int) -> bool:
  """Whether something that happens every so many steps, and at the end, is due.

  done counts finished steps. every 0 means at the end alone.
  """
  return done == total or (every > 0 and done % every == 0)


def make_folder(config: Any, classes: Classes, workdir: Path) -> None:
  """Makes the run's folder, with what its detector is read with."""
  workdir.mkdir(parents=True, exist_ok=True)
  text = json.dumps(config.to_dict(), indent=1)
  write_whole(workdir / "config.json", text)
  build.keep_tree(config.data, classes, workdir)


def make_log(config: Any, workdir: Path, done: int) -> Log:
  """What a run writes down, from so many steps on."""
  run = config.run
  return Log(
    workdir,
    done,
    run.total_steps,
    run.batch_size,
    rate=build.make_schedule(config),
    profile=run.profile,
    tensorboard=run.tensorboard,
  )


def begin(config: Any, classes: Classes, state: State, workdir: Path) -> State:
  """The state of a new run, with what run.start_from has of it.

  Writes start.txt, which says what was taken and why other things were not.

  Raises:
    ValueError: if the start point cannot be read, or nothing of it fits.
  """
  run = config.run
  if not run.start_from:
    if config.task.get("network", {}).get("frozen_norm"):
      logger.warning(
        "%s: task.network.frozen_norm holds batch norm as a start point has "
        "it, and run.start_from is ''; from scratch set it to False",
        workdir,
      )
    return state
  described = config.task.to_dict()
  rows = detectors.network_rows(described, classes)
  network = rows and Network(rows, (*(run.image_sizes[0],) * 2, 3))
  epsilon = described.get("norm", {}).get("epsilon", PROGRAM_EPSILON)
  found = start.read_start(
    run.start_from,
    run.start_cfg,
    network,
    epsilon=epsilon,
    num_layers=run.start_layers,
  )
  fresh = jax.device_get(state.variables)
  layers = held.layers(config.optimizer.held, fresh)
  variables, report = start.take(fresh, found, rows, held=layers)
  if processes.first():
    text = "\n".join([run.start_from, *report, ""])
    write_whole(workdir / "start.txt", text)
  others = [line.split(":")[0] for line in report if ": taken" not in line]
  logger.info(
    "%s: %d of %d layers start from %s, %d are held still; start.txt says why "
    "others do not: %s",
    workdir,
    len(report) - len(others),
    len(report),
    run.start_from,
    len(layers),
    ", ".join([*others[:5], *["..."] * (len(others) > 5)]) or "none",
  )
  average = variables if config.optimizer.average else ()
  return state._replace(variables=variables, average=average)


def train(config: Any, workdir: Path, described: Any = None) -> Outcome:
  """Trains from the latest checkpoint in workdir, or from the start.

  Writes config.json, metrics.jsonl and checkpoints; nothing before all data
  could be read.

  Args:
    config: of the run.
    workdir: its folder.
    described: the config to be written, if it is another.

  Raises:
    ValueError: for a config that cannot be, before anything is computed.
    NonFiniteLoss, NoObjects: see checks.py.
    Preempted: after SIGTERM or Ctrl-C; the state is saved.
  """
  run, total = config.run, config.run.total_steps
  classes = build.read_classes(config.data)
  task, tx = build.make_task(config, classes), build.make_optimizer(config)
  score = build.make_score(config, classes)
  validation.check_config(config, task)

  # Data, the folder and the step.
  train_data = build.training_data(config, classes, task.learns_from)
  test_data = build.test_data(config, classes)
  written = described or config
  processes.on_first(partial(make_folder, written, classes, workdir))
  processes.check_shared(workdir)
  judge = partial(evaluate, config, task, score, test_data)
  mesh = devices.make_mesh()
  step_fn, place = devices.make_step(
    step_of(config, task, tx), spmd=run.spmd, mesh=mesh
  )
  on_cpu = jax.default_backend() == "cpu"

  with contextlib.ExitStack() as stack:
    # From where on; the step is compiled while the state is made.
    checkpoints = stack.enter_context(contextlib.closing(Checkpoints(workdir)))
    first = done = processes.on_first(lambda: checkpoints.latest_step or 0)
    fresh = partial(init_state, config, task, tx)
    like = devices.like_replicated(jax.eval_shape(fresh), mesh)
    batches, empty = build.training_batches(config, train_data, first)
    stack.enter_context(contextlib.closing(batches))
    compiled = stack.enter_context(
      compilation.ahead(step_fn, like, place, empty)
    )

    # The state: fresh, or the latest checkpoint's.
    if first:
      state = checkpoints.restore_latest(like, first)
      logger.info("%s: goes on from step %d", workdir, first)
    else:
      state = begin(config, classes, fresh(), workdir)
      state = devices.replicate(state, mesh)
    log = make_log(config, workdir, first)
    stack.enter_context(contextlib.closing(log))
    stop = stack.enter_context(processes.told_to_stop())
    objects = checks.Objects(train_data.values())

    # The loop.
    unchecked: list[tuple[int, Batch, Any]] = []
    scored, stopping = None, ""
    for step in range(first, total):
      with log.waiting(step):
        batch = next(batches)
      compiled[batch.image.shape[1]].result()
      state, parts = step_fn(state, place(batch))
      objects.see(batch)
      done, stopping = step + 1, stop()
      evaluates = due(done, run.evaluate_every, total) and not stopping
      saves = due(done, run.checkpoint_every, total) or bool(stopping)

      # A step's loss is looked at while the next step runs, but before anything
      # is made of the state. On the CPU at once: virtual devices can deadlock
      # when steps queue up.
      if on_cpu:
        jax.block_until_ready(state)
      unchecked.append((step, batch, parts))
      while len(unchecked) > (0 if on_cpu or saves or evaluates else 1):
        number, images, parts = unchecked.pop(0)
        parts = {k: float(v) for k, v in jax.device_get(parts).items()}
        checks.check_finite(number, parts, images, train_data.values(), workdir)
        log.add(parts)

      if due(done, run.log_every, total):
        log.write_mean(done)
      if evaluates:
        with log.paused():
          scored = judge(state.average or state.variables)
        metrics = scored[0]
        if processes.on_first(partial(gt, metrics["metric"], log.best)):
          checkpoints.save_best(done, state)
        log.write(step=done, **metrics)
      if saves:
        checkpoints.save(done, state)
      if stopping:
        break

    if not scored and not stopping:  # stopped after its last step, before here
      scored = judge(state.average or state.variables)
    stopping = stopping or stop()
  if stopping:
    raise Preempted(f"{workdir}: {stopping}; saved at step {done} of {total}")
  size, cost = num_parameters(state), operations(config, compiled.values())
  return Outcome(*scored, test_data, size, cost)
