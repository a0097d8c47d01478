"""A trained detector out of the framework: python -m yolo9000.export

  python -m yolo9000.export --run=runs/voc --to=darknet out/detector

writes out/detector.cfg, .weights and .names, which the original program and
OpenCV's reader of its files run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from yolo9000.export import darknet
from yolo9000.training.trained import from_run

WRITERS = {"darknet": darknet.write}


def main(argv: Sequence[str] | None = None) -> None:
  """The command line."""
  parser = argparse.ArgumentParser(
    prog="python -m yolo9000.export",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument("--run", required=True, help="folder of a run")
  parser.add_argument("--to", required=True, choices=tuple(WRITERS))
  parser.add_argument(
    "--checkpoint", choices=("latest", "best"), default="latest"
  )
  parser.add_argument("out", help="path of the files, without their endings")
  args = parser.parse_args(argv)
  try:
    WRITERS[args.to](from_run(args.run, which=args.checkpoint), args.out)
  except (OSError, ValueError) as error:
    sys.exit(f"{parser.prog}: {error}")


if __name__ == "__main__":
  main()
