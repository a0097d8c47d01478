"""Box priors by k-means: python -m yolo9000.priors --config=experiments/voc.py

Prints average IoUs for 1 to 15 priors (the paper's Figure 2), Table 1, and the
chosen number of priors as a line for the config; --plot=FILE.png draws the
figure. It reads the training pictures that main would; of a config with stages,
those of the last one.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from absl import flags
from ml_collections import config_flags

from yolo9000 import command_line
from yolo9000.boxes.priors import (
  STRIDE,
  average_iou,
  curve,
  shapes_in_cells,
  table_1,
)
from yolo9000.tables import plan, plots
from yolo9000.tables.completed import complete
from yolo9000.training import build

MODULE = "yolo9000.priors"


def report(config: Any, count: int, plot: str | None) -> str:
  """What the command prints for a config's training pictures.

  Args:
    config: of one run, or of stages.
    count: of the priors to print.
    plot: PNG of the curve, or None.

  Raises:
    ValueError: if the pictures cannot be read or have no boxes, or there are
      fewer different boxes than count.
  """
  config = complete(plan.last_stage(config))
  data, size = config.data, config.run.image_sizes[0]
  read = build.read_training(config, build.read_classes(data))
  records = [record for one in read.values() for record in one.records]
  shapes = shapes_in_cells(records, image_size=size, resize=data.resize)
  if not len(shapes):
    raise ValueError(
      f"no training picture of this config has boxes ({len(records):,} "
      f"pictures, {sum(r.image_label >= 0 for r in records):,} of them with an "
      f"image label); priors are for detectors"
    )
  found = curve(shapes)
  if not 0 < count <= len(found):
    raise ValueError(f"--k is {count}; it must be from 1 to {len(found)}")
  if plot:
    plots.prior_curve(plot, [100 * p.average_iou for p in found])
  chosen = found[count - 1].shapes
  lines = [
    f"{len(shapes)} boxes of {len(records)} pictures at {size} pixels",
    *(
      f"k = {k:2}: average IoU {100 * p.average_iou:.1f} "
      + "#" * round(40 * p.average_iou)
      for k, p in enumerate(found, 1)
    ),
    *(
      f"Table 1: {generation:12} {number} {ours:.1f} (paper {paper})"
      for generation, number, ours, paper in table_1(
        shapes, cells=size // STRIDE
      )
    ),
  ]
  if own := config.task.to_dict().get("network", {}).get("priors"):
    fit = 100 * average_iou(shapes, np.array(own))
    lines.append(f"this config's priors: average IoU {fit:.1f}")
  lines += [
    "in pixels: " + ", ".join(f"{w:.0f}x{h:.0f}" for w, h in chosen * STRIDE),
    "in cells, for the config: priors="
    + repr(tuple(map(tuple, chosen.round(2).tolist()))),
  ]
  return "\n".join(lines)


def main() -> None:
  """The command line."""
  config = config_flags.DEFINE_config_file("config", None, "Experiment file.")
  count = flags.DEFINE_integer("k", 5, "How many priors to print.")
  plot = flags.DEFINE_string("plot", None, "PNG file of the curve.")
  flags.mark_flag_as_required("config")

  def run(_: list[str]) -> None:
    try:
      print(report(config.value, count.value, plot.value))
    except (ValueError, OSError) as error:
      print(f"{command_line.typed(MODULE)}: {error}", file=sys.stderr)
      sys.exit(command_line.USAGE)

  command_line.run(MODULE, __doc__, run)


if __name__ == "__main__":
  main()
