from pathlib import Path

import numpy as np
import pytest

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
