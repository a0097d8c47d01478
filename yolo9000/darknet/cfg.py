"""A .cfg of the original program and a table of layers: one is the other.

What the program would pass over in silence is an error here that names file,
line, section, key and value: an unknown key, a value that is no number, shapes
that do not fit each other.

Source: parser.c of the original program.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from yolo9000.darknet.options import Options
from yolo9000.darknet.text import Section, read_sections, write_sections
from yolo9000.files import FileError
from yolo9000.networks import rows, shapes
from yolo9000.networks.rows import Layer, Network
from yolo9000.wordtree import WordTree
from yolo9000.wordtree.files import write_tree

NET_SHAPE = ("height", "width", "channels")

OTHER_FILES = ("dontload", "dontsave", "dontloadscales", "numload")  # only 0
MOST_PRIORS = 1000


def read_cfg(path: str | Path) -> Network:
  """The network of a .cfg.

  A tree is looked for where the cfg names it, seen from the cfg's folder and
  from the folder above (the program runs there), then in these two folders.

  Raises:
    FileError: naming file, line, section, key and value.
  """
  path = Path(path)
  sections = read_sections(path)
  net = Options(path, sections[0])
  shape = tuple(net.integer(key, None, 1) for key in NET_SHAPE)
  net.check_known()
  table = []
  for section in sections[1:]:
    if section.name not in READ:
      raise FileError(
        f"{path}:{section.line}: section [{section.name}] is not known; "
        f"allowed are {', '.join(READ)}"
      )
    options = Options(path, section)
    for key in OTHER_FILES:
      options.only(key, 0)
    table.append(READ[section.name](options))
    options.check_known()
  if not table:
    raise FileError(f"{path}: has no layers after [net]")
  try:
    shapes.output_shapes(table, shape)
  except shapes.LayerError as error:
    line = sections[error.layer + 1].line
    raise FileError(f"{path}:{line}: {error}") from None
  return Network(tuple(table), shape)


def write_cfg(path: str | Path, network: Network) -> None:
  """A .cfg that `read_cfg` reads back, and its tree in a file beside it.

  It says what the network computes; what only training needs is left out.

  Raises:
    ValueError: for a layer that the program does not have, before anything is
      written.
  """
  path = Path(path)
  tree_path = path.with_name(f"{path.stem.replace(' ', '_')}.tree")
  with_tree = (rows.Softmax, rows.Region)
  trees = {
    row.tree
    for row in network.layers
    if isinstance(row, with_tree) and row.tree
  }
  if len(trees) > 1:
    raise ValueError("the network has two trees; there is one file for one")
  shapes.output_shapes(network.layers, network.shape)
  sides = zip(NET_SHAPE, network.shape, strict=True)
  net = {"batch": "1", **{key: str(side) for key, side in sides}}
  sections = [Section("net", 0, net, {})]
  for index, row in enumerate(network.layers):
    try:
      name, options = _as_section(row, tree_path.name)
    except ValueError as error:
      raise ValueError(f"layer {index}: {error}") from None
    texts = {key: str(value) for key, value in options.items()}
    sections.append(Section(name, 0, texts, {}))
  for tree in trees:
    write_tree(tree_path, tree)
  write_sections(path, sections)


def _conv(options: Options) -> Layer:
  for key, value in (("groups", 1), ("xnor", 0), ("binary", 0), ("flipped", 0)):
    options.only(key, value)
  size = options.integer("size", "1", 1)
  return rows.Conv(
    filters=options.integer("filters", "1", 1),
    size=size,
    batch_norm=options.flag("batch_normalize", "0"),
    activation=options.activation("logistic"),
    stride=options.integer("stride", "1", 1),
    padding=_conv_padding(options, size),
  )


def _conv_padding(options: Options, size: int) -> int | None:
  padding = options.integer("padding", "0", 0)
  if options.flag("pad", "0") or padding == size // 2:
    return None
  return padding


def _maxpool(options: Options) -> Layer:
  stride = options.integer("stride", "1", 1)
  size = options.integer("size", str(stride), 1)
  padding = options.integer("padding", str(size - 1), 0)
  return rows.MaxPool(size, stride, None if padding == size - 1 else padding)


def _reorg(options: Options) -> Layer:
  for key in ("reverse", "flatten", "extra"):
    options.only(key, 0)
  return rows.Reorg(True, options.integer("stride", "1", 1))


def _route(options: Options) -> Layer:
  return rows.Route(options.integers("layers", None))


def _shortcut(options: Options) -> Layer:
  for key in ("alpha", "beta"):
    options.only(key, 1)
  layers = options.integers("from", None)
  if len(layers) != 1:
    raise options.error("from", "expected one number")
  return rows.Shortcut(layers[0], options.activation("linear"))


def _upsample(options: Options) -> Layer:
  options.only("scale", 1)
  return rows.Upsample(options.integer("stride", "2", 1))


def _local(options: Options) -> Layer:
  size, pad = options.integer("size", "1", 1), options.flag("pad", "0")
  if pad and size != 3:
    raise options.error("pad", f"with size={size}; only size=3 is supported")
  return rows.Local(
    filters=options.integer("filters", "1", 1),
    size=size,
    activation=options.activation("logistic"),
    stride=options.integer("stride", "1", 1),
    padding=int(pad),
  )


def _connected(options: Options) -> Layer:
  return rows.Connected(
    outputs=options.integer("output", "1", 1),
    batch_norm=options.flag("batch_normalize", "0"),
    activation=options.activation("logistic"),
  )


def _dropout(options: Options) -> Layer:
  probability = options.number("probability", ".5")
  if not 0 <= probability < 1:
    raise options.error("probability", "expected 0 or more, below 1")
  return rows.Dropout(probability)


def _softmax(options: Options) -> Layer:
  options.only("spatial", 0)
  temperature = options.number("temperature", "1")
  if temperature <= 0:
    raise options.error("temperature", "expected a number above 0")
  return rows.Softmax(
    options.integer("groups", "1", 1), temperature, options.tree()
  )


def _region(options: Options) -> Layer:
  options.only("coords", 4)
  options.only("background", 0)
  return rows.Region(
    priors=_priors(options),
    num_classes=options.integer("classes", "20", 1),
    exclusive=options.flag("softmax", "0"),
    tree=options.tree(),
  )


def _yolo(options: Options) -> Layer:
  priors = _priors(options)
  every = ",".join(str(number) for number in range(len(priors)))
  return rows.Yolo(
    priors_px=priors,
    own=options.integers("mask", every),
    num_classes=options.integer("classes", "20", 1),
  )


def _priors(options: Options) -> tuple[tuple[float, float], ...]:
  num = options.integer("num", "1", 1)
  if num > MOST_PRIORS:
    raise options.error("num", f"expected {MOST_PRIORS} or less")
  sides = options.numbers("anchors", ",".join([".5"] * 2 * num))
  if len(sides) != 2 * num:
    raise options.error("anchors", f"expected {2 * num} numbers for num={num}")
  return tuple(zip(sides[::2], sides[1::2], strict=True))


def _detection(options: Options) -> Layer:
  if options.integer("coords", "1", 1) != 4:
    raise options.error("coords", "only 4 is supported")
  return rows.Detection(
    side=options.integer("side", "7", 1),
    num_classes=options.integer("classes", "1", 1),
    num_boxes=options.integer("num", "1", 1),
    square_root=options.flag("sqrt", "0"),
    exclusive=options.flag("softmax", "0"),
  )


READ: dict[str, Callable[[Options], Layer]] = {
  "convolutional": _conv,
  "maxpool": _maxpool,
  "avgpool": lambda options: rows.AveragePool(),
  "route": _route,
  "shortcut": _shortcut,
  "upsample": _upsample,
  "reorg": _reorg,
  "local": _local,
  "connected": _connected,
  "dropout": _dropout,
  "softmax": _softmax,
  "cost": lambda options: rows.Cost(options.text("type", "sse")),
  "region": _region,
  "yolo": _yolo,
  "detection": _detection,
}


def _as_section(row: Layer, tree: str) -> tuple[str, dict[str, Any]]:
  """Name and options of the section that reads as this row."""
  of_tree = {"tree": tree} if getattr(row, "tree", None) else {}
  match row:
    case rows.Conv(filters, size, batch_norm, activation, stride, padding, gap):
      if gap != 1:
        raise ValueError(
          f"dilation {gap}; the original program's convolutions have none"
        )
      norm = {"batch_normalize": 1} if batch_norm else {}
      pad = {"pad": 1} if padding is None else {"padding": padding}
      shape = {"filters": filters, "size": size, "stride": stride}
      options = {**norm, **shape, **pad, "activation": activation}
      return "convolutional", options
    case rows.MaxPool(size, stride, padding):
      pad = {} if padding is None else {"padding": padding}
      return "maxpool", {"size": size, "stride": stride, **pad}
    case rows.AveragePool():
      return "avgpool", {}
    case rows.Route(numbers):
      return "route", {"layers": ",".join(map(str, numbers))}
    case rows.Shortcut(number, activation):
      return "shortcut", {"from": number, "activation": activation}
    case rows.Upsample(stride):
      return "upsample", {"stride": stride}
    case rows.Reorg(program_order=True, stride=stride):
      return "reorg", {"stride": stride}
    case rows.Reorg():
      raise ValueError(
        "the plain reorg is no layer of the original program, and no order of "
        "the next layer's weights makes its own reorg equal to it: rows of the "
        "picture change places. Train with program_reorg to export"
      )
    case rows.Local(filters, size, activation, stride, padding):
      if padding not in (0, 1):
        raise ValueError(f"padding {padding}; the program's local layer has 1")
      shape = {"filters": filters, "size": size, "stride": stride}
      return "local", {**shape, "pad": padding, "activation": activation}
    case rows.Connected(outputs, batch_norm, activation):
      norm = {"batch_normalize": 1} if batch_norm else {}
      return "connected", {**norm, "output": outputs, "activation": activation}
    case rows.Dropout(probability):
      return "dropout", {"probability": probability}
    case rows.Softmax(groups, temperature):
      return "softmax", {
        "groups": groups,
        "temperature": temperature,
        **of_tree,
      }
    case rows.Cost(kind):
      return "cost", {"type": kind}
    case rows.Region() | rows.Yolo() | rows.Detection():
      return _head_as_section(row, of_tree)


def _head_as_section(
  row: rows.Region | rows.Yolo | rows.Detection, of_tree: dict[str, str]
) -> tuple[str, dict[str, Any]]:
  """The same for a row that says how numbers are read."""
  match row:
    case rows.Region(location="offset"):
      raise ValueError(
        "location 'offset' is not in the original program's region layer"
      )
    case rows.Region(priors, num_classes, exclusive):
      shape = {"classes": num_classes, "coords": 4, "num": len(priors)}
      options = {"anchors": _sides(priors), **shape, "softmax": int(exclusive)}
      return "region", {**options, **of_tree}
    case rows.Yolo(tree=WordTree()):
      raise ValueError("the original program's yolo layer takes no tree")
    case rows.Yolo(priors, own, num_classes):
      mask = {"mask": ",".join(map(str, own)), "anchors": _sides(priors)}
      return "yolo", {**mask, "classes": num_classes, "num": len(priors)}
    case rows.Detection(side, num_classes, num_boxes, root, exclusive):
      shape = {"classes": num_classes, "coords": 4, "side": side}
      flags = {"sqrt": int(root), "softmax": int(exclusive)}
      return "detection", {**shape, "num": num_boxes, **flags}


def _sides(priors: Sequence[Sequence[float]]) -> str:
  return ",".join(repr(float(side)) for prior in priors for side in prior)
