"""Packages that only some uses need."""

from __future__ import annotations

import importlib
from types import ModuleType


class MissingExtra(ImportError):
  """A package that is not installed, and how to install it."""


def load(module: str, extra: str, what: str) -> ModuleType:
  """Imports a package of an extra.

  Args:
    module: its name.
    extra: that brings it.
    what: needs it, for the error.

  Raises:
    MissingExtra: naming the package and the command that installs it.
  """
  try:
    return importlib.import_module(module)
  except ModuleNotFoundError as error:
    if error.name != module.partition(".")[0]:
      raise
    raise MissingExtra(
      f"{what} needs {error.name}, which is not installed: "
      f"pip install 'yolo9000[{extra}]'"
    ) from None
