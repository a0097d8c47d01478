"""Reading text, and writing a file whole or not at all."""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# UTF-32's begins with UTF-16's, and so comes first.
MARKS = {
  codecs.BOM_UTF8: "utf-8",
  codecs.BOM_UTF32_LE: "utf-32-le",
  codecs.BOM_UTF32_BE: "utf-32-be",
  codecs.BOM_UTF16_LE: "utf-16-le",
  codecs.BOM_UTF16_BE: "utf-16-be",
}


class FileError(ValueError):
  """A file that cannot be used: names the file, the line and the value."""


def decode(data: bytes, name: str | Path) -> str:
  r"""The text of a file: UTF-8, or what its byte order mark says.

  Lines end in \n, whatever ends them in the file.

  Args:
    data: the file's content.
    name: of the file, for messages.

  Raises:
    FileError: for another encoding; it names the line, the byte and the
      encoding that the file looks like.
  """
  mark = next((mark for mark in MARKS if data.startswith(mark)), b"")
  encoding = MARKS.get(mark, "utf-8")
  body = data[len(mark) :]
  try:
    text = body.decode(encoding)
    wrong = text.find("\0")  # valid UTF-8, but of no text
    wrong = len(text[:wrong].encode(encoding)) if wrong >= 0 else -1
  except UnicodeDecodeError as error:
    text, wrong = "", error.start
  if wrong >= 0:
    line = body[:wrong].count(b"\n") + 1
    raise FileError(
      f"{name}:{line}: byte {len(mark) + wrong} (0x{body[wrong]:02x}) is not "
      f"{encoding.upper()}{_advice(body, mark)}"
    )
  return text.replace("\r\n", "\n").replace("\r", "\n")


def _advice(data: bytes, mark: bytes) -> str:
  """The likely encoding of what is not UTF-8, and what to do."""
  if mark:
    return ", as its byte order mark says; the file is damaged"
  encoding = _guess(data)
  if encoding is None:
    return "; expected a text file"
  return f"; the file looks like {encoding}; save it as UTF-8"


def _guess(data: bytes) -> str | None:
  """The encoding that a text is likely in; None if it is no text."""
  zeros = [data[n::2].count(0) / max(1, len(data[n::2])) for n in (0, 1)]
  if max(zeros) > 0.3:
    end = "LE" if zeros[1] > zeros[0] else "BE"
    return f"UTF-16 {end} without a byte order mark"
  if any(zeros):
    return None
  try:
    data.decode("gb2312")
    return "GB2312 or GBK"
  except UnicodeDecodeError:
    high = sum(byte >= 0xC0 for byte in data)
    letters = sum(bytes([byte]).isalpha() for byte in data)
    return "Windows-1251" if high > letters else "Windows-1252 or Latin-1"


def read_text(path: str | Path) -> str:
  """The text of a local file; see `decode`."""
  try:
    data = Path(path).read_bytes()
  except OSError as error:
    raise FileError(f"{path}: cannot be read: {error.strerror}") from None
  return decode(data, path)


def read_lines(path: str | Path) -> list[str]:
  """Lines of a text file, without their ends and blanks around them."""
  return [line.strip() for line in read_text(path).split("\n")]


def read_list(path: str | Path) -> list[str]:
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
