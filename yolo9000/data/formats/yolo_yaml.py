"""The data.yaml of a YOLO set: class names, splits, keypoints."""

from __future__ import annotations

from typing import Any, NamedTuple

import yaml

from yolo9000.data.disk import DataError, read_text
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats.places import is_hidden
from yolo9000.data.formats.reading import check_names

KEYS = ("train", "val", "valid", "test")
READ = {*KEYS, "path", "names", "nc", "kpt_shape"}


class Description(NamedTuple):
  """What a data.yaml says."""

  names: tuple[str, ...]
  splits: tuple[str, ...]  # folders and lists below root that are there
  keypoints: bool  # whether lines have keypoints after the box


def describe(root: Any, flaws: Flaws) -> Description | None:
  """The data.yaml, or the only other YAML file, of root; None without one.

  Raises:
    DataError: for a file that is no YAML, and for names of another form; with
      the line.
  """
  found = [p for p in sorted(root.iterdir()) if not is_hidden(p)]
  found = [p for p in found if p.suffix.lower() in (".yaml", ".yml")]
  best = [p for p in found if p.stem == "data"]
  described = (best or [p for p in found if "names" in _parse(p)])[:1]
  if not described:
    return None
  path = described[0]
  flaws.met.add(str(path))
  values = _parse(path)
  if "names" not in values:
    raise DataError(f"{path}: no names in it; expected the classes' names")
  names = _names(values["names"], path, flaws)
  count = values.get("nc")
  if count is not None and _text(count) != str(len(names)):
    raise DataError(
      f"{path}:{_line(count)}: nc is {_text(count)}, but there are "
      f"{len(names)} names"
    )
  splits = _splits(values, root, path, flaws)
  for key in values.keys() - READ:
    flaws.passed[f"key {key} of {path.name}"] += 1
  return Description(names, splits, "kpt_shape" in values)


def _splits(values, root: Any, path: Any, flaws: Flaws) -> tuple[str, ...]:
  """Folders and lists; one that is not there, or is another's, is reported."""
  base = _parts(_text(values["path"])) if "path" in values else []
  places: dict[str, str] = {}
  for key in KEYS:
    if key not in values:
      continue
    node = values[key]
    for text in _texts(node) or [_text(node)]:
      place = _below(root, base, text)
      if text and not place:
        message = f"{key}: {text} is not there; the split is not read"
        flaws.mended("bad split", path, _line(node), message)
      elif place in places:
        message = f"{key} is {text}, as {places[place]} is"
        flaws.mended("leak", path, _line(node), message)
      elif place:
        places[place] = key
  return tuple(places)


def _parse(path: Any) -> dict[str, Any]:
  """The nodes of a file's mapping by key."""
  try:
    node = yaml.compose(read_text(str(path)), Loader=yaml.SafeLoader)
  except (yaml.YAMLError, RecursionError) as error:
    mark = getattr(error, "problem_mark", None)
    line = mark.line + 1 if mark else 0
    reason = getattr(error, "problem", None) or str(error).split("\n")[0]
    raise DataError(f"{path}:{line}: not valid YAML: {reason}") from None
  return _items(node, path) if isinstance(node, yaml.MappingNode) else {}


def _line(node: Any) -> int:
  return node.start_mark.line + 1


def _text(node: Any) -> str:
  return node.value if isinstance(node, yaml.ScalarNode) else ""


def _texts(node: Any) -> list[str]:
  return (
    list(map(_text, node.value)) if isinstance(node, yaml.SequenceNode) else []
  )


def _items(node: Any, path: Any) -> dict[str, Any]:
  """The values of a mapping by key.

  Raises:
    DataError: for a key that is there twice.
  """
  found: dict[str, Any] = {}
  for key, value in node.value:
    if _text(key) in found:
      raise DataError(f"{path}:{_line(key)}: {_text(key)!r} is there twice")
    found[_text(key)] = value
  return found


def _names(node: Any, path: Any, flaws: Flaws) -> tuple[str, ...]:
  nodes = node.value if isinstance(node, yaml.SequenceNode) else []
  if isinstance(node, yaml.MappingNode):
    numbered = _items(node, path)
    wanted = [str(n) for n in range(len(numbered))]
    if set(numbered) != set(wanted):
      raise DataError(
        f"{path}:{_line(node)}: the names are numbered {', '.join(numbered)}; "
        f"expected 0 to {len(numbered) - 1}, each once"
      )
    nodes = [numbered[n] for n in wanted]
  if not nodes:
    raise DataError(
      f"{path}:{_line(node)}: names must be a list, or numbered from 0"
    )
  names = tuple(_name(node, path, flaws) for node in nodes)
  try:
    check_names(names)
  except DataError as error:
    raise DataError(f"{path}:{_line(node)}: {error}") from None
  return names


def _name(node: Any, path: Any, flaws: Flaws) -> str:
  """A name as it is written; what YAML reads as a number is noted."""
  kind = node.tag.rpartition(":")[2]
  if not isinstance(node, yaml.ScalarNode) or kind in ("bool", "null"):
    means = {"bool": "true or false", "null": "nothing"}.get(kind)
    told = f"YAML reads the name {_text(node)!r} as {means}; put it in quotes"
    raise DataError(
      f"{path}:{_line(node)}: "
      + (told if means else f"a name is a {kind}; expected a text")
    )
  if kind != "str":
    place = f"{path.name}:{_line(node)}"
    flaws.notes[
      f"names that YAML reads as {kind}, taken as text ({place})"
    ] += 1
  return node.value.strip()


def _parts(text: str) -> list[str]:
  parts = text.replace("\\", "/").split("/")
  return [part for part in parts if part not in ("", ".", "..")]


def _below(root: Any, base: list[str], text: str) -> str:
  """The folder or list below root that a path means, or nothing."""
  for parts in (_parts(text), base + _parts(text)):
    if parts and root.joinpath(*parts).exists():
      return "/".join(parts)
  return ""
