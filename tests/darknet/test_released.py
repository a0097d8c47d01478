"""Networks trained on photographs, beside OpenCV's reading of the same files.

The released tiny YOLOv3, whose first 13 layers are those of tiny YOLOv2, and a
face detector with a region layer, on the original program's photos.
"""

import cv2
import jax.numpy as jnp
import numpy as np
import pytest
from test_forward import each_layer

from yolo9000 import boxes as box
from yolo9000.darknet.weights import (
  change_deviation,
  gpu_deviation,
  read_weights,
)
from yolo9000.detector import Detector, from_darknet
from yolo9000.networks.rows import MaxPool, Network
from yolo9000.networks.tiny import TINY

pytestmark = pytest.mark.usefixtures("libraries_promote")
PHOTOS = ("dog", "eagle", "giraffe", "horses", "kite", "person", "scream")


@pytest.fixture
def released(shared):
  """The folder of the trained networks, if it is there."""
  folder = shared / "darknet" / "weights"
  if not folder.is_dir():
    pytest.skip(f"{folder} is not here")
  return folder


def photo(released, name):
  return cv2.imread(str(released.parent / f"{name}.jpg"))[..., ::-1]


def opencv(released, name):
  return cv2.dnn.readNetFromDarknet(
    str(released / f"{name}.cfg"), str(released / f"{name}.weights")
  )


@pytest.mark.parametrize(
  ("name", "size"), [("dog", 416), ("person", 288), ("giraffe", 352)]
)
def test_layers_of_the_released_tiny_network(released, name, size):
  """All 13, on a photo; OpenCV's batch norm divides by sqrt(v + 1e-6)."""
  network = Network(TINY, (size, size, 3))
  variables, header, covered = read_weights(
    released / "yolov3-tiny.weights", network, partial=False, first=len(TINY)
  )
  assert covered == 13 and header.seen == 32_013_312
  variables = change_deviation(
    variables, lambda v: (v + 1e-6) ** 0.5, gpu_deviation
  )
  image = cv2.resize(photo(released, name), (size, size))
  image = (image[None] / 255).astype(np.float32)
  net = opencv(released, "yolov3-tiny")
  net.setInput(image.transpose(0, 3, 1, 2))
  names = [
    f"pool_{n}" if isinstance(row, MaxPool) else f"leaky_{n + 1}"
    for n, row in enumerate(TINY)
  ]
  theirs = net.forward(names)
  ours = each_layer(TINY, variables, jnp.asarray(image))
  for layer, our, their in zip(names, ours, theirs, strict=True):
    their = their.transpose(0, 2, 3, 1)
    assert our.shape == their.shape, layer
    error = np.abs(our - their).max() / np.abs(their).max()
    assert error < 1e-4, (layer, error)


@pytest.mark.parametrize("name", PHOTOS)
def test_faces_are_those_that_opencv_finds(released, name):
  """Boxes and scores after suppression, which OpenCV does at an IoU of .4."""
  least, overlap = 0.01, 0.4
  detector = Detector.from_darknet(
    released / "face.cfg",
    released / "face.weights",
    names=released / "face.names",
    resize="stretch",
    score_threshold=least,
    iou_threshold=overlap,
  )
  image = photo(released, name)
  ours = detector(image)
  net = opencv(released, "face")
  blob = detector.prepare(image).input[None].astype(np.float32) / 255
  net.setInput(blob.transpose(0, 3, 1, 2))
  slots = net.forward()  # centre, size, objectness, score of the class
  scores = slots[:, 5]
  kept = [n for n in np.argsort(-scores) if scores[n] > least]
  assert len(ours.scores) == len(kept)
  np.testing.assert_allclose(ours.scores, scores[kept], atol=1e-4)
  boxes = box.clip(box.cxcywh_to_xyxy(slots[kept, :4]))
  edges = np.float32([image.shape[1], image.shape[0]] * 2)
  np.testing.assert_allclose(ours.boxes_px / edges, boxes, atol=1e-4)


@pytest.mark.parametrize("name", ["dog", "person"])
def test_tiny_yolov3_finds_what_opencv_finds(released, name):
  """Boxes and scores after suppression, each class by itself."""
  least, overlap = 0.3, 0.45
  files = (released / f"yolov3-tiny.{end}" for end in ("cfg", "weights"))
  trained = from_darknet(
    *files,
    names=released / "yolov3-tiny.names",
    resize="stretch",
    deviation=lambda v: (v + 1e-6) ** 0.5,
  )
  detector = Detector(
    trained, score_threshold=least, iou_threshold=overlap, max_candidates=200
  )
  image = photo(released, name)
  ours = detector(image)
  net = opencv(released, "yolov3-tiny")
  blob = detector.prepare(image).input[None].astype(np.float32) / 255
  net.setInput(blob.transpose(0, 3, 1, 2))
  slots = np.concatenate(net.forward(["yolo_16", "yolo_23"]))
  row, label = np.nonzero(slots[:, 5:] > least)
  scores, boxes = slots[row, 5 + label], slots[row, :4]
  kept = cv2.dnn.NMSBoxesBatched(
    np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, 2:]], 1).tolist(),
    *(scores.tolist(), label.tolist(), least, overlap),
  )
  kept = sorted(kept, key=lambda n: -scores[n])
  assert ours.labels.tolist() == label[kept].tolist() != []
  np.testing.assert_allclose(ours.scores, scores[kept], atol=1e-4)
  boxes = box.clip(box.cxcywh_to_xyxy(boxes[kept]))
  edges = np.float32([image.shape[1], image.shape[0]] * 2)
  np.testing.assert_allclose(ours.boxes_px / edges, boxes, atol=1e-4)
