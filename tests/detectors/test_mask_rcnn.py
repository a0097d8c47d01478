"""Mask R-CNN, against torchvision's and the published sizes."""

import re

import jax
import jax.numpy as jnp
import numpy as np
from oracles import torchvision

from yolo9000.detectors import mask_rcnn


def assert_close(found, expected, tolerance=1e-5):
  """To so much of the largest entry."""
  error = np.abs(np.asarray(found) - expected).max()
  assert error <= tolerance * np.abs(expected).max()


def names(name):
  """0.0 is conv_0 here."""
  name = re.sub(r"^(\d)\.0$", r"conv_\1", name)
  return name.replace("conv5_mask", "double").replace(
    "mask_fcn_logits", "answer"
  )


def turned(array):
  """Ours looks at a transposed convolution from the other side."""
  return array[::-1, ::-1].swapaxes(2, 3)


def test_the_head_is_torchvisions(goldens):
  golden = goldens("tv_rcnn")
  params = {
    **torchvision.variables(golden, "mask_head/w/", names)["params"],
    **torchvision.variables(golden, "mask_predictor/w/", names)["params"],
  }
  params["double"]["kernel"] = turned(params["double"]["kernel"])
  head = mask_rcnn.MaskHead(5, (8, 8), 7)
  x = torchvision.last(golden["mask_head/x"])
  found, kept = jax.jit(
    lambda x: head.apply({"params": params}, x, capture_intermediates=True)
  )(x)
  kept = kept["intermediates"]["conv_1"]["__call__"][0]
  assert_close(jax.nn.relu(kept), torchvision.last(golden["mask_head/out"]))
  expected = torchvision.last(golden["mask_head/mask_logits"])
  assert_close(found, expected)


def test_probabilities_are_torchvisions(goldens):
  golden = goldens("tv_rcnn")
  logits = torchvision.last(golden["mask_loss/mask_logits"])
  labels = jnp.asarray(golden["mask_inference/labels"])
  found = mask_rcnn.probabilities(logits, labels)
  assert_close(found, golden["mask_inference/probs"][:, 0])
