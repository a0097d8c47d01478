"""PASCAL VOC: an XML file per picture, with or without VOC's folders."""

from __future__ import annotations

import os
import re
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from yolo9000.data.disk import DataError, open_path, shown
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats import voc_xml
from yolo9000.data.formats.places import (
  Listing,
  entries,
  is_hidden,
  may_be_read,
  walk,
)
from yolo9000.data.formats.reading import (
  Classes,
  Source,
  finished,
  read_lines,
)
from yolo9000.data.images import PICTURES
from yolo9000.data.records import Dataset

# In the order of the original program's voc.names.
CLASS_NAMES = tuple(
  "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog "
  "horse motorbike person pottedplant sheep sofa train tvmonitor".split()
)
# The folder of annotations, in small letters, and those of its pictures.
ANNOTATIONS = ("annotations", "xmls", "xml", "labels")
JPEGS = ("JPEGImages", "images", "Images", "JPEGimages")


def read(source: Source, flaws: Flaws) -> Dataset:
  """Reads one or more splits of VOC's files.

  Boxes are continuous edges (xmin - 1, ymin - 1, xmax, ymax), as VOC counts
  pixels from 1 and includes the last. A box whose opposite sides are written as
  one number is taken for a slip, not for a pixel's width, and left out.

  A picture is the one with the name of its XML file, and any suffix; if there
  is none, or several, the one that <filename> names. A size that is missing or
  0 is taken from the picture.

  Args:
    source: split is a list of ImageSets/Main, such as "trainval"; or "train"
      for all lists of one class, such as cat_train; or a folder with XML files
      in it, or in its Annotations, and "" is root itself; or several of these,
      as in "VOC2007/trainval+VOC2012/trainval". Pictures are in the folder
      JPEGImages or images beside Annotations, or beside the XML files.
    flaws: where they go.

  Raises:
    DataError: for a missing folder or list, an empty split, and flaws if they
      are strict.
  """
  classes = Classes(source.class_names)
  there = Listing()
  listed: dict[Any, _Place] = {}
  for part in source.split.split("+"):
    _list_part(open_path(source.root), part, listed, flaws, there)
  records = []
  for path, place in listed.items():
    flaws.met.add(str(path))
    tree = voc_xml.parse(path, flaws)
    picture = None
    if tree is not None:
      picture = place.picture or _find_picture(tree, path, place, there, flaws)
    if picture is not None:
      record = voc_xml.read(tree, path, picture, classes, flaws)
      if record is not None:
        records.append(record)
  path = open_path(source.root) / source.split
  return finished(records, classes, flaws, path)


def splits(root: str) -> list[str]:
  """The lists of ImageSets/Main; without these, folders with XML files.

  Without train and val if trainval is there. Lists of one class are those of
  cat_train and dog_train, and so on, together, if there are no others.
  """
  base = open_path(root)
  names = [path.stem for path in _lists(base)]
  found = [name for name in names if "_" not in name] or sorted(
    {name.rpartition("_")[2] for name in names}
  )
  if "trainval" in found:
    found = [name for name in found if name not in ("train", "val")]
  if found:
    return found
  unused = Flaws(strict=False)
  folders = [p for p in entries(base, unused) if p.is_dir()]
  if _has_xml(base) or any(_has_xml(p) for p in folders if _is_annotations(p)):
    return [""]
  years = [
    f"{p.name}/{name}" for p in folders if _lists(p) for name in splits(str(p))
  ]
  return years or [p.name for p in folders if _xml_folder(p) is not None]


class _Place(NamedTuple):
  """Where an XML file is listed, and where its picture is looked for."""

  path: Any
  line: int
  name: str  # of the XML file, below its folder and without suffix
  folders: tuple[Any, ...]
  picture: Any | None  # if a list names it with its suffix


def _lists(root: Any) -> list[Any]:
  found = sorted((root / "ImageSets" / "Main").glob("*.txt"))
  return [
    path
    for path in found
    if not is_hidden(path) and not path.stem.lower().startswith("readme")
  ]


def _has_xml(folder: Any) -> bool:
  """Whether XML files are in it, or in folders of a folder of annotations."""
  inside = [p for p in folder.iterdir() if not is_hidden(p)]
  if _is_annotations(folder):
    inside += [deep for p in inside if p.is_dir() for deep in p.iterdir()]
  return any(p.suffix.lower() == ".xml" for p in inside)


def _is_annotations(folder: Any) -> bool:
  return folder.name.lower() in ANNOTATIONS


def _xml_folder(folder: Any) -> Any | None:
  """The folder, or its Annotations, that has XML files."""
  below = sorted(p for p in folder.iterdir() if _is_annotations(p))
  found = [p for p in (*below, folder) if p.is_dir() and _has_xml(p)]
  return found[0] if found else None


def _picture_folders(annotations: Any) -> tuple[Any, ...]:
  """Where the pictures of a folder of XML files may be."""
  folders = [annotations.parent / name for name in JPEGS]
  if _is_annotations(annotations):
    return (*(f for f in folders if f.is_dir()), annotations)
  return (annotations, *(f for f in folders if f.is_dir()))


def _list_part(
  base: Any, part: str, listed: dict[Any, _Place], flaws: Flaws, there: Listing
) -> None:
  """Adds the XML files of one split."""
  below, _, name = part.rpartition("/")
  root = base / below
  lists = [path for path in _lists(root) if path.stem == name]
  lists = lists or [p for p in _lists(root) if p.stem.endswith(f"_{name}")]
  if lists and name:
    _read_lists(root, lists, listed, flaws, there)
    return
  folder = base / part
  xml = _xml_folder(folder) if folder.is_dir() else None
  if xml is None:
    found = ", ".join(path.stem for path in _lists(root)) or "none"
    raise DataError(
      f"{base / part}: no such split of VOC's files; expected a list "
      f"{name}.txt in {root / 'ImageSets' / 'Main'}, where the lists are: "
      f"{found}; or a folder with XML files, or with Annotations"
    )
  folders = _picture_folders(xml)
  names = [p for p in walk(xml, flaws) if p.suffix.lower() == ".xml"]
  flaws.notes["XML files of a folder, read without a list"] += len(names)
  for path in names:
    name = str(path.relative_to(xml).with_suffix(""))
    listed.setdefault(path, _Place(path, 0, name, folders, None))


def _read_lists(
  root: Any,
  lists: list[Any],
  listed: dict[Any, _Place],
  flaws: Flaws,
  there: Listing,
) -> None:
  """Adds the names in lists of ImageSets/Main; those of one class repeat."""
  xml = _xml_folder(root) or root / "Annotations"
  folders = _picture_folders(xml)
  flaws.met.update(map(str, lists))
  for n, path in enumerate(lists):
    for line, text in read_lines(path, flaws):
      name, picture = _listed_name(text, xml, folders, there)
      if not may_be_read(Source("voc", "", ""), name):
        message = f"{name!r} is no name of a picture in JPEGImages"
        flaws.error("forbidden path", path, line, message)
        continue
      where = there.find(xml / f"{name}.xml") or xml / f"{name}.xml"
      pictures = [picture] if picture else _named(folders, name, there)
      flaws.met.update(map(str, (where, *pictures)))
      if where in listed:
        if not n:
          message = f"{name} is listed already; left out"
          flaws.mended("listed twice", path, line, message)
      elif not there.has(where):
        also = "" if pictures else ", and there is no picture of it"
        message = f"{name}.xml is listed, but {xml.name} does not have it{also}"
        kind = "missing annotation" if pictures else "missing picture"
        flaws.error(kind, path, line, message)
      else:
        listed[where] = _Place(path, line, name, folders, picture)


def _listed_name(
  text: str, xml: Any, folders: tuple[Any, ...], there: Listing
) -> tuple[str, Any | None]:
  """A list's line: the XML file's name, and the picture if it has a suffix.

  A line may be a name, with a suffix or without; such a name with a folder
  before it; or either with the second column of lists of one class.
  """
  whole = text.replace("\\", "/")
  first = re.sub(r"\s+(-1|0|1)$", "", whole)
  for name in (whole, first):
    short = re.sub(rf"^({'|'.join(JPEGS)})/", "", name)
    stem, suffix = re.fullmatch(r"(.*?)(\.\w+)?", short).groups()
    if suffix and suffix.lower() in (*PICTURES, ".xml"):
      found = [there.find(folder / short) for folder in folders]
      picture = next((p for p in found if p and suffix != ".xml"), None)
      if picture or there.find(xml / f"{stem}.xml"):
        return stem, picture
    if there.find(xml / f"{short}.xml") or _named(folders, short, there):
      return short, None
  stem, suffix = os.path.splitext(first)
  return (stem if suffix.lower() in PICTURES else first), None


def _named(folders: tuple[Any, ...], name: str, there: Listing) -> list[Any]:
  """The pictures of this name and any suffix, of the first folder with one."""
  path = PurePosixPath(name)
  for folder in folders:
    if found := there.pictures(folder / path.parent, path.name):
      return found
  return []


def _find_picture(
  tree, path: Any, place: _Place, there: Listing, flaws: Flaws
) -> Any | None:
  """The picture of an XML file, see `read`."""
  found = _named(place.folders, place.name, there)
  told_name = (tree.findtext("filename") or "").strip().replace("\\", "/")
  name = told_name.rpartition("/")[2]
  if len(found) != 1 and name:
    there_too = [there.find(folder / name) for folder in place.folders]
    named = [p for p in there_too if p and (not found or p in found)]
    named += _named(place.folders, name, there)
    if named:
      found = named[:1]
      flaws.notes["pictures found by <filename>"] += 1
  if len(found) == 1:
    flaws.met.add(str(found[0]))
    return found[0]
  if not found and not flaws.pictures:
    return flaws.absent(place.folders[0] / f"{place.name}.jpg")
  message = (
    f"{path.name} could be of {', '.join(p.name for p in found)}"
    if found
    else f"there is no picture of {path.name} in "
    + " or ".join(shown(str(folder)) for folder in place.folders)
  )
  message += f"; its <filename> is {told_name!r}"
  return flaws.error("missing picture", place.path, place.line, message)
