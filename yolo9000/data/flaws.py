"""What is wrong with a data set, and where readers report it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any, NamedTuple

from yolo9000.data.disk import DataError, shown

# Every kind of flaw, and what it means.
KINDS = {
  "missing picture": "an annotation's picture is not there",
  "missing annotation": "a picture that the split lists has no annotation",
  "orphan annotation": "an annotation whose picture the data set does not have",
  "orphan picture": "a picture that no split lists",
  "listed twice": "a picture that one split lists again",
  "bad split": "a split that cannot be read at all",
  "empty split": "a split without a picture that can be used",
  "bad annotation": "an annotation that does not parse",
  "bad number": "a coordinate or size that is missing, or no finite number",
  "bad text": "a text file that is not UTF-8",
  "not read": "a name that is not read, and could be a box or a misspelt one",
  "like fractions": "a box within two pixels, as fractions would be",
  "thin box": "a box whose width or height is less than a pixel",
  "bad mask": "a mask, or a part of one, that cannot be read",
  "unknown class": "an object of a class that is not among the known ones",
  "no area": "a box of no width or no height",
  "reversed box": "a box whose maximum comes before its minimum",
  "outside": "a box that does not touch its picture",
  "out of range": "a box that sticks out of its picture",
  "duplicate box": "a box that the picture has already, with the same class",
  "many boxes": "more boxes on one picture than any known data set has",
  "forbidden path": "an absolute path, or one with .., in an annotation",
  "folder link": "a folder that a link brings a second time",
  "unreadable picture": "a file that is no picture, or larger than allowed",
  "truncated picture": "a picture file that ends too early",
  "wrong size": "a picture of another size than its annotation says",
  "turned picture": "EXIF turns it, and the boxes may be turned or not",
  "duplicate picture": "two pictures of one split with the same bytes",
  "leak": "a picture of one split that another one has too",
}

ABSENT = "pictures that are not there"


class Flaw(NamedTuple):
  """One thing that is wrong with a data set."""

  kind: str  # a key of `KINDS`
  path: str
  line: int  # from 1; 0: not of one line
  message: str
  box_px: tuple[float, ...] = ()  # edges of the box, if it is one's flaw

  def __str__(self) -> str:
    """The file, the line and the message, as compilers write them."""
    line = f":{self.line}" if self.line else ""
    return f"{shown(self.path)}{line}: {self.message}"


class Flaws:
  """Where readers report what is wrong, and what they did not use.

  Strict: a flaw that loses data raises at once, one that the reader mended is
  collected in `found`. Not strict: all are collected. `met` are the files that
  the reader knows of, used or not; `incomplete` pictures that lack an object;
  `measured` those whose size was taken from the picture. `notes` and `passed`
  are as in a Dataset. Without `pictures` a reader does not need them: one that
  is not there gets the path that it would have, and is counted in `notes`.
  Flaws of a kind in `tolerated` are collected though it is strict. Without
  `mends` boxes stay as they are, see `formats.reading.Truths.add`.
  """

  def __init__(
    self,
    *,
    strict: bool,
    pictures: bool = True,
    tolerated: Collection[str] = (),
    mends: bool = True,
  ):
    self.mends = mends
    self.pictures = pictures
    self._tolerated = frozenset(tolerated)
    self.found: list[Flaw] = []
    self.met: set[str] = set()
    self.incomplete: set[str] = set()
    self.measured: set[str] = set()
    self.notes: Counter[str] = Counter()
    self.passed: Counter[str] = Counter()
    self._strict = strict

  def absent(self, path: Any) -> Any:
    """Counts a picture that is not there, and not needed; its path."""
    self.notes[ABSENT] += 1
    return path

  def mended(
    self,
    kind: str,
    path: Any,
    line: int,
    message: str,
    box_px: tuple[float, ...] = (),
  ) -> None:
    """Reports a flaw that the reader could mend."""
    assert kind in KINDS, kind
    self.found.append(Flaw(kind, str(path), line, message, box_px))

  def error(
    self,
    kind: str,
    path: Any,
    line: int,
    message: str,
    box_px: tuple[float, ...] = (),
  ) -> None:
    """Reports a flaw because of which something is left out.

    Raises:
      DataError: if strict, unless the kind is tolerated.
    """
    if self._strict and kind not in self._tolerated:
      raise DataError(str(Flaw(kind, str(path), line, message)))
    self.mended(kind, path, line, f"{message}; left out", box_px)
