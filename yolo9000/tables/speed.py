"""Images per second of a table's rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from yolo9000.data import proposals
from yolo9000.data.batches import empty_batch
from yolo9000.tables.timing import interleaved
from yolo9000.training import build


def prediction_speeds(
  configs: Mapping[str, Any], *, rounds: int
) -> dict[str, float]:
  """Images per second of each run's detections, measured in turns.

  Args:
    configs: of runs, by name; at evaluation.image_size, a batch of
      evaluation.batch_size.
    rounds: of which the median counts.

  Proposals are at random places, and how long they take to find is left out.
  """
  jobs: dict[str, Callable[[], Any]] = {}
  for name, config in configs.items():
    task, size = build.make_task(config), config.evaluation.image_size
    variables = task.init(jax.random.key(0), (size, size))
    shape = (config.evaluation.batch_size, size, size, 3)
    images = jnp.asarray(
      np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    )
    most = build.max_proposals(config.data.test)
    batch = empty_batch(
      shape[0],
      size=size,
      max_objects=1,
      max_proposals=most if task.needs_proposals else 0,
    )
    batch = proposals.at_random(batch._replace(image=images))
    run = partial(task.predict, variables, *task.inputs(batch))
    jobs[name] = lambda run=run: jax.block_until_ready(run())
  seconds = interleaved(jobs, rounds=rounds)
  return {
    name: config.evaluation.batch_size / seconds[name]
    for name, config in configs.items()
  }
