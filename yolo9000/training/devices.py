"""One step on every device: pmap or shard_map over the same function.

The step is written for one device and its share of the batch, with collectives
over the named axis AXIS. The state is replicated. With several processes each
holds, of everything that is split over the devices, its own devices' part.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from yolo9000.networks.norm import AXIS

SPMD = ("pmap", "shard_map")


def make_mesh() -> Mesh:
  """All devices of all processes in one row, those of a process neighbours."""
  row = sorted(jax.devices(), key=lambda one: (one.process_index, one.id))
  return Mesh(np.array(row), (AXIS,))


def replicate(tree: Any, mesh: Mesh) -> Any:
  """The same values on every device; every process gives the same.

  Raises:
    AssertionError: if processes give different ones.
  """
  sharding = NamedSharding(mesh, P())
  if jax.process_count() == 1:
    return jax.device_put(tree, sharding)
  tree = jax.device_get(tree)
  total = sum(
    zlib.crc32(np.asarray(x).tobytes()) for x in jax.tree.leaves(tree)
  )
  multihost_utils.assert_equal(np.uint32(total % 2**32), "states differ")
  return jax.tree.map(
    lambda x: jax.make_array_from_process_local_data(sharding, x, x.shape),
    tree,
  )


def like_replicated(shapes: Any, mesh: Mesh) -> Any:
  """Shapes and dtypes of a replicated tree, from those of a host tree."""
  sharding = NamedSharding(mesh, P())
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), shapes
  )


def shard(batch: Any, mesh: Mesh) -> Any:
  """Splits the leading axis over the devices.

  Each process gives its own rows of the batch, see `own_rows`.
  """
  make = partial(
    jax.make_array_from_process_local_data, NamedSharding(mesh, P(AXIS))
  )
  return jax.tree.map(make, batch)


def own_part(array: Array) -> np.ndarray:
  """Of an array whose leading axis is split: the rows of this process."""
  parts = {one.index[0].start or 0: one for one in array.addressable_shards}
  return np.concatenate([np.asarray(parts[row].data) for row in sorted(parts)])


def own_rows(count: int, mesh: Mesh) -> range:
  """Which of so many rows, split over the devices, are this process's."""
  each = count // mesh.size
  mine = [n for n, one in enumerate(mesh.devices) if one in mesh.local_devices]
  return range(each * mine[0], each * (mine[-1] + 1))


def check_batch_size(batch_size: int, mesh: Mesh, subdivisions: int) -> None:
  """Raises ValueError unless every device gets as many pictures at a time."""
  least = batch_size < 1 or subdivisions < 1
  if least or batch_size % (mesh.size * subdivisions):
    raise ValueError(
      f"batch_size {batch_size} must be a positive multiple of the {mesh.size} "
      f"devices times {subdivisions} subdivisions, which must be at least 1"
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
    host batch, this process's rows, into the form it takes. The step has jit's
    `lower`, but for pmap with several processes.

  Raises:
    ValueError: for another spmd.
  """
  if spmd == "pmap":
    step = jax.pmap(
      local_step,
      AXIS,
      in_axes=(None, 0),
      out_axes=None,
      devices=list(mesh.devices),
      donate_argnums=0,
    )
    count = len(mesh.local_devices)
    if jax.process_count() > 1:
      step = _seen_by_all(step, mesh)
    return step, lambda batch: jax.tree.map(
      lambda x: x.reshape(count, len(x) // count, *x.shape[1:]), batch
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


def _seen_by_all(step: Callable[..., Any], mesh: Mesh) -> Callable[..., Any]:
  """Of pmap's results each process sees its own copy; here, all the same one.

  Checkpoints and evaluation take nothing else.
  """
  sharding = NamedSharding(mesh, P())

  def of_all(array: Array) -> Array:
    copies = [one.data for one in array.addressable_shards]
    return jax.make_array_from_single_device_arrays(
      array.shape, sharding, copies
    )

  return lambda state, batch: jax.tree.map(of_all, step(state, batch))


@lru_cache(maxsize=8)  # so that it is compiled once
def make_predict(predict: Callable[..., Any], mesh: Mesh) -> Callable[..., Any]:
  """Runs predict(variables, inputs) with each device's share on its own.

  inputs are those of `Task.inputs`, in a tuple.
  """
  mapped = jax.shard_map(
    lambda variables, inputs: predict(variables, *inputs),
    mesh=mesh,
    in_specs=(P(), P(AXIS)),
    out_specs=P(AXIS),
    check_vma=False,
  )
  return jax.jit(mapped)
