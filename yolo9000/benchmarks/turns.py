"""Jobs that compute the same, compared and then timed in rounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from yolo9000.tables.timing import interleaved

Job = Callable[[], Any]  # gives what is compared, an array or several


def compare(jobs: Mapping[str, Job]) -> None:
  """Ends the command if one computes something else than this package.

  That is more than 1e-3 of the largest number of an array. Each does its job
  once, for a training is another one after it.
  """
  results = {name: jax.tree.leaves(job()) for name, job in jobs.items()}
  for name, result in results.items():
    for found, wanted in zip(result, results["yolo9000"], strict=True):
      error = np.abs(np.asarray(found) - wanted).max(initial=0.0)
      if not error <= 1e-3 * np.abs(wanted).max(initial=0.0):
        raise SystemExit(f"{name} computes something else: {error} apart")


def report(
  what: str, jobs: dict[str, Job], *, images: int, rounds: int
) -> None:
  """Prints a line for each: milliseconds per image, ratio to this package."""
  seconds = interleaved(jobs, rounds=rounds)
  for name, total in seconds.items():
    print(
      f"{what} batch {images}  {name:13} "
      f"{1000 * total / images:7.1f} ms/image  "
      f"{total / seconds['yolo9000']:.2f}",
      flush=True,
    )
