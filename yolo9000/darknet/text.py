"""The original program's text files: .names, .map, .data, .cfg.

Of a .cfg only the sections; cfg.py says what they mean. Differs: lines
may end in CRLF, where the program fails, and what it passes over in silence is
an error that names file and line.

Source: parser.c, option_list.c, tree.c of the original program.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from yolo9000.files import (
  FileError,
  read_lines,
  read_list,
  write_list,
  write_whole,
)


class Section(NamedTuple):
  """A section of a .cfg as it was written: values and their lines by key."""

  name: str
  line: int
  options: dict[str, str]
  lines: dict[str, int]


def read_names(path: str | Path) -> tuple[str, ...]:
  """Class names, one on each line, in the order of the labels."""
  return tuple(read_list(Path(path)))


def write_names(path: str | Path, names: Sequence[str]) -> None:
  """The inverse of `read_names`.

  Raises:
    ValueError: for a name that would not come back: empty, with a line break
      in it or blanks around it.
  """
  for name in names:
    if not name or name != name.strip() or "\n" in name:
      raise ValueError(
        f"{name!r} cannot stand in {path}; expected one line without blanks "
        f"around it"
      )
  write_list(path, names)


def read_map(path: str | Path, *, num_nodes: int) -> tuple[int, ...]:
  """For each label of a data set its node in a tree of num_nodes."""
  nodes = []
  for number, line in enumerate(read_list(Path(path)), 1):
    if not re.fullmatch(r"\d{1,9}", line) or int(line) >= num_nodes:
      raise FileError(
        f"{path}:{number}: {line[:60]!r}; expected the number of a node, 0 to "
        f"{num_nodes - 1}"
      )
    nodes.append(int(line))
  return tuple(nodes)


def write_map(path: str | Path, nodes: Sequence[int]) -> None:
  """The inverse of `read_map`."""
  write_list(path, nodes)


def read_data(path: str | Path) -> dict[str, str]:
  """The keys and values of a .data file, such as classes, names and map."""
  options, _ = _read_options(Path(path), enumerate(read_lines(Path(path)), 1))
  return options


def write_data(path: str | Path, options: dict[str, str]) -> None:
  """The inverse of `read_data`."""
  write_list(path, [f"{key}={value}" for key, value in options.items()])


def _read_options(path, numbered) -> tuple[dict[str, str], dict[str, int]]:
  """key=value lines; of a key that repeats the first counts, as there."""
  options: dict[str, str] = {}
  lines: dict[str, int] = {}
  for number, line in numbered:
    line = re.sub(r"\s", "", line)
    if not line or line[0] in "#;":
      continue
    key, _, value = line.partition("=")
    if not key or not value:
      raise FileError(f"{path}:{number}: {line[:60]!r}; expected key=value")
    if key not in options:
      options[key], lines[key] = value, number
  return options, lines


ALIASES = {
  **{"network": "net", "conv": "convolutional", "conn": "connected"},
  **{"max": "maxpool", "avg": "avgpool", "soft": "softmax"},
}


def read_sections(path: str | Path) -> list[Section]:
  """The sections of a .cfg, in order; the first is [net].

  Raises:
    FileError: for a line that is neither a section, nor key=value, nor
      blank, nor begins with # or ;.
  """
  path = Path(path)
  heads: list[tuple[str, int]] = []
  bodies: list[list[tuple[int, str]]] = []
  for number, line in enumerate(read_lines(path), 1):
    line = re.sub(r"\s", "", line)
    if line.startswith("["):
      if not re.fullmatch(r"\[\w+\]", line):
        raise FileError(
          f"{path}:{number}: {line[:60]!r}; expected a section such as [net]"
        )
      heads.append((ALIASES.get(line[1:-1], line[1:-1]), number))
      bodies.append([])
    elif bodies:
      bodies[-1].append((number, line))
    elif line and line[0] not in "#;":
      raise FileError(
        f"{path}:{number}: {line[:60]!r} comes before the first section, [net]"
      )
  if not heads or heads[0][0] != "net":
    found = f"[{heads[0][0]}] on line {heads[0][1]}" if heads else "none"
    raise FileError(f"{path}: first section is {found}; expected [net]")
  return [
    Section(*head, *_read_options(path, body))
    for head, body in zip(heads, bodies, strict=True)
  ]


def write_sections(path: str | Path, sections: Sequence[Section]) -> None:
  """The inverse of `read_sections`, without comments."""
  blocks = [
    "\n".join([f"[{s.name}]", *(f"{k}={v}" for k, v in s.options.items()), ""])
    for s in sections
  ]
  write_whole(Path(path), "\n".join(blocks))
