"""IoU, suppression and codes of boxes, against torchvision's."""

import jax.numpy as jnp
import numpy as np
import pytest

from yolo9000 import boxes as box
from yolo9000.boxes import coding, suppression
from yolo9000.boxes.suppression import Suppression


@pytest.mark.parametrize("name", ["iou", "giou"])
def test_overlaps_are_torchvisions(goldens, name):
  golden = goldens("tv_ops")
  a, b = golden["iou/boxes1"], golden["iou/boxes2"]
  found = getattr(box, name)(a[:, None], b[None])
  np.testing.assert_allclose(found, golden[f"iou/{name}"], atol=1e-5)


@pytest.mark.parametrize(
  "case", ["nms0", "nms1", "nms2", "nms3", "batched_nms0", "batched_nms1"]
)
def test_suppression_is_torchvisions(goldens, case):
  """Which are kept, and their order."""
  golden = goldens("tv_ops")
  boxes, scores = golden[f"{case}/boxes"], golden[f"{case}/scores"]
  labels = golden.get(f"{case}/idxs", np.zeros(len(boxes), int))
  order = np.argsort(-scores, kind="stable")
  found = suppression.labelled(
    *(jnp.asarray(x[order]) for x in (boxes, scores, labels)),
    how=Suppression(float(golden[f"{case}/iou_threshold"]), 0.0, 10**6, 10**6),
  )
  kept = golden[f"{case}/keep"]
  assert found.mask.sum() == len(kept)
  for got, expected in zip(found, (boxes, scores, labels), strict=False):
    np.testing.assert_array_equal(got[found.mask], expected[kept])


@pytest.mark.parametrize("case", [f"coder{n}" for n in range(4)])
def test_codes_are_torchvisions(goldens, case):
  """Also of boxes far too large, and of several classes side by side."""
  golden = goldens("tv_ops")
  anchors, truths, codes = (
    jnp.asarray(golden[f"{case}/{name}"])
    for name in ("proposals", "gt", "codes")
  )
  weights = tuple(map(float, golden[f"{case}/weights"]))
  encoded = coding.encode(truths, anchors, weights)
  back = coding.decode(encoded, anchors, weights)
  of_class = jnp.broadcast_to(anchors[:, None], (len(anchors), 3, 4))
  decoded = coding.decode(codes.reshape(-1, 3, 4), of_class, weights)
  for got, name in (
    (encoded, "encoded"),
    (back, "decoded_of_encoded"),
    (decoded.reshape(-1, 12), "decoded"),
  ):
    expected = golden[f"{case}/{name}"]
    error = np.abs(np.asarray(got) - expected).max()
    assert error <= 1e-6 * np.abs(expected).max(), name


def test_boxes_are_cut_as_torchvisions(goldens):
  golden = goldens("tv_ops")
  edges = np.tile(golden["clip/size_hw"][::-1], 2).astype(np.float32)
  found = box.clip(golden["clip/boxes"] / edges[None]) * edges[None]
  np.testing.assert_allclose(found, golden["clip/clipped"], atol=1e-5)
