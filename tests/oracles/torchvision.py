"""Weights of torchvision's modules, by the names that ours have."""

import jax.numpy as jnp
from flax.traverse_util import unflatten_dict

# What a batch norm's arrays are called; of a convolution, kernel and bias.
OF_NORM = {
  "weight": ("params", "scale"),
  "bias": ("params", "bias"),
  "running_mean": ("batch_stats", "mean"),
  "running_var": ("batch_stats", "var"),
}


def variables(golden, prefix, path_of):
  """Our variables.

  Args:
    golden: arrays by name; convolutions are OIHW.
    prefix: of the names of the module's weights.
    path_of: our module's path from torchvision's name of it; batch norms' end
      in _norm.
  """
  found = {"params": {}, "batch_stats": {}}
  for name, array in golden.items():
    if not name.startswith(prefix):
      continue
    module, _, kind = name.removeprefix(prefix).rpartition(".")
    path = tuple(path_of(module).split("/"))
    collection, own = "params", kind
    if path[-1].endswith("_norm"):
      collection, own = OF_NORM[kind]
    elif kind == "weight":
      own, array = "kernel", array.transpose(2, 3, 1, 0)
    found[collection][*path, own] = jnp.asarray(array)
  return {name: unflatten_dict(arrays) for name, arrays in found.items()}


def last(array):
  """Channels, from first to last."""
  return jnp.asarray(array.transpose(0, 2, 3, 1))
