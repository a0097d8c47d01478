"""Where a data set's files are: paths that annotations give, and folders."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from yolo9000.data.disk import shown
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats.reading import Source
from yolo9000.data.images import PICTURES

DRIVE = re.compile(r"[A-Za-z]:[\\/]")
# What systems and programs leave behind; so are names that begin with a dot.
SYSTEM = frozenset(
  (
    *("__MACOSX", "__pycache__", "@eaDir", "#recycle", "$RECYCLE.BIN"),
    *("System Volume Information", "lost+found", "Thumbs.db", "desktop.ini"),
  )
)


def _folded(name: str) -> str:
  """A name in small letters, with accents as macOS and Linux share them."""
  return unicodedata.normalize("NFC", name).lower()


class Listing:
  """Which files there are; asks for a folder once, not for each file."""

  def __init__(self):
    self._names: dict[Any, dict[str, list[str]]] = {}
    self._stems: dict[Any, dict[str, list[str]]] = {}

  def _in(self, folder: Any) -> dict[str, list[str]]:
    """The names in a folder, by what they are to `_folded`."""
    if folder not in self._names:
      names: dict[str, list[str]] = {}
      try:
        for path in folder.iterdir():
          names.setdefault(_folded(path.name), []).append(path.name)
      except OSError:
        names = {}
      self._names[folder] = names
    return self._names[folder]

  def has(self, path: Any) -> bool:
    """Whether a file of this very name is in its folder."""
    return path.name in self._in(path.parent).get(_folded(path.name), ())

  def find(self, path: Any) -> Any | None:
    """The file, or the only one whose name differs in letters' size alone."""
    names = self._in(path.parent).get(_folded(path.name), [])
    if path.name in names:
      return path
    return path.with_name(names[0]) if len(names) == 1 else None

  def pictures(self, folder: Any, stem: str) -> list[Any]:
    """The pictures in a folder whose names without suffix are this."""
    if folder not in self._stems:
      stems: dict[str, list[str]] = {}
      for names in self._in(folder).values():
        for name in names:
          head, suffix = os.path.splitext(name)
          if suffix.lower() in PICTURES:
            stems.setdefault(head, []).append(name)
      self._stems[folder] = stems
    return [folder / name for name in sorted(self._stems[folder].get(stem, ()))]


def may_be_read(source: Source, name: str) -> bool:
  """Whether a path stays below the root, or the source lets it leave."""
  parts = name.replace("\\", "/").split("/")
  leaves = not parts[0] or DRIVE.match(name) or ".." in parts
  return "\0" not in name and (source.outside or not leaves)


def find_picture(
  source: Source,
  name: str,
  folders: Sequence[Any],
  there: Listing,
  flaws: Flaws,
  path: Any,
  line: int,
  what: str = "",
) -> Any | None:
  r"""The file that a path in an annotation means.

  In order: as it is written; with / for \; without the leading data/ of CVAT,
  Yolo_mark and Label Studio, which is not the root's. All but the first is
  counted in notes.

  Args:
    source: what is read.
    name: the path.
    folders: in which it may begin.
    there: the files.
    flaws: where a path that leaves the root, and a missing file, is an error;
      the latter unless pictures are not needed.
    path, line, what: where the name stands and what has it, for messages.
  """
  if name and may_be_read(source, name):
    for folder in folders:
      if there.has(folder / name):
        return folder / name
  plain = name.replace("\\", "/")
  notes = {name: ""}
  notes.setdefault(plain, r"paths with \ in place of /")
  short = re.sub("^/?data/", "", plain)
  notes.setdefault(short, "paths without their leading data/")
  url = unquote(plain.partition("?d=")[2] or plain)  # of Label Studio
  notes.setdefault(url, "paths written as in an address")
  for text, note in notes.items():
    if not text or not may_be_read(source, text):
      continue
    for folder in folders:
      found = there.find(folder / text)
      if found is not None:
        if note:
          flaws.notes[note] += 1
        if found.name != (folder / text).name:
          flaws.notes[
            "names that differ from the file's in letters' size or accents"
          ] += 1
        return found
  if not may_be_read(source, name):
    message = (
      f"{what}path {name!r} is absolute or has .., and may lead out of the "
      f"root; outside=True would allow it"
    )
    return flaws.error("forbidden path", path, line, message)
  if not flaws.pictures:
    return flaws.absent(folders[0] / name)
  looked = " or ".join(shown(str(folder)) for folder in folders)
  message = f"{what}{name!r} is not in {looked}"
  return flaws.error("missing picture", path, line, message)


def is_hidden(path: Any) -> bool:
  """Whether a file or folder is a system's or a program's, not the user's."""
  name = path.name
  return name.startswith(".") or name in SYSTEM


def entries(folder: Any, flaws: Flaws) -> list[Any]:
  """What is in a folder, sorted; hidden names are passed over and counted."""
  found = []
  for path in sorted(folder.iterdir(), key=lambda p: os.fsencode(p.name)):
    if is_hidden(path):
      flaws.passed[f"hidden {path.name}"] += 1
    else:
      found.append(path)
  return found


def walk(folder: Any, flaws: Flaws) -> Iterator[Any]:
  """Every file below a folder, sorted, links followed, without hidden ones.

  A folder that a link brings a second time is an error, and not entered.
  """
  yield from _walk(folder, flaws, set())


def _walk(folder: Any, flaws: Flaws, entered: set[str]) -> Iterator[Any]:
  real = os.path.realpath(folder) if isinstance(folder, Path) else str(folder)
  if real in entered:
    message = f"is {shown(real)}, which is there already"
    flaws.error("folder link", folder, 0, message)
    return
  entered.add(real)
  for path in entries(folder, flaws):
    # Asking of each of a million pictures whether it is a folder takes minutes.
    if path.suffix.lower() not in PICTURES and path.is_dir():
      yield from _walk(path, flaws, entered)
    else:
      yield path
