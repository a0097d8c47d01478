import itertools
import logging

import numpy as np
import pytest

from yolo9000.data import augment as aug
from yolo9000.data import pipeline, shapes
from yolo9000.data.reading import Flaws, Source
from yolo9000.data.records import DataError, read_picture

AUGMENTATION = aug.Augmentation("crop", 0.2, 0.02, 1.5, 1.5, True, 0.005)


@pytest.fixture(scope="module")
def data():
  return shapes.read(Source("shapes", "", "train[:30]"), Flaws(strict=True))


def batches(data, count, **changes):
  options = dict(
    augmentation=AUGMENTATION,
    train_on_difficult=False,
    batch_size=4,
    size_of_step=lambda step: 64,
    max_objects=12,
    seed=0,
    start_step=0,
    broken_share=0.0,
    num_threads=2,
    num_processes=0,
    weights=[1.0],
  )
  stream = pipeline.train_batches([data], **{**options, **changes})
  return list(itertools.islice(stream, count))


def assert_equal(a, b):
  for one, other in zip(a, b, strict=True):
    for name, x, y in zip(one._fields, one, other, strict=True):
      np.testing.assert_array_equal(x, y, err_msg=name)


def test_batches_are_padded_masked_and_of_bytes(data):
  for batch in batches(data, 3):
    assert batch.image.shape == (4, 64, 64, 3) and batch.image.dtype == np.uint8
    assert batch.boxes.shape == (4, 12, 4) and batch.boxes.dtype == np.float32
    assert batch.mask.any(1).all() and batch.valid.all()
    assert (batch.boxes[~batch.mask] == 0).all()
    assert (batch.image_label == -1).all()
    real = batch.boxes[batch.mask]
    assert real.min() >= 0 and real.max() <= 1
    assert (real[:, 2:] - real[:, :2] >= 0.005 - 1e-6).all()


@pytest.mark.parametrize("threads", [1, 4])
def test_a_start_in_the_middle_sees_the_same_batches(data, threads):
  whole = batches(data, 12)
  assert_equal(whole[9:], batches(data, 3, start_step=9, num_threads=threads))


def test_every_picture_comes_once_per_pass_in_a_new_order(data):
  seen = np.concatenate([b.index for b in batches(data, 30)])  # 120 pictures
  passes = seen.reshape(4, 30)
  for one in passes:
    assert sorted(one) == list(range(30))
  assert len({tuple(one) for one in passes}) == 4


def test_the_same_picture_is_augmented_anew_each_pass(data):
  first, second = batches(data, 15)[:8], batches(data, 15)[7:]
  a = {i: x for b in first for i, x in zip(b.index, b.image, strict=True)}
  b = {i: x for b in second for i, x in zip(b.index, b.image, strict=True)}
  common = a.keys() & b.keys()
  assert len(common) > 10
  assert sum(np.array_equal(a[i], b[i]) for i in common) <= 2


def test_another_seed_gives_another_order(data):
  a, b = batches(data, 2), batches(data, 2, seed=1)
  assert not np.array_equal(a[0].index, b[0].index)


def test_a_batch_has_one_size_and_sizes_change_by_step(data):
  def size_of_step(step):
    return pipeline.image_size(step, sizes=(64, 96, 128), every=2, seed=0)

  sizes = [
    b.image.shape[1] for b in batches(data, 12, size_of_step=size_of_step)
  ]
  assert sizes == [size_of_step(n) for n in range(12)]
  assert sizes[::2] == sizes[1::2] and len(set(sizes)) > 1


def test_sizes_are_drawn_evenly():
  sizes = tuple(range(320, 609, 32))
  drawn = [
    pipeline.image_size(n, sizes=sizes, every=10, seed=3)
    for n in range(0, 20000, 10)
  ]
  counts = np.array([drawn.count(s) for s in sizes])
  assert len(sizes) == 10 and counts.min() > 150 and counts.max() < 250


def test_surplus_objects_are_counted_reported_and_drawn_at_random(data, caplog):
  most = max(len(r.labels) for r in data.records)
  with caplog.at_level(logging.WARNING, "yolo9000"):
    lost = pipeline.check_objects(data.records, 3)
  assert lost == sum(max(0, len(r.labels) - 3) for r in data.records) > 0
  assert "have more than max_objects = 3" in caplog.text
  assert f"{lost} are left out" in caplog.text
  assert pipeline.check_objects(data.records, most) == 0
  taken = {}
  for batch in batches(data, 60, max_objects=3):
    assert batch.mask.sum(1).max() <= 3
    for index, labels in zip(batch.index, batch.labels, strict=True):
      taken.setdefault(int(index), set()).add(tuple(labels))
  assert max(map(len, taken.values())) > 1


@pytest.mark.parametrize("wanted", [False, True])
def test_difficult_objects_are_truths_only_if_wanted(data, wanted):
  hard = data._replace(
    records=[
      r._replace(difficult=np.ones(len(r.labels), bool)) for r in data.records
    ]
  )
  batch = batches(hard, 1, train_on_difficult=wanted)[0]
  assert batch.mask.any() == wanted


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
def test_evaluation_sees_each_picture_once(data, resize):
  stream = pipeline.eval_batches(
    data, resize=resize, size=96, batch_size=8, num_threads=2
  )
  index, valid, places = [], [], []
  for batch, placements in stream:
    assert batch.image.shape == (8, 96, 96, 3)
    index.extend(batch.index[batch.valid])
    valid.append(batch.valid.sum())
    places.extend(placements)
  assert index == list(range(30)) and valid == [8, 8, 8, 6]
  assert places == [aug.Placement(0, 0, 1, 1)] * 30  # the pictures are square


def test_impossible_requests_are_errors(data):
  with pytest.raises(ValueError, match="batch_size 31 .* pictures, 30"):
    batches(data, 1, batch_size=31)
  with pytest.raises(
    ValueError, match="'crop'; allowed are stretch, letterbox, centre_crop"
  ):
    pipeline.eval_batches(
      data, resize="crop", size=96, batch_size=8, num_threads=1
    )


def test_a_broken_picture_stops_training_and_is_named(data, tmp_path):
  path = tmp_path / "broken.jpg"
  path.write_bytes(b"\xff\xd8\xff\xda nothing")
  broken = data._replace(
    records=[r._replace(path=str(path)) for r in data.records],
    read_image=read_picture,
  )
  with pytest.raises(DataError, match="broken.jpg: not a picture"):
    batches(broken, 1)
