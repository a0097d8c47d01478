"""How and when programs are compiled, and that they are kept for next time."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jaxlib.version

from yolo9000.types import Batch

# By default XLA gives convolutions on a CPU to YNNPACK. Its own are faster.
# With them YOLOv2 at full size takes .80 to .89 of the time forward and .59 of
# it in training with jaxlib 0.10.2, .66 in training with 0.11.2 and 0.12.0.1,
# and the miniature's networks .89 to .97 in training (2 cores, interleaved).
CONVOLUTIONS = "--xla_cpu_experimental_ynn_fusion_type=-individual_convolution"
KNOWN = ((0, 10, 2), (0, 13))  # jaxlibs that know it; XLA ends at another flag

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h


def set_up() -> None:
  """For commands, before anything is compiled: cache, flags and memory.

  A user's own XLA_FLAGS are left as they are.
  """
  enable_cache()
  keep_memory()
  version = jaxlib.version.__version_info__
  if KNOWN[0] <= tuple(version) < KNOWN[1]:
    os.environ.setdefault("XLA_FLAGS", CONVOLUTIONS)


def keep_memory() -> None:
  """Keeps memory that is freed, instead of faulting it in again at each call.

  Of glibc; elsewhere nothing happens. A training step at batch 1 takes .95 of
  the time, other things the same; on a machine where faults are dear more.
  """
  if sys.platform != "linux":
    return
  mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
  if mallopt is not None:  # not so in musl
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def enable_cache() -> None:
  """Keeps compiled programs in ~/.cache/yolo9000/xla, per jaxlib and processor.

  A program compiled for one processor can crash on another. Where
  JAX_COMPILATION_CACHE_DIR is set, there.
  """
  if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
    return
  try:
    processor = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    lines = [
      x for x in processor.splitlines() if x.startswith(("model", "flags"))
    ]
  except OSError:
    lines = []
  key = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:8]
  cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
  folder = cache / "yolo9000" / "xla" / f"{jaxlib.version.__version__}-{key}"
  jax.config.update("jax_compilation_cache_dir", str(folder))


@contextlib.contextmanager
def ahead(
  step: Callable[..., Any],
  like: Any,
  place: Callable[[Batch], Any],
  batches: dict[int, Batch],
) -> Iterator[dict[int, Future]]:
  """Compiles the step for a batch of every image size, in order, in a thread.

  Gives the sizes' futures, of the operations that the step takes on a device;
  None if they are not known. What is not begun at the end is called off.
  """

  def compile_one(batch: Batch) -> float | None:
    if not hasattr(step, "lower"):  # its first call compiles
      return None
    lowered = step.lower(like, place(batch))
    lowered.compile()
    return lowered.cost_analysis().get("flops")

  executor = ThreadPoolExecutor(1, thread_name_prefix="compile")
  try:
    yield {n: executor.submit(compile_one, b) for n, b in batches.items()}
  finally:
    executor.shutdown(wait=False, cancel_futures=True)


def most_bytes(compiled: Any) -> int:
  """Arguments, results and what lies between them, by the compiler."""
  memory = compiled.memory_analysis()
  return (
    memory.argument_size_in_bytes
    + memory.output_size_in_bytes
    + memory.temp_size_in_bytes
    - memory.alias_size_in_bytes
  )
