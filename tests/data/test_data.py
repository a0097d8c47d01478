"""Readers and pictures, with every kind of bad input."""

import shutil
from xml.sax.saxutils import escape

import cv2
import numpy as np
import PIL.Image
import pytest

from yolo9000.data import sources
from yolo9000.data.formats import shapes, voc
from yolo9000.data.formats.reading import Flaws, Source
from yolo9000.data.records import DataError, Record, read_picture

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
  with pytest.raises(DataError, match="elsewhere: not a PASCAL VOC folder"):
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
    (lambda r: shutil.rmtree(r), "not a PASCAL VOC folder"),
    (
      lambda r: (r / "ImageSets/Main/train.txt").unlink(),
      "no such split; found",
    ),
    (
      lambda r: (r / "JPEGImages/two.jpg").unlink(),
      "train.txt:2: two.jpg is listed, but JPEGImages",
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
      lambda r: (r / "Annotations/two.xml").write_text("<annotation/>"),
      r"two.xml:1: size/width and size/height are \[None, None\]; expected",
    ),
    (
      lambda r: (r / "Annotations/two.xml").write_text(annotation([], width=0)),
      r"two.xml:1: size/width and size/height are \['0', '20'\]",
    ),
  ],
  ids=["root", "split", "picture", "xml", "parse", "entity", "size", "zero"],
)
def test_bad_folders_are_errors_that_name_the_file(root, make, message):
  make(root)
  with pytest.raises(DataError, match=message):
    read(root)


def test_an_empty_split_is_an_error(root):
  with pytest.raises(DataError, match="empty.txt: the split is empty"):
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
