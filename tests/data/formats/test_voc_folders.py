"""A VOC folder, with every kind of bad input."""

import shutil
from xml.sax.saxutils import escape

import cv2
import numpy as np
import pytest

from yolo9000.data.disk import DataError
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats import voc
from yolo9000.data.formats.reading import Source

CLASSES = ("cat", "dog")


def annotation(objects, width=40, height=20):
  rows = "".join(
    f"<object><name>{escape(name)}</name><difficult>{difficult}</difficult>"
    f"<bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax>"
    f"</bndbox></object>"
    for name, a, b, c, d, difficult in objects
  )
  return (
    f"<annotation><size><width>{width}</width><height>{height}</height></size>"
    f"{rows}</annotation>"
  )


@pytest.fixture
def root(tmp_path):
  """Two pictures: a dog and a difficult cat, and one of nothing."""
  for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
    (tmp_path / folder).mkdir(parents=True)
  objects = [("dog", 1, 1, 10, 20, 0), ("cat", 5, 6, 40, 20, 1)]
  (tmp_path / "Annotations/one.xml").write_text(annotation(objects))
  (tmp_path / "Annotations/two.xml").write_text(annotation([]))
  for name in ("one", "two"):
    cv2.imwrite(str(tmp_path / f"JPEGImages/{name}.jpg"), np.zeros((20, 40, 3)))
  (tmp_path / "ImageSets/Main/train.txt").write_text("one\ntwo\n\n")
  (tmp_path / "ImageSets/Main/empty.txt").write_text("\n")
  return tmp_path


def read(root, split="train"):
  source = Source("voc", str(root), split, CLASSES)
  return voc.read(source, Flaws(strict=True))


def test_voc_folder(root):
  data = read(root)
  one, two = data.records
  assert (one.width, one.height) == (40, 20)
  # Pixels 1 to 10 have the edges 0 and 10.
  np.testing.assert_array_equal(one.boxes_px, [[0, 0, 10, 20], [4, 5, 40, 20]])
  np.testing.assert_allclose(one.boxes[0], [0, 0, 0.25, 1])
  np.testing.assert_array_equal(one.labels, [1, 0])
  np.testing.assert_array_equal(one.difficult, [False, True])
  assert two.boxes_px.shape == (0, 4) and data.flaws == []
  assert data.read_image(one).shape == (20, 40, 3)


def test_voc_folders_are_joined(root):
  again = root.parent / f"{root.name}_again"
  shutil.copytree(root, again)
  both = f"{root.name}/train+{again.name}/train"
  assert len(read(root.parent, both).records) == 4
  twice = read(root, "train+train")
  assert len(twice.records) == 2
  assert [flaw.kind for flaw in twice.flaws] == ["listed twice"] * 2
  with pytest.raises(DataError, match="elsewhere/train: no such split"):
    read(root.parent, f"{root.name}/train+elsewhere/train")


def test_real_voc_folder(shared):
  path = shared / "data" / "voc_bccd"
  if not path.is_dir():
    pytest.skip(f"{path} is not here")
  names = ("RBC", "WBC", "Platelets")
  splits = [
    voc.read(Source("voc", str(path), split, names), Flaws(strict=True))
    for split in ("trainval", "test")
  ]
  assert [len(s.records) for s in splits] == [292, 72]
  flaws = [flaw for s in splits for flaw in s.flaws]
  assert sum(len(r.labels) for s in splits for r in s.records) == 4888 - 2
  assert len(flaws) == 2 and all(f.kind == "no area" for f in flaws)
  for name in ("BloodImage_00338.xml", "BloodImage_00343.xml"):
    assert any(name in flaw.path for flaw in flaws)


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (lambda r: shutil.rmtree(r), "no such split of VOC's files"),
    (
      lambda r: (r / "ImageSets/Main/train.txt").unlink(),
      "no such split .*, where the lists are: empty; or a folder",
    ),
    (
      lambda r: (r / "JPEGImages/two.jpg").unlink(),
      "train.txt:2: there is no picture of two.xml in",
    ),
    (
      lambda r: (r / "Annotations/two.xml").unlink(),
      "train.txt:2: two.xml is listed, but Annotations",
    ),
    (
      lambda r: (r / "Annotations/two.xml").write_text("<annotation><size>"),
      r"two.xml:1: not valid XML: .*line 1",
    ),
    (
      lambda r: (r / "Annotations/two.xml").write_text(
        '<!DOCTYPE a [<!ENTITY e "x">]><annotation>&e;</annotation>'
      ),
      "two.xml:1: not valid XML .*: it declares entities",
    ),
    (
      lambda r: (r / "Annotations/two.xml").write_text(annotation([], width=0)),
      r"two.xml:1: size/width and size/height are \['0', '20'\]",
    ),
  ],
  ids=["root", "split", "picture", "xml", "parse", "entity", "zero"],
)
def test_bad_folders_are_errors_that_name_the_file(root, make, message):
  make(root)
  with pytest.raises(DataError, match=message):
    read(root)


def test_an_empty_split_is_an_error(root):
  with pytest.raises(DataError, match="/empty: no picture in it"):
    read(root, "empty")


@pytest.mark.parametrize(
  ("row", "message"),
  [
    (
      ("cow", 1, 1, 5, 5, 0),
      "object 1: unknown class 'cow'; known are cat, dog",
    ),
    (("dog", 41, 1, 50, 5, 0), r"lies outside the 40x20 picture"),
    (("dog", 9, 1, 3, 5, 0), "has its maximum before its minimum"),
    (("dog", "nan", 1, 3, 5, 0), "bndbox/xmin is 'nan'; expected a number"),
    (("dog", "", 1, 3, 5, 0), "bndbox/xmin is .*; expected a number"),
  ],
)
def test_bad_objects_are_errors(root, row, message):
  (root / "Annotations/one.xml").write_text(annotation([row]))
  with pytest.raises(DataError, match=message) as error:
    read(root)
  assert "one.xml:1: object 1" in str(error.value)


def test_a_box_without_area_is_left_out_and_one_that_sticks_out_is_cut(root):
  objects = [("dog", 5, 5, 5, 9, 0), ("dog", 30, 10, 45, 20, 0)]
  (root / "Annotations/one.xml").write_text(annotation(objects))
  data = read(root)
  np.testing.assert_array_equal(data.records[0].boxes_px, [[29, 9, 40, 20]])
  assert len(data.flaws) == 2
  first, second = map(str, data.flaws)
  assert "one.xml:1: object 1" in first and "no area" in first
  assert "one.xml:1: object 2" in second and "sticks out" in second
