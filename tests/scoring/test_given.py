"""Lists of results that anybody's program wrote."""

import json

import numpy as np
import pytest

from yolo9000.data.records import Dataset, Record, read_picture
from yolo9000.files import FileError
from yolo9000.scoring import given

ROW = {"image_id": 7, "category_id": 3, "bbox": [1, 2, 3.5, 4], "score": 0.5}


def dataset(paths, ids=(-1, -1), names=("cat", "dog"), category_ids=()):
  nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.int32)
  records = [
    Record(path, 100, 100, *nothing, np.zeros(0, bool), image_id=number)
    for path, number in zip(paths, ids, strict=True)
  ]
  return Dataset(records, names, read_picture, [], category_ids=category_ids)


COCO = dataset(("x/7.jpg", "x/9.jpg"), (7, 9), category_ids=(3, 90))
VOC = dataset(("JPEG/000007.jpg", "JPEG/000012.jpg"), ("000007", "000012"))
PLAIN = dataset(("a/one.png", "b/two.png"))


def read(tmp_path, content, data=COCO, ordered=True):
  path = tmp_path / "results.json"
  text = content if isinstance(content, str) else json.dumps(content)
  path.write_text(text)
  return given.read(path, data, ordered=ordered)


def test_numbers_keep_their_precision_their_order_and_their_place(tmp_path):
  """Boxes that leave the picture are not cut."""
  exact = 0.1234567890123456789
  rows = [
    {**ROW, "score": exact, "bbox": [-5, exact, 200, 1e-9]},
    {**ROW, "image_id": 9, "category_id": 90},
    ROW,
    ROW,
  ]
  found, kept, told = read(tmp_path, rows)
  np.testing.assert_array_equal(
    found.boxes_px[0], [-5, exact, 195, exact + 1e-9]
  )
  assert found.score.tolist() == [exact, 0.5, 0.5, 0.5]
  assert found.image.tolist() == [0, 1, 0, 0]
  assert found.label.tolist() == [0, 1, 0, 0]
  assert [row["bbox"] for row in kept] == [row["bbox"] for row in rows]
  assert [row["category_id"] for row in kept] == [3, 90, 3, 3]
  assert told["entries that are there again, and count again"] == 1
  assert told["pictures without a detection"] == 0
  assert told["most detections on a picture"] == 3


def test_an_empty_list_is_legal(tmp_path):
  found, rows, told = read(tmp_path, [])
  assert not len(found.image) and rows == [] and told["least score"] is None
  assert not len(read(tmp_path, [], VOC, ordered=False).found.image)


@pytest.mark.parametrize(
  ("data", "images", "rule"),
  [
    (COCO, (9, "7"), "by image_id, the data set's own"),
    (COCO, (9.0, 7), "by image_id, the data set's own"),
    (COCO, ("9.jpg", "7.jpg"), "the name of the picture's file with suffix"),
    (VOC, ("000012", "000007"), "by image_id, the data set's own"),
    (VOC, (12, 7), "as the number that the data set's own is"),
    (VOC, ("12", "000007"), "as the number that the data set's own is"),
    (VOC, ("000012.jpg", "000007.jpg"), "file with suffix"),
    (PLAIN, ("two", "one"), "the name of the picture's file without suffix"),
    (PLAIN, (1, 0), "the number of the picture from 0"),
  ],
)
def test_a_picture_is_told_by_its_id(tmp_path, data, images, rule):
  category = data.category_ids[0] if data.category_ids else 0
  rows = [{**ROW, "image_id": i, "category_id": category} for i in images]
  found, _, told = read(tmp_path, rows, data)
  assert found.image.tolist() == [1, 0]
  assert told["picture of a detection"].endswith(rule)


def test_a_files_name_goes_before_an_id(tmp_path):
  """As in what detect writes: its image_id numbers what it was given."""
  row = {**ROW, "category_id": 0, "category_name": "dog"}
  rows = [
    {**row, "image_id": 7, "file_name": "/elsewhere/000012.jpg"},
    {**row, "image_id": 12, "file_name": "JPEG/000007.jpg"},
  ]
  found, kept, told = read(tmp_path, rows, VOC, ordered=False)
  assert found.image.tolist() == [1, 0] and found.label.tolist() == [1, 1]
  assert [row["image_id"] for row in kept] == ["000012", "000007"]
  assert told["picture of a detection"] == "by file_name"
  assert told["class of a detection"] == "by category_name"
  rows[1]["file_name"] = "cat.jpg"
  with pytest.raises(FileError, match="entry 2: file_name is 'cat.jpg'"):
    read(tmp_path, rows, VOC, ordered=False)


def test_a_name_that_two_pictures_have_says_nothing(tmp_path):
  data = dataset(("a/0.png", "b/0.png"), (5, 6))
  rows = [{**ROW, "image_id": 6, "category_id": 0, "file_name": "c/0.png"}]
  assert read(tmp_path, rows, data).found.image.tolist() == [1]
  rows[0]["file_name"] = "b/0.png"
  assert read(tmp_path, rows, data).told["picture of a detection"] == (
    "by file_name"
  )


@pytest.mark.parametrize(
  ("content", "message"),
  [
    ("no", r"results.json:1: not valid JSON"),
    ("[[", r"results.json:1: not valid JSON"),
    ({"annotations": []}, "is an object; expected a list of results"),
    ([ROW, 3], "entry 2 is 3; expected an object with image_id, category_id"),
    ([{"image_id": 7}], "entry 1 has no category_id; it has image_id"),
    ([ROW, {**ROW, "image_id": 8}], "entry 2: image_id is 8; expected one of"),
    ([{**ROW, "image_id": True}], "entry 1: image_id is True; expected"),
    ([{**ROW, "image_id": None}], "entry 1: image_id is None; expected"),
    ([{**ROW, "category_id": 4}], r"category_id is 4; .* 3 \(cat\), 90"),
    ([{**ROW, "category_id": [3]}], r"category_id is \[3\]; expected"),
    ([{**ROW, "category_name": "eel"}], "category_name is 'eel'; expected a"),
    ([{**ROW, "bbox": [1, 2, 3]}], r"bbox is \[1, 2, 3\]; expected four"),
    ([{**ROW, "bbox": [1, 2, 3, "4"]}], r"bbox is .*; expected four finite"),
    ([{**ROW, "bbox": [1, 2, 3, float("nan")]}], r"nan\]; expected four"),
    ([{**ROW, "bbox": [1, 2, 3, 10**400]}], "bbox is .*; expected four"),
    ([{**ROW, "bbox": None}], "bbox is None; expected four finite numbers"),
    ([{**ROW, "bbox": [1, 2, -3, 4]}], "expected x, y, width, height, the"),
    ([ROW, {**ROW, "score": "high"}], "entry 2: score is 'high'; expected a"),
    ([{**ROW, "score": float("inf")}], "score is inf; expected a finite"),
    ([{**ROW, "score": float("nan")}], "score is nan; expected a finite"),
    ([{**ROW, "score": True}], "score is True; expected a finite number"),
  ],
)
def test_a_bad_file_names_the_entry_and_what_is_wrong(
  tmp_path, content, message
):
  with pytest.raises(FileError, match=message) as error:
    read(tmp_path, content)
  assert str(error.value).startswith(str(tmp_path / "results.json"))


def test_a_file_that_is_not_there(tmp_path):
  with pytest.raises(FileError, match="none.json: cannot be read"):
    given.read(tmp_path / "none.json", COCO, ordered=True)


def test_a_number_has_one_name(tmp_path):
  rows = [{**ROW, "category_name": name} for name in ("cat", "dog")]
  with pytest.raises(FileError, match="entry 2: .* expected cat, as in an ear"):
    read(tmp_path, rows)


def test_a_number_needs_an_order_of_the_classes(tmp_path):
  rows = [{**ROW, "category_id": 1}]
  with pytest.raises(FileError, match="or --classes=FILE with a class on each"):
    read(tmp_path, rows, VOC, ordered=False)
  found, _, told = read(tmp_path, rows, VOC, ordered=True)
  assert found.label.tolist() == [1]
  assert told["class of a detection"] == "by category_id, from 0: cat, dog"


def test_files_of_vocs_devkit(tmp_path):
  """Their pixels count from 1 and include the last."""
  (tmp_path / "comp4_det_test_cat.txt").write_text(
    "000012 0.25 1 1 10 20\n\n000007 .5 3.5 4 8 9\n"
  )
  data = VOC._replace(class_names=("cat", "big_cat"))
  found, rows, told = given.read(tmp_path, data, ordered=False)
  assert found.image.tolist() == [1, 0] and found.label.tolist() == [0, 0]
  assert found.boxes_px.tolist() == [[0, 0, 10, 20], [2.5, 3, 8, 9]]
  assert found.score.tolist() == [0.25, 0.5]
  assert rows[0]["bbox"] == [0, 0, 10, 20] and told["least score"] == 0.25
  path = tmp_path / "comp4_det_test_big_cat.txt"
  path.write_text("000007 .5 3.5 4 8 9")
  assert given.read(path, data, ordered=False).found.label.tolist() == [1]


@pytest.mark.parametrize(
  ("name", "line", "message"),
  [
    ("det_cat", "000007 .5 1 2 3", r"det_cat.txt:2: .*; expected a picture's"),
    ("det_cat", "000007 .5 1 2 3 x", r"det_cat.txt:2: .*; expected a picture"),
    ("det_cat", "000007 nan 1 2 3 4", r"det_cat.txt:2: .*; expected a pict"),
    ("det_cat", "000007 .5 5 2 3 4", r"cat.txt:2: .*no maximum before its"),
    ("det_cat", "000009 .5 1 2 3 4", r"cat.txt:2: image_id is '000009'; ex"),
    ("det_eel", "000007 .5 1 2 3 4", "ends with no class of the data set"),
  ],
)
def test_a_bad_file_of_the_devkit(tmp_path, name, line, message):
  (tmp_path / f"{name}.txt").write_text(f"000007 .5 1 2 3 4\n{line}\n")
  with pytest.raises(FileError, match=message):
    given.read(tmp_path, VOC, ordered=False)


def test_a_folder_without_files_of_the_devkit(tmp_path):
  with pytest.raises(FileError, match="no .txt file is there; expected one"):
    given.read(tmp_path, VOC, ordered=False)
