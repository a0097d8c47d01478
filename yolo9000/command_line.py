"""Flags of a command that takes a config, with errors of one line."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from absl import app, flags

USAGE = 2  # exit code for what cannot be


def run(main: Callable[[list[str]], None]) -> None:
  """Parses the flags and runs main.

  Exits with 0 after --help, and with USAGE, after one message, for flags that
  cannot be read.
  """
  app.run(main, flags_parser=_parse)


def _parse(words: Sequence[str]) -> list[str]:
  spec = sys.modules["__main__"].__spec__
  command = f"python -m {spec.name}" if spec else sys.argv[0]
  if {"--help", "-h", "-help"}.intersection(words):
    app.usage(shorthelp=True, writeto_stdout=True)
    sys.exit(0)
  try:
    _check_file(words)
    rest = flags.FLAGS(list(words))
  except (flags.Error, OSError, AttributeError, KeyError) as error:
    print(f"{command}: {_in_short(error, words)}", file=sys.stderr)
    print("--help lists the flags", file=sys.stderr)
    sys.exit(USAGE)
  except (TypeError, ValueError) as error:
    print(f"{command}: {error}", file=sys.stderr)
    sys.exit(USAGE)
  if len(rest) > 1:
    wrong = " ".join(rest[1:])
    print(f"{command}: not a flag: {wrong}; begin it with --", file=sys.stderr)
    sys.exit(USAGE)
  return rest


def _check_file(words: Sequence[str]) -> None:
  """Raises FileNotFoundError for a --config that is no file."""
  for before, word in zip(["", *words], words, strict=False):
    match = re.fullmatch(r"--?config=(.*)", word)
    given = match[1] if match else word if before in ("--config",) else None
    if given is None:
      continue
    path = Path(given.partition(":")[0])
    if not path.is_file():
      there = sorted(map(str, path.parent.glob("*.py")))
      close = difflib.get_close_matches(str(path), there, 1)
      hint = f"did you mean {close[0]}?" if close else ""
      found = ", ".join(there) or f"no .py file is in {path.parent}"
      raise FileNotFoundError(f"--config: {path} is not there; {hint or found}")


def _in_short(error: Exception, words: Sequence[str]) -> str:
  """What is wrong in one line; a traceback inside a message is left out."""
  text = str(error)
  if "Traceback" in text:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"[\w.]+(Error|Exit)\b", line)]
    text = (named or lines)[-1].partition(": ")[2]
    return f"--config: {text}"
  if isinstance(error, AttributeError | KeyError):
    found = re.search(r"""['"\\]+(\w+)""", text)
    name = found[1] if found else ""
    whole = (re.match(r"--?(config\.[\w.]+)", word) for word in words)
    flag = [m[1] for m in whole if m and name in m[1].split(".")]
    mean = re.search(r'Did you mean \\?"(\w+)', text)
    hint = f"; did you mean {mean[1]}?" if mean else ""
    return f"--{flag[0] if flag else name}: there is no option {name!r}{hint}"
  return " ".join(text.split())
