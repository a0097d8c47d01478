"""A trained detector, from a run of ours or from the original program's files.

  python -m yolo9000.model RUN OUT

writes the detector of the run in folder RUN as OUT.cfg, OUT.weights and
OUT.names, which the original program and OpenCV's reader of its files run.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from yolo9000.darknet import text
from yolo9000.darknet.cfg import Network, read_cfg, write_cfg
from yolo9000.darknet.weights import (
  Deviation,
  Header,
  Variables,
  change_deviation,
  epsilon_deviation,
  gpu_deviation,
  read_weights,
  write_weights,
)
from yolo9000.detectors import classifier, yolov1, yolov2
from yolo9000.files import FileError
from yolo9000.networks.rows import (
  Detection,
  Layer,
  Region,
  Route,
  Softmax,
  layer_name,
)
from yolo9000.training import checkpoint
from yolo9000.wordtree import WordTree
from yolo9000.wordtree import files as tree_files

KEPT_TREE = "classes.tree"  # in a run's folder


class Model(NamedTuple):
  """A network, what it learned, and what its numbers mean.

  Attributes:
    network: the table, which ends with Region or Detection.
    variables: batch norm divides by `gpu_deviation`.
    class_names: of the labels.
    nodes: of the network's tree, if the labels are some of them; else None.
    resize: how pictures came to the network's size: "letterbox", "stretch".
    class_agnostic: boxes suppress each other whatever their classes.
    seen: pictures of training.
  """

  network: Network
  variables: Variables
  class_names: tuple[str, ...]
  nodes: tuple[int, ...] | None
  resize: str
  class_agnostic: bool
  seen: int

  @property
  def head(self) -> Region | Detection:
    """The last layer, which says how the output is read."""
    return head_of(self.network)


def head_of(network: Network) -> Region | Detection:
  """The last layer of a detector; ValueError if it is none."""
  head = network.layers[-1]
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
  map: str | Path | None,
  resize: str | None,
  deviation: Deviation,
) -> Model:
  """The detector of the original program's files.

  Args:
    cfg, weights: the two files.
    names: class names, one on each line; None for the tree's ids or numbers.
    map: the nodes of the network's tree that are the classes, one on each line;
      None for all.
    resize: "letterbox" or "stretch". None is what the program of 2018 does:
      "letterbox", and "stretch" for YOLOv1. In the paper's time it was
      "stretch" for all.
    deviation: of the program to be equal to, see `darknet_weights`.

  Raises:
    FileError: for files that cannot be used or do not fit each other.
  """
  network = read_cfg(cfg)
  try:
    head = head_of(network)
  except ValueError as error:
    raise FileError(f"{cfg}: {error}") from None
  if network.shape[2] != 3:
    raise FileError(
      f"{cfg}: has {network.shape[2]} channels; expected 3, of RGB pictures"
    )
  ids = [f"class {n}" for n in range(head.num_classes)]
  if isinstance(head, Region) and head.tree:
    ids = list(head.tree.ids)
  nodes = None
  if map is not None:
    if not (isinstance(head, Region) and head.tree):
      raise FileError(f"{map}: is for a tree, and {cfg} has none")
    nodes = text.read_map(map, num_nodes=len(ids))
    ids = [ids[node] for node in nodes]
  class_names = tuple(ids)
  if names is not None:
    class_names = text.read_names(names)
    if len(class_names) != len(ids):
      raise FileError(
        f"{names}: has {len(class_names)} names; expected {len(ids)}, the "
        f"classes of {map or cfg}"
      )
  variables, header, _ = read_weights(weights, network, partial=False)
  return Model(
    network=network,
    variables=change_deviation(variables, deviation, gpu_deviation),
    class_names=class_names,
    nodes=nodes,
    resize=resize or ("letterbox" if isinstance(head, Region) else "stretch"),
    class_agnostic=False,
    seen=header.seen,
  )


def of_name(name: str) -> ModuleType:
  """The file of a model: its `make_task` and `run_table`.

  Raises:
    ValueError: for another name.
  """
  models = {"yolov1": yolov1, "yolov2": yolov2, "classifier": classifier}
  if name not in models:
    raise ValueError(f"task.model is {name!r}; allowed are {', '.join(models)}")
  return models[name]


def class_names(
  names: Sequence[str], tree: str | Sequence[int]
) -> tuple[str, ...]:
  """A config's classes: data.class_names or, if empty, its tree file's nodes.

  Raises:
    ValueError: if there is neither.
  """
  if names:
    return tuple(names)
  if tree and isinstance(tree, str):
    return tree_files.read_tree(tree).ids
  raise ValueError(
    "data.class_names is empty; expected names, or a .tree file as task.tree"
  )


def run_table(task: Any, names: Sequence[str]) -> tuple[Layer, ...]:
  """The layers that a config's task and data.class_names describe."""
  return of_name(task["model"]).run_table(
    task, class_names(names, task.get("tree", ""))
  )


def keep_tree(tree: Any, workdir: str | Path) -> None:
  """Copies a tree's file into a run, which can then be moved elsewhere.

  Raises:
    ValueError: if the run has another one, from before.
  """
  if not (tree and isinstance(tree, str)):
    return
  found, kept = tree_files.read_tree(tree), Path(workdir) / KEPT_TREE
  if kept.is_file() and tree_files.read_tree(kept) != found:
    raise ValueError(
      f"{tree} is not {kept}, the tree that this run began with; expected the "
      f"same, or another folder for the run"
    )
  tree_files.write_tree(kept, found)


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
  # YOLOv1 has no tree; runs from before there were others have no network.
  older = {"tree": "", "network": "darknet19", "location": "direct"}
  task = {**older, "batch_norm": True, **config["task"]}
  if task["tree"] and isinstance(task["tree"], str):
    task["tree"] = str(Path(workdir) / KEPT_TREE)
  names = class_names(config["data"]["class_names"], task["tree"])
  variables = state["average"] or state["variables"]
  layers = run_table(task, names)
  size = config["evaluation"]["image_size"]
  return Model(
    network=Network(layers, (size, size, 3)),
    variables=change_deviation(
      variables, epsilon_deviation(task["norm_epsilon"]), gpu_deviation
    ),
    class_names=names,
    nodes=None,
    resize=config["data"]["resize"],
    class_agnostic=task.get("class_agnostic_nms", False),
    seen=int(state["step"]) * config["run"]["batch_size"],
  )


def write(model: Model, stem: str | Path) -> None:
  """Writes stem.cfg, stem.weights and stem.names.

  Raises:
    ValueError: if the original program has no such network, saying why.
  """
  stem = Path(stem)
  stem.parent.mkdir(parents=True, exist_ok=True)
  network = model.network
  if (tree := getattr(network.layers[-1], "tree", None)) is not None:
    ids = tuple("_".join(name.split()) for name in tree.ids)  # no blanks there
    last = network.layers[-1]._replace(tree=WordTree(ids, tree.parents))
    network = network._replace(layers=(*network.layers[:-1], last))
  write_cfg(stem.with_name(f"{stem.name}.cfg"), network)
  write_weights(
    stem.with_name(f"{stem.name}.weights"),
    *(network, model.variables, Header(seen=model.seen)),
  )
  text.write_names(stem.with_name(f"{stem.name}.names"), model.class_names)


def take(
  layers: Sequence[Layer],
  fresh: Variables,
  found_layers: Sequence[Layer],
  found: Variables,
) -> tuple[Variables, list[str]]:
  """Fresh variables with what `found` has of the same layers, and a report.

  Layers are taken up to the first row that is another there, for what comes
  after it sees other numbers. If that row is the Region or Softmax, the last
  convolution stays fresh too: its numbers are of other priors or classes.

  Args:
    layers, fresh: of the network to be trained.
    found_layers, found: of another, from `read_start`.

  Returns:
    The variables, and a sentence for each layer: taken, or why not.

  Raises:
    ValueError: if nothing can be taken.
  """
  cut, here, there = 0, None, None
  for here, there in itertools.zip_longest(layers, found_layers):
    if not _same(here, there, cut):
      break
    cut += 1
  ours, theirs = _by_layer(fresh), _by_layer(found)
  first = cut
  if cut < len(layers) and isinstance(here, (Region, Softmax)):
    first = max(n for n in range(cut) if layer_name(n) in ours)
  flat: dict[tuple[str, ...], Any] = dict(flatten_dict(fresh))
  report = []
  for index in range(len(layers)):
    name = layer_name(index)
    if name not in ours:
      continue
    if index >= first:
      report.append(f"{name}: fresh, layer {cut} is {here} here, {there} there")
    elif name not in theirs:
      report.append(f"{name}: fresh, the start point ends before it")
    else:
      flat.update(
        (path, np.asarray(array, flat[path].dtype))
        for path, array in theirs[name].items()
      )
      report.append(f"{name}: taken")
  if not any(line.endswith(": taken") for line in report):
    raise ValueError(
      "nothing of the start point fits the network:\n  " + "\n  ".join(report)
    )
  # Without batch norm there are no statistics, and flattening forgets that.
  return {name: {} for name in fresh} | unflatten_dict(flat), report


def _same(row: Layer | None, there: Layer | None, index: int) -> bool:
  """Whether two rows at the same index compute the same."""
  if isinstance(row, Route) and isinstance(there, Route):
    return row.sources(index) == there.sources(index)
  return row == there


def _by_layer(variables: Variables) -> dict[str, dict[tuple[str, ...], Any]]:
  """Arrays by their paths, by their layers; batch norm belongs to its layer."""
  layers: dict[str, dict[tuple[str, ...], Any]] = {}
  for path, array in flatten_dict(variables).items():
    layers.setdefault(path[1].removesuffix("_norm"), {})[path] = array
  return layers


def read_start(
  path: str | Path, cfg: str | Path, network: Network, *, epsilon: float
) -> tuple[Sequence[Layer], Variables]:
  """The layers and variables that a training starts from.

  Args:
    path: a run's folder, or a .weights file.
    cfg: that the weights belong to. "" if they are of the first layers of the
      network to be trained, such as darknet19_448.conv.23.
    network: the network to be trained...
    epsilon: ...and that of its batch norm. A run with another is converted.

  Raises:
    ValueError: if it cannot be read; FileNotFoundError if there is none.
  """
  if Path(path).is_dir():
    run = from_run(path, which="latest")
    return run.network.layers, change_deviation(
      run.variables, gpu_deviation, epsilon_deviation(epsilon)
    )
  if not Path(path).is_file():
    raise FileNotFoundError(f"{path}: is no run's folder and no .weights file")
  start = read_cfg(cfg) if cfg else network
  try:
    return start.layers, read_weights(path, start, partial=True)[0]
  except FileError as error:
    hint = (
      ". If the weights are of another network than the one to be trained, "
      "give its .cfg as run.start_cfg"
    )
    raise FileError(f"{error}{'' if cfg else hint}") from None


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
