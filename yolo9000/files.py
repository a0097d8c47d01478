"""Reading lines, and writing a file whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class FileError(ValueError):
  """A file that cannot be used: names the file, the line and the value."""


def read_lines(path: Path) -> list[str]:
  """Lines of a text file, without their ends and blanks around them."""
  try:
    text = path.read_bytes().decode()
  except OSError as error:
    raise FileError(f"{path}: cannot be read: {error.strerror}") from None
  except UnicodeDecodeError as error:
    raise FileError(
      f"{path}: byte {error.start} is no UTF-8; expected a text file"
    ) from None
  return [line.strip() for line in text.split("\n")]


def read_list(path: Path) -> list[str]:
  """Lines of a file that has one entry on each; only the end may be blank."""
  lines = read_lines(path)
  while lines and not lines[-1]:
    lines.pop()
  if not lines:
    raise FileError(f"{path}: is empty; expected an entry on each line")
  for number, line in enumerate(lines, 1):
    if not line:
      raise FileError(f"{path}:{number}: is blank; expected an entry")
  return lines


def write_list(path: str | Path, entries: Sequence[object]) -> None:
  """The inverse of `read_list`."""
  write_whole(Path(path), "".join(f"{entry}\n" for entry in entries))


def write_whole(path: Path, content: str | bytes) -> None:
  """Writes a file that is never there by halves, whatever happens."""
  draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
  draft.write_bytes(content.encode() if isinstance(content, str) else content)
  os.replace(draft, path)


def read_json_lines(path: Path) -> list[dict[str, Any]]:
  """The lines of a metrics.jsonl; an unfinished last line is left out."""
  lines = []
  with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
    for line in path.read_text().splitlines():
      lines.append(json.loads(line))
  return lines
