"""Layers that are held still: they do not learn, and no gradient is computed.

A layer is a module by its name, as start.txt has it; its batch norm belongs to
it. What is held keeps its parameters, and its batch norm the statistics that it
began with, which it normalises by in training too. So its output for a picture
is that of the start point, whatever is beside it in the batch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

import flax.linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict


def layer_of(path: Iterable[str]) -> str:
  """The layer of a module's path; batch norm belongs to the one before it."""
  return "/".join(path).removesuffix("_norm")


def matches(names: Sequence[str], layer: str) -> bool:
  """Whether a layer is one of these; * in a name stands for any letters."""
  return any(fnmatchcase(layer, name) for name in names)


def layers(names: Sequence[str], variables: Any) -> list[str]:
  """The layers that are held.

  Raises:
    ValueError: for a name that no layer has, or if nothing is left to learn.
  """
  params = flatten_dict(variables["params"])
  known = sorted({layer_of(path[:-1]) for path in params})
  for name in names:
    if not any(matches([name], layer) for layer in known):
      raise ValueError(
        f"optimizer.held has {name!r}; the layers are {', '.join(known)}"
      )
  found = [layer for layer in known if matches(names, layer)]
  if len(found) == len(known):
    raise ValueError(
      f"optimizer.held is {tuple(names)}, which are all layers; expected one "
      f"that learns"
    )
  return found


def split(names: Sequence[str], variables: Any) -> tuple[Any, Any]:
  """What learns, and what is held; both have every collection."""
  parts: tuple[dict, dict] = {}, {}
  for collection, arrays in variables.items():
    of_kind: tuple[dict, dict] = {}, {}
    for path, array in flatten_dict(arrays).items():
      of_kind[matches(names, layer_of(path[:-1]))][path] = array
    for part, found in zip(parts, of_kind, strict=True):
      part[collection] = unflatten_dict(found)
  return parts


def join(learned: Any, still: Any) -> Any:
  """The inverse of `split`."""
  return {
    name: unflatten_dict({**flatten_dict(arrays), **flatten_dict(still[name])})
    for name, arrays in learned.items()
  }


@contextlib.contextmanager
def by_own_statistics(names: Sequence[str]) -> Iterator[None]:
  """Within, the batch norm of held layers does as it does in prediction.

  That is any module that is called with use_running_average.
  """

  def normalise(
    function: Callable[..., Any], args: Any, kwargs: Any, context: Any
  ) -> Any:
    if "use_running_average" in kwargs and context.method_name == "__call__":
      if matches(names, layer_of(context.module.path)):
        kwargs = {**kwargs, "use_running_average": True}
    return function(*args, **kwargs)

  with nn.intercept_methods(normalise):
    yield
