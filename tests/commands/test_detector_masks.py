"""Masks of detections, from the network's input to pictures and files."""

import json

import cv2
import jax
import numpy as np
from pycocotools import mask as coco_masks

from yolo9000.boxes.masks import ON, paste
from yolo9000.data.batches import empty_batch
from yolo9000.data.pictures import Item
from yolo9000.detect import Output
from yolo9000.detector import Detector, Found
from yolo9000.types import Detections

SIDE = 64
# Of an ellipse of the letterboxed input; above and below it leaves the picture.
FRAME = np.float32([0.2, 0.1, 0.7, 0.9])


class Sees(Detector):
  """Always the same ellipse, as the network's input has it."""

  def __init__(self, resize):
    self.class_names, self.resize = ("cat", "dog"), resize
    self.size, self._most, self._search = (SIDE, SIDE), 10, None
    y, x = (np.mgrid[:28, :28] + 0.5) / 28 - 0.5
    ellipse = np.float32(x**2 + y**2 < 0.25)

    def predict(images):
      count = len(images)
      return Detections(
        np.tile(np.stack([FRAME, FRAME * 0]), (count, 1, 1)),
        np.tile(np.float32([0.9, 0]), (count, 1)),
        np.ones((count, 2), np.int32),
        np.tile([True, False], (count, 1)),
        np.tile(ellipse, (count, 2, 1, 1)),
      )

    self._predict = predict


def ellipse(width, height, top, across, down):
  """Its pixels where FRAME begins at `top` and has these sides, in pixels."""
  y, x = np.mgrid[:height, :width] + 0.5
  x = (x - 0.45 * width) / across
  y = (y - top - down / 2) / down
  return x**2 + y**2 < 0.25


def agreement(one, other):
  return (one & other).sum() / (one | other).sum()


def test_masks_follow_their_boxes_through_a_letterbox():
  """A picture of 120 x 60 fills the middle half of the input's height."""
  found = Sees("letterbox")(np.zeros((60, 120, 3), np.uint8))
  np.testing.assert_allclose(found.boxes_px, [[24, 0, 84, 60]], atol=1e-4)
  assert found.masks.shape == (1, 28, 28) and found.names == ("dog",)
  pixels = paste(found.masks[0], found.boxes_px[0], (120, 60)) >= ON
  expected = ellipse(120, 60, -18, 60, 96)
  assert agreement(pixels, expected) > 0.94
  stretched = Sees("stretch")(np.zeros((60, 120, 3), np.uint8))
  pixels = paste(stretched.masks[0], stretched.boxes_px[0], (120, 60)) >= ON
  assert agreement(pixels, ellipse(120, 60, 6, 60, 48)) > 0.94


def test_tiles_have_masks_too():
  found = Sees("stretch").detect(np.zeros((60, 120, 3), np.uint8), tile=60)
  assert found.masks.shape == (len(found.boxes), 28, 28)
  assert len(found.boxes) > 1


def test_masks_are_written_and_drawn(tmp_path):
  image = np.full((60, 120, 3), 90, np.uint8)
  found = Sees("letterbox").detect(image)
  output = Output(tmp_path, ("cat", "dog"), draw=True, txt=False)
  output.add(Found(Item("a.png", "a", 0, None, 0.0, None), image, found))
  output.write()
  (row,) = json.loads((tmp_path / "detections.json").read_text())
  runs = row["segmentation"]
  assert runs["size"] == [60, 120]
  expected = ellipse(120, 60, -18, 60, 96).sum()
  assert abs(coco_masks.area(runs) / expected - 1) < 0.05
  drawn = cv2.imread(str(tmp_path / "a.jpg")).astype(int)
  # Inside the ellipse there is a veil, beside the box there is none.
  assert np.abs(drawn[40, 54] - 90).max() > 20
  assert np.abs(drawn[30, 100] - 90).max() < 8


def test_without_masks_there_is_nothing_of_them():
  """None is no array: neither a step nor a file has more than before."""
  batch = empty_batch(2, size=8, max_objects=3)
  assert batch.masks is None and len(jax.tree.leaves(batch)) == 7
  nothing = Detections(*(np.zeros((2, 3)),) * 4)
  assert len(jax.tree.leaves(nothing)) == 4
  assert nothing.take(0).masks is None

  def total(batch):
    return sum(leaf.sum() for leaf in map(jax.numpy.float32, batch[:2]))

  inputs = jax.make_jaxpr(total)(batch).jaxpr.invars
  assert len(inputs) == 7
  with_masks = empty_batch(2, size=8, max_objects=3, mask_size=5)
  assert with_masks.masks.shape == (2, 3, 5, 5)
