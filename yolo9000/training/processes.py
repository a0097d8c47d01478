"""Several processes as one run: JAX's own runtime starts, joins, watches them.

Every process runs the same program. What only one may do, such as writing a
file, the first does; what all must agree on, the first decides.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils

logger = logging.getLogger("yolo9000")

MODES = ("auto", "off", "manual")
# A process without a sign of life for so many seconds counts as dead; the
# others then end within a few more.
HEARTBEAT = 40
FAREWELL = 3.0  # seconds

_asked = itertools.count(1)  # how often `told_to_stop` was asked, in all runs
_came: list[str] = []  # signals to a process that is alone, by their names


def start(
  mode: str,
  *,
  coordinator: str | None,
  num_processes: int | None,
  process_id: int | None,
) -> None:
  """Joins the other processes of this run; before any other use of JAX.

  Args:
    mode: one of MODES. "auto": as JAX finds them (Cloud TPU, GKE, SLURM, Open
      MPI), or alone where it finds none; "off": alone; "manual": as the other
      arguments say.
    coordinator: host:port of the first process, the port free there.
    num_processes: of the run.
    process_id: of this one, from 0.

  Raises:
    ValueError: for "manual" without these three, or another mode with them.
  """
  given: dict[str, Any] = dict(
    coordinator_address=coordinator,
    num_processes=num_processes,
    process_id=process_id,
  )
  known = [value is not None for value in given.values()]
  if mode not in MODES or (not all(known) if mode == "manual" else any(known)):
    raise ValueError(
      f"distributed={mode} with coordinator {coordinator}, num_processes "
      f"{num_processes}, process_id {process_id}; expected one of "
      f"{', '.join(MODES)}, and these three with manual alone"
    )
  if mode == "off":
    return
  method = "deactivate" if mode == "manual" else None
  try:
    jax.distributed.initialize(
      **given,
      cluster_detection_method=method,
      heartbeat_timeout_seconds=HEARTBEAT,
    )
  except ValueError as error:
    if mode == "manual" or "coordinator_address" not in str(error):
      raise  # otherwise there is no cluster


def alone() -> bool:
  """Whether this run has no other process."""
  return not jax.distributed.is_initialized() or jax.process_count() == 1


def first() -> bool:
  """Whether this process writes what is written once."""
  return jax.process_index() == 0


def on_first(make: Callable[[], Any]) -> Any:
  """The value that the first process makes, in all processes.

  It must be JSON. If make fails, so do all, the others with a RuntimeError.
  """
  if alone():
    return make()
  value, failure = None, None
  if first():
    try:
      value = make()
    except Exception as error:
      failure = error
  told = [value, failure and f"{type(failure).__name__}: {failure}"]
  text = json.dumps(told).encode() if first() else b""
  size = int(multihost_utils.broadcast_one_to_all(np.int32(len(text))))
  own = np.frombuffer(text, np.uint8) if first() else np.zeros(size, np.uint8)
  told = json.loads(multihost_utils.broadcast_one_to_all(own).tobytes())
  if failure:
    raise failure
  if told[1]:
    raise RuntimeError(f"the first process failed: {told[1]}")
  return told[0]


def gather(array: np.ndarray) -> np.ndarray:
  """Every process's array, to the bit: (processes, *shape).

  The shapes must be equal.
  """
  if alone():
    return array[None]
  # As bytes, because JAX would turn float64 into float32.
  own = np.frombuffer(array.tobytes(), np.uint8)
  every = multihost_utils.process_allgather(own)
  return np.frombuffer(every.tobytes(), array.dtype).reshape(-1, *array.shape)


def check_shared(folder: Path) -> None:
  """Raises ValueError in all processes unless all see the same folder."""
  if alone():
    return

  def leave_sign() -> str:
    sign = folder / f".shared.{uuid.uuid4().hex}"
    sign.touch()
    return sign.name

  sign = folder / on_first(leave_sign)
  seen = gather(np.array(sign.exists()))
  if first():
    sign.unlink()
  if not seen.all():
    blind = ", ".join(map(str, np.flatnonzero(~seen)))
    raise ValueError(
      f"{folder}: what process 0 writes there is not seen by {blind} of "
      f"{len(seen)}; a workdir must be on a file system that all hosts share"
    )


@contextlib.contextmanager
def told_to_stop() -> Iterator[Callable[[], str]]:
  """Gives a function that tells whether to stop, by the signal's name or "".

  The signals are SIGTERM and SIGINT, Ctrl-C. A second Ctrl-C is a
  KeyboardInterrupt.

  Several processes must ask equally often, and get the same answer: true for
  all as soon as one of them has had the signal and all have asked as often.
  """
  if jax.distributed.is_initialized():  # JAX's runtime has SIGTERM
    before = signal.signal(signal.SIGINT, _pass_on)
    synced = multihost_utils.reached_preemption_sync_point
    try:
      yield lambda: "SIGTERM" if synced(next(_asked)) else ""
    finally:
      signal.signal(signal.SIGINT, before)
      if before is not _pass_on:
        _came.clear()
    return
  signals = (signal.SIGTERM, signal.SIGINT)
  handlers = [signal.signal(number, _note) for number in signals]
  try:
    yield lambda: _came[0] if _came else ""
  finally:
    for number, handler in zip(signals, handlers, strict=True):
      signal.signal(number, handler)
    if handlers[0] is not _note:  # the outermost of those within each other
      _came.clear()


def _note(number: int, _: Any) -> None:
  if number == signal.SIGINT and _came:
    raise KeyboardInterrupt
  _came.append(signal.Signals(number).name)
  if number == signal.SIGINT:
    logger.warning("stops after this step and saves; Ctrl-C again: at once")


def _pass_on(number: int, _: Any) -> None:
  _note(number, _)
  os.kill(os.getpid(), signal.SIGTERM)


def is_loss(error: BaseException | None) -> bool:
  """Whether an error came of another process of the run being gone."""
  words = ("Gloo", "NCCL", "UNAVAILABLE", "coordination service", "Barrier")
  while error and not alone():
    if isinstance(error, jax.errors.JaxRuntimeError) and any(
      word in str(error) for word in words
    ):
      return True
    error = error.__cause__ or error.__context__
  return False


def leave(code: int) -> NoReturn:
  """Ends this process after an error that others may not have had.

  At once, if there are others: a usual end waits for them, who may be waiting
  for this one. The first process, without which JAX ends the others, gives them
  time to end by themselves.
  """
  if alone():
    sys.exit(code)
  if first():
    time.sleep(FAREWELL)
  logging.shutdown()
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(code)
