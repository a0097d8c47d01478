"""One command for all: yolo9000 train, yolo9000 detect and the others."""

from __future__ import annotations

import difflib
import runpy
import sys
from collections.abc import Sequence

from yolo9000 import __version__, command_line
from yolo9000.command_line import COMMANDS, ONE_COMMAND, USAGE


def table() -> str:
  """What there is, one command on each line."""
  lines = [f"  {name:20}{what}" for name, (_, what) in COMMANDS.items()]
  return "\n".join(
    [
      "usage: yolo9000 COMMAND ...",
      "",
      "YOLOv2 and YOLO9000 in JAX and Flax. The commands:",
      *lines,
      "",
      "COMMAND --help tells how one is called; --version, which release it is.",
    ]
  )


def main() -> None:
  """Runs the module of a command as python -m would; see COMMANDS.

  Exits with USAGE, after one line, if there is no such command.
  """
  script, module = ONE_COMMAND
  one = module if sys.argv[0].endswith("__main__.py") else script
  words = sys.argv[1:]
  if not words or words[0] in ("-h", "--help", "help"):
    print(table(), file=sys.stdout if words else sys.stderr)
    sys.exit(0 if words else USAGE)
  if words[0] == "--version":
    print(f"yolo9000 {__version__}")
    return
  name, rest = words[0], words[1:]
  if name == "benchmark" and rest and not rest[0].startswith("-"):
    name, rest = f"benchmark {rest[0]}", rest[1:]
  if name not in COMMANDS:
    sys.exit(_unknown(one, name, rest))
  sys.argv[:] = [f"{one} {name}", *rest]
  command_line.import_experiments()
  runpy.run_module(COMMANDS[name][0], run_name="__main__")


def _unknown(one: str, name: str, rest: Sequence[str]) -> int:
  """Says what there is instead; the exit code."""
  if name == "benchmark":  # of none, or with --help
    kinds = [known for known in COMMANDS if known.startswith("benchmark ")]
    for known in kinds:
      print(f"  {one} {known:20}{COMMANDS[known][1]}")
    return USAGE if not rest else 0
  close = difflib.get_close_matches(name, COMMANDS, 1)
  hint = f"did you mean {close[0]}?" if close else "--help lists them"
  print(f"{one}: there is no command {name!r}; {hint}", file=sys.stderr)
  return USAGE


if __name__ == "__main__":
  main()
