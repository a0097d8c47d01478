"""The values of one section of a .cfg, each checked when it is looked up."""

from __future__ import annotations

import contextlib
import difflib
import math
import re
from pathlib import Path

from yolo9000.darknet.text import Section
from yolo9000.files import FileError
from yolo9000.networks import rows
from yolo9000.wordtree import WordTree
from yolo9000.wordtree.files import read_tree

# Keys that the program reads and that do not change what a network predicts.
WITHOUT_EFFECT = {
  "net": "batch subdivisions learning_rate momentum decay policy power burn_in "
  "max_batches steps scales step scale gamma angle aspect saturation exposure "
  "hue max_crop min_crop max_ratio min_ratio center random clip adam B1 B2 eps "
  "notruth time_steps inputs",
  "cost": "scale ratio noobj thresh",
  "softmax": "noloss",
  "region": "max jitter rescore thresh classfix absolute random coord_scale "
  "object_scale noobject_scale mask_scale class_scale bias_match map log sqrt",
  "yolo": "max jitter ignore_thresh truth_thresh random map",
  "detection": "rescore max coord_scale forced object_scale noobject_scale "
  "class_scale jitter random",
}
ANY_LAYER = "truth onlyforward stopbackward learning_rate smooth"


class Options:
  """The values of a section; each look-up checks one and remembers its key."""

  def __init__(self, path: Path, section: Section):
    self.path, self._section = path, section
    without = WITHOUT_EFFECT.get(section.name, "")
    if section.name != "net":
      without = f"{without} {ANY_LAYER}"
    self._known = set(without.split())

  def error(self, key: str, expected: str) -> FileError:
    """An error that names file, line, section, key and value."""
    name, line, options, lines = self._section
    value = options.get(key)
    what = f"{key}={value[:60]}" if value else f"has no {key}"
    return FileError(
      f"{self.path}:{lines.get(key, line)}: [{name}] {what}; {expected}"
    )

  def text(self, key: str, default: str | None) -> str:
    """As written; with default None it must be given."""
    self._known.add(key)
    value = self._section.options.get(key, default)
    if value is None:
      raise self.error(key, "it must be given")
    return value

  def numbers(self, key: str, default: str | None) -> list[float]:
    """Numbers between commas."""
    values = []
    # The program reads as far as it is a number, so that a comment may follow.
    for part in re.split(r"[#;]", self.text(key, default))[0].split(","):
      if not re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", part):
        raise self.error(key, f"expected a number instead of {part[:60]!r}")
      values.append(float(part))
    if not all(map(math.isfinite, values)):
      raise self.error(key, "expected a finite number")
    return values

  def number(self, key: str, default: str | None) -> float:
    """A single number."""
    value, *more = self.numbers(key, default)
    if more:
      raise self.error(key, "expected one number")
    return value

  def integer(self, key: str, default: str | None, least: int) -> int:
    """A whole number, at least so large."""
    value = self.number(key, default)
    if not (value.is_integer() and least <= value < 2**31):
      raise self.error(key, f"expected a whole number, {least} or more")
    return int(value)

  def integers(self, key: str, default: str | None) -> tuple[int, ...]:
    """Whole numbers between commas."""
    values = self.numbers(key, default)
    if not all(value.is_integer() for value in values):
      raise self.error(key, "expected whole numbers")
    return tuple(map(int, values))

  def flag(self, key: str, default: str) -> bool:
    """0 for no, any other whole number for yes."""
    return self.integer(key, default, 0) != 0

  def only(self, key: str, value: int) -> None:
    """Refuses every other value."""
    if self.number(key, str(value)) != value:
      raise self.error(key, f"only {value} is supported")

  def activation(self, default: str) -> str:
    """One of rows.ACTIVATION_NAMES."""
    value = self.text("activation", default)
    if value not in rows.ACTIVATION_NAMES:
      allowed = ", ".join(rows.ACTIVATION_NAMES)
      raise self.error("activation", f"allowed are {allowed}")
    return value

  def tree(self) -> WordTree | None:
    """That of the file which the section names; see `cfg.read_cfg`."""
    name = self.text("tree", "")
    if not name:
      return None
    folder = self.path.parent
    last = Path(name).name
    tried = (
      *(folder / name, folder.parent / name),
      *(folder / last, folder.parent / last),
    )
    for place in tried:
      with contextlib.suppress(OSError):  # such as a name that is too long
        if place.is_file():
          return read_tree(place)
    where = ", ".join(str(place)[:200] for place in dict.fromkeys(tried))
    raise self.error("tree", f"it is at none of {where}")

  def check_known(self) -> None:
    """Refuses keys that nothing has looked up, with the nearest known."""
    for key in self._section.options:
      if key not in self._known:
        near = difflib.get_close_matches(key, self._known, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        allowed = ", ".join(sorted(self._known))
        raise self.error(key, f"unknown key{hint} Allowed are {allowed}")
