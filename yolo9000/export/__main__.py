"""A trained detector out of the framework: python -m yolo9000.export

  python -m yolo9000.export --run=runs/voc --to=onnx out/detector.onnx
  python -m yolo9000.export --run=runs/voc --to=stablehlo out/detector.stablehlo
  python -m yolo9000.export --run=runs/voc --to=darknet out/detector

ONNX and StableHLO hold everything from uint8 pictures to boxes; darknet writes
out/detector.cfg, .weights and .names. Options of detection that are not given
are the detector's own, by which its AP was measured.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from yolo9000 import arguments, command_line, extras

WRITERS = {
  "onnx": "yolo9000.export.onnx",
  "stablehlo": "yolo9000.export.stablehlo",
  "darknet": "yolo9000.export.darknet",
}


def main(argv: Sequence[str] | None = None) -> int:
  """The command; returns 2 if what is asked for cannot be done."""
  parser = command_line.parser(
    "yolo9000.export", __doc__, "--to=FORM [options] OUT"
  )
  parser.add_argument("out", type=Path, help="path of the file")
  parser.add_argument("--to", required=True, choices=tuple(WRITERS))
  arguments.add_model(parser)
  arguments.add_detect(parser)
  args = parser.parse_args(argv)
  try:
    arguments.check(args)
    if args.to == "onnx":
      extras.load("onnx", "export", "--to=onnx")
    trained = arguments.read_model(args)
    written = importlib.import_module(WRITERS[args.to]).write(
      trained,
      args.out,
      size=arguments.read_size(args),
      resize=args.resize,
      **arguments.read_detect(args, trained),
    )
  except (OSError, ValueError, extras.MissingExtra) as error:
    print(f"{parser.prog}: {error}", file=sys.stderr)
    return 2
  for path in written:
    print(f"{path}: {path.stat().st_size / 1e6:,.1f} MB")
  if args.to != "darknet":
    detect = command_line.typed("yolo9000.detect")
    print(f"next: {detect} {written[0]} PICTURE ...")
  return 0


if __name__ == "__main__":
  sys.exit(main())
