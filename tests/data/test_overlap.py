"""SSD's crops: where they lie, what is in them, and which boxes stay."""

import numpy as np
import pytest

from yolo9000 import boxes as box
from yolo9000.data import augment as aug
from yolo9000.data import fitting, overlap

BOXES = np.array([[0.1, 0.2, 0.4, 0.6], [0.5, 0.5, 0.9, 0.8]], np.float32)
WHOLE = np.array([0.0, 0.0, 1.0, 1.0])


def is_canvas(edges):
  """A square around the picture, at most four times as large."""
  side = edges[2] - edges[0]
  return (
    np.isclose(side, edges[3] - edges[1])
    and np.all(edges[:2] <= 0)
    and np.all(edges[2:] >= 1)
    and side <= 4
  )


@pytest.mark.parametrize("least", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_truth_overlaps_the_cut(monkeypatch, least):
  monkeypatch.setattr(overlap, "OVERLAPS", (least,))
  large = np.array([[0.1, 0.1, 0.9, 0.9]], np.float32)
  boxes = np.concatenate([BOXES, large])
  cuts = 0
  for seed in range(300):
    edges = overlap.random_edges(np.random.default_rng(seed), boxes)
    if is_canvas(edges):
      continue
    cuts += 1
    across, down = edges[2:] - edges[:2]
    assert 0.5 <= across / down <= 2
    assert np.max(box.iou(edges[None], boxes)) >= least
  # An overlap of .9 is seldom found, of .1 often.
  assert cuts > {0.1: 200, 0.3: 150, 0.5: 100, 0.7: 50, 0.9: 2}[least]


def test_all_is_taken_without_a_cut_or_a_truth(monkeypatch):
  nothing = np.zeros((0, 4), np.float32)
  for overlaps, boxes in (((None,), BOXES), ((0.5,), nothing)):
    monkeypatch.setattr(overlap, "OVERLAPS", overlaps)
    found = [
      overlap.random_edges(np.random.default_rng(seed), boxes)
      for seed in range(100)
    ]
    assert all(map(is_canvas, found))
    alone = sum(np.array_equal(edges, WHOLE) for edges in found)
    assert 30 < alone < 70  # the others lie on a canvas


def test_a_box_follows_its_picture():
  """Black on white: what is seen of it fills its box to a pixel."""
  how = aug.Augmentation("overlap", 0.0, 0.0, 1.0, 1.0, True, 0.001)
  stayed = 0
  for seed in range(60):
    rng = np.random.default_rng(seed)
    image = np.full((90, 120, 3), 255, np.uint8)
    left, top = rng.integers(10, 60, 2)
    image[top : top + 25, left : left + 40] = 0
    boxes = np.array([[left, top, left + 40, top + 25]]) / [120, 90, 120, 90]
    boxes = boxes.astype(np.float32)
    out, placement, flip = aug.augment(rng, image, 96, how, boxes)
    moved, kept = fitting.place_boxes(
      boxes, placement, flip=flip, min_side=0.001, centred=how.centred
    )
    if kept[0]:
      stayed += 1
      rows, cols = np.nonzero(out[..., 0] < 60)  # below the canvas
      seen = [cols.min(), rows.min(), cols.max() + 1, rows.max() + 1]
      np.testing.assert_allclose(moved[0] * 96, seen, atol=2.0)
  assert 40 < stayed < 60


@pytest.mark.parametrize("edges", [[0.79, 0.1, 1, 0.9], [0.4, 0.4, 0.6, 0.6]])
def test_a_cut_within_a_tiny_picture_shows_it(edges):
  out, place = overlap.cut(np.zeros((2, 2, 3), np.uint8), np.array(edges), 8)
  assert (out == 0).all()
  assert place.left <= 0 and place.right >= 1


def test_a_cut_beside_the_picture_is_the_canvas():
  image = np.zeros((10, 10, 3), np.uint8)
  out, place = overlap.cut(image, np.array([1.5, 0.0, 2.5, 1.0]), 8)
  assert (out == overlap.CANVAS).all()
  assert place == fitting.Placement(-1.5, 0.0, -0.5, 1.0)
