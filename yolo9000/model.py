"""A trained detector, from a run of ours or from the original program's files.

  python -m yolo9000.model RUN OUT

writes the detector of the run in folder RUN as OUT.cfg, OUT.weights and
OUT.names, which the original program and OpenCV's reader of its files run.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from yolo9000 import checkpoint, darknet_files, yolov2
from yolo9000.darknet_cfg import Network, read_cfg, write_cfg
from yolo9000.darknet_weights import (
  Deviation,
  Header,
  Variables,
  change_deviation,
  gpu_deviation,
  read_weights,
  write_weights,
)
from yolo9000.layers import Detection, Region


class Model(NamedTuple):
  """A network, what it learned, and what its numbers mean.

  Batch norm divides by `gpu_deviation`. `seen` counts pictures of training.
  `resize` is how pictures came to the network's size, "letterbox" or "stretch".
  """

  network: Network
  variables: Variables
  class_names: tuple[str, ...]
  resize: str
  seen: int

  @property
  def head(self) -> Region | Detection:
    """The last layer, which says how the output is read."""
    head = self.network.layers[-1]
    if not isinstance(head, (Region, Detection)):
      raise ValueError(
        f"the network ends with {type(head).__name__}; expected a detector, "
        f"which ends with Region or Detection ([region], [detection])"
      )
    return head


def from_darknet(
  cfg: str | Path,
  weights: str | Path,
  *,
  names: str | Path | None,
  resize: str | None,
  deviation: Deviation,
) -> Model:
  """The detector of the original program's files.

  Args:
    cfg, weights: the two files.
    names: class names, one on each line; None for the tree's ids or numbers.
    resize: "letterbox" or "stretch". None is what the program of 2018 does:
      "letterbox", and "stretch" for YOLOv1. In the paper's time it was
      "stretch" for all.
    deviation: of the program to be equal to, see `darknet_weights`.

  Raises:
    DarknetFileError: for files that cannot be used or do not fit each other.
  """
  network = read_cfg(cfg)
  if network.shape[2] != 3:
    raise darknet_files.DarknetFileError(
      f"{cfg}: has {network.shape[2]} channels; expected 3, of RGB pictures"
    )
  variables, header, _ = read_weights(weights, network, partial=False)
  model = Model(network, variables, (), resize or "letterbox", header.seen)
  try:
    head = model.head
  except ValueError as error:
    raise darknet_files.DarknetFileError(f"{cfg}: {error}") from None
  if names is not None:
    class_names = darknet_files.read_names(names)
    if len(class_names) != head.num_classes:
      raise darknet_files.DarknetFileError(
        f"{names}: has {len(class_names)} names; expected {head.num_classes}, "
        f"the classes of {cfg}"
      )
  elif isinstance(head, Region) and head.tree:
    class_names = head.tree.ids
  else:
    class_names = tuple(f"class {n}" for n in range(head.num_classes))
  if resize is None and isinstance(head, Detection):
    model = model._replace(resize="stretch")
  return model._replace(
    class_names=class_names,
    variables=change_deviation(variables, deviation, gpu_deviation),
  )


def from_run(workdir: str | Path, *, which: str) -> Model:
  """The detector that a run trained; its running average where it has one.

  Args:
    workdir: of the run.
    which: "latest" or "best" checkpoint; results are those of the latest.

  Raises:
    FileNotFoundError: if there is no run or no checkpoint.
  """
  path = Path(workdir) / "config.json"
  if not path.is_file():
    raise FileNotFoundError(f"{path}: is not there; expected a run's folder")
  config = json.loads(path.read_text())
  state = checkpoint.read(workdir, which)
  task, names = config["task"], tuple(config["data"]["class_names"])
  variables = state["average"] or state["variables"]
  epsilon = task["norm_epsilon"]
  return Model(
    Network(
      yolov2.table(
        num_classes=len(names),
        **{key: task[key] for key in yolov2.TABLE_OPTIONS},
      ),
      (config["evaluation"]["image_size"],) * 2 + (3,),
    ),
    change_deviation(
      variables, lambda variance: (variance + epsilon) ** 0.5, gpu_deviation
    ),
    names,
    config["data"]["resize"],
    int(state["step"]) * config["run"]["batch_size"],
  )


def write(model: Model, stem: str | Path) -> None:
  """Writes stem.cfg, stem.weights and stem.names.

  Raises:
    ValueError: if the original program has no such network, saying why.
  """
  stem = Path(stem)
  stem.parent.mkdir(parents=True, exist_ok=True)
  write_cfg(stem.with_name(f"{stem.name}.cfg"), model.network)
  write_weights(
    stem.with_name(f"{stem.name}.weights"),
    *(model.network, model.variables, Header(seen=model.seen)),
  )
  darknet_files.write_names(
    stem.with_name(f"{stem.name}.names"), model.class_names
  )


def take(fresh: Variables, found: Variables) -> tuple[Variables, list[str]]:
  """Fresh variables with the layers of `found` that fit, and a report.

  A layer fits if all its arrays have the same names and shapes; it is taken
  whole or not at all.

  Args:
    fresh: of the network to be trained.
    found: of another network, see `read_start`.

  Returns:
    The variables, and a sentence for each layer: taken, not taken and why, or
    not used.

  Raises:
    ValueError: if nothing fits.
  """
  ours, theirs = _by_layer(fresh), _by_layer(found)
  taken, report = [], []
  for layer in sorted({*ours, *theirs}):
    mine = {name: array.shape for name, array in ours.get(layer, {}).items()}
    there = {name: array.shape for name, array in theirs.get(layer, {}).items()}
    if mine == there:
      taken.append(layer)
      report.append(f"{layer}: taken")
    elif not there:
      report.append(f"{layer}: fresh, the start point has no such layer")
    elif not mine:
      report.append(f"{layer}: not used, the network has no such layer")
    else:
      differs = ", ".join(
        f"{'/'.join(name)} {mine.get(name)} here, {there.get(name)} there"
        for name in sorted({*mine, *there})
        if mine.get(name) != there.get(name)
      )
      report.append(f"{layer}: fresh, it differs: {differs}")
  if not taken:
    raise ValueError(
      "nothing of the start point fits the network:\n  " + "\n  ".join(report)
    )
  flat: dict[tuple[str, ...], Any] = dict(flatten_dict(fresh))
  for layer in taken:
    for name, array in theirs[layer].items():
      flat[name] = np.asarray(array, flat[name].dtype)
  return unflatten_dict(flat), report


def _by_layer(variables: Variables) -> dict[str, dict[tuple[str, ...], Any]]:
  """Arrays by their paths, by their layers; batch norm belongs to its layer."""
  layers: dict[str, dict[tuple[str, ...], Any]] = {}
  for path, array in flatten_dict(variables).items():
    layers.setdefault(path[1].removesuffix("_norm"), {})[path] = array
  return layers


def read_start(
  path: str | Path, *, cfg: str | Path, network: Network
) -> Variables:
  """Variables to start a training from.

  Args:
    path: a run's folder, or a .weights file.
    cfg: that the weights belong to. "" if they are of the first layers of the
      network to be trained, such as darknet19_448.conv.23.
    network: the network to be trained.

  Raises:
    FileNotFoundError, DarknetFileError: if it cannot be read.
  """
  if Path(path).is_dir():
    state = checkpoint.read(path, "latest")
    return state["average"] or state["variables"]
  if cfg:
    return read_weights(path, read_cfg(cfg), partial=True)[0]
  try:
    return read_weights(path, network, partial=True)[0]
  except darknet_files.DarknetFileError as error:
    raise darknet_files.DarknetFileError(
      f"{error}. If the weights are of another network than the one to be "
      f"trained, give its .cfg as run.start_cfg"
    ) from None


def main(argv: Sequence[str] | None = None) -> None:
  """The command at the top of this file."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("run", help="folder of a run")
  parser.add_argument("out", help="path of the files, without .cfg")
  parser.add_argument(
    "--checkpoint", choices=("latest", "best"), default="latest"
  )
  args = parser.parse_args(argv)
  try:
    write(from_run(args.run, which=args.checkpoint), args.out)
  except (OSError, ValueError) as error:
    sys.exit(f"{parser.prog}: {error}")


if __name__ == "__main__":
  main()
