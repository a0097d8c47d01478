"""Which files of folders and patterns are looked at, and which are not."""

import cv2
import numpy as np
import PIL.Image
import pytest

from yolo9000.data.disk import DataError
from yolo9000.data.pictures import find_files


def write(path, suffix):
  """A picture in the form of a suffix, whatever the file's name."""
  path.parent.mkdir(parents=True, exist_ok=True)
  image = np.zeros((8, 8, 3), np.uint8)
  if suffix == ".gif":
    PIL.Image.fromarray(image).save(path)
  else:
    path.write_bytes(cv2.imencode(suffix, image)[1].tobytes())


@pytest.fixture
def folder(tmp_path):
  """Pictures by suffix and by their first bytes, and what is none."""
  for name, suffix in (
    *(("a.jpg", ".jpg"), ("b.jfif", ".jpg"), ("c.gif", ".gif")),
    *(("d.JPEG", ".jpg"), ("e", ".png"), ("f.ppm", ".ppm"), ("g.sr", ".sr")),
    ("h.unknown", ".webp"),
  ):
    write(tmp_path / name, suffix)
  (tmp_path / "film.mp4").write_bytes(b"")
  write(tmp_path / "._a.jpg", ".jpg")
  write(tmp_path / "deeper/z.jpg", ".jpg")
  for name in ("notes.txt", "data.json", "Thumbs.db", "empty"):
    (tmp_path / name).write_bytes(b"no picture" if name != "empty" else b"")
  return tmp_path


def test_a_folder_gives_what_a_name_gives_and_says_what_it_does_not(folder):
  found, passed = find_files([str(folder)])
  assert {p.name for p in found} == {
    *("a.jpg", "b.jfif", "c.gif", "d.JPEG", "e", "f.ppm", "g.sr"),
    *("h.unknown", "film.mp4"),
  }
  assert {p.name for p in passed} == {
    *("._a.jpg", "deeper", "notes.txt", "data.json", "Thumbs.db", "empty")
  }


def test_patterns_and_names(folder):
  found, passed = find_files([f"{folder}/**/*"])
  assert folder / "deeper/z.jpg" in found and folder / "deeper" not in passed
  # A file that is named is taken for a picture; whoever opens it will say.
  assert find_files([f"{folder}/notes.txt"]) == ([folder / "notes.txt"], [])
  twice, _ = find_files([f"{folder}/a.jpg", f"{folder}/a*"])
  assert twice == [folder / "a.jpg"]
  for nothing in (f"{folder}/*.txt", f"{folder}/none.jpg"):
    with pytest.raises(DataError, match="no picture or video there"):
      find_files([nothing])


def test_a_name_that_is_no_text_is_passed_over(tmp_path):
  """Its bytes are not UTF-8, as in old archives; OpenCV would crash."""
  import os

  write(tmp_path / "a.jpg", ".jpg")
  strange = os.fsencode(tmp_path) + b"/caf\xe9.txt"
  with open(strange, "wb") as file:
    file.write(b"x")
  found, passed = find_files([str(tmp_path)])
  assert found == [tmp_path / "a.jpg"] and len(passed) == 1
