import itertools
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from yolo9000.data import augment as aug
from yolo9000.data import batches as pipeline
from yolo9000.data import fitting, records
from yolo9000.data.disk import DataError
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats import shapes
from yolo9000.data.formats.reading import Source
from yolo9000.data.records import Dataset, Record, read_picture

AUGMENTATION = aug.Augmentation("crop", 0.2, 0.02, 1.5, 1.5, True, 0.005)


@pytest.fixture(scope="module")
def data():
  return shapes.read(Source("shapes", "", "train[:30]"), Flaws(strict=True))


def size_of_step(step):
  """Goes to worker processes, which a lambda cannot."""
  return 64 if step % 2 else 96


def batches(data, count, **changes):
  datasets = data if isinstance(data, list) else [data]
  options = dict(
    batch_size=4,
    size_of_step=lambda step: 64,
    seed=0,
    start_step=0,
    broken_share=0.0,
    weights=[1.0],
  )
  options["augmentations"] = [AUGMENTATION] * len(datasets)
  options["rows"] = range(changes.get("batch_size", 4))
  threads = changes.pop("num_threads", 2)
  workers = pipeline.Workers(threads, changes.pop("num_processes", 0))
  most = changes.pop("max_objects", 12)
  difficult = changes.pop("train_on_difficult", False)
  options["wanted"] = pipeline.Wanted(most, difficult)
  options = {**options, **changes}
  stream = pipeline.train_batches(datasets, workers=workers, **options)
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


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_several_processes_see_each_picture_once_per_pass(data, processes):
  """30 pictures in batches of 12, of which each makes its own rows."""
  each = 12 // processes
  parts = [
    batches(data, 5, batch_size=12, rows=range(each * n, each * (n + 1)))
    for n in range(processes)
  ]
  whole = batches(data, 5, batch_size=12)
  for step, batch in enumerate(whole):
    columns = zip(*(part[step] for part in parts), strict=True)
    joined = [c[0] if c[0] is None else np.concatenate(c) for c in columns]
    assert_equal([batch], [type(batch)(*joined)])
  seen = np.concatenate([b.index for b in whole]).reshape(2, 30)
  assert all(sorted(one) == list(range(30)) for one in seen)


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_several_processes_evaluate_each_picture_once(data, processes):
  each = 12 // processes
  seen = []
  for n in range(processes):
    rows = range(each * n, each * (n + 1))
    options = dict(resize="stretch", size=96, batch_size=12, num_threads=1)
    found = list(pipeline.eval_batches(data, rows=rows, **options))
    assert len(found) == 3  # as many for each, or they would wait
    for batch, placements in found:
      assert len(batch.image) == each and batch.valid.sum() == len(placements)
      seen.extend(batch.index[batch.valid])
  assert sorted(seen) == list(range(30))


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
    lost = records.check_objects(data.records, 3)
  assert lost == sum(max(0, len(r.labels) - 3) for r in data.records) > 0
  assert "have more than max_objects = 3" in caplog.text
  assert f"{lost} are left out" in caplog.text
  assert records.check_objects(data.records, most) == 0
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
    data, resize=resize, size=96, batch_size=8, rows=range(8), num_threads=2
  )
  index, valid, places = [], [], []
  for batch, placements in stream:
    assert batch.image.shape == (8, 96, 96, 3)
    index.extend(batch.index[batch.valid])
    valid.append(batch.valid.sum())
    places.extend(placements)
  assert index == list(range(30)) and valid == [8, 8, 8, 6]
  assert (
    places == [fitting.Placement(0, 0, 1, 1)] * 30
  )  # the pictures are square


def test_impossible_requests_are_errors(data):
  with pytest.raises(ValueError, match="batch_size 31 .* pictures, 30"):
    batches(data, 1, batch_size=31)
  with pytest.raises(
    ValueError, match="'crop'; allowed are stretch, letterbox, centre_crop"
  ):
    pipeline.eval_batches(
      data, resize="crop", size=96, batch_size=8, rows=range(8), num_threads=1
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


# Several data sets


def labelled(count):
  """Pictures with a label alone; `read_image` gives the label as grey."""
  records = [
    Record(
      *(f"label/{n}", 0, 0, np.zeros((0, 4), np.float32)),
      *(np.zeros(0, np.int32), np.zeros(0, bool), n),
    )
    for n in range(count)
  ]
  return Dataset(records, tuple(map(str, range(count))), grey, [])


def grey(record):
  return np.full((40, 60, 3), record.image_label, np.uint8)


def test_data_sets_are_mixed_by_weight(data):
  other = labelled(50)
  stream = batches([data, other], 50, weights=[4.0, 1.0])  # 200 pictures
  index = np.concatenate([b.index for b in stream])
  ours = index[index < 30]
  assert len(ours) == 160
  for one in ours[:150].reshape(5, 30):  # each pass sees each picture once
    assert sorted(one) == list(range(30))
  for batch in stream:
    label = np.where(batch.index < 30, -1, batch.index - 30)
    np.testing.assert_array_equal(batch.image_label, label)
    np.testing.assert_array_equal(batch.mask.any(1), batch.index < 30)


def test_weights_must_fit(data):
  for weights in ([1.0], [1.0, 0.0], [1.0, -1.0], [1.0, np.inf]):
    with pytest.raises(ValueError, match="weights .* must be 2 numbers above"):
      batches([data, labelled(5)], 1, weights=weights)
  with pytest.raises(
    ValueError, match="of .30, 0. pictures; none may be empty"
  ):
    batches([data, labelled(0)], 1, weights=[1.0, 1.0])


# Threads, processes, resuming


def test_order_is_the_same_with_any_number_of_workers(data):
  """1, 2 and 4 threads, 1 and 3 processes; and from the middle on."""
  both = [data, labelled(40)]
  options = dict(weights=[3.0, 1.0], size_of_step=size_of_step)
  whole = batches(both, 12, num_threads=1, **options)
  for workers in (2, 4):
    assert_equal(whole, batches(both, 12, num_threads=workers, **options))
  for workers in (1, 3):
    part = batches(both, 5, start_step=7, num_processes=workers, **options)
    assert_equal(whole[7:], part)


def test_an_error_in_a_worker_process_is_told(data, tmp_path):
  lost = with_broken(data, tmp_path, {3})
  with pytest.raises(Exception, match="broken.jpg: not a picture"):
    batches(lost, 8, num_processes=1)


# Broken pictures


def with_broken(data, tmp_path, numbers):
  """The data set with some pictures that cannot be read."""
  path = tmp_path / "broken.jpg"
  path.write_bytes(b"\xff\xd8\xff\xda nothing")
  return data._replace(
    records=[
      r._replace(path=str(path)) if n in numbers else r
      for n, r in enumerate(data.records)
    ],
    read_image=shape_or_file,
  )


def shape_or_file(record):
  if record.path.startswith("shapes/"):
    return shapes.draw(record)
  return read_picture(record)


def test_broken_pictures_are_replaced_counted_and_logged(
  data, tmp_path, caplog
):
  lost = with_broken(data, tmp_path, {3, 17})
  with caplog.at_level(logging.WARNING, "yolo9000"):
    got = batches(lost, 30, broken_share=0.1)  # 4 passes
  whole = batches(data, 30)
  replaced = 0
  for one, other in zip(got, whole, strict=True):
    for row in range(4):
      if other.index[row] in (3, 17):
        assert one.index[row] not in (3, 17)
        replaced += 1
      else:
        np.testing.assert_array_equal(one.image[row], other.image[row])
  assert replaced == 8
  lines = [r.getMessage() for r in caplog.records]
  assert len(lines) == 8
  assert "broken.jpg: not a picture that can be read; replaced by" in lines[0]
  assert lines[-1].endswith("(8 replaced so far, of 2 pictures)")
  # The replacement is a function of seed and place.
  assert_equal(got, batches(lost, 30, broken_share=0.1, num_threads=1))
  later = batches(lost, 3, broken_share=0.1, start_step=27, num_processes=1)
  assert_equal(got[27:], later)


def test_too_many_broken_pictures_are_an_error(data, tmp_path):
  lost = with_broken(data, tmp_path, {3, 17, 20, 25})
  with pytest.raises(
    DataError, match="4 pictures cannot be read, .* allows 3; the last: .*bro"
  ):
    batches(lost, 30, broken_share=0.1)
  every = with_broken(data, tmp_path, set(range(30)))
  with pytest.raises(
    DataError, match="drawn in turn cannot be read; the last: .*bro"
  ):
    batches(every, 1, broken_share=1.0)


def test_a_picture_that_changes_while_training(data, tmp_path):
  path = tmp_path / "a.png"
  cv2.imwrite(str(path), np.zeros((256, 256, 3), np.uint8))
  changing = data._replace(
    records=[r._replace(path=str(path)) for r in data.records],
    read_image=read_picture,
  )
  options = dict(augmentations=[AUGMENTATION], wanted=pipeline.Wanted(5))
  stream = pipeline.train_batches(
    [changing],
    **options,
    **dict(weights=[1.0], batch_size=4, rows=range(4)),
    size_of_step=size_of_step,
    **dict(seed=0, start_step=0, broken_share=0.0),
    workers=pipeline.Workers(1),
  )
  next(stream)
  cv2.imwrite(str(tmp_path / "b.png"), np.zeros((255, 256, 3), np.uint8))
  os.replace(tmp_path / "b.png", path)
  with pytest.raises(
    DataError, match="picture is 256x255, but its annotation says 256x256"
  ):
    for _ in range(5):
      next(stream)


def test_a_million_boxes_on_a_picture(data, caplog):
  rng = np.random.default_rng(0)
  low = rng.uniform(0, 200, (1_000_000, 2))
  record = data.records[0]._replace(
    boxes_px=np.concatenate([low, low + 20], 1).astype(np.float32),
    labels=np.zeros(len(low), np.int32),
    difficult=np.zeros(len(low), bool),
  )
  crowded = data._replace(records=[record])
  with caplog.at_level(logging.WARNING, "yolo9000"):
    (batch,) = batches(crowded, 1, batch_size=1, max_objects=30)
  assert "999970 are left out" in caplog.text
  assert batch.mask.sum() == 30


# Classifiers

CLASSIFICATION = aug.Classification(
  *((1.0, 1.5), 7.0, 1.33, "edge", 0.1, 1.33, 1.33, True)
)


def test_classifiers_get_pictures_with_a_label():
  (batch,) = batches(labelled(8), 1, augmentations=[CLASSIFICATION])
  assert batch.image.shape == (4, 64, 64, 3) and not batch.mask.any()
  np.testing.assert_array_equal(batch.image_label, batch.index)


def test_classifiers_take_no_boxes(data):
  with pytest.raises(ValueError, match="shapes/train/0 has . boxes and image"):
    batches(data, 1, augmentations=[CLASSIFICATION])


def test_processes_end_with_the_batches():
  """Without a word about shared memory that was left."""
  code = """
from yolo9000.benchmarks.data import DETECTION, batches
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats import shapes
from yolo9000.data.formats.reading import Source

if __name__ == "__main__":
  data = shapes.read(Source("shapes", "", "train[:8]"), Flaws(strict=True))
  stream = batches(
    data, DETECTION, size=64, batch_size=4, threads=0, processes=2
  )
  for _ in range(3):
    next(stream)
  stream.close()
"""
  with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "script.py"
    path.write_text(code)
    done = subprocess.run(
      [sys.executable, path], capture_output=True, text=True
    )
  assert done.returncode == 0 and done.stderr == ""


def test_each_data_set_has_its_own_augmentation(data):
  whole = batches([data, labelled(8)], 6, weights=[1.0, 1.0])
  flat = AUGMENTATION._replace(geometry="none", hue=0.0, flip=False)
  flat = flat._replace(saturation=1.0, exposure=1.0)
  mixed = batches(
    [data, labelled(8)],
    6,
    weights=[1.0, 1.0],
    augmentations=[AUGMENTATION, flat],
  )
  for before, after in zip(whole, mixed, strict=True):
    alone = after.image_label >= 0
    np.testing.assert_array_equal(before.image[~alone], after.image[~alone])
    for image, label in zip(
      after.image[alone], after.image_label[alone], strict=True
    ):
      assert (image == label).all()
  with pytest.raises(ValueError, match="1 augmentations for 2 data sets"):
    batches([data, data], 1, weights=[1.0, 1.0], augmentations=[flat])


@pytest.mark.parametrize("weights", [(1.0, 1.0), (4.0, 1.0), (1.0, 3.0)])
@pytest.mark.parametrize("devices", [2, 4])
def test_devices_get_as_many_pictures_with_boxes(data, weights, devices):
  """To one picture, whatever the ratio; each device has its part in a row."""
  for batch in batches(
    [data, labelled(8)], 20, weights=list(weights), batch_size=8
  ):
    boxed = (batch.image_label < 0).reshape(devices, -1).sum(1)
    assert boxed.max() - boxed.min() <= 1


def test_zooming_out_lays_the_whole_picture_smaller():
  how = AUGMENTATION._replace(geometry="zoom out")
  image = np.full((40, 60, 3), 9, np.uint8)
  sides = []
  for seed in range(50):
    rng = np.random.default_rng(seed)
    _, place, _ = aug.augment(rng, image, 96, how)
    assert min(place) >= 0 and max(place) <= 1
    sides.append(max(place.right - place.left, place.bottom - place.top))
  assert 0.3 < min(sides) < 0.45 and 0.85 < max(sides) <= 1


def test_pictures_that_a_detector_cannot_be_trained_on(data, caplog):
  records.check_labels([data, labelled(2)], alone=True)
  assert not caplog.text
  with pytest.raises(ValueError, match="label/0 has the image label '0'"):
    records.check_labels([data, labelled(2)], alone=False)
  one = data.records[0]._replace(image_label=3)
  both = data._replace(records=[*data.records[1:], one])
  with pytest.raises(ValueError, match="label '.*' and [0-9]+ boxes"):
    records.check_labels([both], alone=True)
  with caplog.at_level(logging.WARNING, "yolo9000"):
    records.check_labels([data], alone=True)
  assert "no training picture has an image label alone" in caplog.text
