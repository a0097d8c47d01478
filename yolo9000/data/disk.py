"""Files of a data set, local or remote, and the error that names them."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from etils import epath

from yolo9000 import files

SCHEMES = ("gs", "s3", "az", "hf")  # of remote roots, each a package of its own


class DataError(files.FileError):
  """Input that cannot be used: names the file and what was expected.

  Args:
    message: with the file's name.
    kind: of flaw, a key of `flaws.KINDS`, where it is a picture's.
  """

  def __init__(self, message: str, kind: str = "unreadable picture"):
    super().__init__(message)
    self.kind = kind


def shown(name: str) -> str:
  r"""A file's name for people: bytes that are not UTF-8 as \xff."""
  return os.fsencode(name).decode("utf-8", "backslashreplace")


def open_path(name: str) -> Any:
  """A local Path, or for gs:// and the like what etils makes of it.

  Raises:
    DataError: for another scheme.
  """
  scheme, remote, _ = name.partition("://")
  if not remote:
    return Path(name)
  if scheme not in SCHEMES:
    raise DataError(
      f"{name}: {scheme}:// is unknown; allowed are {', '.join(SCHEMES)}"
    )
  return epath.Path(name)


def read_bytes(name: str) -> bytes:
  """Everything in a file, local or remote.

  Raises:
    DataError: if it cannot be read.
  """
  try:
    return checked_path(name).read_bytes()
  except (OSError, ImportError, ValueError) as error:
    raise cannot_be_read(name, error) from None


def read_text(name: str) -> str:
  """The text of a file, local or remote; see `files.decode`.

  Raises:
    DataError: if it cannot be read, or is of another encoding.
  """
  data = read_bytes(name)
  try:
    return files.decode(data, shown(name))
  except files.FileError as error:
    raise DataError(str(error), "bad text") from None


def told(error: DataError, path: Any) -> tuple[int, str]:
  """The line and the message of an error that begins with this path."""
  rest = str(error).removeprefix(shown(str(path)))
  line, _, message = rest.partition(": ")
  return int(line[1:] or 0), message


def checked_path(name: str) -> Any:
  """The path, if it is a file; a named pipe would be waited for."""
  path = open_path(name)
  if isinstance(path, Path) and not stat.S_ISREG(path.stat().st_mode):
    raise OSError("it is no file")
  return path


def cannot_be_read(name: str, error: Exception) -> DataError:
  """What to raise for a file that cannot be read."""
  if isinstance(error, DataError):
    return error
  kind = "missing picture" if isinstance(error, FileNotFoundError) else ""
  return DataError(
    f"{shown(name)}: cannot be read: "
    f"{getattr(error, 'strerror', None) or error}",
    kind or "unreadable picture",
  )
