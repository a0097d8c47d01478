"""COCO, YOLO text, CSV, Open Images, folders and JSON lines; real and made."""

import csv
import json
import math

import cv2
import numpy as np
import pytest

from yolo9000.data import sources
from yolo9000.data.disk import DataError
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats import jsonl
from yolo9000.data.formats.reading import Source, Truths
from yolo9000.data.records import read_picture


def read(form, root, split, **more):
  return sources.read(
    Source(form, str(root), split, **more), Flaws(strict=True)
  )


def collect(form, root, split, **more):
  """What a reader makes of bad input, and its flaws' kinds."""
  flaws = Flaws(strict=False)
  data = sources.read(Source(form, str(root), split, **more), flaws)
  return data, [flaw.kind for flaw in flaws.found]


def picture(path, width=40, height=20, seed=0):
  path.parent.mkdir(parents=True, exist_ok=True)
  noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3))
  cv2.imwrite(str(path), noise.astype(np.uint8))


@pytest.fixture
def real(shared):
  def find(name):
    path = shared / "data" / name
    if not path.is_dir():
      pytest.skip(f"{path} is not here")
    return path

  return find


# COCO


def test_the_real_coco(real):
  root = real("coco_tiny38")
  data = read("coco", root, "train2017")
  assert len(data.records) == 31 and len(data.class_names) == 80
  assert sum(len(r.labels) for r in data.records) == 287
  assert len({label for r in data.records for label in r.labels}) == 40
  assert sum(r.difficult.sum() for r in data.records) == 4
  assert data.notes["objects marked crowd"] == 4 and not data.flaws
  assert sum(len(r.labels) == 0 for r in data.records) == 2
  val = read("coco", root, "val2017")
  assert sum(len(r.labels) for r in val.records) == 136
  assert sources.splits("coco", str(root)) == ["train2017", "val2017"]

  # Labels are contiguous, category ids are not, and both belong together.
  path = root / "annotations" / "instances_train2017.json"
  content = json.loads(path.read_text())
  names = {c["id"]: c["name"] for c in content["categories"]}
  assert [names[i] for i in data.category_ids] == list(data.class_names)
  assert data.category_ids[11] == 13  # COCO has no category 12
  by_id = {r.image_id: r for r in data.records}
  for row in content["annotations"]:
    record = by_id[row["image_id"]]
    x, y, w, h = row["bbox"]
    same = np.abs(record.boxes_px - [x, y, x + w, y + h]).max(1) < 1e-3
    n = int(np.flatnonzero(same)[0])
    assert data.category_ids[record.labels[n]] == row["category_id"]
    assert record.areas_px[n] == row["area"]
    assert record.difficult[n] == row["iscrowd"]
  for record in (*data.records, *val.records):
    assert data.read_image(record).shape == (record.height, record.width, 3)


@pytest.mark.parametrize(
  ("split", "pictures", "boxes", "classes"),
  [
    ("det/instances_coarse.json", 1100, 1100, 7),
    ("eval/instances_fine.json", 680, 680, 34),
    ("det_mosaic/instances_coarse.json", 180, 1102, 7),
    ("eval_mosaic/instances_coarse.json", 110, 671, 7),
  ],
)
def test_the_real_animals(real, split, pictures, boxes, classes):
  data = read("coco", real("joint_tiny_imagenet_animals"), split)
  assert (len(data.records), len(data.class_names)) == (pictures, classes)
  assert sum(len(r.labels) for r in data.records) == boxes and not data.flaws
  assert data.read_image(data.records[0]).shape[1] == data.records[0].width


def coco(tmp_path, **changes):
  """Picture 7 with a dog and a crowd of cats; changes by list and key."""
  picture(tmp_path / "images/a.png")
  content = {
    "images": [{"id": 7, "file_name": "a.png", "width": 40, "height": 20}],
    "categories": [{"id": 3, "name": "cat"}, {"id": 18, "name": "dog"}],
    "annotations": [
      {"id": 1, "image_id": 7, "category_id": 18, "bbox": [1, 2, 3, 4]},
      {"id": 2, "image_id": 7, "category_id": 3, "bbox": [0, 0, 40, 20]}
      | {"iscrowd": 1, "area": 5.5},
    ],
  }
  for place, value in changes.items():
    name, _, key = place.partition("__")
    if key:
      content[name][0][key] = value
    else:
      content[name] = value
  (tmp_path / "a.json").write_text(json.dumps(content))
  return tmp_path


def test_coco_by_hand(tmp_path):
  data = read("coco", coco(tmp_path), "a.json")
  (record,) = data.records
  np.testing.assert_array_equal(record.boxes_px, [[1, 2, 4, 6], [0, 0, 40, 20]])
  assert record.labels.tolist() == [1, 0] and record.image_id == 7
  assert record.difficult.tolist() == [False, True]
  assert record.areas_px is None  # known of one only
  given = read("coco", tmp_path, "a.json", class_names=("dog", "cat"))
  assert given.records[0].labels.tolist() == [0, 1]
  assert given.category_ids == (18, 3)


@pytest.mark.parametrize(
  ("changes", "kind", "message"),
  [
    ({"annotations__image_id": [8]}, "orphan annotation", r"no image \[8\]"),
    ({"annotations__image_id": True}, "orphan annotation", "no image True"),
    ({"annotations__category_id": {}}, "unknown class", "no category {}"),
    ({"annotations__bbox": [1, 2, 10**400, 4]}, "bad number", "bbox is"),
    ({"annotations__bbox": [1, 2, True, 4]}, "bad number", "bbox is"),
    ({"annotations__iscrowd": "no"}, "bad number", "iscrowd is 'no'"),
    ({"annotations__area": -1}, "bad number", "area -1"),
    ({"images__width": 10**400}, "bad number", "expected pixels"),
    ({"images__width": 60000, "images__height": 60000}, "bad number", "expec"),
    ({"annotations__image_id": 8}, "orphan annotation", "no image 8"),
    ({"annotations__category_id": 4}, "unknown class", "no category 4"),
    ({"annotations__bbox": [1, 2, 3]}, "bad number", r"bbox is \[1, 2, 3\]"),
    (
      {"annotations__bbox": [1, 2, "x", 4]},
      "bad number",
      "expected .x, y, wid",
    ),
    ({"annotations__bbox": [1, 2, math.nan, 4]}, "bad number", "nan"),
    (
      {"annotations__bbox": [1, 2, -3, 4]},
      "reversed box",
      "annotation 1: bbox",
    ),
    ({"annotations__bbox": [50, 2, 3, 4]}, "outside", "the 40x20 picture"),
    ({"images__file_name": "b.png"}, "missing picture", "'b.png' is not in"),
    ({"images__file_name": "../a.png"}, "forbidden path", "is absolute or has"),
    ({"images__width": "40"}, "bad number", "width and height are .'40', 20"),
    ({"images__id": None}, "bad annotation", "id or file_name"),
    ({"images": [{}] * 2}, "bad annotation", "id or file_name"),
    ({"images": ["a"]}, "bad annotation", r"images\[0\] is 'a'"),
  ],
)
def test_bad_coco(tmp_path, changes, kind, message):
  root = coco(tmp_path, **changes)
  with pytest.raises(DataError, match=message) as error:
    read("coco", root, "a.json")
  assert "a.json" in str(error.value)
  _, kinds = collect("coco", root, "a.json")
  assert kind in kinds


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("{", "a.json:1: not valid JSON"),
    ("[" * 100000, "a.json:0: not valid JSON"),
    ("[]", "images is no list; is it a COCO instances file?"),
    (b"\xff{}", "not UTF-8"),
    (
      '{"images": [], "annotations": [], "categories": [{"id": 1}]}',
      "lacks a numeric id or a name",
    ),
    (
      '{"images": [], "annotations": [], "categories": '
      '[{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}',
      "category 1 is there twice, as 'a' and as 'b'",
    ),
  ],
)
def test_bad_coco_files(tmp_path, text, message):
  data = text if isinstance(text, bytes) else text.encode()
  (tmp_path / "a.json").write_bytes(data)
  with pytest.raises(DataError, match=message):
    read("coco", tmp_path, "a.json")
  with pytest.raises(DataError, match="b.json: no such file; splits .* a.json"):
    read("coco", tmp_path, "b.json")


# Folders


def test_the_real_imagenet(real):
  root = real("imagenet_fullsize")
  data = read("folders", root, "")
  assert len(data.records) == 41 and not data.flaws
  with (root / "classes.tsv").open() as file:
    wnids = {row["wnid"] for row in csv.DictReader(file, delimiter="\t")}
  assert set(data.class_names) == wnids
  for record in data.records:
    assert data.class_names[record.image_label] in record.path
    assert min(data.read_image(record).shape[:2]) > 100


def test_the_real_animals_of_image_labels(real):
  data = read("folders", real("joint_tiny_imagenet_animals"), "cls")
  assert len(data.records) == 1700 and len(data.class_names) == 34
  labels = np.array([r.image_label for r in data.records])
  np.testing.assert_array_equal(np.bincount(labels), 50)


def test_a_flat_folder_with_its_list(tmp_path):
  for name in ("a.jpg", "b c.jpg"):
    picture(tmp_path / "val" / name)
  (tmp_path / "val.txt").write_text("a.jpg n02\nb c.jpg n01\n")
  data = read("folders", tmp_path, "val.txt", class_names=("n01", "n02"))
  assert [r.image_label for r in data.records] == [1, 0]
  assert data.read_image(data.records[1]).shape == (20, 40, 3)
  (tmp_path / "val.txt").write_text("val/a.jpg 1\n")
  data = read("folders", tmp_path, "val.txt", class_names=("n01", "n02"))
  assert [r.image_label for r in data.records] == [1]


@pytest.mark.parametrize(
  ("line", "kind", "message"),
  [
    ("a.jpg", "bad annotation", "val.txt:1: 'a.jpg'; expected a path"),
    ("c.jpg n01", "missing picture", "val.txt:1: 'c.jpg' is not in"),
    (
      "a.jpg n03",
      "unknown class",
      "val.txt:1: unknown class 'n03'; .* n01, n02",
    ),
    ("a.jpg 2", "unknown class", "class number 2, but there are 2"),
    ("/etc/a.jpg n01", "forbidden path", "is absolute or has"),
  ],
)
def test_bad_lists(tmp_path, line, kind, message):
  picture(tmp_path / "val/a.jpg")
  (tmp_path / "val.txt").write_text(f"{line}\na.jpg n01\n")
  names = ("n01", "n02")
  with pytest.raises(DataError, match=message):
    read("folders", tmp_path, "val.txt", class_names=names)
  data, kinds = collect("folders", tmp_path, "val.txt", class_names=names)
  assert kinds == [kind] and len(data.records) == 1


def test_folders_that_are_none(tmp_path):
  with pytest.raises(DataError, match="neither a folder of classes nor a list"):
    read("folders", tmp_path, "train")
  with pytest.raises(DataError, match="no picture in it"):
    read("folders", tmp_path, "")
  picture(tmp_path / "n01/a.jpg")
  picture(tmp_path / "n02/deeper/a.jpg")
  (tmp_path / "n02/readme.md").write_text("hello")
  with pytest.raises(
    DataError, match="n01: unknown class 'n01'; known are n02"
  ):
    read("folders", tmp_path, "", class_names=("n02",))
  data = read("folders", tmp_path, "")
  assert len(data.records) == 2
  assert data.passed["files *.md"] == 1


# YOLO text


@pytest.fixture
def yolo(tmp_path):
  """Two pictures in parallel folders: with boxes, and with an image label."""
  picture(tmp_path / "images/train/a.jpg")
  picture(tmp_path / "images/train/b.jpg")
  (tmp_path / "labels/train").mkdir(parents=True)
  (tmp_path / "labels/train/a.txt").write_text(
    "1 0.5 0.5 0.5 0.5\n0 .25 .25 .5 .5\n\n"
  )
  (tmp_path / "labels/train/b.txt").write_text("1 0 0 0 0\n")
  (tmp_path / "data.yaml").write_text("names: [cat, dog]\n")
  return tmp_path


def test_yolo_text(yolo):
  data = read("yolo", yolo, "images/train")
  a, b = data.records
  np.testing.assert_allclose(a.boxes_px, [[10, 5, 30, 15], [0, 0, 20, 10]])
  assert a.labels.tolist() == [1, 0] and a.image_label == -1
  assert b.image_label == 1 and not len(b.labels)
  assert data.class_names == ("cat", "dog")
  assert sources.splits("yolo", str(yolo)) == ["images/train"]
  assert data.read_image(a).shape == (20, 40, 3)


def test_yolo_lists_names_and_places(yolo):
  (yolo / "train.txt").write_text("images/train/b.jpg\n\n")
  (yolo / "data.yaml").write_text("names: {0: cat, 1: dog}\n")
  data = read("yolo", yolo, "train.txt")
  assert [r.image_label for r in data.records] == [1]
  (yolo / "data.yaml").unlink()
  (yolo / "obj.names").write_text("cat\ndog\n")
  assert read("yolo", yolo, "train.txt").class_names == ("cat", "dog")
  given = read("yolo", yolo, "train.txt", class_names=("x", "y"))
  assert given.class_names == ("x", "y")
  # Beside the picture where there is no folder labels; images twice in a path.
  picture(yolo / "images/more/c.jpg")
  (yolo / "images/more/c.txt").write_text("")
  picture(yolo / "images/deep/images/d.jpg")
  (yolo / "images/deep/labels").mkdir()
  (yolo / "images/deep/labels/d.txt").write_text("0 .5 .5 1 1\n")
  data = read("yolo", yolo, "images/deep")
  assert data.records[0].labels.tolist() == [0]
  (yolo / "labels").rename(yolo / "other")
  data = read("yolo", yolo, "images/more")
  assert len(data.records) == 1 and not len(data.records[0].labels)


@pytest.mark.parametrize(
  ("text", "kind", "message"),
  [
    (
      "0 .5 .5 .5",
      "bad number",
      "a.txt:1: '0 .5 .5 .5'; expected five numbers",
    ),
    ("0 .5 .5 nan .5", "bad number", "expected five numbers"),
    ("2 .5 .5 .5 .5", "unknown class", "a.txt:1: class 2; there are 0 to 1"),
    ("0.5 .5 .5 .5 .5", "unknown class", "class 0.5"),
    ("0 2 2 .5 .5", "outside", "a.txt:1: box 0 2 2 .5 .5 lies outside"),
    ("0 .5 .5 -.5 .5", "reversed box", "maximum before its minimum"),
    ("0 0 0 0 0\n0 .5 .5 .5 .5", "bad annotation", "must be the only line"),
    (b"\xe9t\n", "bad text", "a.txt:1: byte 0 .0xe9. is not UTF-8; .* Latin-1"),
  ],
)
def test_bad_yolo_lines(yolo, text, kind, message):
  data = text if isinstance(text, bytes) else text.encode()
  (yolo / "labels/train/a.txt").write_bytes(data)
  with pytest.raises(DataError, match=message):
    read("yolo", yolo, "images/train")
  _, kinds = collect("yolo", yolo, "images/train")
  assert kinds == [kind]


def test_bad_yolo_folders(yolo):
  with pytest.raises(
    DataError, match="neither a folder of pictures nor a list"
  ):
    read("yolo", yolo, "images/val")
  (yolo / "train.txt").write_text("images/train/c.jpg\n")
  with pytest.raises(
    DataError, match="train.txt:1: 'images/train/c.jpg' is not in"
  ):
    read("yolo", yolo, "train.txt")
  (yolo / "labels/train/b.txt").unlink()
  with pytest.raises(DataError, match="b.jpg: has no b.txt in"):
    read("yolo", yolo, "images/train")
  (yolo / "images/train/b.jpg").write_text("no picture")
  (yolo / "labels/train/b.txt").write_text("")
  with pytest.raises(DataError, match="b.jpg: not a picture"):
    read("yolo", yolo, "images/train")
  for names in ("x: 1", "names: 3", "[", "names: {1: a}"):
    (yolo / "data.yaml").write_text(names)
    with pytest.raises(DataError, match="data.yaml:"):
      read("yolo", yolo, "images/train")
  (yolo / "data.yaml").unlink()
  with pytest.raises(DataError, match="the classes' names are not known"):
    read("yolo", yolo, "images/train")


# CSV and Open Images


@pytest.fixture
def table(tmp_path):
  for name in ("a.jpg", "b.jpg", "c.jpg"):
    picture(tmp_path / "p" / name)

  def write(text):
    (tmp_path / "t.csv").write_text(text)
    return tmp_path

  return write


def test_csv(table):
  root = table(
    "image,label,xmin,ymin,xmax,ymax\np/a.jpg,dog,0,1,10,11\n"
    "p/a.jpg,cat,2,2,3.5,4\np/b.jpg,dog,,,,\np/c.jpg,,,,,\n"
  )
  data = read("csv", root, "t.csv")
  a, b, c = data.records
  np.testing.assert_array_equal(a.boxes_px, [[0, 1, 10, 11], [2, 2, 3.5, 4]])
  assert a.labels.tolist() == [1, 0] and data.class_names == ("cat", "dog")
  assert b.image_label == 1 and c.image_label == -1 and not len(c.labels)
  assert sources.splits("csv", str(root)) == ["t.csv"]
  table("filename,class_name,x1,y1,x2,y2,split\np/a.jpg,dog,0,1,10,11,x\n")
  assert len(read("csv", root, "t.csv").records[0].labels) == 1
  table("path,class\np/a.jpg,dog\np/b.jpg,cat\n")
  assert [r.image_label for r in read("csv", root, "t.csv").records] == [1, 0]


@pytest.mark.parametrize(
  ("rows", "kind", "message"),
  [
    ("p/x.jpg,dog,0,1,10,11", "missing picture", "t.csv:2: 'p/x.jpg' is not"),
    ("p/a.jpg,cow,0,1,10,11", "unknown class", "t.csv:2: unknown class 'cow'"),
    ("p/a.jpg,dog,0,,10,11", "bad number", r"box \(0, , 10, 11\) is not four"),
    ("p/a.jpg,dog,0,1,10", "bad annotation", "5 cells, but 6 columns"),
    ("p/a.jpg,dog,0,1,10,11,12", "bad annotation", "7 cells, but 6 columns"),
    ("/p/a.jpg,dog,0,1,10,11", "forbidden path", "'/p/a.jpg' is absolute"),
    (
      "p/a.jpg,dog,,,,\np/a.jpg,cat,,,,",
      "bad annotation",
      "second image label",
    ),
  ],
)
def test_bad_csv_lines(table, rows, kind, message):
  root = table(
    f"image,label,xmin,ymin,xmax,ymax\n{rows}\np/b.jpg,dog,0,1,9,9\n"
  )
  names = ("dog", "cat")
  with pytest.raises(DataError, match=message):
    read("csv", root, "t.csv", class_names=names)
  _, kinds = collect("csv", root, "t.csv", class_names=names)
  assert kinds == [kind]


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("", "expected one column image"),
    ("image,label,xmin\n", "a box needs ymin, xmax, ymax too"),
    ("image,path,label\n", "expected one column image"),
    ("image,label\n", "no picture in it"),
  ],
)
def test_bad_tables(table, text, message):
  with pytest.raises(DataError, match=f"t.csv.*{message}"):
    read("csv", table(text), "t.csv")
  with pytest.raises(DataError, match="no such file"):
    read("csv", table(text), "u.csv")


def test_open_images(tmp_path):
  picture(tmp_path / "validation/0a1b.jpg", 100, 50)
  (tmp_path / "validation-annotations-bbox.csv").write_text(
    "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,"
    "IsTruncated,IsGroupOf,IsDepiction,IsInside\n"
    "0a1b,xclick,/m/01g317,1,0.1,0.5,0.2,0.4,0,0,0,0,0\n"
    "0a1b,xclick,/m/0bt9lr,1,0,1,0,1,0,0,1,0,0\n"
  )
  data = read("open_images", tmp_path, "validation")
  (record,) = data.records
  np.testing.assert_allclose(
    record.boxes_px, [[10, 10, 50, 20], [0, 0, 100, 50]], atol=1e-4
  )
  assert record.difficult.tolist() == [False, True]
  assert data.class_names == ("/m/01g317", "/m/0bt9lr")
  names = tmp_path / "class-descriptions-boxable.csv"
  names.write_text("/m/0bt9lr,Dog\n/m/01g317,Person\n")
  data = read("open_images", tmp_path, "validation")
  assert data.class_names == ("Dog", "Person")
  assert data.records[0].labels.tolist() == [1, 0]
  assert sources.splits("open_images", str(tmp_path)) == ["validation"]
  with pytest.raises(DataError, match="expected one file such as train-"):
    read("open_images", tmp_path, "train")


# JSON lines


def test_jsonl_gives_back_what_was_written(real, tmp_path):
  root = real("coco_tiny38")
  data = read("coco", root, "train2017")
  path = tmp_path / "a.jsonl"
  jsonl.write(path, data, str(root))
  again = read("jsonl", tmp_path, "a.jsonl")
  assert again.class_names == data.class_names
  assert again.category_ids == data.category_ids
  for one, other in zip(data.records, again.records, strict=True):
    for name, a, b in zip(one._fields, one, other, strict=True):
      np.testing.assert_array_equal(a, b, err_msg=name)


FIRST = '{"root": ".", "class_names": ["dog"], "category_ids": []}'


def row(**changes):
  content = {"path": "a.jpg", "size": [40, 20], "boxes_px": []}
  content |= {"labels": [], "difficult": [], "image_id": 1}
  return json.dumps({**content, **changes})


@pytest.mark.parametrize(
  ("lines", "message"),
  [
    ([], "a.jsonl:1: expected root, class_names and category_ids"),
    (['{"root": 3}'], "expected root, class_names and category_ids"),
    ([FIRST], "no picture in it"),
    *(
      ([FIRST, line], "a.jsonl:2: no record")
      for line in (
        "{}",
        "[1",
        "[" * 100000,
        row(size=[80]),
        row(size=[1e400, 5]),
        row(size="80"),
        row(boxes_px=[[1, 2, 3]]),
        row(boxes_px=[[1, 2, 3, 10**400]], labels=[3]),
        row(boxes_px=[[1, 2, 3, 4]], labels=["dog"], areas_px={"a": 1}),
        row(difficult="n"),
        row(image_label=[1]),
        row(image_id=[1]),
        row(path=3),
      )
    ),
    ([FIRST, row(image_label="cow")], "unknown class 'cow'"),
    ([FIRST, row(path="../a.jpg")], "is absolute or has"),
    ([FIRST, row(path="b.jpg")], "'b.jpg' is not in"),
    ([FIRST.replace('["dog"]', '["dog", "dog"]')], "'dog' is there twice"),
  ],
)
def test_bad_jsonl(tmp_path, lines, message):
  picture(tmp_path / "a.jpg")
  (tmp_path / "a.jsonl").write_text("\n".join(lines))
  with pytest.raises(DataError, match=message):
    read("jsonl", tmp_path, "a.jsonl")


# Class names and maps


@pytest.fixture
def animals(table):
  root = table(
    "image,label,xmin,ymin,xmax,ymax\np/a.jpg,dog,0,1,10,11\n"
    "p/a.jpg,cat,2,2,4,4\np/b.jpg,dog,,,,\n"
  )
  return Source("csv", str(root), "t.csv")


def read_for(source, names, **changes):
  return sources.read_for("mine", source._replace(**changes), class_names=names)


def test_labels_follow_the_networks_names(animals):
  data = read_for(animals, ("eel", "cat", "dog"))
  assert data.records[0].labels.tolist() == [2, 1]
  assert data.records[1].image_label == 2
  assert data.class_names == ("eel", "cat", "dog")


def test_a_mismatch_lists_both_sides(animals):
  with pytest.raises(DataError) as error:
    read_for(animals, ("cat", "hound", "eel"))
  text = str(error.value)
  assert text.startswith(f"mine (csv {animals.root} t.csv): the classes do not")
  assert "only in the data set or its map: dog\n" in text
  assert "only in the network: hound, eel\n" in text
  assert text.endswith("'dog' is on " + f"{animals.root}/p/a.jpg.")


def test_maps_join_names_and_leave_classes_out(animals, tmp_path):
  nodes = ("animal", "hound")
  pairs = (("dog", "hound"), ("cat", "animal"))
  data = read_for(animals, nodes, map=pairs)
  assert data.records[0].labels.tolist() == [1, 0]
  (tmp_path / "map.csv").write_text("dog,\ncat,animal\n")
  data = read_for(animals, nodes, map=str(tmp_path / "map.csv"))
  (record,) = data.records  # b.jpg was a dog and nothing else
  assert record.labels.tolist() == [0]
  np.testing.assert_array_equal(record.boxes_px, [[2, 2, 4, 4]])
  assert data.notes["labels left out by the map"] == 2


@pytest.mark.parametrize(
  ("pairs", "message"),
  [
    ((("dog", "hound"),), "only in the data set or its map: cat"),
    ((("dog", "hund"), ("cat", "cat")), "or its map: hund"),
    (
      (("dog", "hound"), ("dog", "cat")),
      "map:2: .'dog', 'cat'.; expected a class",
    ),
    ((("dog",),), "map:1: .'dog',.; expected"),
    ("nothing.csv", "nothing.csv: cannot be read"),
  ],
)
def test_bad_maps(animals, pairs, message):
  with pytest.raises(DataError, match=message):
    read_for(animals, ("hound", "cat"), map=pairs)


def test_truths_keep_areas_and_rounding_is_no_flaw():
  flaws = Flaws(strict=True)
  truths = Truths(10, 10, flaws)
  truths.add((0.0, 0.0, 10.004, 10.0), 1, "a", 1, "box", area_px=3.0)
  record = truths.record("a.jpg")
  np.testing.assert_array_equal(record.boxes_px, [[0, 0, 10, 10]])
  assert record.areas_px.tolist() == [3.0] and not flaws.found


def test_boxes_follow_exif_where_the_size_says_so(tmp_path):
  """A picture stored lying, with boxes drawn on it standing."""
  import PIL.Image

  image = PIL.Image.fromarray(np.zeros((20, 40, 3), np.uint8))
  exif = image.getexif()
  exif[0x0112] = 6
  image.save(tmp_path / "a.jpg", exif=exif)
  for width, height in ((40, 20), (20, 40)):
    record = Truths(width, height, Flaws(strict=True)).record(
      tmp_path / "a.jpg"
    )
    assert read_picture(record).shape == (height, width, 3)


# Class names


def test_class_names_must_differ(tmp_path, animals):
  picture(tmp_path / "a/x.jpg")
  with pytest.raises(DataError, match="'a' is there twice"):
    read("folders", tmp_path, "", class_names=("a", "a"))
  with pytest.raises(DataError, match="'dog' is there twice"):
    read_for(animals, ("cat", "dog", "dog"))
  with pytest.raises(DataError, match="'' is no name"):
    read_for(animals, ("cat", "dog", ""))


@pytest.mark.parametrize(
  ("names", "message"),
  [
    (b"cat\n\ndog\n", "classes.txt:2: blank; expected a class name"),
    (b"c\xff\ndog\n", "classes.txt:1: .* is not UTF-8"),
    (b"cat\ncat\n", "classes.txt: .*'cat' is there twice"),
  ],
)
def test_bad_names_of_classes_shift_no_numbers(yolo, names, message):
  (yolo / "data.yaml").unlink()
  (yolo / "classes.txt").write_bytes(names)
  for strict in (True, False):
    with pytest.raises(DataError, match=message):
      sources.read(
        Source("yolo", str(yolo), "images/train"), Flaws(strict=strict)
      )


def test_joined_categories_have_no_id(tmp_path):
  root = coco(tmp_path)
  source = Source("coco", str(root), "a.json")
  pairs = (("cat", "pet"), ("dog", "pet"))
  data = read_for(source, ("pet",), map=pairs)
  assert data.category_ids == () and data.records[0].labels.tolist() == [0, 0]
  apart = read_for(
    source, ("hound", "cat"), map=(("cat", "cat"), ("dog", "hound"))
  )
  assert apart.category_ids == (18, 3)


def test_one_file_under_two_ids_is_an_error(tmp_path):
  image = {"id": 7, "file_name": "a.png", "width": 40, "height": 20}
  root = coco(tmp_path, images=[image, {**image, "id": 8}])
  with pytest.raises(DataError, match="its id or its file 'a.png' is there"):
    read("coco", root, "a.json")


def test_lost_rows_make_pictures_incomplete(table, yolo):
  root = table(
    "image,label,xmin,ymin,xmax,ymax\np/a.jpg,dog,0,1,9,9\np/a.jpg\n"
  )
  flaws = Flaws(strict=False)
  data = sources.read(Source("csv", str(root), "t.csv"), flaws)
  assert flaws.incomplete == {r.path for r in data.records}
  (yolo / "labels/train/a.txt").write_bytes(b"0 .5 .5 .5 .5\n1 .2 .2 .1 \xe9\n")
  flaws = Flaws(strict=False)
  sources.read(Source("yolo", str(yolo), "images/train"), flaws)
  assert flaws.incomplete == {str(yolo / "images/train/a.jpg")}


@pytest.mark.parametrize(
  "root", ["nowhere", "gopher://x/y", "voc\0"], ids=["none", "scheme", "nul"]
)
@pytest.mark.parametrize(
  "form", ["voc", "coco", "yolo", "csv", "folders", "tfds"]
)
def test_roots_that_are_none(tmp_path, form, root, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(DataError):
    read(form, root, "train")


def test_a_map_of_the_original_program_is_by_order(animals, tmp_path):
  """Line i is the node of class i; two classes may have one node."""
  path = tmp_path / "a.map"
  names = ("animal", "dog", "cat")
  path.write_text("2\n1\n")  # cat, dog
  data = read_for(animals, names, class_names=("cat", "dog"), map=str(path))
  assert data.records[0].labels.tolist() == [1, 2]
  path.write_text("0\n0\n")
  data = read_for(animals, names, class_names=("cat", "dog"), map=str(path))
  assert data.records[0].labels.tolist() == [0, 0]
  assert data.notes["classes joined with others by the map"] == 1
  for lines, message in (
    ("1\n", "has 1 lines for 2 classes of the data set, cat, dog"),
    ("1\n2\n0\n", "has 3 lines for 2 classes"),
    ("1\n3\n", "a.map:2: 3; expected a class of the network, 0 to 2"),
  ):
    path.write_text(lines)
    with pytest.raises(DataError, match=message):
      read_for(animals, names, class_names=("cat", "dog"), map=str(path))


def test_a_map_with_classes_that_the_data_set_has_not_says_so(animals):
  pairs = (("dog", "dog"), ("cat", "cat"), ("eel", "dog"))
  data = read_for(animals, ("cat", "dog"), map=pairs)
  assert data.notes["classes of the map that the data set has not"] == 1
