"""What a config leaves to its training data: class names and priors."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from yolo9000.boxes.priors import kmeans, shapes_in_cells
from yolo9000.data import sources
from yolo9000.data.flaws import Flaws
from yolo9000.data.records import Record
from yolo9000.tables import plan
from yolo9000.training import build

logger = logging.getLogger("yolo9000")


def complete(config: Any) -> Any:
  """The config with the class names and the priors of its training data.

  If there are neither data.class_names nor data.tree, the classes are those of
  the data sets, in their order. data.priors is how many priors k-means finds on
  the boxes, at the first of run.image_sizes, in place of the detector's own; 0
  leaves these. A row may have another data.priors; its data are the config's. A
  config of stages has both itself.

  Raises:
    ValueError: if the data cannot be read, has fewer different boxes, or the
      detector has no priors.
  """
  if "stages" in config:
    return config
  names = tuple(config.data.class_names)
  of_data = not names and not config.data.tree
  rows = config.get("rows", ())  # a stage alone has none
  configs = plan.row_configs(config) if rows else {"": config}
  with_priors = {name: one for name, one in configs.items() if one.data.priors}
  if not of_data and not with_priors:
    return config
  read = []
  for name, described in config.data.train.items():
    if described.weight:
      source = build.make_source(config, name, described)
      read.append((source, sources.read(source, Flaws(strict=True))))
  if of_data:
    found: dict[str, None] = {}
    for source, dataset in read:
      own = dataset.class_names
      joined = sources.read_map(source.map, own, ())
      found |= dict.fromkeys(joined.get(name, name) for name in own)
    names = tuple(name for name in found if name)
    logger.info("data.class_names, of the data: %s", ", ".join(names))
  config = plan.with_changes(config, [("data.class_names", names)])
  records = [record for _, dataset in read for record in dataset.records]
  found_of = {name: _priors(one, records) for name, one in with_priors.items()}
  if not rows:
    return plan.with_changes(config, found_of.get("", {}).items())
  rows = tuple(
    (name, paper, (*changes, *found_of.get(name, {}).items()), on)
    for name, paper, changes, on in rows
  )
  return plan.with_changes(config, [("rows", rows)])


def _priors(config: Any, records: Sequence[Record]) -> dict[str, Any]:
  """The change that gives a config the priors of its boxes.

  Raises:
    ValueError: see `complete`.
  """
  count = config.data.priors
  if "priors" not in config.task.to_dict().get("network", {}):
    raise ValueError(
      f"data.priors is {count}, but the detector {config.task.model!r} has "
      f"no priors; expected 0"
    )
  shapes = shapes_in_cells(
    records, image_size=config.run.image_sizes[0], resize=config.data.resize
  )
  fit = kmeans(shapes, count, seed=0)
  priors = tuple(
    (round(float(w), 2), round(float(h), 2)) for w, h in fit.shapes
  )
  logger.info(
    "task.network.priors, of %d boxes: %s, average IoU %.3f",
    len(shapes),
    priors,
    fit.average_iou,
  )
  return {"task.network.priors": priors}
