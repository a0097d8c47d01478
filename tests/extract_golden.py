"""Copies the numbers that the tests need from the recorded goldens.

python tests/extract_golden.py ../shared/reference/goldens

The goldens were recorded from the original program; see the README there. Kept
here: region_train's cases without a tree or background class, nms, reorg's
outputs, the learning rates with the settings that they follow from, and the
box corrections.
"""

import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent / "golden"


def region_train(source):
  kept = {}
  for case in source["cases"]:
    if not case.startswith(("tree", "background")):
      for key in (
        "x",
        "truth",
        "anchors",
        "seen",
        "hyper",
        "grad",
        "grad_2017",
      ):
        if f"{case}/{key}" in source:
          kept[f"{case}/{key}"] = source[f"{case}/{key}"]
  return kept


def learning_rate(source):
  return {key: source[key] for key in source if key != "names"}


def nms(source):
  return {
    key: source[key]
    for key in source
    if key.split("/")[1]
    in (
      "boxes",
      "objectness",
      "probs",
      "thresh",
      "sort_probs",
      "obj_objectness",
    )
  }


def reorg(source):
  return {
    key: source[key]
    for key in source
    if key.endswith(("/x_shape", "/stride", "/out"))
  }


def image_ops(source):
  return {key: source[key] for key in source if "boxes" in key}


if __name__ == "__main__":
  folder = Path(sys.argv[1])
  HERE.mkdir(exist_ok=True)
  for name in (region_train, nms, reorg, learning_rate, image_ops):
    with np.load(folder / f"{name.__name__}.npz") as source:
      np.savez_compressed(HERE / f"{name.__name__}.npz", **name(source))
