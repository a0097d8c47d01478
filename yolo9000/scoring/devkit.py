"""Files of results as VOC's devkit reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yolo9000.data.formats.reading import number
from yolo9000.files import FileError, read_lines


def read(
  path: Any, class_names: Sequence[str]
) -> tuple[list[dict[str, Any]], list[str]]:
  """The lines of comp4_det_test_cat.txt, or of a folder of such files.

  A line is a picture's name, a score, and xmin, ymin, xmax, ymax in pixels that
  count from 1 and include the last. The file's name ends with the class.

  Returns:
    Entries as in COCO's list of results, with category_name, and where each
    stands.

  Raises:
    FileError: naming the file, the line and the value.
  """
  base = Path(path)
  files = sorted(base.glob("*.txt")) if base.is_dir() else [base]
  if not files:
    raise FileError(
      f"{path}: no .txt file is there; expected one for each class, such as "
      f"comp4_det_test_{class_names[0]}.txt"
    )
  entries, places = [], []
  for file in files:
    name = _class(file, class_names)
    for line, text in enumerate(read_lines(file), 1):
      if text:
        entries.append(_entry(f"{file}:{line}", text, name))
        places.append(f"{file}:{line}")
  return entries, places


def _class(file: Path, class_names: Sequence[str]) -> str:
  """The longest class name with which the file's name ends."""
  fits = [c for c in class_names if f"_{file.stem}".endswith(f"_{c}")]
  if not fits:
    raise FileError(
      f"{file}: its name ends with no class of the data set; expected one of "
      f"{', '.join(class_names)} at the end, as in comp4_det_test_"
      f"{class_names[0]}.txt"
    )
  return max(fits, key=len)


def _entry(place: str, text: str, name: str) -> dict[str, Any]:
  words = text.split()
  score, *edges = map(number, words[1:]) if len(words) == 6 else (0.0,)
  if len(edges) != 4 or any(value != value for value in (score, *edges)):
    raise FileError(
      f"{place}: {text!r}; expected a picture's name, score, xmin, ymin, xmax "
      f"and ymax, the numbers finite"
    )
  left, top, right, bottom = edges
  if right < left or bottom < top:
    raise FileError(
      f"{place}: {text!r}; expected xmin, ymin, xmax, ymax, with no maximum "
      f"before its minimum"
    )
  return {
    "image_id": words[0],
    "category_id": name,
    "category_name": name,
    "bbox": [left - 1, top - 1, right - left + 1, bottom - top + 1],
    "score": score,
  }
