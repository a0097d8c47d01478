"""The doctor: python -m yolo9000.data FORMAT ROOT [SPLIT ...]

Reads a data set, opens every picture, and writes to the folder --out what it
found: index.html with samples, flaws.txt, and clean_<split>.jsonl, lists that
training accepts (format "jsonl"). Ends with 1 if there are flaws, 2 if the data
set cannot be read.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from yolo9000 import command_line
from yolo9000.data import doctor, page, sources
from yolo9000.data.disk import DataError
from yolo9000.data.formats.reading import read_names


def main(argv: list[str] | None = None) -> int:
  """The command line."""
  parser = command_line.parser("yolo9000.data", __doc__)
  parser.add_argument("format", help=", ".join(sources.FORMATS))
  parser.add_argument("root", help="the data set's folder")
  parser.add_argument("split", nargs="*", help="none: all that there are")
  parser.add_argument("--classes", help="file with a class name on each line")
  parser.add_argument("--outside", action="store_true", help="let paths leave")
  parser.add_argument("--masks", action="store_true", help="look at them too")
  parser.add_argument("--out", default="doctor", help="folder of the report")
  parser.add_argument("--size", type=int, default=416, help="network's input")
  parser.add_argument(
    "--resize", default="stretch", choices=["stretch", "letterbox"]
  )
  parser.add_argument("--threads", type=int, default=os.cpu_count())
  parser.add_argument("--shown", type=int, default=10, help="flaws of a kind")
  args = parser.parse_args(argv)
  if args.size < 1 or args.threads < 1 or args.shown < 0:
    parser.error("--size and --threads must be at least 1, --shown at least 0")
  try:
    return _run(args)
  except (DataError, OSError) as error:
    print(error, file=sys.stderr)
    return 2


def _run(args: argparse.Namespace) -> int:
  start = time.perf_counter()
  names = read_names(args.classes) if args.classes else ()
  findings = doctor.examine(
    args.format,
    args.root,
    args.split,
    class_names=names,
    outside=args.outside,
    masks=args.masks,
    threads=args.threads,
  )
  boxes = doctor.box_statistics(
    findings.datasets, image_size=args.size, resize=args.resize
  )
  text = list(
    doctor.lines(findings, boxes, image_size=args.size, shown_flaws=args.shown)
  )
  out = Path(args.out)
  out.mkdir(parents=True, exist_ok=True)
  every = "".join(f"{flaw.kind}: {flaw}\n" for flaw in findings.flaws)
  _write(out / "flaws.txt", every)
  clean = [
    f"{path}: {count} clean records"
    for path, count in doctor.write_clean(findings, args.root, out)
  ] or ["no list of clean records: the pictures are not files of their own"]
  title = f"{args.format} {args.root}"
  _write(
    out / "index.html",
    page.page(
      title,
      findings,
      boxes,
      **{"root": args.root, "text": text, "clean": clean, "seed": 0},
    ),
  )
  for line in (*text, *clean):
    print(line.encode("utf-8", "backslashreplace").decode())
  seconds = time.perf_counter() - start
  print(f"{out / 'index.html'}: the report; {seconds:.1f} s")
  return 1 if findings.flaws else 0


def _write(path: Path, text: str) -> None:
  path.write_text(text, "utf-8", "backslashreplace")


if __name__ == "__main__":
  sys.exit(main())
