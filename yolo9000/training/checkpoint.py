"""Checkpoints: a step and named arrays. The only file that knows orbax."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp


class CheckpointError(ValueError):
  """A checkpoint that is there and cannot be read; names its folder."""


class Checkpoints:
  """The latest two states of a run, and the best, each saved asynchronously.

  Writing goes to a temporary folder that is renamed when complete, so that a
  kill or a full disk at any moment leaves the earlier checkpoints whole. Of
  several processes each must call the same, and writes its share.
  """

  def __init__(self, workdir: str | Path):
    """Opens workdir/checkpoints, which need not exist."""
    root = Path(workdir).absolute() / "checkpoints"
    self._latest = _manager(root / "latest", keep=2)
    self._best = _manager(root / "best", keep=1)

  @property
  def latest_step(self) -> int | None:
    """Updates done by the latest checkpoint; None if there is none."""
    return self._latest.latest_step()

  def save(self, step: int, state: Any) -> None:
    """Starts saving the state after `step` updates."""
    # One after the other: with several processes, orbax confuses two at once.
    self._best.wait_until_finished()
    self._latest.save(step, args=ocp.args.PyTreeSave(state))

  def save_best(self, step: int, state: Any) -> None:
    """Starts saving the state as the best so far; replaces the one before."""
    self._latest.wait_until_finished()
    self._best.save(step, args=ocp.args.PyTreeSave(state))

  def restore_latest(self, like: Any, step: int | None = None) -> Any:
    """The latest state, or that of a step, in structure and sharding `like`."""
    return _restore(self._latest, like, step or self.latest_step)

  def wait(self) -> None:
    """Returns when everything is on disk; raises what went wrong."""
    self._latest.wait_until_finished()
    self._best.wait_until_finished()

  def close(self) -> None:
    """Waits and lets go of the folder."""
    self._latest.close()
    self._best.close()


def read(workdir: str | Path, which: str) -> dict[str, Any]:
  """The "latest" or "best" state of a run as dicts of NumPy arrays.

  Raises:
    FileNotFoundError: if there is none.
  """
  root = Path(workdir).absolute() / "checkpoints" / which
  if not any(root.glob("[0-9]*")):
    raise FileNotFoundError(f"{root}: holds no checkpoint")
  handler = ocp.PyTreeCheckpointHandler()
  with ocp.CheckpointManager(root, item_handlers=handler) as manager:
    step = manager.latest_step()
    with _damage(root, step):
      arrays = manager.item_metadata(step).tree
      how = jax.tree.map(
        lambda _: ocp.RestoreArgs(restore_type=np.ndarray), arrays
      )
      return manager.restore(
        step, args=ocp.args.PyTreeRestore(restore_args=how)
      )


@contextlib.contextmanager
def _damage(root: Path, step: int | None) -> Iterator[None]:
  """Says in one line which folder cannot be read, and what to do."""
  try:
    yield
  except Exception as error:
    reason = " ".join(str(error).split())[:160]
    others = sorted(
      int(path.name)
      for path in root.glob("[0-9]*")
      if path.name.isdigit() and int(path.name) != step
    )
    older = f" (step {others[-1]} is there too)" if others else ""
    raise CheckpointError(
      f"{root / str(step)} is damaged, or of another network; remove this "
      f"folder to go on from an earlier one{older}, or copy it again. "
      f"{type(error).__name__}: {reason}"
    ) from None


class _Manager(ocp.CheckpointManager):
  """Leaves SIGTERM to the loop.

  orbax would ask JAX's runtime for it as well, which counts how often it is
  asked, and then processes would not stop at the same step.
  """

  def reached_preemption(self, step: int) -> bool:
    """Never."""
    del step
    return False


def _manager(path: Path, *, keep: int) -> ocp.CheckpointManager:
  options = ocp.CheckpointManagerOptions(
    max_to_keep=keep,
    multiprocessing_options=ocp.options.MultiprocessingOptions(
      barrier_sync_key_prefix=path.name
    ),
  )
  return _Manager(path, options=options)


def _restore(
  manager: ocp.CheckpointManager, like: Any, step: int | None
) -> Any:
  if step is None:
    raise FileNotFoundError(f"{manager.directory}: holds no checkpoint")
  like = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
  how = ocp.checkpoint_utils.construct_restore_args(like)
  with _damage(Path(manager.directory), step):
    return manager.restore(
      step, args=ocp.args.PyTreeRestore(item=like, restore_args=how)
    )
