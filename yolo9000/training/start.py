"""Start points: arrays by name from elsewhere, into fresh variables.

A run's folder, a .weights file of the original program, or an .npz of anyone's,
whose arrays have the names of ours, such as params/layer_00/kernel, or those of
torchvision's, such as backbone.body.conv1.weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from yolo9000.darknet.cfg import read_cfg
from yolo9000.darknet.weights import (
  PROGRAM_EPSILON,
  change_deviation,
  epsilon_deviation,
  read_weights,
)
from yolo9000.files import FileError
from yolo9000.networks import torchvision
from yolo9000.networks.rows import (
  Layer,
  Network,
  Region,
  Route,
  Shortcut,
  Softmax,
  Yolo,
  layer_name,
  sources,
)
from yolo9000.training.held import layer_of
from yolo9000.training.trained import from_run


class Start(NamedTuple):
  """What a training can begin with.

  Attributes:
    arrays: by name.
    layers: the rows that they belong to, if that is known.
  """

  arrays: Mapping[str, np.ndarray]
  layers: Sequence[Layer] | None


def flat(variables: Any) -> dict[str, Any]:
  """Arrays by name, such as params/layer_00/kernel."""
  return dict(flatten_dict(variables, sep="/"))


def read_start(
  path: str | Path,
  cfg: str | Path,
  network: Network | None,
  *,
  epsilon: float,
  num_layers: int = 0,
) -> Start:
  """The arrays that a training starts from.

  Args:
    path: a run's folder, a .weights file or an .npz.
    cfg: that the weights belong to. "" if they are of the first layers of the
      network to be trained, such as darknet19_448.conv.23.
    network: the one to be trained, if it is a chain of rows...
    epsilon: ...and that of its batch norm. A start with another is converted.
    num_layers: take the first so many rows alone; 0 for all. A .weights file
      may then go on in another way than the network to be trained.

  Raises:
    ValueError: if it cannot be read; FileNotFoundError if there is none.
  """
  path = Path(path)
  if path.is_dir():
    run = from_run(path)
    network = run.network
    variables, theirs = run.variables, run.norm_epsilon
  elif not path.is_file():
    raise FileNotFoundError(
      f"{path}: is not there; expected a run's folder, a .weights file or an "
      f".npz"
    )
  elif path.suffix == ".npz":
    try:
      with np.load(path) as found:
        arrays = dict(found)
    except (OSError, ValueError) as error:
      raise FileError(f"{path}: cannot be read: {error}") from None
    if torchvision.are_theirs(arrays):
      try:
        arrays = torchvision.converted(arrays)
      except ValueError as error:
        raise FileError(f"{path}: {error}") from None
    return Start(_first(arrays, num_layers), None)
  else:
    network = read_cfg(cfg) if cfg else network
    if network and num_layers > len(network.layers):
      raise ValueError(
        f"run.start_layers is {num_layers}; the network has "
        f"{len(network.layers)} rows"
      )
    if network is None:
      raise ValueError(
        f"{path}: the network to be trained is no chain of rows; expected the "
        f".cfg of the weights as run.start_cfg"
      )
    variables = _read_weights(path, network, cfg, num_layers)
    theirs = PROGRAM_EPSILON
  if theirs != epsilon:
    old, new = epsilon_deviation(theirs), epsilon_deviation(epsilon)
    variables = change_deviation(variables, old, new)
  layers = network and network.layers[: num_layers or None]
  return Start(_first(flat(variables), num_layers), layers)


def _first(arrays: dict[str, Any], count: int) -> dict[str, Any]:
  """The arrays of the first so many rows; all for 0."""
  names = {layer_name(n) for n in range(count)}
  return {
    name: array
    for name, array in arrays.items()
    if not count or _module(name) in names
  }


def _read_weights(
  path: Path, network: Network, cfg: str | Path, first: int
) -> Any:
  try:
    return read_weights(path, network, partial=True, first=first)[0]
  except FileError as error:
    hint = (
      ". If the weights are of another network than the one to be trained, "
      "give its .cfg as run.start_cfg, or as run.start_layers how many of its "
      "first layers are the same"
    )
    raise FileError(f"{error}{'' if cfg else hint}") from None


def take(
  fresh: Any,
  start: Start,
  layers: Sequence[Layer] | None,
  *,
  held: Sequence[str] = (),
) -> tuple[Any, list[str]]:
  """Fresh variables with the arrays of the same name and shape.

  Where both networks are chains of rows, a layer is taken if it and all that it
  sees are the same there: after another row it would see other numbers. If that
  row says how numbers are read, the convolution that gives them stays fresh
  too: its numbers are of other priors or classes.

  Args:
    fresh: of the network to be trained.
    start: from `read_start`.
    layers: of the network to be trained, if it is a chain.
    held: modules that will not learn.

  Returns:
    The variables, and a sentence for each module: taken, or why not.

  Raises:
    ValueError: if nothing can be taken, or not all that is held.
  """
  ours = flat(fresh)
  barred = {}
  if layers is not None and start.layers is not None:
    barred = _of_other_rows(layers, start.layers, ours)
  reasons: dict[str, str] = {}
  for name, array in sorted(ours.items(), key=lambda item: _module(item[0])):
    module = _module(name)
    found = start.arrays.get(name)
    if module in barred:
      reasons[module] = barred[module]
    elif found is None:
      reasons[module] = "the start point does not have it"
    elif found.shape != array.shape:
      reasons[module] = f"{found.shape} there, {array.shape} here"
    else:
      reasons.setdefault(module, "")
  taken = [name for name in ours if not reasons[_module(name)]]
  report = [
    f"{module}: fresh, {reason}"
    if reason
    else f"{module}: taken{', held still' if module in held else ''}"
    for module, reason in reasons.items()
  ]
  if not taken:
    raise ValueError(
      "nothing of the start point fits the network:\n  " + "\n  ".join(report)
    )
  if fresh_ones := [module for module in held if reasons[module]]:
    raise ValueError(
      f"optimizer.held names {', '.join(fresh_ones)}, of which the start point "
      f"gives nothing; expected layers that it has:\n  " + "\n  ".join(report)
    )
  for name in taken:
    ours[name] = np.asarray(start.arrays[name], ours[name].dtype)
  # Without batch norm there are no statistics, and flattening forgets that.
  return {name: {} for name in fresh} | unflatten_dict(ours, sep="/"), report


def _module(name: str) -> str:
  """Whose array it is; batch norm belongs to its layer."""
  _, *modules, _ = name.split("/")
  return layer_of(modules)


def _of_other_rows(
  layers: Sequence[Layer], there: Sequence[Layer], names: Mapping[str, Any]
) -> dict[str, str]:
  """Why each module that sees other rows, or is one, is not taken."""
  modules = {_module(name) for name in names}
  reasons: dict[int, str] = {}
  for index, row in enumerate(layers):
    other = there[index] if index < len(there) else None
    seen = [reasons[n] for n in sources(row, index) if n in reasons]
    if seen:
      reasons[index] = seen[0]
    elif not _same(row, other, index):
      reasons[index] = f"layer {index} is {row} here, {other} there"
      if isinstance(row, (Region, Softmax, Yolo)):
        last = max(n for n in range(index) if layer_name(n) in modules)
        reasons[last] = reasons[index]
  return {layer_name(index): reason for index, reason in reasons.items()}


def _same(row: Layer, there: Layer | None, index: int) -> bool:
  """Whether two rows at the same index compute the same."""
  if isinstance(row, Route) and isinstance(there, Route):
    return row.sources(index) == there.sources(index)
  if isinstance(row, Shortcut) and isinstance(there, Shortcut):
    of_both = row.sources(index) == there.sources(index)
    return of_both and row.activation == there.activation
  return row == there
