"""What a config leaves to its training data: class names and priors."""

from __future__ import annotations

import logging
from typing import Any

from yolo9000.boxes.priors import kmeans, shapes_in_cells
from yolo9000.data import sources
from yolo9000.data.flaws import Flaws
from yolo9000.tables import plan
from yolo9000.training import build

logger = logging.getLogger("yolo9000")


def complete(config: Any) -> Any:
  """The config with the class names and the priors of its training data.

  If there are neither data.class_names nor data.tree, the classes are those of
  the data sets, in their order. data.priors is how many priors k-means finds on
  the boxes, at the first of run.image_sizes, in place of the detector's own; 0
  leaves these. A config of stages has both itself.

  Raises:
    ValueError: if the data cannot be read, has fewer different boxes, or the
      detector has no priors.
  """
  if "stages" in config:
    return config
  names, count = tuple(config.data.class_names), config.data.get("priors", 0)
  of_data = not names and not config.data.tree
  if not of_data and not count:
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
  changes: list[tuple[str, Any]] = [("data.class_names", names)]
  if count:
    if "priors" not in config.task.to_dict().get("network", {}):
      raise ValueError(
        f"data.priors is {count}, but the detector {config.task.model!r} has "
        f"no priors; expected 0"
      )
    records = [record for _, dataset in read for record in dataset.records]
    shapes = shapes_in_cells(
      records, image_size=config.run.image_sizes[0], resize=config.data.resize
    )
    fit = kmeans(shapes, count, seed=0)
    priors = tuple(
      (round(float(w), 2), round(float(h), 2)) for w, h in fit.shapes
    )
    logger.info(
      "task.network.priors, of %d boxes: %s, average IoU %.3f",
      *(len(shapes), priors, fit.average_iou),
    )
    changes.append(("task.network.priors", priors))
  return plan.with_changes(config, changes)
