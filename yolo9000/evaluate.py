"""Figures of a detector, or of a file of detections, on any data set.

  python -m yolo9000.evaluate --run=runs/voc --data voc FOLDER test
  python -m yolo9000.evaluate --cfg=F.cfg --weights=F.weights --data ...
  python -m yolo9000.evaluate detector.onnx --data voc FOLDER test
  python -m yolo9000.evaluate --detections=found.json --data coco FOLDER val2017

Prints its protocol and each class's figures; --out has the worst pictures too.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from yolo9000 import arguments, command_line
from yolo9000.data import records, sources
from yolo9000.data.disk import DataError, read_text
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats.reading import Source, read_names
from yolo9000.data.pictures import Item
from yolo9000.data.records import Dataset
from yolo9000.detector import Detector, detect_all
from yolo9000.export.engines import ENDINGS, Exported
from yolo9000.extras import MissingExtra
from yolo9000.files import write_whole
from yolo9000.scoring import given, protocol
from yolo9000.tables import evaluated, judging
from yolo9000.tables.judging import Limits, Truths
from yolo9000.training import build, compilation
from yolo9000.training.trained import with_tuples
from yolo9000.types import Detections
from yolo9000.wordtree import Classes

# Formats whose class names are those that come up, so that their order says
# nothing.
UNORDERED = ("csv", "open_images", "voc")


class Model(NamedTuple):
  """A detector, and what the protocol tells of it."""

  detector: Detector
  classes: Classes
  classifies: bool  # whole pictures
  masks: bool  # of an exported file, which has no config that says so
  told: dict[str, Any]


def _parser() -> argparse.ArgumentParser:
  parser = command_line.parser("yolo9000.evaluate", __doc__, "[options] [FILE]")
  add = parser.add_argument_group("what is measured, and how").add_argument
  number: dict[str, Any] = {"type": int, "metavar": "N"}
  share: dict[str, Any] = {"type": float, "metavar": "P", "default": 0.5}
  add("file", nargs="?", metavar="FILE", help="exported, .onnx or .stablehlo")
  data = "FORMAT ROOT SPLIT; without it, a run's own"
  add("--data", nargs="+", metavar="WORD", help=data)
  add("--classes", metavar="FILE", help="the data set's class names")
  pairs = "pairs: class of the data, of the model"
  add("--data_map", metavar="FILE", help=pairs)
  add("--outside", action="store_true", help="let paths leave ROOT")
  add("--detections", type=Path, metavar="FILE", help="of any program")
  add("--out", type=Path, default=Path("evaluation"), help="folder")
  add("--batch_size", **number, help="default: a run's own, or 16")
  add("--threads", **number, default=os.cpu_count(), help="that read files")
  add("--shown", **number, default=24, help="pictures on the page")
  add("--voc_iou", **share, help="of a hit, for VOC's figures; .5")
  add("--matrix_score", **share, help="least in the confusion matrix; .5")
  add("--matrix_iou", **share, help="of a hit in the matrix; .5")
  arguments.add_model(parser)
  arguments.add_detect(parser, listed=False)
  return parser


def _check(args: argparse.Namespace) -> None:
  """Raises ValueError for arguments that cannot be, or that say nothing."""
  if args.file and not args.file.endswith(ENDINGS):
    raise ValueError(
      f"{args.file}: expected an exported file, {' or '.join(ENDINGS)}; a "
      f"data set follows --data"
    )
  if args.detections is not None:
    names = ("file", "run", "cfg", "weights", "names", "map", "checkpoint")
    names += ("batch_norm", "size", "resize", "data_map", "nodes", "batch_size")
    for name in (*names, *arguments.FLAGS.values()):
      if getattr(args, name) is not None:
        name = name if name == "file" else f"--{name}"
        raise ValueError(f"{name} is not for --detections")
  else:
    arguments.check(args)
  if args.data is None:
    if not args.run:
      raise ValueError("expected --data FORMAT ROOT SPLIT")
    for name in ("classes", "data_map"):
      if getattr(args, name) is not None:
        raise ValueError(f"--{name} is for --data")
  for name in ("batch_size", "threads"):
    value = getattr(args, name)
    if value is not None and value < 1:
      raise ValueError(f"--{name} must be at least 1")
  if args.shown < 0:
    raise ValueError("--shown must be at least 0")
  for name in ("voc_iou", "matrix_iou"):
    if not 0 < getattr(args, name) <= 1:
      raise ValueError(f"--{name} must be above 0 and at most 1")


def _model(args: argparse.Namespace) -> Model:
  """The detector that the arguments name, by its own options of detection.

  Files of the original program take those of its `detector valid`.
  """
  trained = arguments.read_model(args)
  options = {**trained.detect, **arguments.read_detect(args, trained)}
  if args.cfg and args.threshold is None and "score_threshold" in options:
    options["score_threshold"] = protocol.PROGRAM_SCORE
  detector = Detector(
    trained, size=arguments.read_size(args), resize=args.resize, **options
  )
  where = args.file or args.run or f"{args.cfg} and {args.weights}"
  if args.run:
    where += f", {args.checkpoint or 'latest'} checkpoint"
  if isinstance(trained, Exported):
    learns_from, masks = trained.learns_from, trained.masks
  else:
    masks = False
    learns_from = trained.make_task({}).learns_from
  told = protocol.of_model(where, detector.size, detector.resize, options)
  classifies = learns_from == "image labels"
  return Model(detector, trained.classes, classifies, masks, told)


def _truths(
  args: argparse.Namespace, classes: Classes | None, masks: bool
) -> tuple[Truths, int]:
  """The data set that is named, or the run's own; and the batch size."""
  config = None
  if args.run:
    path = Path(args.run) / "config.json"
    config = ConfigDict(with_tuples(json.loads(read_text(str(path)))))
  batch = config.evaluation.batch_size if config else 16
  batch = args.batch_size or batch
  if args.data is None:
    assert config is not None and classes is not None
    source = build.make_source(config, "test", config.data.test)
    how = config.evaluation.to_dict()
    dataset = build.test_data(config, classes)
    told = {
      "data": f"{source}, of the run's config",
      "classes": len(classes.names),
      **protocol.of_dataset(dataset),
    }
    truths = Truths(dataset, source, how["groups"], how["classes"], told)
    return truths, batch
  masks = masks or bool(config and config.data.mask_size)
  source = _source(args)._replace(masks=masks)
  flaws, as_it_is = Flaws(strict=True), args.detections is not None
  if as_it_is:
    tolerated = judging.AS_THEY_ARE if source.format == "coco" else ()
    flaws = Flaws(strict=True, pictures=False, tolerated=tolerated, mends=False)
  dataset = sources.read(source, flaws)
  told = {"data": str(source)}
  if classes is not None:
    told |= protocol.of_classes(dataset.class_names, classes.names)
    dataset = _joined(args, dataset, classes.names, str(source))
  told |= protocol.of_dataset(dataset, as_it_is=as_it_is)
  return Truths(dataset, source, {}, (), told), batch


def _source(args: argparse.Namespace) -> Source:
  """Of --data; a split that is the only one need not be named."""
  format, *words = args.data
  root = ""
  if sources.needs_root(format) or format not in sources.FORMATS:
    root, *words = words or [""]
  if not root and sources.needs_root(format) or len(words) > 1:
    raise ValueError(
      f"--data {' '.join(args.data)}: expected FORMAT ROOT SPLIT; an exported "
      f"file stands before --data"
    )
  there = sources.splits(format, root) if not words else words
  if len(there) != 1:
    raise ValueError(
      f"--data {' '.join(args.data)}: expected a split after it, one of "
      f"{', '.join(there) or 'none that is there'}"
    )
  names = read_names(args.classes) if args.classes else ()
  return Source(format, root, there[0], names, outside=args.outside)


def _joined(
  args: argparse.Namespace, dataset: Dataset, names: Sequence[str], where: str
) -> Dataset:
  """The data set with the model's classes.

  Raises:
    ValueError: if it has others, and --data_map does not join them.
  """
  pairs = sources.read_map(args.data_map or "", dataset.class_names, names)
  wrong = [name for name in dataset.class_names if name not in names]
  if not pairs and wrong:
    rest = [name for name in names if name not in dataset.class_names]
    raise ValueError(
      f"{where}: its {len(dataset.class_names)} classes are not the model's "
      f"{len(names)}: only in the data set {protocol.some(wrong)}; only in the "
      f"model {protocol.some(rest)}; expected the same names: --names=FILE "
      f"gives those of --cfg, --classes=FILE those of the data set, and "
      f"--data_map=FILE joins pairs"
    )
  return sources.to_classes(dataset, names, map=pairs, name=where)


def _detect(
  model: Model, dataset: Dataset, batch_size: int, threads: int
) -> list[Detections]:
  """Detections of each picture, boxes in [0, 1] of it.

  Raises:
    DataError: for a picture that cannot be read; figures without it would be
      of another data set.
  """
  items = (
    Item(
      r.path,
      str(n),
      n,
      None,
      0.0,
      partial(dataset.read_image, r),
      proposals_px=r.proposals_px,
    )
    for n, r in enumerate(dataset.records)
  )
  found_all = detect_all(
    model.detector, items, batch_size=batch_size, num_threads=threads
  )
  result = []
  for found in tqdm(
    found_all, total=len(dataset.records), unit=" images", disable=None
  ):
    if isinstance(found, DataError):
      raise found
    edges = np.array([*found.image.shape[1::-1]] * 2, np.float32)
    detections = found.detections
    result.append(detections._replace(boxes=detections.boxes / edges))
  return result


def _run(args: argparse.Namespace) -> int:
  _check(args)
  what = args.detections or args.file or args.run or args.weights
  limits = Limits(args.voc_iou, args.matrix_score, args.matrix_iou)
  if args.detections:
    truths, _ = _truths(args, None, False)
    protocol.check_boxes(truths.dataset.records)
    ordered = bool(args.classes) or truths.source.format not in UNORDERED
    read = given.read(args.detections, truths.dataset, ordered=ordered)
    evaluation = judging.given_boxes(f"{what}", truths, read, limits)
    args.out.mkdir(parents=True, exist_ok=True)
  else:
    model = _model(args)
    truths, batch_size = _truths(args, model.classes, model.masks)
    truths = truths._replace(told={**model.told, **truths.told})
    check = records.check_image_labels
    if not model.classifies:
      check = protocol.check_boxes
    check(truths.dataset.records)
    args.out.mkdir(parents=True, exist_ok=True)
    found = _detect(model, truths.dataset, batch_size, args.threads)
    if model.classifies:
      evaluation = judging.pictures(what, truths, model.classes, found)
    else:
      evaluation, rows = judging.boxes(
        what, truths, model.classes, found, limits
      )
      write_whole(args.out / "detections.json", json.dumps(rows))
  evaluated.write(args.out, evaluation, shown_pictures=args.shown)
  for line in evaluated.lines(evaluation):
    print(line.encode("utf-8", "backslashreplace").decode())
  print(f"{args.out / 'index.html'}: the page; the other files are beside it")
  return 0


def main(argv: Sequence[str] | None = None) -> int:
  """The command; returns 2 if what is asked for cannot be done."""
  parser = _parser()
  args = parser.parse_intermixed_args(argv)
  compilation.set_up()
  try:
    return _run(args)
  except (ValueError, OSError, MissingExtra) as error:
    message = " ".join(str(error).splitlines())
    print(f"{parser.prog}: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
  sys.exit(main())
