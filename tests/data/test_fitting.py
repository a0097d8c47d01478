"""Where pictures and boxes lie on the input, as in the original program."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from yolo9000 import boxes as box
from yolo9000.data import fitting

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "image_ops.npz")


@pytest.mark.parametrize("case", range(6))
def test_boxes_move_as_the_programs(case):
  """Its label transform: edges times (sx, sy) less (dx, dy), flip, cut.

  A box at x = y = 0 is its mark for "no box" and is passed over there.
  """
  dx, dy, sx, sy, flip = GOLDEN["correct_boxes_args_dx_dy_sx_sy_flip"][case]
  expected = GOLDEN[f"correct_boxes_{case}"]
  real = expected[:, 0] < 999999
  moved, _ = fitting.place_boxes(
    box.cxcywh_to_xyxy(GOLDEN["boxes_in"][real]),
    fitting.Placement(-dx, -dy, sx - dx, sy - dy),
    flip=bool(flip),
    min_side=0.001,
  )
  assert real.sum() == 5
  np.testing.assert_allclose(
    box.xyxy_to_cxcywh(moved), expected[real], atol=2e-6
  )


def test_boxes_come_back_from_the_input():
  boxes = np.random.default_rng(0).uniform(0.3, 0.6, (5, 4)).astype(np.float32)
  placement = fitting.Placement(0.1, 0.25, 0.9, 0.75)
  there, _ = fitting.place_boxes(boxes, placement, flip=False, min_side=0.0)
  np.testing.assert_allclose(
    fitting.unplace_boxes(there, placement), boxes, atol=1e-6
  )


def test_letterbox_is_the_programs():
  """500 x 375 into 416: 416 x 312 (floored), 52 grey rows above."""
  image = np.full((375, 500, 3), 255, np.uint8)
  out, placement = fitting.letterbox(image, (416, 416))
  assert placement == fitting.Placement(0, 52 / 416, 1, 364 / 416)
  assert (out[52:364] == 255).all()
  assert (out[:52] == fitting.GREY).all() and (out[364:] == fitting.GREY).all()


def test_crop_repeats_the_edge_outside_the_picture():
  image = np.arange(4, dtype=np.uint8)[None, :, None].repeat(4, 0).repeat(3, 2)
  out, placement = fitting.crop_and_stretch(image, (-2, 0, 4, 4), 6)
  np.testing.assert_array_equal(out[0, :, 0], [0, 0, 0, 1, 2, 3])
  assert placement == fitting.Placement(2 / 6, 0, 1, 1)


def test_small_rests_are_left_out_and_centres_outside_are_not():
  boxes = np.array([[0.0, 0.0, 0.26, 1], [0.0, 0.0, 0.2504, 1]], np.float32)
  # The left quarter is cut away.
  moved, big = fitting.place_boxes(
    boxes, fitting.Placement(-1 / 3, 0, 1, 1), flip=False, min_side=0.005
  )
  np.testing.assert_array_equal(big, [True, False])
  np.testing.assert_allclose(moved[0], [0, 0, 0.04 / 3, 1], atol=1e-6)


def program_resize(image, width, height):
  """The original program's: bilinear, the four corners stay where they are."""

  def axis(new, old):
    place = np.arange(new) * ((old - 1) / (new - 1))
    low = np.minimum(place.astype(int), old - 2)
    return low, place - low

  (x, dx), (y, dy) = axis(width, image.shape[1]), axis(height, image.shape[0])
  dx, dy = dx[None, :, None], dy[:, None, None]
  rows = image[:, x] * (1 - dx) + image[:, x + 1] * dx
  return rows[y] * (1 - dy) + rows[y + 1] * dy


def test_resizing_is_opencvs_and_how_far_that_is_from_the_programs(
  shared, goldens
):
  """Both are bilinear; OpenCV maps edges to edges, the program corners.

  Measured on photos stretched to 416 x 416: a mean difference of .4 to 2.3 of
  255 levels, and 2 to 21 at the 99th percentile.
  """
  golden = goldens("image_ops")
  image = (golden["im"].transpose(1, 2, 0) * 255).round().astype(np.uint8)
  for name in ("32x32", "64x32", "20x48", "37x23", "19x46"):
    width, height = map(int, name.split("x"))
    theirs = golden[f"resize_{name}"].transpose(1, 2, 0) * 255
    np.testing.assert_allclose(
      program_resize(image, width, height), theirs, atol=1e-3
    )
    # The letterbox lies at the same place, to the pixel.
    ours, placement = fitting.letterbox(image, (width, height))
    theirs = golden[f"letterbox_{name}"].transpose(1, 2, 0) * 255
    left, top = placement.left * width, placement.top * height
    across = (placement.right - placement.left) * width
    down = (placement.bottom - placement.top) * height
    inside = np.zeros((height, width), bool)
    inside[
      round(top) : round(top + down), round(left) : round(left + across)
    ] = 1
    assert ((np.abs(theirs - 127.5) > 1e-3).any(axis=2) == inside).all()
    np.testing.assert_array_equal(ours[~inside], fitting.GREY)
  np.testing.assert_array_equal(  # of equal size: the same
    fitting.stretch(image, (37, 23))[0], image
  )
  np.testing.assert_allclose(
    *(cv2.flip(image, 1), golden["flip"].transpose(1, 2, 0) * 255), atol=1e-3
  )
  means, high = [], []
  for path in sorted((shared / "darknet").glob("*.jpg")):
    photo = cv2.imread(str(path))
    ours = fitting.stretch(photo, (416, 416))[0]
    difference = np.abs(ours - program_resize(photo, 416, 416))
    means.append(difference.mean())
    high.append(np.percentile(difference, 99))
  assert 0.4 < min(means) and max(means) < 2.4
  assert 2 < min(high) and max(high) < 21


def test_centre_crop_is_the_programs(goldens):
  golden = goldens("image_ops")
  image = np.round(golden["im"].transpose(1, 2, 0) * 255).astype(np.uint8)
  side = min(image.shape[:2])
  ours, place = fitting.centre_crop(image, (side, side))
  theirs = golden["center_crop_24x24"].transpose(1, 2, 0) * 255
  small = cv2.resize(ours, (24, 24), interpolation=cv2.INTER_LINEAR)
  assert np.abs(small - theirs).mean() < 4  # 23 to 24 pixels, two resizers
  # A box of the whole picture sticks out to the left and right.
  assert (
    place.left < 0 and place.right > 1 and (place.top, place.bottom) == (0, 1)
  )
  wide, place = fitting.centre_crop(image, (64, 32))
  assert wide.shape == (32, 64, 3)
  whole = np.array([[0.25, 0.25, 0.75, 0.75]], np.float32)
  back = fitting.unplace_boxes(
    fitting.place_boxes(whole, place, flip=False, min_side=0.001)[0], place
  )
  np.testing.assert_allclose(back, whole, atol=1e-6)


def test_a_box_stays_if_its_centre_does():
  """The cut's left half is off the first box's centre, and on the other's."""
  place = fitting.Placement(-0.5, 0.0, 1.5, 1.0)  # from .25 to .75 across
  boxes = np.array([[0.0, 0, 0.45, 1], [0.1, 0, 0.45, 1]], np.float32)
  for centred, expected in ((True, [False, True]), (False, [True, True])):
    moved, kept = fitting.place_boxes(
      boxes, place, flip=False, min_side=0.001, centred=centred
    )
    assert kept.tolist() == expected
  np.testing.assert_allclose(moved[:, 2], 0.4, atol=1e-6)
