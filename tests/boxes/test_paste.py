"""Masks laid on pictures, against torchvision's, and cut with their boxes."""

import numpy as np

from yolo9000.boxes import masks


def test_pasting_is_torchvisions(goldens):
  golden = goldens("tv_rcnn")
  height, width = golden["paste/image_hw"].tolist()
  for n, box_px in enumerate(golden["paste/boxes"]):
    mask = golden["paste/masks"][n, 0]
    larger = masks.larger(box_px, len(mask))
    np.testing.assert_allclose(larger, golden["paste/expanded_boxes"][n], 1e-6)
    np.testing.assert_array_equal(
      np.trunc(larger), golden["paste/int_boxes"][n]
    )
    found = masks.paste(mask, box_px, (width, height))
    np.testing.assert_allclose(found, golden["paste/out"][n, 0], atol=1e-5)
    on = golden["paste/binary_at_half"][n, 0]
    np.testing.assert_array_equal(found >= masks.ON, on)


def test_a_box_outside_the_picture_covers_nothing():
  ones = np.ones((4, 4), np.float32)
  for box in ([-30, -30, -10, -10], [90, 5, 120, 20]):
    found = masks.paste(ones, np.float32(box), (40, 30))
    assert found.shape == (30, 40) and not found.any()


def test_a_cut_box_shows_the_same_pixels():
  """What is left of a mask covers what it covered, and others stay."""
  y, x = (np.mgrid[:28, :28] + 0.5) / 28
  disc = np.float32((x - 0.5) ** 2 + (y - 0.4) ** 2 < 0.15)
  frames = np.float32([[-20, 10, 60, 50], [5, 5, 45, 45], [3, 3, 3, 9]])
  boxes = np.float32([[0, 10, 50, 36], [5, 5, 45, 45], [3, 3, 3, 8]])
  three = disc[None].repeat(3, 0)
  found = masks.cut(three, frames, boxes)
  np.testing.assert_array_equal(found[1:], three[1:])
  size = (50, 60)
  whole = masks.paste(disc, frames[0], size) >= masks.ON
  part = masks.paste(found[0], boxes[0], size) >= masks.ON
  assert whole[:36].sum() > 800
  assert (whole[:35] != part[:35]).sum() < 0.04 * whole.sum()
  assert not part[38:].any()
