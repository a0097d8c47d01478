"""Files of a data set that nothing mentions."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

from yolo9000.data.disk import open_path, shown
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats.places import entries, walk
from yolo9000.data.images import PICTURES

MASKS = ("SegmentationClass", "SegmentationObject")  # of VOC, no photographs


def look(root: str, flaws: Flaws) -> Counter[str]:
  """Looks at what nothing mentions beside, and above, known files.

  Pictures and annotations are reported; the others are counted by name.
  """
  base = open_path(root)
  met = [open_path(path) for path in flaws.met]
  known = {base, *(path.parent for path in met)}
  above = {parent for folder in known for parent in folder.parents}
  stems = {path.stem for path in met if path.suffix.lower() in PICTURES}
  kinds = {(path.parent, path.suffix) for path in met if path.stem in stems}
  seen = Flaws(strict=False)
  others: dict[tuple[Any, str], list[Any]] = {}
  folders = known | above
  for folder in sorted(folders, key=os.fsencode):
    if not (folder == base or base in folder.parents) or not folder.is_dir():
      continue
    for path in entries(folder, seen):
      if str(path) in flaws.met or path in folders:
        continue
      name = path.relative_to(base)
      if path.suffix.lower() in PICTURES:
        flaws.mended("orphan picture", path, 0, "no split mentions it")
      elif (folder, path.suffix) in kinds and not _is_about(path):
        flaws.mended("orphan annotation", path, 0, "no split has its picture")
      elif path.is_dir():
        files = list(walk(path, Flaws(strict=False)))
        pictures = sum(file.suffix.lower() in PICTURES for file in files)
        seen.passed[f"files in folder {shown(str(name))}"] += len(files)
        if pictures and path.name not in MASKS:
          message = f"{pictures} pictures are in it, and no split mentions them"
          flaws.mended("orphan picture", path, 0, message)
      else:
        others.setdefault((name.parent, path.suffix), []).append(name)
  for (folder, suffix), names in others.items():
    if len(names) > 3:
      names = [folder / f"*{suffix}"] * len(names)
    seen.passed.update(f"file {shown(str(name))}" for name in names)
  return seen.passed - flaws.passed


def _is_about(path: Any) -> bool:
  """Whether a text tells about the data set, not about a picture."""
  return path.name == "classes.txt" or path.stem.lower().startswith("readme")
