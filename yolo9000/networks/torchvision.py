"""Weights of torchvision's networks, by the names that ours have.

They are residual networks and VGG-16, alone or in a detector; feature pyramids;
and the heads of dense anchors, of default boxes, of proposals, of their regions
and of masks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from yolo9000.networks.input import CAFFE_MEAN, DEVIATION, MEAN
from yolo9000.networks.rows import Conv, layer_name
from yolo9000.networks.vgg import FC7, VGG16

DOUBLE = "mask_head/double"  # a transposed convolution
OF_REGION = "box_head/fc6"  # of a grid of BINS x BINS, there channels first
BINS = 7
# Names of modules: what is replaced, one after the other. Files of older
# versions lack the .0 of a block's first part, and number otherwise.
NAMES: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
  (r"^(backbone\.body\.)?(?=conv1$|bn1$|layer\d)", "backbone/"),
  (r"layer(\d)\.(\d+)\.", r"layer\1_\2/"),
  (r"bn(\d)$", r"conv\1_norm"),
  (r"downsample\.0$", "downsample"),
  (r"downsample\.1$", "downsample_norm"),
  (r"^backbone\.fpn\.inner_blocks\.(\d)(\.0)?$", r"pyramid/lateral_\1"),
  (r"^backbone\.fpn\.layer_blocks\.(\d)(\.0)?$", r"pyramid/level_\1"),
  (r"^backbone\.fpn\.extra_blocks\.p6$", "pyramid/beyond_1"),
  (r"^backbone\.fpn\.extra_blocks\.p7$", "pyramid/beyond_2"),
  (r"^rpn\.head\.conv(\.0\.0)?$", "proposals/conv"),
  (r"^rpn\.head\.cls_logits$", "proposals/objectness"),
  (r"^rpn\.head\.bbox_pred$", "proposals/boxes"),
  (r"^roi_heads\.box_head\.", "box_head/"),
  (r"^roi_heads\.box_predictor\.cls_score$", "predictor/classes"),
  (r"^roi_heads\.box_predictor\.bbox_pred$", "predictor/boxes"),
  (r"^roi_heads\.mask_head\.(\d)\.0$", r"mask_head/conv_\1"),
  (
    r"^roi_heads\.mask_head\.mask_fcn(\d)$",
    lambda found: f"mask_head/conv_{int(found[1]) - 1}",
  ),
  (r"^roi_heads\.mask_predictor\.conv5_mask$", DOUBLE),
  (r"^roi_heads\.mask_predictor\.mask_fcn_logits$", "mask_head/answer"),
  (r"^head\.classification_head\.module_list\.(\d)$", r"heads/labels_\1"),
  (r"^head\.regression_head\.module_list\.(\d)$", r"heads/coords_\1"),
  (r"^head\.classification_head\.", "heads/classes/"),
  (r"^head\.regression_head\.", "heads/boxes/"),
  (r"conv\.(\d)\.0$", r"conv_\1"),
  (r"conv\.(\d)$", lambda found: f"conv_{int(found[1]) // 2}"),
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

  Raises:
    ValueError: for a VGG-16 without its connected layers.
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
  """VGG-16 alone, by the names of the detectors here that begin with it.

  Of the connected layers SSD's family has convolutions, of every third place
  and every fourth filter, as its section 3 says. Cascade R-CNN's heads, of
  which there are several, take none.

  There are two kinds. That for detectors (IMAGENET1K_FEATURES) is Caffe's; its
  connected layers are not numbers and are left out. The other one expects
  standardised pictures, and is made to see Caffe's, see `_for_caffe`.

  Raises:
    ValueError: if the connected layers, which tell the kinds apart, are absent.
  """
  connected = [
    f"classifier.{n}.{kind}" for n in (0, 3) for kind in ("weight", "bias")
  ]
  if absent := [name for name in connected if name not in theirs]:
    raise ValueError(
      f"VGG-16 without {', '.join(absent)}: which pictures it expects is not "
      f"known; expected its whole state_dict"
    )
  layers = [
    (
      theirs[f"features.{number}.weight"].transpose(2, 3, 1, 0),
      theirs[f"features.{number}.bias"],
    )
    for number in OF_VGG16
  ]
  of_caffe = not np.isfinite(theirs[connected[0]]).all()
  if not of_caffe:
    layers = _for_caffe(layers)
  first, bias = layers[0]
  layers[0] = (first[:, :, ::-1], bias)  # blue, green, red
  found = {}

  def put(module: str, kernel: np.ndarray, bias: np.ndarray) -> None:
    found[f"params/{module}/kernel"] = kernel
    found[f"params/{module}/bias"] = bias

  for here, layer in zip(CONVS, layers, strict=False):
    put(f"trunk/{layer_name(here)}", *layer)
    put(f"backbone/{layer_name(here)}", *layer)
  if of_caffe:
    return found
  fc6, bias6, fc7, bias7 = (theirs[name] for name in connected)
  places = fc6[::4].reshape(len(fc6[::4]), -1, BINS, BINS)[:, :, ::3, ::3]
  put(f"trunk/{layer_name(FC7 - 1)}", places.transpose(2, 3, 1, 0), bias6[::4])
  put(f"trunk/{layer_name(FC7)}", fc7[::4, ::4].T[None, None], bias7[::4])
  for where in ("head", "box_head"):
    put(f"{where}/fc6", of_grid(fc6.T), bias6)
    put(f"{where}/fc7", fc7.T, bias7)
  return found


def _for_caffe(
  layers: Sequence[tuple[np.ndarray, np.ndarray]],
) -> list[tuple[np.ndarray, np.ndarray]]:
  """Layers that see Caffe's pictures, from those that see standardised ones.

  A layer is its kernel and its bias. Caffe's pictures are levels up to 255,
  less their mean, about 57 times as large. Were the first kernel alone made
  smaller by so much, a step of gradient descent would move it 57 x 57 times as
  far. So each layer takes an equal share: what the first one says is 42 times
  as large as before, what the last one says once. Between them are rectifiers
  and pools alone. Differs: the padding at the picture's edge is another grey,
  by less than a level.
  """
  deviation = np.array(DEVIATION, np.float32)
  grey = np.array(CAFFE_MEAN[::-1], np.float32) / 255  # which is their 0
  shift = (grey - np.array(MEAN, np.float32)) / deviation
  (kernel, bias), *others = layers
  bias = bias + np.einsum("yxio,i->o", kernel, shift)
  layers = [(kernel / (255 * deviation[:, None]), bias), *others]
  growth = np.float32(255 * deviation.mean())
  larger = growth ** (1 - (np.arange(len(layers)) + 1) / len(layers))
  larger = larger.astype(np.float32)
  before = np.concatenate([np.ones(1, np.float32), larger[:-1]])
  return [
    (kernel * (now / last), bias * now)
    for (kernel, bias), now, last in zip(layers, larger, before, strict=True)
  ]


def of_grid(kernel: np.ndarray) -> np.ndarray:
  """Of a connected layer on a grid that is laid flat, its channels last."""
  grid = kernel.reshape(-1, BINS, BINS, kernel.shape[1])
  return grid.transpose(1, 2, 0, 3).reshape(kernel.shape)
