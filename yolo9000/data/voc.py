"""PASCAL VOC folders: Annotations, ImageSets/Main and JPEGImages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

import defusedxml.ElementTree
import numpy as np
from defusedxml.common import DefusedXmlException

from yolo9000.data.records import DataError, Dataset, Record, read_picture

# In the order of the original program's voc.names.
CLASS_NAMES = tuple(
  "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog "
  "horse motorbike person pottedplant sheep sofa train tvmonitor".split()
)


def read(root: str, split: str, class_names: Sequence[str]) -> Dataset:
  """Reads one or more splits of VOC folders.

  Args:
    root: a folder such as VOCdevkit/VOC2007.
    split: a list of ImageSets/Main, such as "trainval"; or several, each with
      its folder below root, as in "VOC2007/trainval+VOC2012/trainval".
    class_names: the classes; an object of another class is an error.

  Returns:
    A Dataset. Boxes are continuous edges (xmin - 1, ymin - 1, xmax, ymax), as
    VOC counts pixels from 1 and includes the last. A box whose opposite sides
    are written as one number is taken for a slip, not for a pixel's width, and
    left out; a box that sticks out is cut at the edge. Both are in `flaws`.

  Raises:
    DataError: for a missing folder, list, annotation or picture, an empty
      split, XML that does not parse, an unknown class or a box that is no box;
      names the file.
  """
  records: list[Record] = []
  flaws: list[str] = []
  for part in split.split("+"):
    below, _, name = part.rpartition("/")
    folder = Path(root, below)
    for image_id in _image_ids(folder, name):
      records.append(_read_record(folder, image_id, class_names, flaws))
  return Dataset(records, tuple(class_names), read_picture, flaws)


def _image_ids(root: Path, split: str) -> list[str]:
  lists = root / "ImageSets" / "Main"
  if not lists.is_dir():
    raise DataError(
      f"{root}: not a PASCAL VOC folder, it has no ImageSets/Main"
    )
  path = lists / f"{split}.txt"
  if not path.is_file():
    found = ", ".join(sorted(p.stem for p in lists.glob("*.txt"))) or "none"
    raise DataError(f"{path}: no such split; found here: {found}")
  ids = [
    line.split()[0] for line in path.read_text().splitlines() if line.strip()
  ]
  if not ids:
    raise DataError(f"{path}: the split is empty")
  return ids


def _read_record(
  root: Path, image_id: str, class_names: Sequence[str], flaws: list[str]
) -> Record:
  path = root / "Annotations" / f"{image_id}.xml"
  picture = root / "JPEGImages" / f"{image_id}.jpg"
  if not picture.is_file():
    raise DataError(
      f"{picture}: listed in ImageSets, but there is no such file"
    )
  try:
    tree = defusedxml.ElementTree.parse(path).getroot()
  except OSError as error:
    raise DataError(f"{path}: cannot be read: {error.strerror}") from None
  except (ParseError, DefusedXmlException, UnicodeDecodeError) as error:
    raise DataError(f"{path}: not valid XML: {error}") from None
  assert tree is not None  # a parsed file has a root
  width = _number(tree, "size/width", path)
  height = _number(tree, "size/height", path)
  if width < 1 or height < 1:
    raise DataError(f"{path}: size is {width:g}x{height:g}; expected pixels")
  boxes, labels, difficult = [], [], []
  for n, node in enumerate(tree.findall("object"), 1):
    where = f"{path}: object {n}"
    name = (node.findtext("name") or "").strip()
    if name not in class_names:
      raise DataError(
        f"{where}: unknown class {name!r}; known are {', '.join(class_names)}"
      )
    box = _read_box(node, where, width, height, flaws)
    if box is not None:
      boxes.append(box)
      labels.append(list(class_names).index(name))
      difficult.append((node.findtext("difficult") or "0").strip() == "1")
  return Record(
    path=str(picture),
    width=int(width),
    height=int(height),
    boxes_px=np.array(boxes, np.float32).reshape(-1, 4),
    labels=np.array(labels, np.int32),
    difficult=np.array(difficult, bool),
  )


def _read_box(
  node: Element, where: str, width: float, height: float, flaws: list[str]
) -> list[float] | None:
  xmin, ymin, xmax, ymax = (
    _number(node, f"bndbox/{side}", where)
    for side in ("xmin", "ymin", "xmax", "ymax")
  )
  written = f"box ({xmin:g}, {ymin:g}, {xmax:g}, {ymax:g})"
  if xmax < xmin or ymax < ymin:
    raise DataError(f"{where}: {written} has its maximum before its minimum")
  if xmax == xmin or ymax == ymin:
    flaws.append(f"{where}: {written} has no area; left out")
    return None
  edges = [xmin - 1, ymin - 1, xmax, ymax]
  limits = [width, height, width, height]
  cut = [min(max(e, 0.0), m) for e, m in zip(edges, limits, strict=True)]
  if cut[0] >= cut[2] or cut[1] >= cut[3]:
    raise DataError(
      f"{where}: {written} lies outside the {width:g}x{height:g} picture"
    )
  if cut != edges:
    flaws.append(
      f"{where}: {written} sticks out of the {width:g}x{height:g} picture; cut"
    )
  return cut


def _number(node: Element, name: str, where: object) -> float:
  text = node.findtext(name)
  try:
    value = float(text) if text is not None else float("nan")
  except ValueError:
    value = float("nan")
  if not np.isfinite(value):
    raise DataError(f"{where}: {name} is {text!r}; expected a number")
  return value
