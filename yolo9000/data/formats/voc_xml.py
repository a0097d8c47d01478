"""One XML file of PASCAL VOC: the size and the objects of a picture."""

from __future__ import annotations

import functools
import re
from typing import Any, NamedTuple

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]

from yolo9000 import files
from yolo9000.data.disk import DataError, read_bytes, shown, told
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats import unread
from yolo9000.data.formats.reading import (
  SIZE_TAKEN,
  Classes,
  Truths,
  is_size,
  mark,
  measured,
  number,
)
from yolo9000.data.records import Record

SIDES = ("xmin", "ymin", "xmax", "ymax")
# Elements that are read, by the one above them.
READ = {
  "annotation": frozenset(("filename", "size", "object")),
  "size": frozenset(("width", "height")),
  "object": frozenset(("name", "difficult", "truncated", "bndbox")),
  "bndbox": frozenset(SIDES),
}
# Those that VOC's files, labelImg, CVAT and Roboflow have too. A part is of a
# person, such as a hand; a polygon stands beside its box.
KNOWN = frozenset(
  "folder path source owner segmented depth pose occluded part actions point "
  "attributes polygon segmentation deleted verified".split()
)
# Of these, those that have places of their own; in an object alone.
PLACES = frozenset("part actions point attributes polygon segmentation".split())


def read(
  tree: Any, path: Any, picture: Any, classes: Classes, flaws: Flaws
) -> Record | None:
  """The record of a picture; None, once reported, if its size is unknown.

  Args:
    tree: of `parse`.
    path: of the XML file.
    picture: its path.
    classes: known so far.
    flaws: where they go.
  """
  texts = [tree.findtext(f"size/{side}") for side in ("width", "height")]
  size = [number(text) for text in texts]
  if all(not text or number(text) == 0 for text in texts):
    flaws.notes[SIZE_TAKEN] += 1
    truths = measured(picture, flaws, in_pixels=True)
  elif is_size(*size):
    truths = Truths(int(size[0]), int(size[1]), flaws)
  else:
    message = f"size/width and size/height are {texts}; expected pixels"
    truths = flaws.error("bad number", path, tree.sourceline, message)
  for node in tree.iterfind("size"):
    _texts(node, "size", path, truths or flaws, flaws)
  if truths is None:
    return None
  _texts(tree, "annotation", path, truths, flaws)
  for n, node in enumerate(tree.findall("object"), 1):
    _add_object(node, f"object {n}: ", path, truths, classes, flaws)
  return truths.record(picture, image_id=path.stem)


def _add_object(
  node, what: str, path: Any, truths: Truths, classes: Classes, flaws: Flaws
) -> None:
  line = node.sourceline
  texts = _texts(node, "object", path, truths, flaws)
  if texts.get("deleted", "0").strip() == "1":
    flaws.notes["objects marked deleted, left out"] += 1
    return
  name = texts.get("name", "").strip()
  label = classes.label(name, truths, path, line, what)
  sides = _read_sides(node, path, truths, flaws, what)
  if label is None or sides is None:
    return
  text = texts.get("difficult", "0")
  difficult = mark(text, "difficult", flaws)
  if difficult is None:
    message = f"{what}difficult is {text!r}; not 0 or 1"
    truths.error("bad number", path, line, message)
    return
  flaws.notes["objects marked difficult"] += difficult
  truncated = mark(texts.get("truncated", "0"), "truncated", flaws)
  flaws.notes["objects marked truncated"] += bool(truncated)
  left, top, right, bottom = sides
  edges = (left - (left != right), top - (top != bottom), right, bottom)
  what += f"box ({left:g}, {top:g}, {right:g}, {bottom:g})"
  truths.add(edges, label, path, line, what, difficult=difficult)


class _Tags(NamedTuple):
  """What the tags below an element tell; many elements have the same."""

  passed: tuple[str, ...]  # keys of what is counted
  messages: tuple[str, ...]  # of what could be a box
  named: tuple[int, ...]  # which of the tags could be a box's
  unknown: tuple[int, ...]  # which of the others could hold one


@functools.cache
def _sort_out(
  kind: str, tags: tuple[str, ...], names: tuple[str, ...]
) -> _Tags:
  """See `_texts`; tags are with their namespace, names are of attributes."""
  read = READ[kind]
  plain = [etree.QName(tag).localname for tag in tags]
  below = unread.sort_out(frozenset(plain), read, KNOWN)
  attributes = unread.sort_out(frozenset(names), frozenset(), frozenset())
  messages = [f"element {kind}'s {message}" for message in below.misspelt]
  messages += [
    f"attribute {kind}'s {message}"
    for message in map(unread.not_read, attributes.boxes)
  ]
  messages += [
    f"<{kind}> has {plain.count(tag)} <{tag}>; expected one"
    for tag in sorted(read - {"object"})
    if plain.count(tag) > 1
  ]
  messages += [
    f"<{tag}> is of a namespace, and not read"
    for tag in dict.fromkeys(tags)
    if "{" in tag
  ]
  passed = [
    f"element {kind}'s {name}" for name in plain if name in below.others
  ]
  passed += [f"attribute {kind}'s {name}" for name in attributes.others]
  of_object = PLACES if kind == "object" else frozenset()
  unknown = set(below.others) - of_object
  return _Tags(
    tuple(passed),
    tuple(messages),
    tuple(n for n, name in enumerate(plain) if name in below.boxes),
    tuple(n for n, name in enumerate(plain) if name in unknown),
  )


def _texts(node, kind: str, path: Any, to: Any, flaws: Flaws) -> dict[str, str]:
  """The text of each child by its tag, the first of several.

  Counts what is not read; what could be a box is an error.
  """
  children = list(node)
  tags = _sort_out(
    kind, tuple(child.tag for child in children), tuple(node.keys())
  )
  for key in tags.passed:
    flaws.passed[key] += 1
  for message in tags.messages:
    to.error("not read", path, node.sourceline, message)
  for n in tags.named:
    if _is_words(children[n]):  # such as a location's name
      flaws.passed[f"element {kind}'s {children[n].tag}"] += 1
    else:
      message = f"element {kind}'s {unread.not_read(children[n].tag)}"
      to.error("not read", path, children[n].sourceline, message)
  for n in tags.unknown:
    if _could_hold_box(children[n]):
      message = f"<{children[n].tag}> is not read, and could hold a box"
      to.error("not read", path, children[n].sourceline, message)
  for child in children:
    if child.keys():
      flaws.passed.update(f"attribute {child.tag}'s {a}" for a in child.keys())
  return {child.tag: child.text or "" for child in reversed(children)}


def _is_words(node) -> bool:
  """Whether an element holds a text without numbers, and nothing else."""
  text = (node.text or "").strip()
  alone = not len(node) and not node.keys()
  return alone and bool(text) and not any(map(str.isdigit, text))


def _could_hold_box(node) -> bool:
  """Whether names, attributes or numbers below an element could be a box."""
  for one in node.iter():
    names = [*one.attrib]
    if one is not node:
      names.append(etree.QName(one).localname)
    texts = [one.text or "", *one.attrib.values()]
    if any(map(unread.could_be_box, names)) or any(
      map(unread.is_four_numbers, texts)
    ):
      return True
  return False


def _content(path: Any) -> bytes:
  """The XML of a file, of which programs write the encoding wrongly.

  A byte order mark says more than the declaration, and UTF-16 that is declared
  in single bytes is not true.
  """
  data = read_bytes(str(path))
  declared = re.match(rb"\s*<\?xml[^>]*>", data)
  wrong = declared and b"utf-16" in declared[0].lower()
  if not wrong and not data.startswith(tuple(files.MARKS)):
    return data
  try:
    text = files.decode(data, shown(str(path)))
  except files.FileError as error:
    raise DataError(str(error), "bad text") from None
  return re.sub(r"^\s*<\?xml[^>]*>", "", text).encode()


def parse(path: Any, flaws: Flaws) -> Any | None:
  """The root element of an XML file; None, once reported, if it is broken."""
  # Entities are how a small file claims gigabytes; annotations need none.
  parser = etree.XMLParser(
    resolve_entities=False,
    no_network=True,
    remove_comments=True,
    remove_pis=True,
  )
  try:
    tree = etree.fromstring(_content(path), parser)
  except DataError as error:
    return flaws.error("bad annotation", path, *told(error, path))
  except etree.XMLSyntaxError as error:
    line = error.lineno or 0
    message = f"not valid XML: {error.msg}"
    return flaws.error("bad annotation", path, line, message)
  dtd = tree.getroottree().docinfo.internalDTD
  if dtd is not None and any(True for _ in dtd.iterentities()):
    message = "not valid XML for an annotation: it declares entities"
    return flaws.error("bad annotation", path, 1, message)
  return tree


def _read_sides(
  node, path, truths: Truths, flaws: Flaws, what: str
) -> list[float] | None:
  box = node.find("bndbox")
  texts = {} if box is None else _texts(box, "bndbox", path, truths, flaws)
  sides = []
  for side in SIDES:
    text = texts.get(side)
    sides.append(number(text))
    if sides[-1] != sides[-1]:
      message = f"{what}bndbox/{side} is {text!r}; expected a number"
      return truths.error("bad number", path, node.sourceline, message)
  return sides
