"""Sets that TensorFlow Datasets prepares here from made pictures.

TensorFlow is absent throughout: preparing as ArrayRecord needs it not.
"""

import importlib.util
import sys

import cv2
import numpy as np
import pytest

from yolo9000.data import augment as aug
from yolo9000.data import batches, sources
from yolo9000.data.disk import DataError
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats.reading import Source

tfds = pytest.importorskip("tensorflow_datasets")

NAMES = ("cat", "dog", "eel")
pytestmark = pytest.mark.filterwarnings("ignore")  # those of TFDS itself


def picture(number):
  rng = np.random.default_rng(number)
  image = rng.integers(0, 256, (5, 8, 3)).astype(np.uint8)
  return cv2.resize(image, (80, 50))


def png(number):
  """The picture's file; TFDS encodes arrays by TensorFlow alone."""
  image = cv2.cvtColor(picture(number), cv2.COLOR_RGB2BGR)
  return cv2.imencode(".png", image)[1].tobytes()


class MadeDetection(tfds.core.GeneratorBasedBuilder):
  """Picture n has n objects; the last of each is a crowd."""

  VERSION = tfds.core.Version("1.0.0")

  def _info(self):
    objects = {
      "bbox": tfds.features.BBoxFeature(),
      "label": tfds.features.ClassLabel(names=NAMES),
      "is_crowd": np.bool_,
      "area": np.int64,
    }
    features = {
      "image": tfds.features.Image(encoding_format="png"),
      "image/id": np.int64,
      "objects": tfds.features.Sequence(objects),
    }
    return tfds.core.DatasetInfo(
      builder=self, features=tfds.features.FeaturesDict(features)
    )

  def _split_generators(self, _):
    return {"train": self._rows(6), "validation": self._rows(2)}

  def _rows(self, count):
    for n in range(count):
      objects = [
        {
          "bbox": tfds.features.BBox(0.1, 0.2, 0.5 + m / 10, 0.6),
          "label": m % 3,
          "is_crowd": m == n - 1,
          "area": 100 + m,
        }
        for m in range(n)
      ]
      yield n, {"image": png(n), "image/id": 1000 + n, "objects": objects}

  def _generate_examples(self, *_):
    raise AssertionError


class MadeClasses(tfds.core.GeneratorBasedBuilder):
  """Picture n is of class n % 3."""

  VERSION = tfds.core.Version("1.0.0")

  def _info(self):
    features = {
      "image": tfds.features.Image(encoding_format="png"),
      "label": tfds.features.ClassLabel(names=NAMES),
    }
    return tfds.core.DatasetInfo(
      builder=self, features=tfds.features.FeaturesDict(features)
    )

  def _split_generators(self, _):
    return {"train": ((n, self._row(n)) for n in range(7))}

  def _row(self, n):
    return {"image": png(n), "label": n % 3}

  def _generate_examples(self, *_):
    raise AssertionError


def prepare(builder, folder, file_format="array_record"):
  made = builder(data_dir=folder, file_format=file_format)
  made.download_and_prepare()
  return str(made.data_dir)


@pytest.fixture(scope="module")
def detection(tmp_path_factory):
  return prepare(MadeDetection, tmp_path_factory.mktemp("detection"))


def read(root, split, **more):
  return sources.read(Source("tfds", root, split, **more), Flaws(strict=True))


def test_tensorflow_is_absent():
  if importlib.util.find_spec("tensorflow"):
    pytest.skip("TensorFlow is installed here")
  assert "tensorflow" not in sys.modules


def test_a_detection_set(detection):
  data = read(detection, "train")
  assert data.class_names == NAMES
  by_id = {record.image_id: record for record in data.records}
  assert sorted(by_id) == [1000 + n for n in range(6)]
  for n in range(6):
    record = by_id[1000 + n]
    assert (record.width, record.height) == (80, 50)
    assert record.boxes_px.shape == (n, 4)
    expected = [[16, 5, 48, 25 + 5 * m] for m in range(n)]
    np.testing.assert_allclose(
      record.boxes_px, np.reshape(expected, (-1, 4)), atol=1e-4
    )
    np.testing.assert_array_equal(record.labels, np.arange(n) % 3)
    np.testing.assert_array_equal(record.areas_px, 100 + np.arange(n))
    assert record.difficult.sum() == (n > 0)
    np.testing.assert_array_equal(data.read_image(record), picture(n))
  assert data.notes["objects marked crowd or difficult"] == 5
  assert sources.splits("tfds", detection) == ["train", "validation"]
  assert len(read(detection, "train[:50%]").records) == 3


def test_a_classification_set(tmp_path):
  data = read(prepare(MadeClasses, tmp_path), "train")
  assert len(data.records) == 7 and data.class_names == NAMES
  for record in data.records:
    n = next(
      n for n in range(7) if np.array_equal(picture(n), data.read_image(record))
    )
    assert record.image_label == n % 3 and not len(record.labels)


@pytest.mark.parametrize("processes", [0, 1])
def test_it_trains_in_threads_and_in_processes(detection, processes):
  data = read(detection, "train")
  stream = batches.train_batches(
    [data],
    weights=[1.0],
    augmentations=[aug.Augmentation("crop", 0.2, 0.1, 1.5, 1.5, True, 0.005)],
    wanted=batches.Wanted(5),
    batch_size=4,
    rows=range(4),
    size_of_step=SizeOfStep(),
    seed=0,
    start_step=0,
    broken_share=0.0,
    workers=batches.Workers(2, processes),
  )
  index = np.concatenate([next(stream).index for _ in range(3)])
  assert sorted(index) == sorted([*range(6), *range(6)])


class SizeOfStep:
  """Goes to worker processes, which a lambda cannot."""

  def __call__(self, step):
    return 64


def test_bad_sets_are_errors(detection, tmp_path):
  with pytest.raises(DataError, match="no split 'test'; there are train, val"):
    read(detection, "test")
  with pytest.raises(DataError, match="no set that TensorFlow Datasets has"):
    read(str(tmp_path), "train")
  with pytest.raises(DataError, match="are not those of the set, cat, dog"):
    read(detection, "train", class_names=("a", "b"))


def test_tfrecord_says_how_to_convert(tmp_path):
  made = MadeDetection(data_dir=tmp_path, file_format="array_record")
  made.download_and_prepare()
  info = made.data_path / "dataset_info.json"
  info.write_text(info.read_text().replace('"array_record"', '"tfrecord"'))
  with pytest.raises(DataError, match="tfds convert_format"):
    read(str(made.data_dir), "train")


class OddDetection(MadeDetection):
  """A label that no class has, which TFDS lets through as a number."""

  def _rows(self, count):
    for n, row in super()._rows(count):
      for thing in row["objects"]:
        thing["label"] = -1
      yield n, row


def test_labels_that_no_class_has_are_errors(tmp_path):
  root = prepare(OddDetection, tmp_path)
  with pytest.raises(DataError, match="label -1; there are 0 to 2"):
    read(root, "train")
  flaws = Flaws(strict=False)
  data = sources.read(Source("tfds", root, "train"), flaws)
  assert {flaw.kind for flaw in flaws.found} == {"unknown class"}
  assert sum(len(r.labels) for r in data.records) == 0
  assert len(flaws.incomplete) == 5  # all but the picture without objects


class NoLabels(MadeDetection):
  """Boxes without classes."""

  def _info(self):
    info = super()._info()
    boxes = {"bbox": info.features["objects"].feature["bbox"]}
    features = {
      "image": info.features["image"],
      "objects": tfds.features.Sequence(boxes),
    }
    return tfds.core.DatasetInfo(
      builder=self, features=tfds.features.FeaturesDict(features)
    )

  def _rows(self, count):
    for n, row in super()._rows(count):
      objects = [{"bbox": thing["bbox"]} for thing in row["objects"]]
      yield n, {"image": row["image"], "objects": objects}


def test_features_that_are_not_understood_are_named(tmp_path):
  root = prepare(NoLabels, tmp_path)
  with pytest.raises(DataError, match="features are image, objects; expected"):
    read(root, "train")


def test_a_damaged_file_is_an_error(tmp_path):
  root = prepare(MadeClasses, tmp_path)
  (path,) = [
    p for p in tmp_path.rglob("*") if ".array_record" in p.name and p.is_file()
  ]
  path.write_bytes(path.read_bytes()[:200])
  with pytest.raises(DataError, match=r"train#0|no split"):
    read(root, "train")
