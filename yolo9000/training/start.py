"""Start points: arrays by name from elsewhere, into fresh variables.

A run's folder, a .weights file of the original program, or an .npz of anyone's,
whose arrays have the names of ours, such as params/layer_00/kernel.
"""

from __future__ import annotations

import itertools
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
from yolo9000.networks.rows import (
  Layer,
  Network,
  Region,
  Route,
  Softmax,
  layer_name,
)
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
  path: str | Path, cfg: str | Path, network: Network | None, *, epsilon: float
) -> Start:
  """The arrays that a training starts from.

  Args:
    path: a run's folder, a .weights file or an .npz.
    cfg: that the weights belong to. "" if they are of the first layers of the
      network to be trained, such as darknet19_448.conv.23.
    network: the one to be trained, if it is a chain of rows...
    epsilon: ...and that of its batch norm. A start with another is converted.

  Raises:
    ValueError: if it cannot be read; FileNotFoundError if there is none.
  """
  path = Path(path)
  if path.is_dir():
    run = from_run(path)
    layers = run.network and run.network.layers
    variables, theirs = run.variables, run.norm_epsilon
  elif not path.is_file():
    raise FileNotFoundError(
      f"{path}: is not there; expected a run's folder, a .weights file or an "
      f".npz"
    )
  elif path.suffix == ".npz":
    try:
      with np.load(path) as arrays:
        return Start(dict(arrays), None)
    except (OSError, ValueError) as error:
      raise FileError(f"{path}: cannot be read: {error}") from None
  else:
    start = read_cfg(cfg) if cfg else network
    if start is None:
      raise ValueError(
        f"{path}: the network to be trained is no chain of rows; expected the "
        f".cfg of the weights as run.start_cfg"
      )
    variables, layers = _read_weights(path, start, cfg), start.layers
    theirs = PROGRAM_EPSILON
  if theirs != epsilon:
    old, new = epsilon_deviation(theirs), epsilon_deviation(epsilon)
    variables = change_deviation(variables, old, new)
  return Start(flat(variables), layers)


def _read_weights(path: Path, network: Network, cfg: str | Path) -> Any:
  try:
    return read_weights(path, network, partial=True)[0]
  except FileError as error:
    hint = (
      ". If the weights are of another network than the one to be trained, "
      "give its .cfg as run.start_cfg"
    )
    raise FileError(f"{error}{'' if cfg else hint}") from None


def take(
  fresh: Any, start: Start, layers: Sequence[Layer] | None
) -> tuple[Any, list[str]]:
  """Fresh variables with the arrays of the same name and shape.

  Where both networks are chains of rows, layers are taken up to the first row
  that is another there, for what comes after it sees other numbers. If that row
  is the Region or Softmax, the last convolution stays fresh too: its numbers
  are of other priors or classes.

  Args:
    fresh: of the network to be trained.
    start: from `read_start`.
    layers: of the network to be trained, if it is a chain.

  Returns:
    The variables, and a sentence for each module: taken, or why not.

  Raises:
    ValueError: if nothing can be taken.
  """
  ours = flat(fresh)
  barred = {}
  if layers is not None and start.layers is not None:
    barred = _after_the_first_difference(layers, start.layers, ours)
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
    f"{module}: fresh, {reason}" if reason else f"{module}: taken"
    for module, reason in reasons.items()
  ]
  if not taken:
    raise ValueError(
      "nothing of the start point fits the network:\n  " + "\n  ".join(report)
    )
  for name in taken:
    ours[name] = np.asarray(start.arrays[name], ours[name].dtype)
  # Without batch norm there are no statistics, and flattening forgets that.
  return {name: {} for name in fresh} | unflatten_dict(ours, sep="/"), report


def _module(name: str) -> str:
  """Whose array it is; batch norm belongs to its layer."""
  _, *modules, _ = name.split("/")
  return "/".join(modules).removesuffix("_norm")


def _after_the_first_difference(
  layers: Sequence[Layer], there: Sequence[Layer], names: Mapping[str, Any]
) -> dict[str, str]:
  """Why each module from there on is not taken."""
  cut, here, other = 0, None, None
  for here, other in itertools.zip_longest(layers, there):
    if not _same(here, other, cut):
      break
    cut += 1
  modules = {_module(name) for name in names}
  first = cut
  if cut < len(layers) and isinstance(here, (Region, Softmax)):
    first = max(n for n in range(cut) if layer_name(n) in modules)
  return {
    layer_name(n): f"layer {cut} is {here} here, {other} there"
    for n in range(first, len(layers))
  }


def _same(row: Layer | None, there: Layer | None, index: int) -> bool:
  """Whether two rows at the same index compute the same."""
  if isinstance(row, Route) and isinstance(there, Route):
    return row.sources(index) == there.sources(index)
  return row == there
