"""Pictures of every kind, good and bad."""

import cv2
import numpy as np
import PIL.Image
import pytest

from yolo9000.data.disk import DataError
from yolo9000.data.records import Record, read_picture


def record(path, width=40, height=20):
  none = np.zeros((0, 4), np.float32)
  return Record(
    str(path), width, height, none, np.zeros(0, np.int32), np.zeros(0, bool)
  )


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB", "P", "RGBA", "1"])
def test_pictures_of_every_kind_become_rgb(tmp_path, mode):
  image = PIL.Image.new("RGB", (40, 20), (200, 30, 30)).convert(mode)
  path = tmp_path / ("a.png" if mode in ("P", "RGBA", "1") else "a.jpg")
  image.save(path)
  got = read_picture(record(path))
  assert got.shape == (20, 40, 3) and got.dtype == np.uint8
  if mode not in ("L", "1"):
    np.testing.assert_allclose(got[5, 5], (200, 30, 30), atol=30)
  else:
    assert (got[5, 5] == got[5, 5, 0]).all()


def test_a_truncated_jpeg_is_an_error(tmp_path):
  path = tmp_path / "a.jpg"
  noise = np.random.default_rng(0).integers(0, 256, (20, 40, 3))
  cv2.imwrite(str(path), noise.astype(np.uint8))
  read_picture(record(path))
  path.write_bytes(path.read_bytes()[:-100])
  with pytest.raises(DataError, match="a.jpg: the picture ends before its end"):
    read_picture(record(path))


def test_other_bad_pictures_are_errors(tmp_path):
  with pytest.raises(DataError, match="none.jpg: cannot be read: No such file"):
    read_picture(record(tmp_path / "none.jpg"))
  for content in (b"", b"hello"):
    (tmp_path / "text.jpg").write_bytes(content)
    with pytest.raises(DataError, match="text.jpg: not a picture"):
      read_picture(record(tmp_path / "text.jpg"))
  cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((20, 40, 3), np.uint8))
  with pytest.raises(
    DataError, match="is 40x20, but its annotation says 20x40"
  ):
    read_picture(record(tmp_path / "a.jpg", 20, 40))
