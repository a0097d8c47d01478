"""Recorded arrays of torchvision's modules, for ours."""

import jax.numpy as jnp
from flax.traverse_util import unflatten_dict

from yolo9000.networks.torchvision import converted


def variables(golden, prefix, theirs, ours):
  """Of one of our modules.

  Args:
    golden: arrays by name.
    prefix: of the names of the module's weights.
    theirs: what the module's names begin with in a whole detector, there...
    ours: ...and what it is called in ours.
  """
  weights = {
    theirs + name.removeprefix(prefix): array
    for name, array in golden.items()
    if name.startswith(prefix)
  }
  found = {"params": {}, "batch_stats": {}}
  for name, array in converted(weights).items():
    collection, module, path = name.split("/", 2)
    if module == ours:
      found[collection][path] = jnp.asarray(array)
  return {name: unflatten_dict(a, sep="/") for name, a in found.items()}


def last(array):
  """Channels, from first to last."""
  return jnp.asarray(array.transpose(0, 2, 3, 1))
