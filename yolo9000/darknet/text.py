"""The original program's text files: .names, .tree, .map, .data, .cfg.

Of a .cfg only the sections; darknet_cfg.py says what they mean. Differs: lines
may end in CRLF, where the program fails, and what it passes over in silence is
an error that names file and line.

Source: parser.c, option_list.c, tree.c of the original program.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from yolo9000.training.log import write_whole
from yolo9000.wordtree.tree import TreeError, WordTree


class DarknetFileError(ValueError):
  """A file that cannot be used: names the file, the line and the value."""


class Section(NamedTuple):
  """A section of a .cfg as it was written: values and their lines by key."""

  name: str
  line: int
  options: dict[str, str]
  lines: dict[str, int]


def _read_lines(path: Path) -> list[str]:
  """Lines of a text file, without their ends and blanks around them."""
  try:
    text = path.read_bytes().decode()
  except OSError as error:
    raise DarknetFileError(
      f"{path}: cannot be read: {error.strerror}"
    ) from None
  except UnicodeDecodeError as error:
    raise DarknetFileError(
      f"{path}: byte {error.start} is no UTF-8; expected a text file"
    ) from None
  return [line.strip() for line in text.split("\n")]


def _read_list(path: Path) -> list[str]:
  """Lines of a file that has one entry on each; only the end may be blank."""
  lines = _read_lines(path)
  while lines and not lines[-1]:
    lines.pop()
  if not lines:
    raise DarknetFileError(f"{path}: is empty; expected an entry on each line")
  for number, line in enumerate(lines, 1):
    if not line:
      raise DarknetFileError(f"{path}:{number}: is blank; expected an entry")
  return lines


def _write_list(path: str | Path, entries: Sequence[object]) -> None:
  write_whole(Path(path), "".join(f"{entry}\n" for entry in entries))


def read_names(path: str | Path) -> tuple[str, ...]:
  """Class names, one on each line, in the order of the labels."""
  return tuple(_read_list(Path(path)))


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
  _write_list(path, names)


def read_map(path: str | Path, *, num_nodes: int) -> tuple[int, ...]:
  """For each label of a data set its node in a tree of num_nodes."""
  nodes = []
  for number, line in enumerate(_read_list(Path(path)), 1):
    if not re.fullmatch(r"\d{1,9}", line) or int(line) >= num_nodes:
      raise DarknetFileError(
        f"{path}:{number}: {line[:60]!r}; expected the number of a node, 0 to "
        f"{num_nodes - 1}"
      )
    nodes.append(int(line))
  return tuple(nodes)


def write_map(path: str | Path, nodes: Sequence[int]) -> None:
  """The inverse of `read_map`."""
  _write_list(path, nodes)


def read_tree(path: str | Path) -> WordTree:
  """A tree, one node on each line: its id and the number of its parent or -1.

  Raises:
    DarknetFileError: for a line of another form, a parent after its child, a
      cycle, or siblings that are not neighbours, which the program would take
      for several groups.
  """
  ids, parents = [], []
  for number, line in enumerate(_read_list(Path(path)), 1):
    match = re.fullmatch(r"(\S+)\s+(-?\d{1,9})", line)
    if not match:
      raise DarknetFileError(
        f"{path}:{number}: {line[:60]!r}; expected an id and the number of "
        f"its parent"
      )
    ids.append(match[1])
    parents.append(int(match[2]))
  try:
    return WordTree(tuple(ids), tuple(parents))
  except TreeError as error:
    raise DarknetFileError(
      f"{path}:{error.node + 1}: {error} (node n is on line n + 1)"
    ) from None


def write_tree(path: str | Path, tree: WordTree) -> None:
  """The inverse of `read_tree`.

  Raises:
    DarknetFileError: for a node's id that would not come back: with blanks.
  """
  for name in tree.ids:
    if len(name.split()) != 1 or name != name.strip():
      raise DarknetFileError(
        f"{path}: the node {name!r} cannot stand in a .tree file; expected an "
        f"id without blanks, such as german_shepherd"
      )
  pairs = zip(tree.ids, tree.parents, strict=True)
  _write_list(path, [f"{name} {parent}" for name, parent in pairs])


def make_tree(
  tree: WordTree | str | Sequence[int] | None, class_names: Sequence[str]
) -> WordTree | None:
  """The tree that a config names; its nodes must be the classes.

  Args:
    tree: a .tree file; the number of each class's parent, -1 at the top; or
      nothing, for none.
    class_names: of the network.

  Raises:
    ValueError: if it cannot be read, is no tree, or has other nodes; it lists
      both sides.
  """
  if tree is None or isinstance(tree, WordTree):
    return tree
  if not tree:
    return None
  if not isinstance(tree, str):
    return WordTree(tuple(class_names), tuple(tree))
  found = read_tree(tree)
  if found.ids != tuple(class_names):
    ours, theirs = set(class_names), set(found.ids)
    raise ValueError(
      f"{tree}: its {len(theirs)} nodes are not the {len(ours)} classes in "
      f"their order; in the tree alone: {sorted(theirs - ours)[:20]}, in the "
      f"classes alone: {sorted(ours - theirs)[:20]}"
    )
  return found


def read_data(path: str | Path) -> dict[str, str]:
  """The keys and values of a .data file, such as classes, names and map."""
  options, _ = _read_options(Path(path), enumerate(_read_lines(Path(path)), 1))
  return options


def write_data(path: str | Path, options: dict[str, str]) -> None:
  """The inverse of `read_data`."""
  _write_list(path, [f"{key}={value}" for key, value in options.items()])


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
      raise DarknetFileError(
        f"{path}:{number}: {line[:60]!r}; expected key=value"
      )
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
    DarknetFileError: for a line that is neither a section, nor key=value, nor
      blank, nor begins with # or ;.
  """
  path = Path(path)
  heads: list[tuple[str, int]] = []
  bodies: list[list[tuple[int, str]]] = []
  for number, line in enumerate(_read_lines(path), 1):
    line = re.sub(r"\s", "", line)
    if line.startswith("["):
      if not re.fullmatch(r"\[\w+\]", line):
        raise DarknetFileError(
          f"{path}:{number}: {line[:60]!r}; expected a section such as [net]"
        )
      heads.append((ALIASES.get(line[1:-1], line[1:-1]), number))
      bodies.append([])
    elif bodies:
      bodies[-1].append((number, line))
    elif line and line[0] not in "#;":
      raise DarknetFileError(
        f"{path}:{number}: {line[:60]!r} comes before the first section, [net]"
      )
  if not heads or heads[0][0] != "net":
    found = f"[{heads[0][0]}] on line {heads[0][1]}" if heads else "none"
    raise DarknetFileError(f"{path}: first section is {found}; expected [net]")
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
