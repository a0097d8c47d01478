"""The drawn pictures that the examples train on."""

import numpy as np
import pytest

from yolo9000.data import sources
from yolo9000.data.disk import DataError
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats import shapes
from yolo9000.data.formats.reading import Source


def test_shapes_is_a_function_of_split_and_number():
  train = shapes.read(Source("shapes", "", "train[:20]"), Flaws(strict=True))
  again = shapes.read(Source("shapes", "", "train[:5]"), Flaws(strict=True))
  test = shapes.read(Source("shapes", "", "test[:5]"), Flaws(strict=True))
  for a, b, other in zip(
    train.records, again.records, test.records, strict=False
  ):
    np.testing.assert_array_equal(a.boxes_px, b.boxes_px)
    np.testing.assert_array_equal(train.read_image(a), again.read_image(b))
    assert not np.array_equal(train.read_image(a), test.read_image(other))


def test_shapes_boxes_fit_what_is_drawn():
  """One object alone changes the picture up to its box and not beyond.

  Half transparent edges may spill over by a pixel.
  """
  data = shapes.read(Source("shapes", "", "test[:40]"), Flaws(strict=True))
  for full in data.records:
    scene = ("test", int(full.path.split("/")[-1]))
    one = shapes.draw_scene(*scene, full.boxes_px[:1], full.labels[:1])
    none = shapes.draw_scene(*scene, full.boxes_px[:0], full.labels[:0])
    drawn = one.astype(int) - none
    rows, cols = np.nonzero(np.abs(drawn).max(-1) > 8)
    tight = [cols.min(), rows.min(), cols.max() + 1, rows.max() + 1]
    np.testing.assert_allclose(tight, full.boxes_px[0], atol=2)


def test_shapes_has_what_each_idea_of_the_paper_needs():
  records = shapes.read(
    Source("shapes", "", "train[:500]"), Flaws(strict=True)
  ).records
  boxes = np.concatenate([r.boxes_px for r in records])
  width, height = (boxes[:, 2:] - boxes[:, :2]).T
  side = np.sqrt(width * height) / shapes.SIDE
  labels = np.concatenate([r.labels for r in records])
  assert len(np.unique(labels)) == 20
  assert np.quantile(side, 0.9) > 3 * np.quantile(side, 0.1)  # sizes
  assert np.mean(np.maximum(width / height, height / width) > 1.5) > 0.3
  cells = [
    np.unique(((r.boxes[:, :2] + r.boxes[:, 2:]) * 3).astype(int), axis=0)
    for r in records
  ]  # of the 6 x 6 grid at 192 pixels
  crowded = [
    len(c) < len(r.labels) for c, r in zip(cells, records, strict=True)
  ]
  assert np.mean(crowded) > 0.1


def test_shapes_for_joint_training():
  """Boxes of fifteen classes alone; labels of all twenty, without boxes."""
  boxes = shapes.read(Source("shapes", "", "boxes[:300]"), Flaws(strict=True))
  labels = np.concatenate([r.labels for r in boxes.records])
  seen = {shapes.CLASS_NAMES[n] for n in labels}
  assert seen == set(shapes.CLASS_NAMES) - set(shapes.NEVER_BOXED)
  assert all(r.image_label == -1 for r in boxes.records)
  alone = shapes.read(Source("shapes", "", "labels[:300]"), Flaws(strict=True))
  assert {r.image_label for r in alone.records} == set(range(20))
  assert not any(len(r.labels) for r in alone.records)
  red = shapes.CLASS_NAMES.index("red box")
  record = next(r for r in alone.records if r.image_label == red)
  image = alone.read_image(record).astype(int)
  bright = (image[..., 0] - image[..., 1:].max(-1)) > 60
  assert bright.mean() > 0.01


@pytest.mark.parametrize("split", ["validation", "train[:9999]", "test[:x]"])
def test_shapes_splits(split):
  with pytest.raises(DataError, match="has no split"):
    shapes.read(Source("shapes", "", split), Flaws(strict=True))


def test_other_bad_requests():
  with pytest.raises(DataError, match="is empty"):
    shapes.read(Source("shapes", "", "train[:0]"), Flaws(strict=True))
  with pytest.raises(DataError, match="the classes of shapes are"):
    shapes.read(Source("shapes", "", "train", ("cat",)), Flaws(strict=True))
  with pytest.raises(DataError, match="'coca' is unknown; there are coco, csv"):
    sources.read(Source("coca", "", "train"), Flaws(strict=True))
