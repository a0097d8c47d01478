"""Grids of boxes, against torchvision's."""

import ast

import numpy as np
import pytest

from yolo9000 import boxes as box
from yolo9000.boxes.anchors import anchors, default_boxes


def pairs(rows):
  return [tuple(map(int, row)) for row in rows]


@pytest.mark.parametrize("case", ["rpn_c4", "rpn_fpn", "retinanet", "rounding"])
def test_anchors_are_torchvisions(goldens, case):
  golden = goldens("tv_ops")
  one = {
    name.split("/")[2]: array
    for name, array in golden.items()
    if name.startswith(f"anchors/{case}/")
  }
  levels = range(len(one["feature_hw"]))
  height, width = map(int, one["image_hw"])
  found = anchors(
    (height, width),
    pairs(one["feature_hw"]),
    strides=pairs(one["strides_hw"]),
    sizes_px=[one[f"sizes{n}"].tolist() for n in levels],
    ratios=[one[f"aspect_ratios{n}"].tolist() for n in levels],
  )
  edges = np.float32([width, height, width, height])
  np.testing.assert_allclose(found * edges, one["anchors"], atol=1e-4)


@pytest.mark.parametrize(
  "case", ["ssd300", "small_nosteps", "small_noclip", "single_map"]
)
def test_default_boxes_are_torchvisions(goldens, case):
  golden = goldens("tv_ops")
  one = {
    name.split("/")[2]: array
    for name, array in golden.items()
    if name.startswith(f"default_boxes/{case}/")
  }
  scales = one["scales"].tolist()
  found = default_boxes(
    tuple(map(int, one["image_hw"])),
    pairs(one["feature_hw"]),
    steps=one["steps"].tolist() or None,
    sizes=list(zip(scales[:-1], scales[1:], strict=True)),
    ratios=ast.literal_eval(str(one["call"]))["aspect_ratios"],
    clip=bool(one["clip"]),
  )
  np.testing.assert_allclose(
    box.xyxy_to_cxcywh(found), one["cxcywh"], atol=1e-6
  )


def test_a_level_of_one_size_has_one_square():
  found = default_boxes(
    (64, 64), [(1, 2)], steps=[32], sizes=[(0.25,)], ratios=[(4,)], clip=False
  )
  left, right = np.float32([0.25, 0.25]), np.float32([0.75, 0.25])
  shapes = np.float32([(0.25, 0.25), (0.5, 0.125), (0.125, 0.5)])
  expected = [(*place, *shape) for place in (left, right) for shape in shapes]
  np.testing.assert_allclose(box.xyxy_to_cxcywh(found), expected, atol=1e-6)


def test_levels_that_do_not_fit_are_refused():
  with pytest.raises(ValueError, match=r"\[1, 2, 1\] levels; expected 1 of"):
    anchors((8, 8), [(1, 1)], strides=[8], sizes_px=[(1,), (2,)], ratios=[(1,)])
