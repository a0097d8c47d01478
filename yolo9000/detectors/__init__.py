"""The detectors: each one file that reads like its paper.

DETECTORS is the only list of them. To add one, write a file with `Options`, a
NamedTuple of NamedTuples whose defaults are the paper's, and

  make_task(options, classes) -> types.Task

and add its line. If its network is a chain of rows, `network_rows(options,
classes)` makes it readable from, and writable to, the original program's files.
"""

from __future__ import annotations

import importlib
import typing
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import ModuleType
from typing import Any

from yolo9000.networks.rows import Detection, Layer, Network, Region, Yolo
from yolo9000.types import Task
from yolo9000.wordtree import Classes

DETECTORS = {
  "classifier": "yolo9000.detectors.classifier",
  "yolov1": "yolo9000.detectors.yolov1",
  "yolov2": "yolo9000.detectors.yolov2",
  "yolo9000": "yolo9000.detectors.yolo9000",
  "yolov3": "yolo9000.detectors.yolov3",
  "ssd": "yolo9000.detectors.ssd",
  "fssd": "yolo9000.detectors.fssd",
  "rfbnet": "yolo9000.detectors.rfbnet",
  "refinedet": "yolo9000.detectors.refinedet",
  "m2det": "yolo9000.detectors.m2det",
  "dssd": "yolo9000.detectors.dssd",
  "dsod": "yolo9000.detectors.dsod",
  "retinanet": "yolo9000.detectors.retinanet",
  "rcnn": "yolo9000.detectors.rcnn",
  "fast_rcnn": "yolo9000.detectors.fast_rcnn",
  "faster_rcnn": "yolo9000.detectors.faster_rcnn",
  "rfcn": "yolo9000.detectors.rfcn",
  "cascade_rcnn": "yolo9000.detectors.cascade_rcnn",
  "mask_rcnn": "yolo9000.detectors.mask_rcnn",
}


def of_name(name: str) -> ModuleType:
  """The file of a detector.

  Raises:
    ValueError: for another name.
  """
  if name not in DETECTORS:
    raise ValueError(
      f"task.model is {name!r}; allowed are {', '.join(DETECTORS)}"
    )
  return importlib.import_module(DETECTORS[name])


def read_options(kind: type, values: Any, where: str) -> Any:
  """A NamedTuple of options from a config's group of the same keys.

  Args:
    kind: the NamedTuple; fields that are NamedTuples are groups themselves.
    values: all of its options by name.
    where: the group's name in the config.

  Raises:
    ValueError: naming the options that are unknown or missing.
  """
  fields = typing.get_type_hints(kind)
  if not isinstance(values, Mapping) or set(values) != set(fields):
    found = set(values) if isinstance(values, Mapping) else set()
    raise ValueError(
      f"{where} has unknown options {sorted(found - set(fields))} and lacks "
      f"{sorted(set(fields) - found)}; there are {', '.join(fields)}"
    )
  return kind(
    **{
      name: read_options(hint, values[name], f"{where}.{name}")
      if hasattr(hint, "_fields")
      else values[name]
      for name, hint in fields.items()
    }
  )


def defaults(name: str, options: Any = None) -> dict[str, Any]:
  """A config's `task` of a detector, with all its options.

  Args:
    name: of the detector.
    options: its Options; None for the defaults.

  Raises:
    ValueError: for another name.
  """
  if options is None:
    options = of_name(name).Options()
  return {"model": name, **_as_groups(options)}


def _as_groups(options: Any) -> dict[str, Any]:
  """A NamedTuple of options as a config's group of the same keys."""
  return {
    name: _as_groups(value) if hasattr(value, "_fields") else value
    for name, value in options._asdict().items()
  }


def options_of(task: Mapping[str, Any]) -> tuple[ModuleType, Any]:
  """The file of a config's `task` and its options."""
  values = dict(task)
  module = of_name(values.pop("model"))
  return module, read_options(module.Options, values, "task")


def make_task(task: Mapping[str, Any], classes: Classes) -> Task:
  """The Task that a config's `task` describes.

  Raises:
    ValueError: for an option that cannot be, saying what can.
  """
  module, options = options_of(task)
  return module.make_task(options, classes)


def network_rows(
  task: Mapping[str, Any], classes: Classes
) -> tuple[Layer, ...] | None:
  """The network of a config's `task`; None if it is no chain of rows."""
  module, options = options_of(task)
  if not hasattr(module, "network_rows"):
    return None
  return module.network_rows(options, classes)


def of_network(
  network: Network, classes: Classes, nodes: Sequence[int] | None
) -> tuple[Callable[[Mapping[str, Any]], Task], Mapping[str, Any]]:
  """The Task of a network of the original program, by options of detection.

  Args:
    network: its last row says how its output is read.
    classes: of the labels.
    nodes: of the network's tree, if the classes are some of its nodes alone.

  Returns:
    A function of the options of `task.detect` that differ from the defaults,
    and the defaults.

  Raises:
    ValueError: if the network is no detector.
  """
  head, more = network.layers[-1], {}
  if isinstance(head, Detection):
    name, more = "yolov1", {"size": network.shape[:2]}
  elif isinstance(head, Region):
    name = "yolov2" if head.tree is None else "yolo9000"
    more = {} if head.tree is None else {"nodes": nodes}
  elif isinstance(head, Yolo):
    name = "yolov3"
  else:
    raise ValueError(
      f"the network ends with {type(head).__name__}; expected a detector, "
      f"which ends with Region, Yolo or Detection ([region], [yolo], "
      f"[detection])"
    )
  module = of_name(name)
  make = partial(module.make_task, rows=network.layers, **more)

  options = module.Options()
  defaults = options.detect._asdict()
  if nodes is not None:
    defaults["walk"] = "none"  # it ends at any node

  def with_detect(detect: Mapping[str, Any]) -> Task:
    values = {**defaults, **detect}
    chosen = read_options(type(options.detect), values, "task.detect")
    return make(options._replace(detect=chosen), classes)

  return with_detect, defaults
