"""Names in a data set's files that a reader does not read.

A column, key, element or attribute that is passed over is counted; one that
could be a box, or a misspelt name of what is read, is a flaw.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from yolo9000.data.flaws import Flaws

# A word that begins so is of a whole box, or of several.
SHAPES = (
  *("bbox", "bndbox", "box", "rect", "poly", "quad", "roi", "bounding"),
  *("robnd", "corner", "extent", "bounds", "wkt", "xyxy", "xywh", "ltrb"),
  *("ltwh", "tlwh", "coord", "points", "vertices", "region", "object"),
  *("annotation", "instance", "detection", "geometry", "position", "location"),
  *("topleft", "lefttop", "bottomright", "rightbottom", "center", "centre"),
)
WHOLE = frozenset(("bb", "xy", "shape", "obb"))
# A word that is a coordinate: x, xmin, xtl, tlx, posx.
PLACE = (
  "tl|br|ul|lr|lt|rb|min|max|low|high|left|right|top|bottom|start|end|from"
)
PLACE += "|to|c|center|centre|mid|pos|loc|p|s"
AXIS = re.compile(rf"[xy]({PLACE})?|({PLACE})[xy]")
SIDES = frozenset(
  "w h width height left top right bottom bw bh xleft ytop".split()
)
# With one of these words a name tells something about a picture or a box.
ABOUT = frozenset(
  "id ids num number count area source score confidence label labels name "
  "type class color colour attributes occluded visible image img".split()
)
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)"
FOUR_NUMBERS = re.compile(
  rf"[\s(\[]*{NUMBER}(?:[\s,;:|()\[\]]+{NUMBER}){{3}}[\s)\]]*", re.ASCII
)


class Unread(NamedTuple):
  """The names that are not read."""

  misspelt: tuple[str, ...]  # each with the name that it could be
  boxes: tuple[str, ...]  # names that could be of a box
  others: tuple[str, ...]


def could_be_box(name: str) -> bool:
  """Whether a name could be of a box, a part of one, or a list of them."""
  words = _words(name)
  if not words or words == ["x", "ray"]:
    return False
  about = ABOUT.intersection(words)
  if words[-1].startswith(SHAPES) or words[-1] in WHOLE:
    return True
  if any(AXIS.fullmatch(word) for word in words):
    return not about & {"image", "img"}
  if about:
    return False
  return any(w.startswith(SHAPES) or w in WHOLE | SIDES for w in words)


def is_a_side(name: str) -> bool:
  """Whether a name could be of a box's side alone, as hand_left and top_speed.

  One such name makes no box.
  """
  words = _words(name)
  more = (
    w.startswith(SHAPES) or w in WHOLE or AXIS.fullmatch(w) for w in words
  )
  return bool(SIDES.intersection(words)) and not any(more)


def _words(name: str) -> list[str]:
  """The words of a name such as boxLeft or box_left, in small letters."""
  parts = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
  return [word for word in re.split(r"[^a-z]+", parts.lower()) if word]


def is_four_numbers(text: str) -> bool:
  """Whether a text could be a whole box, such as [10, 10, 50, 40]."""
  return FOUR_NUMBERS.fullmatch(text) is not None


@functools.cache
def sort_out(
  names: frozenset[str], read: frozenset[str], known: frozenset[str]
) -> Unread:
  """Which names are not read, and which of these are suspect.

  A misspelt one differs from a name that is read only in letters' size, signs
  or a plural s, or resembles one that is missing.

  Args:
    names: that are there.
    read: that are read, where they are there.
    known: that are passed over on purpose.
  """
  plain = {_plain(name): name for name in read}
  missing = {_plain(name): name for name in read - names}
  misspelt, boxes, others = [], [], []
  for name in sorted(names - read):
    letters = _plain(name)
    close = difflib.get_close_matches(letters, missing, 1, 0.7)
    close += [m for m in missing if len(m) > 2 and m in letters]
    if name in known:
      others.append(name)
    elif letters in plain:
      misspelt.append(f"{name!r} is not read; is it {plain[letters]!r}?")
    elif close:
      misspelt.append(f"{name!r} is not read; is it {missing[close[0]]!r}?")
    elif could_be_box(name):
      boxes.append(name)
    else:
      others.append(name)
  return Unread(tuple(misspelt), tuple(boxes), tuple(others))


def pass_over(
  names: Iterable[str],
  read: frozenset[str],
  known: frozenset[str] = frozenset(),
  *,
  what: str,
  to: Any,
  flaws: Flaws,
  path: Any,
  line: int,
  is_box: Callable[[str], bool] = bool,
) -> bool:
  """Counts names that are not read; a suspect one is an error.

  Args:
    names, read, known: as in `sort_out`.
    what: of which they are, such as "column".
    to: Flaws or Truths, to which errors go.
    flaws: where the others are counted.
    path, line: where they stand.
    is_box: whether a name that could be a box's has a value that could be one;
      if not, it is counted. Without this, all have.

  Returns:
    Whether any was suspect.
  """
  found = sort_out(frozenset(names), read, known)
  boxes = [name for name in found.boxes if is_box(name)]
  for name in (*found.others, *(n for n in found.boxes if n not in boxes)):
    flaws.passed[f"{what} {name}"] += 1
  messages = [*found.misspelt, *map(not_read, boxes)]
  for message in messages:
    to.error("not read", path, line, f"{what} {message}")
  return bool(messages)


def not_read(name: str) -> str:
  """What to say of a name that could be a box's."""
  return f"{name!r} is not read, and could be a box"


def _plain(name: str) -> str:
  return re.sub(r"[\W_]+", "", name.lower()).removesuffix("s")
