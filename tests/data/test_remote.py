"""Roots such as gs://, over etils; the bucket here is in memory."""

import cv2
import fsspec
import numpy as np
import pytest
from etils import epath
from fsspec.implementations.memory import MemoryFileSystem

from yolo9000.data import doctor, sources
from yolo9000.data.disk import DataError
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats.reading import Source


class Bucket(MemoryFileSystem):
  """What stands in for Google's; gs://a/b is /a/b of it."""

  protocol = ("gcs", "gs")
  store = {}
  pseudo_dirs = [""]

  @classmethod
  def _strip_protocol(cls, path):
    return "/" + path.removeprefix("gs://").strip("/") if path else ""


@pytest.fixture
def bucket(monkeypatch):
  fsspec.register_implementation("gcs", Bucket, clobber=True)
  epath.backend.fsspec_backend._get_filesystem.cache_clear()
  Bucket.store.clear()
  yield epath.Path("gs://bucket")
  epath.backend.fsspec_backend._get_filesystem.cache_clear()


def jpeg(seed):
  noise = np.random.default_rng(seed).integers(0, 256, (20, 40, 3))
  return cv2.imencode(".jpg", noise.astype(np.uint8))[1].tobytes()


def write(path, data):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(data if isinstance(data, bytes) else data.encode())


def test_a_voc_folder_in_a_bucket(bucket):
  write(bucket / "voc/ImageSets/Main/train.txt", "a\nb\nlost\n")
  for n, name in enumerate("ab"):
    write(bucket / f"voc/JPEGImages/{name}.jpg", jpeg(n))
    write(
      bucket / f"voc/Annotations/{name}.xml",
      "<annotation><size><width>40</width><height>20</height></size><object>"
      "<name>dog</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax>"
      "<ymax>9</ymax></bndbox></object></annotation>",
    )
  findings = doctor.examine(
    *("voc", "gs://bucket/voc", ()), class_names=(), outside=False, threads=2
  )
  assert [f.kind for f in findings.flaws] == ["missing picture"]
  assert [r.path for r in findings.clean["train"]] == [
    f"gs://bucket/voc/JPEGImages/{name}.jpg" for name in "ab"
  ]


def test_folders_in_a_bucket(bucket):
  write(bucket / "net/cat/a.jpg", jpeg(0))
  write(bucket / "net/dog/b.jpg", jpeg(1))
  data = sources.read(
    Source("folders", "gs://bucket/net", ""), Flaws(strict=True)
  )
  assert [r.image_label for r in data.records] == [0, 1]
  assert data.read_image(data.records[1]).shape == (20, 40, 3)


def test_what_is_not_installed_is_named():
  message = "s3://x/y: s3:// needs a package: pip install s3fs"
  with pytest.raises(DataError, match=message):
    sources.read(Source("folders", "s3://x/y", ""), Flaws(strict=True))
