"""A trained detector as files of the original program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from yolo9000.darknet import text
from yolo9000.darknet.cfg import write_cfg
from yolo9000.darknet.weights import (
  Header,
  change_deviation,
  epsilon_deviation,
  gpu_deviation,
  write_weights,
)
from yolo9000.training.trained import Trained
from yolo9000.wordtree import WordTree


def write(
  trained: Trained,
  stem: Path,
  *,
  size: tuple[int, int] | None = None,
  resize: str | None = None,
  **detect: Any,
) -> list[Path]:
  """Writes stem.cfg, stem.weights and stem.names.

  The original program and OpenCV's reader of its files run them.

  Args:
    trained: the detector.
    stem: path of the files, without their endings.
    size, resize, **detect: none; these files have no place for them.

  Raises:
    ValueError: if the original program has no such network, saying why.
  """
  if detect or size or resize:
    raise ValueError(
      f"{stem}: files of the original program hold no options of detection; "
      f"expected none, got {', '.join(detect) or 'size, resize'}"
    )
  network = trained.network
  if network is None:
    raise ValueError(
      f"{stem}: the network is no chain of rows, so it has no .cfg"
    )
  stem.parent.mkdir(parents=True, exist_ok=True)
  if (tree := trained.tree) is not None:
    ids = tuple("_".join(name.split()) for name in tree.ids)  # no blanks there
    last: object = network.layers[-1]._replace(tree=WordTree(ids, tree.parents))
    network = network._replace(layers=(*network.layers[:-1], last))
  variables = change_deviation(
    trained.variables, epsilon_deviation(trained.norm_epsilon), gpu_deviation
  )
  endings = (".cfg", ".weights", ".names")
  cfg, weights, names = (stem.with_name(stem.name + end) for end in endings)
  write_cfg(cfg, network)
  write_weights(weights, network, variables, Header(seen=trained.seen))
  text.write_names(names, trained.classes.names)
  return [cfg, weights, names]
