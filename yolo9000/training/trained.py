"""A trained detector: of our runs, or of the original program's files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from yolo9000 import detectors
from yolo9000.darknet import text
from yolo9000.darknet.cfg import read_cfg
from yolo9000.darknet.weights import (
  PROGRAM_EPSILON,
  Deviation,
  change_deviation,
  gpu_deviation,
  read_weights,
)
from yolo9000.files import FileError
from yolo9000.networks.rows import Network
from yolo9000.training import build, checkpoint
from yolo9000.types import Task
from yolo9000.wordtree import Classes, WordTree


class Trained(NamedTuple):
  """A detector, what it learned, and what its numbers mean.

  Attributes:
    make_task: the Task, with these options of `task.detect` in place of its
      own. Its `predict` takes the variables.
    detect: its own options of detection by name.
    variables: params and batch_stats.
    classes: of the labels.
    size: (height, width) that pictures are brought to.
    resize: how: "letterbox", "stretch" or "centre_crop".
    network: its rows, if it is a chain of them.
    norm_epsilon: of its batch norm.
    seen: pictures of training.
    max_proposals: of a picture, if the detector needs any.
  """

  make_task: Callable[[Mapping[str, Any]], Task]
  detect: Mapping[str, Any]
  variables: Any
  classes: Classes
  size: tuple[int, int]
  resize: str
  network: Network | None
  norm_epsilon: float
  seen: int
  max_proposals: int = 0

  @property
  def tree(self) -> WordTree | None:
    """Whose nodes the answers are, where the network's output is of a tree."""
    return self.network and getattr(self.network.layers[-1], "tree", None)


def with_tuples(value: Any) -> Any:
  """A config as it was before JSON, which knows lists alone."""
  if isinstance(value, list):
    return tuple(map(with_tuples, value))
  if isinstance(value, dict):
    return {key: with_tuples(below) for key, below in value.items()}
  return value


def from_run(workdir: str | Path, *, which: str = "latest") -> Trained:
  """The detector that a run trained; its running average where it has one.

  Args:
    workdir: of the run.
    which: "latest" or "best" checkpoint; results are those of the latest.

  Raises:
    FileNotFoundError: if there is no run or no checkpoint.
    ValueError: if the run is of another version, or damaged.
  """
  path = Path(workdir) / "config.json"
  if not path.is_file():
    rows = sorted(x.name for x in Path(workdir).glob("*") if x.is_symlink())
    which_row = f", here that of a row: {', '.join(rows)}" if rows else ""
    raise FileNotFoundError(
      f"{path}: is not there; expected a run's folder{which_row}"
    )
  config = with_tuples(json.loads(path.read_text()))
  try:
    classes = build.read_classes(config["data"], kept=Path(workdir))
    task, size = config["task"], config["evaluation"]["image_size"]
    rows = detectors.network_rows(task, classes)
  except KeyError as error:
    raise ValueError(
      f"{path}: has no {error}; it was written by another version"
    ) from None
  except ValueError as error:
    raise ValueError(f"{path}: {error}") from None
  state = checkpoint.read(workdir, which)
  own = task.get("detect", {})

  def make_task(detect: Mapping[str, Any]) -> Task:
    changed = {"detect": {**own, **detect}} if own or detect else {}
    return detectors.make_task({**task, **changed}, classes)

  return Trained(
    make_task=make_task,
    detect=own,
    variables=state["average"] or state["variables"],
    classes=classes,
    size=(size, size),
    resize=config["data"]["resize"],
    network=rows and Network(rows, (size, size, 3)),
    norm_epsilon=task.get("norm", {}).get("epsilon", PROGRAM_EPSILON),
    seen=int(state["step"]) * config["run"]["batch_size"],
    max_proposals=build.max_proposals(config["data"]["test"]),
  )


def from_darknet(
  cfg: str | Path,
  weights: str | Path,
  *,
  names: str | Path | None = None,
  map: str | Path | None = None,
  resize: str | None = None,
  deviation: Deviation = gpu_deviation,
) -> Trained:
  """The detector of the original program's files.

  Args:
    cfg, weights: the two files.
    names: class names, one on each line; None for the tree's ids or numbers.
    map: the nodes of the network's tree that are the classes, one on each line;
      None for all.
    resize: "letterbox" or "stretch". None is what the program of 2018 does:
      "letterbox", and "stretch" where the network takes one size alone. In the
      paper's time it was "stretch" for all.
    deviation: of the program to be equal to, see `darknet.weights`.

  Raises:
    FileError: for files that cannot be used or do not fit each other.
  """
  network = read_cfg(cfg)
  head: Any = network.layers[-1]
  tree = getattr(head, "tree", None)
  num_classes = getattr(head, "num_classes", 0)
  ids = tree.ids if tree else [f"class {n}" for n in range(num_classes)]
  nodes = None
  if map is not None:
    if tree is None:
      raise FileError(f"{map}: is for a tree, and {cfg} has none")
    nodes = text.read_map(map, num_nodes=len(ids))
    ids = [ids[node] for node in nodes]
  if names is not None:
    found = text.read_names(names)
    if len(found) != len(ids):
      raise FileError(
        f"{names}: has {len(found)} names; expected {len(ids)}, the classes of "
        f"{map or cfg}"
      )
    ids = found
  classes = Classes(tuple(ids), None if nodes else tree)
  try:
    make_task, own = detectors.of_network(network, classes, nodes)
  except ValueError as error:
    raise FileError(f"{cfg}: {error}") from None
  if network.shape[2] != 3:
    raise FileError(
      f"{cfg}: has {network.shape[2]} channels; expected 3, of RGB pictures"
    )
  variables, header, _ = read_weights(weights, network, partial=False)
  return Trained(
    make_task=make_task,
    detect=own,
    variables=change_deviation(variables, deviation, gpu_deviation),
    classes=classes,
    size=network.shape[:2],
    resize=resize or ("stretch" if network.takes_one_size else "letterbox"),
    network=network,
    norm_epsilon=PROGRAM_EPSILON,
    seen=header.seen,
  )
