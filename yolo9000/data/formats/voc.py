"""PASCAL VOC folders: Annotations, ImageSets/Main and JPEGImages."""

from __future__ import annotations

from collections import Counter
from typing import Any

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]

from yolo9000.data.disk import DataError, open_path, read_bytes, shown
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats.reading import (
  Classes,
  Listing,
  Source,
  Truths,
  flag,
  is_size,
  number,
  read_lines,
)
from yolo9000.data.records import Dataset, Record, read_picture

# In the order of the original program's voc.names.
CLASS_NAMES = tuple(
  "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog "
  "horse motorbike person pottedplant sheep sofa train tvmonitor".split()
)
SIDES = ("xmin", "ymin", "xmax", "ymax")


def read(source: Source, flaws: Flaws) -> Dataset:
  """Reads one or more splits of VOC folders.

  Boxes are continuous edges (xmin - 1, ymin - 1, xmax, ymax), as VOC counts
  pixels from 1 and includes the last. A box whose opposite sides are written as
  one number is taken for a slip, not for a pixel's width, and left out.

  Args:
    source: root is a folder such as VOCdevkit/VOC2007; split is a list of
      ImageSets/Main, such as "trainval"; or several, each with its folder below
      root, as in "VOC2007/trainval+VOC2012/trainval".
    flaws: where they go.

  Raises:
    DataError: for a missing folder or list, an empty split, and flaws if they
      are strict.
  """
  classes = Classes(source.class_names)
  notes: Counter[str] = Counter()
  there = Listing()
  listed: dict[tuple[Any, str], None] = {}
  for part in source.split.split("+"):
    below, _, name = part.rpartition("/")
    _list_split(open_path(source.root) / below, name, listed, flaws, there)
  records = []
  for folder, image_id in listed:
    record = _read_record(folder, image_id, classes, flaws, notes)
    if record is not None:
      records.append(record)
  if not records:
    flaws.error("empty split", source.root, 0, f"{source.split} has no picture")
  return Dataset(records, classes.names, read_picture, flaws.found, notes)


def splits(root: str) -> list[str]:
  """The lists of ImageSets/Main; without train and val if trainval is there."""
  lists = open_path(root) / "ImageSets" / "Main"
  found = sorted(p.stem for p in lists.glob("*.txt") if "_" not in p.stem)
  if "trainval" in found:
    found = [name for name in found if name not in ("train", "val")]
  return found


def _list_split(
  root: Any,
  split: str,
  listed: dict[tuple[Any, str], None],
  flaws: Flaws,
  there,
) -> None:
  """Adds the names in a list of ImageSets/Main."""
  lists = root / "ImageSets" / "Main"
  if not lists.is_dir():
    raise DataError(
      f"{root}: not a PASCAL VOC folder, it has no ImageSets/Main"
    )
  path = lists / f"{split}.txt"
  if not path.is_file():
    found = ", ".join(sorted(p.stem for p in lists.glob("*.txt"))) or "none"
    raise DataError(f"{path}: no such split; found here: {found}")
  lines = read_lines(path, flaws)
  if not lines:
    flaws.error("empty split", path, 0, "the split is empty")
  for line, text in lines:
    # Lists of one class have a second column.
    name, _, column = text.rpartition(" ")
    name = name.strip() if column in ("-1", "0", "1") and name else text
    if "/" in name or "\\" in name:
      message = f"{name!r} is no name of a picture in JPEGImages"
      flaws.error("forbidden path", path, line, message)
      continue
    flaws.met.add(str(root / "JPEGImages" / f"{name}.jpg"))
    flaws.met.add(str(root / "Annotations" / f"{name}.xml"))
    if (root, name) in listed:
      message = f"{name} is listed already; left out"
      flaws.mended("listed twice", path, line, message)
    elif not there.has(root / "JPEGImages" / f"{name}.jpg"):
      message = f"{name}.jpg is listed, but JPEGImages does not have it"
      flaws.error("missing picture", path, line, message)
    elif not there.has(root / "Annotations" / f"{name}.xml"):
      message = f"{name}.xml is listed, but Annotations does not have it"
      flaws.error("missing annotation", path, line, message)
    else:
      listed[root, name] = None


def _read_record(root, image_id: str, classes, flaws, notes) -> Record | None:
  path = root / "Annotations" / f"{image_id}.xml"
  tree = _parse(path, flaws)
  if tree is None:
    return None
  texts = [tree.findtext(f"size/{side}") for side in ("width", "height")]
  size = [number(text) for text in texts]
  if not is_size(*size):
    message = f"size/width and size/height are {texts}; expected pixels"
    return flaws.error("bad number", path, tree.sourceline, message)
  truths = Truths(int(size[0]), int(size[1]), flaws)
  for n, node in enumerate(tree.findall("object"), 1):
    line, what = node.sourceline, f"object {n}: "
    name = (node.findtext("name") or "").strip()
    label = classes.label(name, truths, path, line, what)
    sides = _read_sides(node, path, truths, what)
    if label is None or sides is None:
      continue
    difficult = flag(node.findtext("difficult") or "0")
    if difficult is None:
      message = f"{what}difficult is {node.findtext('difficult')!r}; not 0 or 1"
      truths.error("bad number", path, line, message)
      continue
    notes["objects marked difficult"] += difficult
    notes["objects marked truncated"] += bool(flag(node.findtext("truncated")))
    left, top, right, bottom = sides
    edges = (left - (left != right), top - (top != bottom), right, bottom)
    what += f"box ({left:g}, {top:g}, {right:g}, {bottom:g})"
    truths.add(edges, label, path, line, what, difficult=difficult)
  return truths.record(
    root / "JPEGImages" / f"{image_id}.jpg", image_id=image_id
  )


def _parse(path, flaws: Flaws):
  # Entities are how a small file claims gigabytes; annotations need none.
  parser = etree.XMLParser(
    resolve_entities=False,
    no_network=True,
    remove_comments=True,
    remove_pis=True,
  )
  try:
    tree = etree.fromstring(read_bytes(str(path)), parser)
  except DataError as error:
    message = str(error).removeprefix(f"{shown(str(path))}: ")
    return flaws.error("bad annotation", path, 0, message)
  except etree.XMLSyntaxError as error:
    line = error.lineno or 0
    message = f"not valid XML: {error.msg}"
    return flaws.error("bad annotation", path, line, message)
  dtd = tree.getroottree().docinfo.internalDTD
  if dtd is not None and any(True for _ in dtd.iterentities()):
    message = "not valid XML for an annotation: it declares entities"
    return flaws.error("bad annotation", path, 1, message)
  return tree


def _read_sides(node, path, truths: Truths, what: str) -> list[float] | None:
  sides = []
  for side in SIDES:
    text = node.findtext(f"bndbox/{side}")
    sides.append(number(text))
    if sides[-1] != sides[-1]:
      message = f"{what}bndbox/{side} is {text!r}; expected a number"
      return truths.error("bad number", path, node.sourceline, message)
  return sides
