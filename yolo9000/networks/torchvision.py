"""Weights of torchvision's networks, by the names that ours have.

They are residual networks and VGG-16, alone or in a detector; feature pyramids;
and the heads of dense anchors, of default boxes, of proposals, of their regions
and of masks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from yolo9000.networks.input import CAFFE_MEAN, DEVIATION, MEAN
from yolo9000.networks.rows import Conv, layer_name
from yolo9000.networks.vgg import FC7, VGG16

DOUBLE = "mask_head/double"  # a transposed convolution
OF_REGION = "box_head/fc6"  # of a grid of BINS x BINS, there channels first
BINS = 7
# Names of modules: what is replaced, one after the other.
NAMES = (
  (r"^(backbone\.body\.)?(?=conv1$|bn1$|layer\d)", "backbone/"),
  (r"layer(\d)\.(\d+)\.", r"layer\1_\2/"),
  (r"bn(\d)$", r"conv\1_norm"),
  (r"downsample\.0$", "downsample"),
  (r"downsample\.1$", "downsample_norm"),
  (r"^backbone\.fpn\.inner_blocks\.(\d)\.0$", r"pyramid/lateral_\1"),
  (r"^backbone\.fpn\.layer_blocks\.(\d)\.0$", r"pyramid/level_\1"),
  (r"^backbone\.fpn\.extra_blocks\.p6$", "pyramid/beyond_1"),
  (r"^backbone\.fpn\.extra_blocks\.p7$", "pyramid/beyond_2"),
  (r"^rpn\.head\.conv\.0\.0$", "proposals/conv"),
  (r"^rpn\.head\.cls_logits$", "proposals/objectness"),
  (r"^rpn\.head\.bbox_pred$", "proposals/boxes"),
  (r"^roi_heads\.box_head\.", "box_head/"),
  (r"^roi_heads\.box_predictor\.cls_score$", "predictor/classes"),
  (r"^roi_heads\.box_predictor\.bbox_pred$", "predictor/boxes"),
  (r"^roi_heads\.mask_head\.(\d)\.0$", r"mask_head/conv_\1"),
  (r"^roi_heads\.mask_predictor\.conv5_mask$", DOUBLE),
  (r"^roi_heads\.mask_predictor\.mask_fcn_logits$", "mask_head/answer"),
  (r"^head\.classification_head\.module_list\.(\d)$", r"heads/labels_\1"),
  (r"^head\.regression_head\.module_list\.(\d)$", r"heads/coords_\1"),
  (r"^head\.classification_head\.", "heads/classes/"),
  (r"^head\.regression_head\.", "heads/boxes/"),
  (r"conv\.(\d)\.0$", r"conv_\1"),
  (r"(cls_logits|bbox_reg)$", "answer"),
)

# Of a batch norm, and of a convolution or a connected layer.
OF_NORM = {
  "weight": "params/{}/scale",
  "bias": "params/{}/bias",
  "running_mean": "batch_stats/{}/mean",
  "running_var": "batch_stats/{}/var",
}
OF_CONV = {"weight": "params/{}/kernel", "bias": "params/{}/bias"}


OF_VGG16 = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)  # convolutions
CONVS = [n for n, row in enumerate(VGG16) if isinstance(row, Conv)]


def _vgg() -> dict[str, str]:
  """Of SSD: convolutions of VGG-16 and after it, in their order."""
  theirs = [f"features.{n}" for n in OF_VGG16[:10]]
  theirs += [f"extra.0.{n}" for n in ("1", "3", "5", "7.1", "7.3")]
  theirs += [f"extra.{level}.{n}" for level in range(1, 6) for n in (0, 2)]
  ours = [*CONVS, *range(len(VGG16), len(VGG16) + 10)]
  return {
    f"backbone.{name}": f"trunk/{layer_name(n)}"
    for name, n in zip(theirs, ours, strict=True)
  }


VGG = _vgg()
FIRST = (
  f"trunk/{layer_name(0)}"  # there it reads red, green, blue; here b, g, r
)


def are_theirs(names: Mapping[str, Any]) -> bool:
  """Whether these are names as `state_dict` of a PyTorch module has them."""
  return any(name.endswith(".weight") for name in names)


def converted(theirs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Arrays by our names, such as params/backbone/conv1/kernel.

  Args:
    theirs: by torchvision's names, such as backbone.body.conv1.weight;
      convolutions are OIHW, connected layers OI. What is of neither, nor of a
      batch norm, is left out.
  """
  if all(f"features.{number}.weight" in theirs for number in OF_VGG16):
    return _of_vgg16(theirs)
  found = {}
  for name, array in theirs.items():
    module, _, kind = name.rpartition(".")
    if kind == "scale_weight":
      found["params/conv4_3_norm/scale"] = array
      continue
    ours = VGG.get(module, module)
    for pattern, replacement in NAMES:
      ours = re.sub(pattern, replacement, ours)
    known = OF_NORM if ours.endswith("_norm") else OF_CONV
    if kind not in known:
      continue
    if ours == DOUBLE and array.ndim == 4:  # IOHW, from the other side
      array = array.transpose(2, 3, 0, 1)[::-1, ::-1]
    elif array.ndim == 4:
      array = array.transpose(2, 3, 1, 0)
      array = array[:, :, ::-1] if ours == FIRST else array
    elif array.ndim == 2:
      array = of_grid(array.T) if ours == OF_REGION else array.T
    found[known[kind].format(ours)] = array
  return found


def _of_vgg16(theirs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """VGG-16 alone, by the names of all detectors here that begin with it.

  Of the connected layers SSD's family has convolutions, of every third place
  and every fourth filter, as its section 3 says.

  There are two kinds. That for detectors (IMAGENET1K_FEATURES) is Caffe's; its
  connected layers are not numbers and are left out. The other one expects
  standardised pictures; its first layer is made one of Caffe's. Differs: at the
  picture's edge, whose padding is another grey, by half a level of 255.
  """
  standardised = np.isfinite(theirs.get("classifier.0.weight", np.nan)).all()
  found = {}
  for there, here in zip(OF_VGG16, CONVS, strict=False):
    kernel = theirs[f"features.{there}.weight"].transpose(2, 3, 1, 0)
    bias = theirs[f"features.{there}.bias"]
    if there == 0 and standardised:
      deviation = np.array(DEVIATION, np.float32)
      grey = np.array(CAFFE_MEAN[::-1], np.float32) / 255  # which is our 0
      shift = (grey - np.array(MEAN, np.float32)) / deviation
      bias = bias + np.einsum("yxio,i->o", kernel, shift)
      kernel = kernel / (255 * deviation[:, None])
    if there == 0:
      kernel = kernel[:, :, ::-1]
    for where in ("trunk", "backbone"):
      found[f"params/{where}/{layer_name(here)}/kernel"] = kernel
      found[f"params/{where}/{layer_name(here)}/bias"] = bias
  if not standardised:
    return found
  for name, there, here in (("fc6", 0, FC7 - 1), ("fc7", 3, FC7)):
    kernel, bias = (
      theirs[f"classifier.{there}.{kind}"] for kind in ("weight", "bias")
    )
    sparse = kernel[::4]
    if name == "fc6":
      grid = sparse.reshape(len(sparse), -1, BINS, BINS)[:, :, ::3, ::3]
      grid, whole = grid.transpose(2, 3, 1, 0), of_grid(kernel.T)
    else:
      grid, whole = sparse[:, ::4].T[None, None], kernel.T
    found[f"params/trunk/{layer_name(here)}/kernel"] = grid
    found[f"params/trunk/{layer_name(here)}/bias"] = bias[::4]
    for where in ("head", "box_head"):
      found[f"params/{where}/{name}/kernel"] = whole
      found[f"params/{where}/{name}/bias"] = bias
  return found


def of_grid(kernel: np.ndarray) -> np.ndarray:
  """Of a connected layer on a grid that is laid flat, its channels last."""
  grid = kernel.reshape(-1, BINS, BINS, kernel.shape[1])
  return grid.transpose(1, 2, 0, 3).reshape(kernel.shape)
