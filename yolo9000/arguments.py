"""Arguments that name a trained detector, for every command that takes one.

A detector is a run of ours (--run), files of the original program (--cfg and
--weights), or an exported file among the inputs (.onnx, .stablehlo).
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from yolo9000.darknet.weights import cpu_deviation, gpu_deviation
from yolo9000.data import fitting
from yolo9000.export import engines
from yolo9000.export.engines import ENDINGS, Exported
from yolo9000.training.trained import Trained, from_darknet, from_run

DEVIATIONS = {"gpu": gpu_deviation, "cpu": cpu_deviation}

# Options of `task.detect` and what they are called here.
FLAGS = {
  "score_threshold": "threshold",
  "iou_threshold": "iou",
  "max_detections": "max_detections",
  "walk": "walk_by",
  "tree_threshold": "tree_threshold",
  "max_cells": "max_cells",
}


def add_model(parser: argparse.ArgumentParser) -> None:
  """Adds what names a detector."""
  add = parser.add_argument_group("the detector").add_argument
  add("--run", metavar="FOLDER", help="of a run")
  add(
    "--checkpoint",
    choices=("latest", "best"),
    metavar="WHICH",
    help="latest or best, of --run",
  )
  add("--cfg", metavar="FILE", help="of the original program, with --weights")
  add("--weights", metavar="FILE")
  add("--names", metavar="FILE", help="class names of --cfg, one on each line")
  add("--map", metavar="FILE", help="nodes of the tree that are the classes")
  add(
    "--batch_norm",
    choices=tuple(DEVIATIONS),
    metavar="HOW",
    help="gpu (default) or cpu, of --cfg",
  )
  parser.set_defaults(file=None)


def take_file(args: argparse.Namespace) -> None:
  """Moves an exported file from args.inputs to args.file."""
  files = [word for word in args.inputs if Path(word).suffix in ENDINGS]
  if len(files) > 1:
    raise ValueError(f"expected one exported file, got {', '.join(files)}")
  args.file = files[0] if files else None
  args.inputs = [word for word in args.inputs if word not in files]


def add_detect(parser: argparse.ArgumentParser, *, listed: bool = True) -> None:
  """Adds the options of detection; --help lists them, or says where it does."""
  told = None if listed else "those that `detect --help` lists"
  group = parser.add_argument_group("options of detection", told)

  def add(name: str, help: str, **options: Any) -> None:
    text = help if listed else argparse.SUPPRESS
    group.add_argument(name, help=text, **options)

  number: dict[str, Any] = {"type": int, "metavar": "N"}
  share: dict[str, Any] = {"type": float, "metavar": "P"}
  resizes, walks = tuple(fitting.RESIZES), ("paths", "conditional")
  add("--size", "of the network's input: 416 or 640x384", metavar="N")
  add("--resize", ", ".join(resizes), choices=resizes, metavar="HOW")
  add("--threshold", "weaker ones are left out", **share)
  add("--iou", "of boxes that exclude another", **share)
  add("--tree_threshold", "where a walk stops", **share)
  add("--walk_by", ", ".join(walks), choices=walks, metavar="HOW")
  add("--nodes", "of a tree, no walk: leaves, level 2, below dog, a,b")
  add("--max_cells", "of a large tree; 0: all", **number)
  add("--max_detections", "on one picture", **number)


def check(args: argparse.Namespace) -> None:
  """Raises ValueError for arguments that cannot be, or that say nothing."""
  given = [bool(args.run), bool(args.cfg), bool(args.file)]
  if sum(given) != 1 or bool(args.cfg) != bool(args.weights):
    raise ValueError(
      "expected --run, or --cfg and --weights, or an exported file"
    )
  kind, foreign = "--cfg", ["checkpoint"]
  if not args.cfg:
    kind, foreign = "--run", ["names", "map", "batch_norm"]
  if args.file:
    kind = args.file
    foreign += ["checkpoint", "iou", "tree_threshold", "walk_by", "nodes"]
    foreign += ["max_cells", "engine"]
  for name in foreign:
    if getattr(args, name, None) is not None:
      raise ValueError(f"--{name} is not for {kind}")
  if args.max_cells is not None and args.max_cells < 0:
    raise ValueError("--max_cells must be at least 0")
  if args.max_detections is not None and args.max_detections < 1:
    raise ValueError("--max_detections must be at least 1")
  for name in ("threshold", "iou", "tree_threshold"):
    value = getattr(args, name)
    if value is not None and not 0 <= value < 1:
      raise ValueError(f"--{name} must be at least 0 and below 1")
  if args.size and not re.fullmatch(r"\d{1,5}(x\d{1,5})?", args.size):
    raise ValueError(f"--size {args.size}: expected 416 or 640x384")


def read_model(args: argparse.Namespace) -> Trained | Exported:
  """The detector that the arguments name."""
  if args.file:
    return engines.read(args.file)
  if args.run:
    return from_run(args.run, which=args.checkpoint or "latest")
  return from_darknet(
    args.cfg,
    args.weights,
    names=args.names,
    map=args.map,
    deviation=DEVIATIONS[args.batch_norm or "gpu"],
  )


def read_size(args: argparse.Namespace) -> tuple[int, int] | None:
  """(height, width) of --size."""
  if not args.size:
    return None
  width, _, height = args.size.partition("x")
  return int(height or width), int(width)


def read_detect(
  args: argparse.Namespace, trained: Trained | Exported
) -> dict[str, Any]:
  """The options of `task.detect` that the arguments set."""
  options = {
    option: getattr(args, flag)
    for option, flag in FLAGS.items()
    if getattr(args, flag) is not None
  }
  if args.nodes:
    tree = trained.classes.tree
    if tree is None:
      raise ValueError("--nodes is for a tree, and the model has none")
    if isinstance(trained, Trained):
      if "classes" not in trained.detect:
        raise ValueError("--nodes is for a detector whose answers are nodes")
      if "walk" in trained.detect:
        options["walk"] = "none"
    options["classes"] = tree.select(args.nodes).tolist()
  return options
