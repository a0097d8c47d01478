from pathlib import Path

import cv2
import numpy as np
import pytest

from yolo9000 import boxes as box
from yolo9000.data import augment as aug
from yolo9000.data import fitting

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "image_ops.npz")


def how(**changes):
  settings = dict(
    geometry="crop",
    jitter=0.2,
    hue=0.1,
    saturation=1.5,
    exposure=1.5,
    flip=True,
    min_side=0.005,
  )
  return aug.Augmentation(**{**settings, **changes})


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


@pytest.mark.parametrize("geometry", ["crop", "letterbox", "none"])
def test_a_box_follows_its_picture(geometry):
  """A white box on black: after augmentation it fills its box to a pixel."""
  rng = np.random.default_rng(0)
  for _ in range(50):
    image = np.zeros((90, 120, 3), np.uint8)
    left, top = rng.integers(30, 60, 2)
    image[top : top + 20, left : left + 30] = 255
    edges = np.array([120, 90, 120, 90])
    boxes = np.array([[left, top, left + 30, top + 20]]) / edges
    out, placement, flip = aug.augment(
      rng,
      image,
      96,
      how(geometry=geometry, hue=0.0, saturation=1.0, exposure=1.0),
    )
    moved, big = fitting.place_boxes(
      boxes.astype(np.float32), placement, flip=flip, min_side=0.005
    )
    rows, cols = np.nonzero(out[..., 0] > 191)  # above grey
    seen = [cols.min(), rows.min(), cols.max() + 1, rows.max() + 1]
    assert big.all()
    np.testing.assert_allclose(moved[0] * 96, seen, atol=1.3)


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


def test_distort_by_hand():
  red = np.full((1, 1, 3), (200, 0, 0), np.uint8)

  def apply(image=red, **changes):
    options = {"hue": 0.0, "saturation": 1.0, "exposure": 1.0, **changes}
    return aug.distort(image, **options)[0, 0].astype(int)

  np.testing.assert_allclose(apply(), (200, 0, 0), atol=2)
  np.testing.assert_allclose(apply(hue=1 / 3), (0, 200, 0), atol=5)
  np.testing.assert_allclose(apply(hue=-1 / 3), (0, 0, 200), atol=5)
  np.testing.assert_allclose(apply(exposure=0.5), (100, 0, 0), atol=2)
  np.testing.assert_allclose(apply(exposure=2.0), (255, 0, 0), atol=2)
  np.testing.assert_allclose(apply(saturation=0.5), (200, 100, 100), atol=2)
  grey = np.full((1, 1, 3), 77, np.uint8)
  np.testing.assert_allclose(apply(grey, hue=0.4, saturation=1.5), 77, atol=1)


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


def test_distort_is_the_programs_within_8_bit_colours(goldens):
  """The program computes in floating point; hue here has 256 steps.

  Measured: mean difference .42 of 255 levels at most; a single level of a pixel
  differs by up to 9, and by 37 at the strongest setting, saturation x 2.5.
  """
  golden = goldens("image_ops")
  image = (golden["im"].transpose(1, 2, 0) * 255).round().astype(np.uint8)
  for number, args in enumerate(golden["distort_args"].tolist()):
    hue, saturation, exposure = args
    ours = aug.distort(image, hue=hue, saturation=saturation, exposure=exposure)
    theirs = golden[f"distort_{number}"].transpose(1, 2, 0) * 255
    difference = np.abs(ours - theirs)
    assert difference.mean() < 0.6
    assert difference.max() < (10 if saturation < 2 else 40)


def test_strengths_are_drawn_as_the_program_draws_them():
  """U(1, S) or its inverse with equal chance; S below 1 swaps the bounds."""
  rng = np.random.default_rng(0)
  for most, low, high in ((1.5, 1 / 1.5, 1.5), (0.75, 0.75, 1 / 0.75)):
    drawn = np.array([aug._random_scale(rng, most) for _ in range(4000)])
    assert low <= drawn.min() and drawn.max() <= high
    assert abs(np.mean(drawn > 1) - 0.5) < 0.03


# Classifiers


def classification(**changes):
  settings = dict(
    short_side=(0.5, 1.75),
    angle=7.0,
    aspect=0.75,
    border="black",
    hue=0.1,
    saturation=0.75,
    exposure=0.75,
    flip=True,
  )
  return aug.Classification(**{**settings, **changes})


def test_turned_crops_are_the_programs(goldens):
  """Within OpenCV's rounding of places to 1/32 of a pixel and of levels."""
  golden = goldens("image_ops")
  image = np.round(golden["im"].transpose(1, 2, 0) * 255).astype(np.uint8)
  rows = golden["rotate_crop_args_rad_scale_w_h_dx_dy_aspect"]
  for k, (radians, scale, width, height, dx, dy, aspect) in enumerate(rows):
    assert width == height
    turn = aug.Turn(radians, scale, aspect, dx, dy)
    ours = aug.rotate_and_crop(image, int(width), turn, border="black")
    theirs = 255 * golden[f"rotate_crop_{k}"].transpose(1, 2, 0)
    # Beyond the last pixel's centre the program mixes with black, as here.
    gap = np.abs(ours - theirs)
    assert gap.mean() < 0.5 and gap.max() < 4, k


def test_turns_are_drawn_as_the_program_draws_them(goldens):
  """Its twelve draws lie within our bounds, and ours fill these."""
  golden = goldens("image_ops")
  name = (
    "augment_args_seed0to11_im500x375_angle7_aspect.75_low128_high448_out256"
  )
  theirs = golden[name]
  rng = np.random.default_rng(0)
  drawn = np.array(
    [
      aug.random_turn(rng, (375, 500), 256, classification())
      for _ in range(4000)
    ]
  )
  assert list(golden["augment_args_cols"]) == list(
    ("rad", "scale", "dx", "dy", "aspect")
  )
  ours = drawn[:, [0, 1, 3, 4, 2]]
  assert (theirs.min(0) >= ours.min(0) - 1e-2).all()
  assert (theirs.max(0) <= ours.max(0) + 1e-2).all()
  angle, scale, aspect, dx, dy = drawn.T
  assert abs(np.degrees(angle)).max() == pytest.approx(7, abs=0.1)
  assert aspect.min() > 0.75 - 1e-9 and aspect.max() < 1 / 0.75 + 1e-9
  side = scale * np.minimum(375, np.trunc(500 * aspect))
  assert side.min() == pytest.approx(128) and side.max() == pytest.approx(448)
  for shift, length in ((dx, 500 * scale / aspect), (dy, 375 * scale)):
    assert (abs(shift) <= abs(length - 256) / 2 + 1e-9).all()


def test_in_2017_a_small_picture_stayed_in_the_middle():
  rng = np.random.default_rng(0)
  how = classification(short_side=(0.5, 0.5), border="edge", aspect=1.0)
  for _ in range(20):
    turn = aug.random_turn(rng, (100, 100), 64, how)
    assert turn.dx == turn.dy == 0 and turn.scale == pytest.approx(0.32)


def test_an_unturned_crop_of_the_pictures_size_is_the_picture():
  image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
  turn = aug.Turn(0.0, 1.0, 1.0, 0.0, 0.0)
  for border in aug.BORDERS:
    out = aug.rotate_and_crop(image, 32, turn, border=border)
    np.testing.assert_array_equal(out, image)


def test_classifiers_augment_by_the_seed():
  image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
  one, other, again = (
    aug.augment(np.random.default_rng(s), image, 48, classification())[0]
    for s in (0, 1, 0)
  )
  assert one.shape == (48, 48, 3)
  np.testing.assert_array_equal(one, again)
  assert not np.array_equal(one, other)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"border": "grey"}, "border is 'grey'; allowed are edge, black"),
    ({"aspect": 0.0}, "aspect 0.0 must be above 0"),
    ({"short_side": (2.0, 1.0)}, "the smaller first"),
    ({"saturation": 0.0}, "saturation 0.0 and exposure .* must be above 0"),
  ],
)
def test_impossible_settings_of_classifiers(changes, message):
  with pytest.raises(ValueError, match=message):
    aug.check(classification(**changes))
  aug.check(classification())


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
