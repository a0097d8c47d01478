"""Times of jobs that take turns. Imports no jax."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def interleaved(
  jobs: dict[str, Callable[[], object]], *, rounds: int
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
