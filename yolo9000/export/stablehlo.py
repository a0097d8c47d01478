"""A trained detector as a StableHLO file, for CPU, CUDA and TPU at once.

The file is what `jax.export` serialises, with a zip archive behind it that
holds the description: each reader finds its own part.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import jax

from yolo9000 import extras
from yolo9000.export import shipped
from yolo9000.files import write_whole
from yolo9000.training.trained import Trained

PLATFORMS = ("cpu", "cuda", "tpu")
DESCRIPTION = "description.json"


def write(trained: Trained, path: Path, **options: Any) -> list[Path]:
  """Writes path, which has the ending .stablehlo afterwards.

  Args:
    trained: the detector.
    path: of the file.
    **options: of `shipped.ship`.

  Raises:
    ValueError: for an option that cannot be.
    MissingExtra: without flatbuffers.
  """
  extras.load("flatbuffers", "export", "a StableHLO file")
  what = shipped.ship(trained, **options)
  exported = jax.export.export(jax.jit(what.function), platforms=PLATFORMS)(
    what.images
  )
  buffer = io.BytesIO()
  buffer.write(exported.serialize())
  with zipfile.ZipFile(buffer, "a") as archive:
    archive.writestr(DESCRIPTION, json.dumps(what.description))
  path = shipped.with_ending(path, ".stablehlo")
  write_whole(path, buffer.getvalue())
  return [path]
