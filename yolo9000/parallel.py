"""One step on every device: pmap or shard_map over the same function.

The step is written for one device and its share of the batch, with collectives
over the named axis AXIS. The state is replicated.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

AXIS = "data"
SPMD = ("pmap", "shard_map")


def make_mesh() -> Mesh:
  """All devices in one row."""
  return Mesh(np.array(jax.devices()), (AXIS,))


def replicate(tree: Any, mesh: Mesh) -> Any:
  """The same host values on every device."""
  return jax.device_put(tree, NamedSharding(mesh, P()))


def like_replicated(shapes: Any, mesh: Mesh) -> Any:
  """Shapes and dtypes of a replicated tree, from those of a host tree."""
  sharding = NamedSharding(mesh, P())
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), shapes
  )


def shard(batch: Any, mesh: Mesh) -> Any:
  """Splits the leading axis of a host batch over the devices."""
  return jax.device_put(batch, NamedSharding(mesh, P(AXIS)))


def check_batch_size(batch_size: int, mesh: Mesh) -> None:
  """Raises ValueError unless every device gets as many pictures."""
  if batch_size % mesh.size:
    raise ValueError(
      f"batch_size {batch_size} must be a multiple of the {mesh.size} devices"
    )


def make_step(
  local_step: Callable[[Any, Any], Any], *, spmd: str, mesh: Mesh
) -> tuple[Callable[[Any, Any], Any], Callable[[Any], Any]]:
  """Runs local_step(state, share of the batch) -> (state, metrics) everywhere.

  Args:
    local_step: must return the same on every device, by collectives over AXIS.
    spmd: "pmap" or "shard_map"; the results are equal to the bit.
    mesh: the devices.

  Returns:
    The compiled step, which donates its state, and the function that brings a
    host batch into the form it takes. The step has jit's `lower`.

  Raises:
    ValueError: for another spmd.
  """
  if spmd == "pmap":
    step = jax.pmap(
      local_step, AXIS, in_axes=(None, 0), out_axes=None, donate_argnums=0
    )
    return step, lambda batch: jax.tree.map(
      lambda x: x.reshape(mesh.size, len(x) // mesh.size, *x.shape[1:]), batch
    )
  if spmd == "shard_map":
    # check_vma would sum the gradients of replicated parameters by itself, and
    # the step's own mean over AXIS would then be too large by the device count.
    mapped = jax.shard_map(
      local_step,
      mesh=mesh,
      in_specs=(P(), P(AXIS)),
      out_specs=P(),
      check_vma=False,
    )
    step = jax.jit(mapped, donate_argnums=0)
    return step, lambda batch: shard(batch, mesh)
  raise ValueError(f"spmd is {spmd!r}; allowed are {', '.join(SPMD)}")


@contextlib.contextmanager
def sigterm_flag() -> Iterator[list[bool]]:
  """A list that holds True once SIGTERM has come; the handler is put back."""
  flag = [False]

  def handler(*_):
    flag[0] = True

  before = signal.signal(signal.SIGTERM, handler)
  try:
    yield flag
  finally:
    signal.signal(signal.SIGTERM, before)
