"""Proposals: selective search, their file, and their way to a batch."""

import re

import cv2
import numpy as np
import pytest

from yolo9000 import boxes as box
from yolo9000.data import augment as aug
from yolo9000.data import batches as pipeline
from yolo9000.data import fitting, proposals, selective_search, sources
from yolo9000.data.disk import DataError
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats import shapes
from yolo9000.data.formats.reading import Source
from yolo9000.data.proposals import Proposals
from yolo9000.data.selective_search import Search
from yolo9000.scoring import recall


@pytest.fixture(scope="module")
def drawn():
  return shapes.read(Source("shapes", "", "train[:12]"), Flaws(strict=True))


def by_colour(image, scale):
  """A stand-in for the first regions: where few bits of all channels agree."""
  del scale
  coarse = (image // 64).astype(np.int32) @ np.array([1, 4, 16])
  labels, first = np.zeros(image.shape[:2], np.int64), 0
  for value in np.unique(coarse):
    count, own = cv2.connectedComponents((coarse == value).astype(np.uint8))
    labels[own > 0] = own[own > 0] + first
    first += count
  return labels


def four_blocks():
  """A picture of 40 x 40: grey, with a red block, and two greens that touch."""
  image = np.full((40, 40, 3), 90, np.uint8)
  image[4:14, 6:20] = (250, 10, 10)
  image[20:36, 4:20] = (10, 250, 10)
  image[20:36, 20:30] = (10, 180, 10)
  return image


def test_boxes_are_those_of_regions_and_of_what_they_join_to():
  """The two greens are alike, and become one before anything else does."""
  found = selective_search.propose(four_blocks(), Search(min_side=2), by_colour)
  rows = {tuple(row) for row in found.tolist()}
  assert len(rows) == len(found)  # none is there twice
  assert {
    (6, 4, 20, 14),  # red
    (4, 20, 20, 36),  # one green
    (20, 20, 30, 36),  # the other
    (4, 20, 30, 36),  # both
    (0, 0, 40, 40),
  } <= rows
  again = selective_search.propose(four_blocks(), Search(min_side=2), by_colour)
  np.testing.assert_array_equal(found, again)
  few = selective_search.propose(
    four_blocks(), Search(min_side=2, most=3), by_colour
  )
  np.testing.assert_array_equal(few, found[:3])


def test_likeness_is_the_papers():
  """Equations 2 to 6 on two regions of 2 x 4 pixels, side by side in 4 x 4."""
  picture = np.zeros((4, 4, 3), np.uint8)
  picture[:, 2:] = 255
  labels = np.repeat([[0, 0, 1, 1]], 4, axis=0)
  first = selective_search.first_regions(picture, labels)
  assert first.boxes.tolist() == [[0, 0, 2, 4], [2, 0, 4, 4]]
  assert first.sizes.tolist() == [8, 8] and first.neighbours.tolist() == [
    [0, 1]
  ]
  np.testing.assert_allclose(first.colour.sum(1), 1)

  def alike(*measure):
    one = selective_search.alike(first, 0, np.array([1]), measure)
    return float(one[0])

  assert alike("colour") == 0  # no bin in common
  assert 0 < alike("texture") <= 1
  assert alike("size") == 0  # all of the picture
  assert alike("fill") == 1  # the box around both holds nothing else
  total = alike("colour", "texture", "size", "fill")
  assert total == pytest.approx(1 + alike("texture"))
  boxes = selective_search.group(first, ("size", "fill"))
  assert boxes.tolist()[-1] == [0, 0, 4, 4] and len(boxes) == 3


def test_large_pictures_are_searched_small_and_told_in_their_pixels():
  large = cv2.resize(four_blocks(), (400, 400), interpolation=cv2.INTER_NEAREST)
  how = Search(width=40, min_side=2)
  found = selective_search.propose(large, how, by_colour)
  small = selective_search.propose(four_blocks(), how, by_colour)
  np.testing.assert_allclose(found, 10 * small)


def test_drawn_objects_have_proposals(drawn):
  """With scikit-image, where it is installed."""
  pytest.importorskip("skimage")
  segment = selective_search.felzenszwalb()
  records = [
    record._replace(
      proposals_px=selective_search.propose(
        drawn.read_image(record), Search(), segment
      )
    )
    for record in drawn.records[:4]
  ]
  figures = recall.of_proposals(records, drawn.class_names)
  assert figures["recall_50"] > 0.9
  assert figures["proposals_per_picture"] < 2000


def jittered(record, count=6, seed=0):
  """Boxes near the truths, and others; whole pixels."""
  rng = np.random.default_rng(seed)
  near = record.boxes_px + np.round(rng.normal(0, 4, record.boxes_px.shape))
  low = rng.integers(0, 128, (count, 2))
  other = np.concatenate([low, low + rng.integers(20, 128, (count, 2))], 1)
  every = np.concatenate([near, other])
  return np.clip(every, 0, shapes.SIDE).astype(np.float32)


@pytest.fixture
def file(drawn, tmp_path):
  path = tmp_path / "train.npz"
  found = [jittered(record, seed=n) for n, record in enumerate(drawn.records)]
  proposals.write(path, Proposals(found, "by hand"), drawn.records)
  return path


def test_a_file_is_read_as_it_was_written(drawn, file):
  found = proposals.read(str(file), drawn.records)
  assert found.method == "by hand"
  for n, (one, record) in enumerate(
    zip(found.boxes_px, drawn.records, strict=True)
  ):
    np.testing.assert_array_equal(one, jittered(record, seed=n))
  source = Source(
    *("shapes", "", "train[:12]"), proposals=str(file), max_proposals=5
  )
  data = sources.read_for("main", source, class_names=drawn.class_names)
  assert [len(r.proposals_px) for r in data.records] == [5] * 12


def test_a_file_of_other_pictures_is_refused(drawn, file):
  """Boxes may change, and the folder; names, sizes and the order may not."""
  records = drawn.records
  moved = [
    r._replace(path=f"/elsewhere/{n}", boxes_px=r.boxes_px[:0])
    for n, r in enumerate(records)
  ]
  proposals.read(str(file), moved)
  larger = [*records[:-1], records[-1]._replace(width=300)]
  for other in (records[::-1], records[:-1], larger):
    with pytest.raises(DataError, match="expected a file of the same pictures"):
      proposals.read(str(file), other)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"boxes_px": np.zeros((1, 4), np.float32)}, "shape (1, 4); expected ("),
    ({"boxes_px": None}, "has no boxes_px; expected a file"),
    ({"reverse": True}, "box 0 is ["),
  ],
)
def test_a_damaged_file_is_told(drawn, file, changes, message):
  arrays = dict(np.load(file))
  if changes.pop("reverse", False):
    arrays["boxes_px"] = arrays["boxes_px"][:, ::-1]
  arrays.update(changes)
  np.savez(file, **{k: v for k, v in arrays.items() if v is not None})
  with pytest.raises(DataError, match=re.escape(message)):
    proposals.read(str(file), drawn.records)
  file.write_bytes(file.read_bytes()[:100])
  with pytest.raises(DataError, match="is no .npz file"):
    proposals.read(str(file), drawn.records)


def with_truths(drawn):
  """The data set whose proposals are the truths, and one beyond them."""
  more = np.float32([[10, 20, 30, 60]])
  return drawn._replace(
    records=[
      r._replace(proposals_px=np.concatenate([r.boxes_px, more]))
      for r in drawn.records
    ]
  )


@pytest.mark.parametrize("geometry", list(aug.GEOMETRIES))
def test_proposals_follow_the_picture_as_truths_do(drawn, geometry):
  """Through crops, flips and resizes; the rest of the rows is zero."""
  data = with_truths(drawn)
  how = aug.Augmentation(geometry, 0.2, 0.0, 1.0, 1.0, True, 0.005)
  stream = pipeline.train_batches(
    [data],
    weights=[1.0],
    augmentations=[how],
    batch_size=12,
    rows=range(12),
    size_of_step=lambda step: 64,
    wanted=pipeline.Wanted(12),
    seed=0,
    start_step=0,
    broken_share=0.0,
    workers=pipeline.Workers(1),
  )
  batch = next(stream)
  stream.close()
  most = 1 + max(len(r.labels) for r in drawn.records)
  assert batch.proposals.shape == (12, most, 4)
  for row in range(12):
    truths = batch.boxes[row][batch.mask[row]]
    own = batch.proposals[row][box.area(batch.proposals[row]) > 0]
    assert len(own) >= len(truths)
    assert (batch.proposals[row, len(own) :] == 0).all()
    same = np.isclose(truths[:, None], own[None]).all(2)
    assert same.any(1).all()
    # In their own order, which that of the truths is not.
    record = data.records[batch.index[row]]
    areas = box.area(own) / box.area(own)[0]
    if len(own) == len(record.proposals_px) and geometry == "none":
      expected = box.area(record.proposals_px)
      np.testing.assert_allclose(areas, expected / expected[0], rtol=1e-3)


@pytest.mark.parametrize("resize", list(fitting.RESIZES))
def test_evaluation_brings_them_where_the_picture_is(drawn, resize):
  data = with_truths(drawn)
  stream = pipeline.eval_batches(
    data,
    resize=resize,
    size=64,
    batch_size=12,
    rows=range(12),
    num_threads=1,
  )
  batch, places = next(stream)
  for row, (record, place) in enumerate(zip(data.records, places, strict=True)):
    back = fitting.unplace_boxes(batch.proposals[row], place)
    count = len(record.proposals_px)
    np.testing.assert_allclose(back[:count], record.proposals, atol=1e-5)


def test_without_proposals_a_batch_has_none(drawn):
  assert pipeline.empty_batch(2, size=32, max_objects=3).proposals is None
  mixed = [with_truths(drawn).records[0], *drawn.records[1:]]
  with pytest.raises(
    ValueError, match="has no proposals, and 1 other pictures"
  ):
    pipeline.eval_batches(
      drawn._replace(records=mixed),
      resize="stretch",
      size=64,
      batch_size=4,
      rows=range(4),
      num_threads=1,
    )
