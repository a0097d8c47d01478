"""What all commands share: their names, help on one screen, errors of one line.

Some take a config and have absl's flags, the others have argparse's.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path

from absl import app, flags

USAGE = 2  # exit code for what cannot be

# `yolo9000 NAME`: the module, and what it is for.
COMMANDS = {
  "train": ("yolo9000.main", "trains a config, or every row of a table"),
  "detect": ("yolo9000.detect", "finds boxes on pictures, videos, a camera"),
  "evaluate": ("yolo9000.evaluate", "measures a trained detector"),
  "export": ("yolo9000.export", "writes a trained detector for other programs"),
  "priors": ("yolo9000.priors", "finds the box shapes that fit a data set"),
  "proposals": ("yolo9000.proposals", "finds boxes that may hold an object"),
  "data": ("yolo9000.data", "looks for flaws in a data set"),
  "tree": ("yolo9000.wordtree", "makes, checks and shows trees of classes"),
  "benchmark speed": ("yolo9000.benchmarks.speed", "of a forward pass, a step"),
  "benchmark data": ("yolo9000.benchmarks.data", "of the pictures' pipeline"),
  "benchmark tree": ("yolo9000.benchmarks.tree", "of thousands of classes"),
  "benchmark devices": ("yolo9000.benchmarks.devices", "of many devices"),
  "benchmark peers": ("yolo9000.benchmarks.peers", "of other libraries"),
}
NAMES = {module: name for name, (module, _) in COMMANDS.items()}
# How the one command can be typed; it is then the first word of sys.argv.
ONE_COMMAND = ("yolo9000", "python -m yolo9000")

# The package's own, beside it in a checkout and in an installed wheel alike.
EXPERIMENTS = Path(__file__).parents[1] / "experiments"
NO_EXPERIMENTS = ("__init__", "base")


def typed(module: str) -> str:
  """A command as this user types it.

  That is `yolo9000 detect` if the one command runs, `python -m yolo9000.detect`
  if the module itself does.
  """
  for one in ONE_COMMAND:
    if sys.argv[0].startswith(f"{one} ") and module in NAMES:
      return f"{one} {NAMES[module]}"
  return f"python -m {module}"


def as_typed(text: str) -> str:
  """A docstring in which every command stands as this user types it."""
  return re.sub(
    r"python -m (yolo9000(\.[a-z]\w*)+)", lambda found: typed(found[1]), text
  )


def parser(
  module: str, doc: str | None, usage: str | None = None
) -> argparse.ArgumentParser:
  """A parser for a command.

  Args:
    module: of the command, by its dotted name.
    doc: its docstring, which describes it.
    usage: what follows the command, if the list of all options is too long for
      the screen; --help is then not listed either.
  """
  made = argparse.ArgumentParser(
    prog=typed(module),
    usage=usage and f"%(prog)s {usage}",
    description=as_typed(doc or ""),
    formatter_class=argparse.RawDescriptionHelpFormatter,
    add_help=not usage,
  )
  if usage:
    made.add_argument("-h", "--help", action="help", help=argparse.SUPPRESS)
  return made


def run(
  module: str, doc: str | None, main: Callable[[list[str]], None]
) -> None:
  """Parses the flags of a command that takes a config, and runs main.

  Exits with 0 after --help, and with USAGE, after one message, for flags that
  cannot be read.

  Args:
    module: where the flags are defined, by its dotted name.
    doc: its docstring.
    main: takes the words that are left.
  """

  def parse(words: Sequence[str]) -> list[str]:
    if {"--help", "-h", "-help"}.intersection(words):
      own = flags.FLAGS.module_help(sys.argv[0]).partition("\n")[2]
      print(as_typed(doc or ""), "flags:", own, sep="\n")
      sys.exit(0)
    return _parse(typed(module), words)

  app.run(main, flags_parser=parse)


def _parse(command: str, words: Sequence[str]) -> list[str]:
  try:
    rest = flags.FLAGS(_with_files(words))
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


def _with_files(words: Sequence[str]) -> list[str]:
  """The words, in which --config is a file that is there.

  Raises:
    FileNotFoundError: if there is none, and no experiment of this name.
  """
  found = list(words)
  for index, word in enumerate(words):
    match = re.fullmatch(r"(--?config=)(.*)", word)
    flag, given = match.groups() if match else ("", word)
    if match or (index and words[index - 1] in ("--config", "-config")):
      name, colon, argument = given.partition(":")
      path = find_experiment(name)
      import_experiments(path)
      found[index] = f"{flag}{path}{colon}{argument}"
  return found


def find_experiment(name: str) -> Path:
  """The file that --config names: a path, or an experiment of the package.

  A path that exists wins. An experiment of the package is named ablation or
  experiments/ablation.py.

  Raises:
    FileNotFoundError: if there is neither.
  """
  path = Path(name)
  if path.is_file():
    return path
  own = {p.stem: p for p in sorted(EXPERIMENTS.glob("*.py"))}
  own = {stem: p for stem, p in own.items() if stem not in NO_EXPERIMENTS}
  for stem, packaged in own.items():
    if name in (stem, f"experiments/{stem}", f"experiments/{stem}.py"):
      if path.parent.name:  # it looks like a file
        print(f"--config: {packaged}, of the package", file=sys.stderr)
      return packaged
  there = sorted(map(str, path.parent.glob("*.py")))
  known = {n: f"experiments/{n}.py" if "/" in name else n for n in own}
  known |= {Path(file).stem: file for file in there}
  close = difflib.get_close_matches(path.stem, known, 1)
  if close:
    hint = f"did you mean {known[close[0]]}?"
  else:
    hint = f"there are {', '.join(there)}; " if there else ""
    hint += f"the package has {', '.join(own)}"
  raise FileNotFoundError(f"--config: {path} is not there; {hint}")


def import_experiments(config: Path | None = None) -> None:
  """Makes `from experiments import base` find the package's own.

  A folder of this name where the user stands does not hide it. But a config in
  such a folder finds first what lies beside it: an experiment that was copied
  with its base has that one.
  """
  if not EXPERIMENTS.is_dir():
    return
  package = types.ModuleType(EXPERIMENTS.name)
  package.__path__ = [str(EXPERIMENTS)]
  if config and config.resolve().parent.name == EXPERIMENTS.name:
    package.__path__.insert(0, str(config.resolve().parent))
  sys.modules[EXPERIMENTS.name] = package


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
