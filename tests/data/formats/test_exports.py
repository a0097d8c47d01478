"""What programs write, and what of it is not read: counted, or a flaw."""

import json

import cv2
import numpy as np
import pytest

from yolo9000.data import doctor, sources
from yolo9000.data.disk import DataError
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats.reading import Source
from yolo9000.data.formats.unread import could_be_box


def picture(path, width=100, height=80):
  """A picture of its own, whatever its suffix."""
  path.parent.mkdir(parents=True, exist_ok=True)
  rng = np.random.default_rng(abs(hash(str(path))) % 2**32)
  image = rng.integers(0, 256, (height, width, 3), np.uint8)
  suffix = {".jfif": ".jpg", ".jpe": ".jpg"}.get(path.suffix, path.suffix)
  path.write_bytes(cv2.imencode(suffix.lower(), image)[1].tobytes())


def text(path, content):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(content)


def examine(form, root, *splits, class_names=()):
  return doctor.examine(
    *(form, str(root), splits),
    **{"class_names": class_names, "outside": False, "threads": 1},
  )


def read(form, root, split, **more):
  """In training: strict."""
  source = Source(form, str(root), split, **more)
  return sources.read(source, Flaws(strict=True))


def kinds(findings):
  return [flaw.kind for flaw in findings.flaws]


def clean(findings):
  return sum(map(len, findings.clean.values()))


@pytest.mark.parametrize(
  ("name", "is_one"),
  [
    *((name, True) for name in ("x", "X1", "bbox", "BBoxes", "box2d", "y_c")),
    *((name, True) for name in ("boundingBox", "x_center", "xCenter", "w")),
    *((name, True) for name in ("Object", "objects", "rect", "xywh", "x max")),
    *((name, True) for name in ("bottom_right_x", "width", "upperLeft", "cx")),
    *((name, False) for name in ("pose", "box_id", "image_width", "score")),
    *((name, False) for name in ("min", "xerox", "area", "bbox_area", "why")),
  ],
)
def test_names_that_could_be_a_box(name, is_one):
  assert could_be_box(name) is is_one


# CSV


@pytest.mark.parametrize(
  ("head", "message"),
  [
    ("image,label,x,y,width,height", r"t.csv:1: the column 'x' is not read"),
    ("image,label,x_center,y_center,w,h", "'h' is not read, and could be"),
    ("image,label,bbox", "'bbox' is not read"),
    ("image,label,rect,note", "'rect' is not read"),
    ("image,label,Xmin1,ymin1,xmax1,ymax1", "is not read"),
    ("image,label,xmin,ymin,xmax,y2x", "a box needs ymax too"),
    ("a.png,dog,10,10,50,40", "expected a head line"),
    ("10,10,50,40,dog,a", "expected a head line"),
  ],
)
def test_columns_that_could_be_a_box_are_no_image_labels(
  tmp_path, head, message
):
  picture(tmp_path / "a.png")
  cells = ["a.png", "dog", *"1234"][: head.count(",") + 1]
  text(tmp_path / "t.csv", f"{head}\n{','.join(cells)}\n")
  for function in (read, examine):
    with pytest.raises(DataError, match=message):
      function("csv", tmp_path, "t.csv")


def test_a_second_box_beside_a_read_one_is_a_flaw(tmp_path):
  picture(tmp_path / "a.png")
  row = (
    "image,label,xmin,ymin,xmax,ymax,bbox,source\na.png,dog,1,2,30,40,7,me\n"
  )
  text(tmp_path / "t.csv", row)
  findings = examine("csv", tmp_path)
  assert kinds(findings) == ["not read"] and findings.flaws[0].line == 1
  assert findings.datasets["t.csv"].passed == {"column source": 1}


@pytest.mark.parametrize(
  ("size", "flaw"),
  [
    ("100,80", None),
    (",", None),
    ("0,0", None),
    ("200,160", "wrong size"),
    ("80,100", "wrong size"),
    ("100,81", "wrong size"),
    ("0,80", "bad number"),
    ("big,80", "bad number"),
  ],
)
def test_sizes_in_a_table_are_compared_with_the_picture(tmp_path, size, flaw):
  picture(tmp_path / "a.png")
  head = "filename,width,height,class,xmin,ymin,xmax,ymax"
  text(tmp_path / "t.csv", f"{head}\na.png,{size},dog,10,10,50,40\n")
  findings = examine("csv", tmp_path)
  assert kinds(findings)[:1] == ([flaw] if flaw else [])
  assert clean(findings) == (0 if flaw else 1)


def test_tables_of_excel(tmp_path):
  picture(tmp_path / "a.png")
  rows = "image;label;xmin;ymin;xmax;ymax;;\na.png;dog;1;2;30;40;;\n;;;;;;;\n"
  text(tmp_path / "t.csv", rows)
  (record,) = read("csv", tmp_path, "t.csv").records
  np.testing.assert_array_equal(record.boxes_px, [[1, 2, 30, 40]])
  tabs = rows.replace(";", "\t").encode("utf-16")
  (tmp_path / "t.csv").write_bytes(tabs)
  assert len(read("csv", tmp_path, "t.csv").records[0].labels) == 1
  (tmp_path / "t.csv").write_bytes(
    rows.replace("dog", "ch\xe9").encode("cp1252")
  )
  with pytest.raises(DataError, match=r"t.csv:2: byte 42 \(0xe9\).*Latin-1"):
    read("csv", tmp_path, "t.csv")


# COCO


def coco(root, **changes):
  """Two pictures with a cat and a dog; lists are replaced by changes."""
  size = {"width": 100, "height": 80}
  for name in ("a.png", "b.png"):
    picture(root / "images" / name)
  content = {
    "images": [
      {"id": 1, "file_name": "a.png"} | size,
      {"id": 2, "file_name": "b.png"} | size,
    ],
    "annotations": [
      {"id": n, "image_id": n, "category_id": n, "bbox": [10, 10, 40, 30]}
      for n in (1, 2)
    ],
    "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
  }
  for key, change in changes.items():
    rows = content.setdefault(key, [])
    if callable(change):
      for row in rows:
        change(row)
    else:
      content[key] = change
  text(root / "a.json", json.dumps(content))
  return root


@pytest.mark.parametrize("image", [lambda n: n, str, float, lambda n: f"00{n}"])
@pytest.mark.parametrize("other", [lambda n: n, str, float])
def test_ids_that_are_equal_as_numbers_are_equal(tmp_path, image, other):
  root = coco(
    tmp_path,
    images=lambda row: row.update(id=image(row["id"])),
    annotations=lambda row: row.update(
      image_id=other(row["image_id"]), category_id=other(row["category_id"])
    ),
    categories=lambda row: row.update(id=image(row["id"])),
  )
  findings = examine("coco", root)
  assert not findings.flaws and clean(findings) == 2
  (dataset,) = findings.datasets.values()
  assert [len(r.labels) for r in dataset.records] == [1, 1]
  # Detections are written with the ids that the file has.
  as_text = isinstance(image(1), str)
  assert [r.image_id for r in dataset.records] == (
    [image(1), image(2)] if as_text else [1, 2]
  )


@pytest.mark.parametrize("other", ["a{}", "{}.5", "1{}7"])
def test_pictures_whose_annotations_are_lost_are_not_clean(tmp_path, other):
  root = coco(
    tmp_path, annotations=lambda r: r.update(image_id=other.format(r["id"]))
  )
  findings = examine("coco", root)
  assert kinds(findings) == ["orphan annotation"] * 2 and not clean(findings)
  with pytest.raises(DataError, match="there is no image"):
    read("coco", root, "a.json")


@pytest.mark.parametrize(
  ("changes", "kind", "kept"),
  [
    ({"annotations": lambda r: r.update(bbox2=r["bbox"])}, "not read", 0),
    ({"annotations": lambda r: r.update(Bbox=1)}, "not read", 0),
    ({"annotations": lambda r: r.update(is_crowd=1)}, "not read", 0),
    ({"images": lambda r: r.update(boxes=[])}, "not read", 0),
    ({"objects": [1]}, "not read", 0),
    ({"annotations": lambda r: r.pop("id")}, "bad annotation", 2),
    ({"annotations": lambda r: r.update(id=1)}, "bad annotation", 2),
    ({"annotations": lambda r: r.update(bbox=[0.1, 0.1, 0.4, 0.5])}, None, 0),
    ({"annotations": lambda r: r.update(bbox=[1, 1, 0.4, 30])}, "thin box", 2),
  ],
)
def test_keys_and_boxes_that_are_no_good(tmp_path, changes, kind, kept):
  findings = examine("coco", coco(tmp_path, **changes))
  assert set(kinds(findings)) == {kind or "like fractions"}
  assert clean(findings) == kept


def test_keys_that_are_not_used_are_counted(tmp_path):
  root = coco(
    tmp_path,
    info={},
    annotations=lambda r: r.update(segmentation=[], score=1, iscrowd=0),
    images=lambda r: r.update(license=1),
    categories=lambda r: r.update(supercategory="animal"),
  )
  findings = examine("coco", root)
  (dataset,) = findings.datasets.values()
  assert not findings.flaws and dataset.passed == {
    **{"key info": 1, "annotation's key segmentation": 2},
    **{"annotation's key score": 2, "image's key license": 2},
  }


def test_two_categories_of_one_name(tmp_path):
  group = {"id": 0, "name": "dog", "supercategory": "none"}
  rows = [
    {"id": n, "name": name, "supercategory": "dog"}
    for n, name in ((1, "cat"), (2, "dog"))
  ]
  root = coco(tmp_path, categories=[group, *rows])
  data = read("coco", root, "a.json")
  assert data.class_names == ("cat", "dog") and data.category_ids == (1, 2)
  assert data.passed == {"category 0 'dog', a group without annotations": 1}
  # What has annotations is no group.
  root = coco(
    tmp_path,
    categories=[group, *rows],
    annotations=lambda row: row.update(category_id=row["id"] * 2 % 4),
  )
  with pytest.raises(DataError, match="categories 0, 2 are all called 'dog'"):
    read("coco", root, "a.json")


@pytest.mark.parametrize(
  ("name", "note"),
  [
    ("images\\a.png", "paths with \\ in place of /"),
    ("data/a.png", "paths without their leading data/"),
    ("/data/a.png", "paths without their leading data/"),
    ("data\\a.png", "paths without their leading data/"),
    ("a.PNG", "names that differ from the file's in letters' size or accents"),
    ("A.png", "names that differ from the file's in letters' size or accents"),
    ("./a.png", None),
    ("images/a.png", None),
  ],
)
def test_paths_of_other_programs(tmp_path, name, note):
  size = {"width": 100, "height": 80}
  root = coco(
    tmp_path,
    images=[{"id": 1, "file_name": name} | size],
    annotations=[
      {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 30, 40]}
    ],
  )
  data = read("coco", root, "a.json")
  assert data.records[0].path == str(root / "images/a.png")
  assert data.notes == ({note: 1} if note else {})


def test_pictures_lie_where_cvat_and_fiftyone_put_them(tmp_path):
  coco(tmp_path / "cvat")
  (tmp_path / "cvat/annotations").mkdir()
  (tmp_path / "cvat/a.json").rename(
    tmp_path / "cvat/annotations/instances_default.json"
  )
  assert sources.splits("coco", str(tmp_path / "cvat")) == ["default"]
  assert len(read("coco", tmp_path / "cvat", "default").records) == 2
  coco(tmp_path / "fifty")
  (tmp_path / "fifty/images").rename(tmp_path / "fifty/data")
  assert len(read("coco", tmp_path / "fifty", "a.json").records) == 2


def test_sizes_that_are_not_written_are_taken_from_the_picture(tmp_path):
  def without(row):
    row.update(width=None)
    row.pop("height")

  data = read("coco", coco(tmp_path, images=without), "a.json")
  assert [(r.width, r.height) for r in data.records] == [(100, 80)] * 2
  note = "sizes that are not written, taken from the picture"
  assert data.notes == {note: 2}


# VOC


def xml(*objects, size=(100, 80), more="", filename=""):
  rows = "".join(
    f"<object><name>{name}</name>{rest}<bndbox><xmin>{a}</xmin><ymin>{b}</ymin>"
    f"<xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>\n"
    for name, a, b, c, d, rest in objects
  )
  file = f"<filename>{filename}</filename>" if filename else ""
  return (
    f"<annotation>{file}<size><width>{size[0]}</width>"
    f"<height>{size[1]}</height></size>\n{rows}{more}</annotation>"
  )


CAR = ("car", 10, 10, 30, 40, "<difficult>0</difficult>")


def voc(root, content=None, name="a", suffix=".jpg", lines=None):
  """One picture, and the list train.txt."""
  picture(root / "JPEGImages" / f"{name}{suffix}")
  text(root / "Annotations" / f"{name}.xml", content or xml(CAR))
  text(
    root / "ImageSets/Main/train.txt", f"{name}\n" if lines is None else lines
  )
  return root


@pytest.mark.parametrize(
  ("old", "new"),
  [
    ("</bndbox>", "</bndbox><bndbox><xmin>1</xmin></bndbox>"),
    ("</name>", "</name><name>dog</name>"),
    ("</xmin>", "</xmin><xmin>20</xmin>"),
    ("object>", "Object>"),
    ("object>", "objects>"),
    ("object>", "thing>"),
    ("<annotation>", "<annotation xmlns='urn:a'>"),
    ("</annotation>", "<bndbox><xmin>1</xmin></bndbox></annotation>"),
    ("</annotation>", "<Object><name>x</name></Object></annotation>"),
    ("</annotation>", "<regions><r><x>1</x></r></regions></annotation>"),
    ("</annotation>", "<objects><object/></objects></annotation>"),
    ("</object>", "<box2d/></object>"),
    ("<object>", "<object xmin='1'>"),
    ("difficult>", "dificult>"),
    ("width>", "Width>"),
  ],
)
def test_elements_that_could_be_a_box_are_a_flaw(tmp_path, old, new):
  root = voc(tmp_path, xml(CAR).replace(old, new))
  findings = examine("voc", root)
  assert "not read" in kinds(findings) and not clean(findings)
  flaw = next(f for f in findings.flaws if f.kind == "not read")
  assert flaw.path.endswith("a.xml") and flaw.line in (1, 2, 3)
  with pytest.raises(DataError, match="a.xml:[123]: "):
    read("voc", root, "train")


def test_elements_that_are_not_used_are_counted(tmp_path):
  more = "<source><database>x</database></source><folder>f</folder>"
  part = "<part><name>hand</name><bndbox><xmin>1</xmin></bndbox></part>"
  pose = "<pose>Left</pose><occluded>1</occluded>"
  root = voc(tmp_path, xml((*CAR[:5], pose + part), more=more))
  findings = examine("voc", root)
  assert not findings.flaws and clean(findings) == 1
  assert findings.datasets["train"].passed == {
    **{"element annotation's source": 1, "element annotation's folder": 1},
    **{"element object's pose": 1, "element object's occluded": 1},
    **{"element object's part": 1},
  }


@pytest.mark.parametrize("suffix", [".png", ".JPG", ".jpeg", ".bmp", ".webp"])
@pytest.mark.parametrize("name", ["a", "a b", "v1.2", "a 1"])
@pytest.mark.parametrize("end", ["", "{}", " 1", "  -1", "{} 1"])
def test_lists_and_pictures_of_any_suffix(tmp_path, suffix, name, end):
  lines = f"{name}{end.format(suffix)}\n"
  root = voc(tmp_path, name=name, suffix=suffix, lines=lines)
  findings = examine("voc", root)
  assert not findings.flaws and clean(findings) == 1


def test_a_name_that_ends_in_0_or_1_is_no_second_column(tmp_path):
  for name in ("frame", "frame 0", "frame 1", "frame 2"):
    voc(tmp_path, name=name)
  text(tmp_path / "ImageSets/Main/train.txt", "frame 0\nframe 1\nframe 2  1\n")
  data = read("voc", tmp_path, "train")
  assert [r.image_id for r in data.records] == ["frame 0", "frame 1", "frame 2"]


@pytest.mark.parametrize(
  ("value", "difficult"),
  [
    *((value, False) for value in ("0", "0.0", "", " ", "Unspecified")),
    *((value, False) for value in ("unspecified", "-1", "false", " 0 ")),
    *((value, True) for value in ("1", "1.0", "True", " 1\n")),
    *((value, None) for value in ("2", "yes", "0.5", "difficult")),
  ],
)
def test_what_difficult_may_be(tmp_path, value, difficult):
  mark = f"<difficult>{value}</difficult>"
  root = voc(tmp_path, xml((*CAR[:5], mark)))
  findings = examine("voc", root)
  if difficult is None:
    assert kinds(findings) == ["bad number"] and not clean(findings)
  else:
    (record,) = findings.clean["train"]
    assert record.difficult.tolist() == [difficult] and not findings.flaws


def test_the_picture_is_found_by_filename_where_its_name_is_another(tmp_path):
  root = voc(tmp_path, xml(CAR, filename="C:\\pictures\\photo.JPG"))
  (root / "JPEGImages/a.jpg").rename(root / "JPEGImages/photo.JPG")
  data = read("voc", root, "train")
  assert data.records[0].path.endswith("photo.JPG")
  assert data.notes == {"pictures found by <filename>": 1}
  # Two of one name: <filename> decides; without it, nobody.
  picture(root / "JPEGImages/a.png")
  picture(root / "JPEGImages/a.bmp")
  text(root / "Annotations/a.xml", xml(CAR, filename="a.bmp"))
  assert read("voc", root, "train").records[0].path.endswith("a.bmp")
  text(root / "Annotations/a.xml", xml(CAR))
  with pytest.raises(DataError, match="a.xml could be of a.bmp, a.png"):
    read("voc", root, "train")


def test_xml_files_beside_their_pictures(tmp_path):
  """As labelImg leaves them, in folders that are splits, or in root."""
  for folder in ("train", "test"):
    picture(tmp_path / folder / "a.png")
    text(tmp_path / folder / "a.xml", xml(CAR, size=(0, 0)))
  text(tmp_path / "train/.ipynb_checkpoints/a.xml", "")
  findings = examine("voc", tmp_path)
  assert list(findings.datasets) == ["test", "train"] and clean(findings) == 2
  notes = findings.datasets["train"].notes
  assert notes["sizes that are not written, taken from the picture"] == 1
  assert findings.datasets["train"].passed == {"hidden .ipynb_checkpoints": 1}
  assert sources.splits("voc", str(tmp_path / "train")) == [""]
  assert len(read("voc", tmp_path / "train", "").records) == 1


@pytest.mark.parametrize(
  ("annotations", "images"),
  [
    ("Annotations", "JPEGImages"),
    ("annotations", "images"),
    ("xmls", "images"),
  ],
)
def test_no_lists_at_all(tmp_path, annotations, images):
  picture(tmp_path / images / "a.png")
  picture(tmp_path / images / "b.png")
  text(tmp_path / annotations / "a.xml", xml(CAR))
  findings = examine("voc", tmp_path)
  assert list(findings.datasets) == [""] and clean(findings) == 1
  assert kinds(findings) == ["orphan picture"]
  note = "XML files of a folder, read without a list"
  assert findings.datasets[""].notes == {note: 1}


def test_lists_of_one_class_are_lists_of_pictures(tmp_path):
  for name in ("a", "b"):
    voc(tmp_path, name=name)
  (tmp_path / "ImageSets/Main/train.txt").unlink()
  for name in ("cat", "hot dog"):
    text(tmp_path / f"ImageSets/Main/{name}_train.txt", "a.jpg 1\n")
    text(tmp_path / f"ImageSets/Main/{name}_val.txt", "b.jpg -1\n")
  findings = examine("voc", tmp_path)
  assert list(findings.datasets) == ["train", "val"] and not findings.flaws
  assert len(read("voc", tmp_path, "cat_train").records) == 1
  with pytest.raises(DataError, match="test: no such .*cat_train, cat_val"):
    read("voc", tmp_path, "test")


@pytest.mark.parametrize(
  "content",
  [
    xml(CAR).encode("utf-16"),
    b"\xef\xbb\xbf" + xml(CAR).encode(),
    f"<?xml version='1.0' encoding='utf-16'?>{xml(CAR)}".encode(),
    f"<?xml version='1.0' encoding='UTF-16'?>{xml(CAR)}".encode("utf-16"),
    f"<?xml version='1.0' encoding='gbk'?>{xml(CAR)}".encode("gbk"),
  ],
)
def test_encodings_of_xml(tmp_path, content):
  root = voc(tmp_path)
  (root / "Annotations/a.xml").write_bytes(content)
  assert len(read("voc", root, "train").records[0].labels) == 1


# YOLO text


def yolo(root, line="0 .5 .5 .2 .2", folder="images", name="a.png"):
  """One picture and its labels, and the names cat and dog."""
  picture(root / folder / name)
  labels = root / folder.replace("images", "labels")
  text((labels / name).with_suffix(".txt"), line + "\n")
  text(root / "classes.txt", "cat\ndog\n")
  return root


@pytest.mark.parametrize(
  ("folders", "yaml", "splits"),
  [
    (("train/images", "valid/images"), "", None),
    (("train/images", "valid/images", "test/images"), "", None),
    (("images/train", "images/val"), "", None),
    (("images/train2017",), "", None),
    (("images",), "", None),
    (("train", "val"), "", None),
    (("train", "Test"), "", ["Test", "train"]),
    (("obj_train_data",), "", [""]),
    (
      ("train/images", "valid/images", "old/images"),
      "train: ../train/images\nval: ../valid/images\n",
      ["train/images", "valid/images"],
    ),
    (("images/a", "images/b"), "path: ../set\ntrain: images/a\n", ["images/a"]),
    (("set/images/a",), "path: set\ntrain: [images/a]\n", ["set/images/a"]),
    (("images/a",), "train: /elsewhere/a\n", ["images/a"]),
    (("images/a",), "train: .\\images\\a\n", ["images/a"]),
  ],
)
def test_folders_that_are_splits(tmp_path, folders, yaml, splits):
  for folder in folders:
    yolo(tmp_path, folder=folder)
  if yaml:
    (tmp_path / "classes.txt").unlink()
    text(tmp_path / "data.yaml", f"{yaml}nc: 2\nnames: [cat, dog]\n")
  for name in ("README.txt", "README.roboflow.txt", "notes.txt"):
    text(tmp_path / name, "Pictures of cats.\n")
  expected = sorted(splits or folders)
  assert sorted(sources.splits("yolo", str(tmp_path))) == expected
  findings = examine("yolo", tmp_path)
  # Pictures of no split, and splits that are not there, are told.
  told = {"orphan picture"} if len(folders) > len(expected) else set()
  told |= {"bad split"} if "elsewhere" in yaml else set()
  assert set(kinds(findings)) == told and clean(findings) == len(expected)
  assert findings.passed["file README.txt"] == 1


def test_lists_are_found_by_what_is_in_them(tmp_path):
  yolo(tmp_path)
  text(tmp_path / "train.txt", "\nimages/a.png\n")
  text(tmp_path / "licence.txt", "images may be used by all\n")
  assert sources.splits("yolo", str(tmp_path)) == ["train.txt"]
  # Labels beside pictures are no lists.
  beside = tmp_path / "beside"
  yolo(beside, folder="")
  assert sources.splits("yolo", str(beside)) == [""]


@pytest.mark.parametrize(
  ("line", "box", "note"),
  [
    ("0 .5 .5 .2 .2", (40, 32, 60, 48), None),
    ("0 .1 .1 .7 .1 .7 .7 .1 .7", (10, 8, 70, 56), "polygons, of"),
    ("0 .1 .1 .7 .1 .7 .7", (10, 8, 70, 56), "polygons, of"),
    ("0 .1 .1 .7 .1 .7 .7 .1", None, None),
    ("0 .5 .5 .2 .2 .9", None, None),
    ("0 .5 .5 .2", None, None),
    ("cat .5 .5 .2 .2", None, None),
    ("0 .1 .1 .7 nan .7 .7", None, None),
    ("0 50 40 20 16", None, None),
  ],
)
def test_lines_of_points(tmp_path, line, box, note):
  findings = examine("yolo", yolo(tmp_path, line))
  if box is None:
    assert kinds(findings)[0] in ("bad number", "outside")
    assert not clean(findings)
    return
  (record,) = findings.clean["images"]
  np.testing.assert_allclose(record.boxes_px, [box], atol=1e-4)
  assert bool(findings.datasets["images"].notes) is bool(note)


def test_keypoints_after_a_box_are_passed_over(tmp_path):
  root = yolo(tmp_path, "0 .5 .5 .2 .2 .1 .1 2 .3 .3 1")
  text(root / "data.yaml", "names: [cat, dog]\nkpt_shape: [2, 3]\n")
  findings = examine("yolo", root)
  (dataset,) = findings.datasets.values()
  assert not findings.flaws and dataset.passed == {"keypoints of a box": 1}
  box = dataset.records[0].boxes_px
  np.testing.assert_allclose(box, [[40, 32, 60, 48]], atol=1e-4)


@pytest.mark.parametrize(
  ("yaml", "expected"),
  [
    ("names: [cat, dog]", ("cat", "dog")),
    ("names:\n- cat\n- dog", ("cat", "dog")),
    ("names: {0: cat, 1: dog}", ("cat", "dog")),
    ("names:\n  '1': dog\n  '0': cat", ("cat", "dog")),
    ("nc: 2\nnames: [1, 0]", ("1", "0")),
    ("names: [007, 1.50]", ("007", "1.50")),
    ("names: ['no', \"yes\"]", ("no", "yes")),
    ("names:\n- yes\n- no", r"yaml:2: YAML reads the name 'yes' as true or"),
    ("names:\n- cat\n- no", r"yaml:3: YAML reads the name 'no' as true or"),
    ("names: [cat, ~]", r"yaml:1: YAML reads the name '~' as nothing"),
    ("names:\n- cat\n-\n", r"yaml:3: YAML reads the name '' as nothing"),
    ("names:\n- [cat]\n", r"yaml:2: a name is a seq; expected a text"),
    ("names: {0: cat, 2: dog}", r"yaml:1: the names are numbered 0, 2; exp"),
    ("names: {1: cat, 2: dog}", r"yaml:1: the names are numbered 1, 2; exp"),
    ("x: 1\nnames: [cat, cat]", r"yaml:2: .*'cat' is there twice"),
    ("names: [a]\nnames: [b]", r"yaml:2: 'names' is there twice"),
    ("nc: 3\nnames: [a, b]", r"yaml:1: nc is 3, but there are 2 names"),
    ("names: [a\nb: [", r"yaml:\d: not valid YAML"),
    ("train: x", r"yaml: no names in it"),
    ("", r"yaml: no names in it"),
    (b"names: [caf\xe9]", r"yaml:1: byte 11 \(0xe9\) is not UTF-8"),
  ],
)
def test_names_in_yaml(tmp_path, yaml, expected):
  root = yolo(tmp_path)
  content = yaml.encode() if isinstance(yaml, str) else yaml
  (root / "data.yaml").write_bytes(content)
  if isinstance(expected, tuple):
    data = read("yolo", root, "images")
    assert data.class_names == expected
    assert bool(data.notes) is expected[0].isdecimal()
    (root / "data.yaml").write_bytes(yaml.encode("utf-16"))
    assert read("yolo", root, "images").class_names == expected
  else:
    with pytest.raises(DataError, match=expected):
      read("yolo", root, "images")


def test_utf_16_lists_and_labels(tmp_path):
  root = yolo(tmp_path)
  for encoding in ("utf-16", "utf-8-sig", "utf-32"):
    (root / "train.txt").write_bytes("images/a.png\r\n".encode(encoding))
    (root / "labels/a.txt").write_bytes("1 .5 .5 .2 .2\n".encode(encoding))
    (root / "classes.txt").write_bytes("cat\ndog".encode(encoding))
    data = read("yolo", root, "train.txt")
    assert data.records[0].labels.tolist() == [1]
    assert data.class_names == ("cat", "dog")
  (root / "train.txt").write_bytes("images/a.png".encode("utf-16-le"))
  with pytest.raises(DataError, match=r"train.txt:1: .*UTF-16 LE without a b"):
    read("yolo", root, "train.txt")


# Folders


def test_hidden_and_system_folders_and_files(tmp_path):
  for name in ("cat/1.png", "dog/1.png", "dog/deep/2.png"):
    picture(tmp_path / "train" / name)
  hidden = (
    *(".ipynb_checkpoints/a.png", "__MACOSX/cat/._1.png", "@eaDir/cat/1.png"),
    *("cat/._1.png", "cat/Thumbs.db", ".DS_Store", "dog/@eaDir/1.png"),
  )
  for name in hidden:
    text(tmp_path / "train" / name, "x")
  text(tmp_path / "train/dog/notes.md", "x")
  findings = examine("folders", tmp_path)
  (dataset,) = findings.datasets.values()
  assert not findings.flaws and dataset.class_names == ("cat", "dog")
  assert clean(findings) == 3
  assert dataset.passed == {
    **{f"hidden {n}": 1 for n in (".ipynb_checkpoints", "__MACOSX", "._1.png")},
    **{"hidden Thumbs.db": 1, "hidden .DS_Store": 1, "hidden @eaDir": 2},
    **{"files *.md": 1},
  }
  assert not findings.passed


def test_files_and_folders_that_nothing_mentions_are_named(tmp_path):
  coco(tmp_path)
  for n in range(4):
    text(tmp_path / f"images/{n}.json5", "x")
  text(tmp_path / "old/deep/x.txt", "x")
  text(tmp_path / "LICENSE", "x")
  text(tmp_path / ".git/x", "x")
  findings = examine("coco", tmp_path)
  assert not findings.flaws and findings.passed == {
    **{"file images/*.json5": 4, "file LICENSE": 1, "hidden .git": 1},
    **{"files in folder old": 1},
  }


# Open Images

HEAD = (
  "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,"
  "IsTruncated,IsGroupOf,IsDepiction,IsInside"
)
CLICKS = ",".join(f"XClick{n}{axis}" for axis in "XY" for n in range(1, 5))


@pytest.mark.parametrize(
  ("file", "names", "head", "clicks"),
  [
    ("train-annotations-bbox.csv", "class-descriptions-boxable.csv", "", 0),
    (
      "oidv6-train-annotations-bbox.csv",
      "oidv6-class-descriptions.csv",
      "x",
      8,
    ),
    (
      "oidv6-train-annotations-bbox.csv",
      "oidv7-class-descriptions-boxable.csv",
      *("x", 0),
    ),
    (
      "challenge-2019-train-detection-bbox.csv",
      *("challenge-2019-classes-description-500.csv", "", 0),
    ),
  ],
)
def test_open_images_of_every_year(tmp_path, file, names, head, clicks):
  picture(tmp_path / "train/0a1b.jpg")
  more = "," + CLICKS if clicks else ""
  values = ",.1" * clicks
  rows = (
    f"0a1b,xclick,/m/01g317,1,0.1,0.5,0.2,0.4,0,0,0,0,0{values}\n"
    f"0a1b,activemil,/m/0bt9lr,1,0.5,1,0.3,0.9,-1,-1,-1,-1,-1{values}\n"
  )
  text(tmp_path / file, f"{HEAD}{more}\n{rows}")
  first = "LabelName,DisplayName\n" if head else ""
  text(tmp_path / names, f'{first}/m/0bt9lr,Dog\n/m/01g317,"Person, any"\n')
  text(tmp_path / "train-annotations-human-imagelabels.csv", "ImageID\n")
  findings = examine("open_images", tmp_path)
  assert list(findings.datasets) == ["train"] and not findings.flaws
  dataset = findings.datasets["train"]
  assert dataset.class_names == ("Dog", "Person, any") and clean(findings) == 1
  assert dataset.records[0].difficult.tolist() == [False, False]
  assert dataset.notes == {"objects whose IsGroupOf is -1": 1}
  assert dataset.passed["column IsInside"] == 1
  assert sum(dataset.passed.values()) == 6 + clicks
  human = "file train-annotations-human-imagelabels.csv"
  assert findings.passed == {human: 1}


def test_two_tables_of_one_split_are_an_error(tmp_path):
  for version in ("", "oidv6-"):
    text(tmp_path / f"{version}train-annotations-bbox.csv", HEAD)
  with pytest.raises(DataError, match="there is oidv6-train-.*, train-ann"):
    read("open_images", tmp_path, "train")


# Pictures


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_pictures_of_16_bits_keep_what_is_in_them(tmp_path, suffix, bits):
  rng = np.random.default_rng(bits)
  image = rng.integers(0, 256, (80, 100), np.uint8)
  image[0, 0] = 255
  path = tmp_path / f"cat/a{suffix}"
  path.parent.mkdir()
  deep = image.astype(np.uint16) << (bits - 8)
  path.write_bytes(cv2.imencode(suffix, deep)[1].tobytes())
  findings = examine("folders", tmp_path)
  (dataset,) = findings.datasets.values()
  found = dataset.read_image(dataset.records[0])
  if suffix == ".pgm":  # whose head tells the greatest value: 65535
    assert not findings.notes.keys() - {"pictures of 16 bits, read as 8"}
    np.testing.assert_array_equal(found[..., 0], deep >> 8)
    return
  np.testing.assert_array_equal(found, np.stack([image] * 3, -1))
  note = f"pictures of {bits} bits, read as 8"
  assert findings.notes == ({note: 1} if bits > 8 else {})


def test_the_bits_that_a_file_tells(tmp_path):
  import struct
  import zlib

  deep = np.full((8, 8, 3), 700, np.uint16)  # of 4095
  png = cv2.imencode(".png", deep)[1].tobytes()
  kind = b"sBIT" + bytes([12, 12, 12])
  chunk = struct.pack(">I", 3) + kind + struct.pack(">I", zlib.crc32(kind))
  path = tmp_path / "cat/a.png"
  path.parent.mkdir()
  for content, bits in ((png, 10), (png[:33] + chunk + png[33:], 12)):
    path.write_bytes(content)
    (record,) = read("folders", tmp_path, "").records
    found = read("folders", tmp_path, "").read_image(record)
    np.testing.assert_array_equal(found, 700 >> (bits - 8))


def turned(path, orientation):
  """A picture of 100x80 stored pixels that EXIF turns."""
  import PIL.Image

  picture(path)
  image = PIL.Image.open(path)
  exif = image.getexif()
  exif[0x0112] = orientation
  image.save(path, exif=exif)


@pytest.mark.parametrize(
  ("orientation", "size", "shape"),
  [
    (6, (100, 80), (80, 100)),
    (6, (80, 100), (100, 80)),
    (8, (80, 100), (100, 80)),
    (6, (0, 0), None),
    (3, (100, 80), None),
    (1, (80, 100), None),
  ],
)
@pytest.mark.parametrize("form", ["voc", "csv", "coco"])
def test_sizes_say_which_way_a_turned_picture_is_meant(
  tmp_path, orientation, size, shape, form
):
  width, height = size
  if form == "voc":
    root, split = voc(tmp_path, xml(CAR, size=size)), "train"
    path = root / "JPEGImages/a.jpg"
  elif form == "csv":
    root, split, path = tmp_path, "t.csv", tmp_path / "a.jpg"
    head = "image,label,xmin,ymin,xmax,ymax,width,height"
    text(root / split, f"{head}\na.jpg,car,9,9,30,40,{width},{height}\n")
  else:
    named = {"id": 1, "file_name": "a.jpg", "width": width, "height": height}
    boxes = [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [9, 9, 21, 31]}]
    root, split = coco(tmp_path, images=[named], annotations=boxes), "a.json"
    path = root / "images/a.jpg"
  turned(path, orientation)
  findings = examine(form, root, split)
  if shape is None:
    kind = "wrong size" if orientation == 1 else "turned picture"
    assert kinds(findings) == [kind] and not clean(findings)
    return
  (record,) = next(iter(findings.clean.values()))
  dataset = findings.datasets[split]
  assert dataset.read_image(record).shape[:2] == shape and not findings.flaws
  note = "pictures that EXIF turns; their size says how boxes are meant"
  assert findings.notes == {note: 1}


# What was found by trying: each line is a file that somebody could have


@pytest.mark.parametrize(
  "columns",
  [
    *("xtl,ytl,xbr,ybr", "x_px,y_px,width_px,height_px", "xs,ys", "xy"),
    *("label_x,label_y,label_w,label_h", "face_x,face_y,face_w,face_h"),
    *("bb_left,bb_top", "ulx,uly,lrx,lry", "tlx,tly", "x_low,x_high", "posx"),
    *("topleft,bottomright", "center,size", "location", "bb", "polygon"),
    *("img_bbox", "label_bbox", "rel_x", "startx,endx", "corners", "wkt"),
    *("a,b,c,d", "links,oben,breite,hoehe"),  # four numbers in every line
  ],
)
def test_boxes_under_any_name_are_no_image_labels(tmp_path, columns):
  picture(tmp_path / "a.png")
  numbers = ",".join("10 20 30 40".split()[: columns.count(",") + 1])
  text(tmp_path / "t.csv", f"image,label,{columns}\na.png,cat,{numbers}\n")
  with pytest.raises(DataError, match="t.csv:1: the column"):
    read("csv", tmp_path, "t.csv")
  try:
    findings = examine("csv", tmp_path)
  except DataError:
    return
  assert "not read" in kinds(findings) and not clean(findings)


@pytest.mark.parametrize("cell", ["[10, 10, 50, 40]", "10 10 50 40", "1;2;3;4"])
def test_a_cell_that_could_be_a_box(tmp_path, cell):
  picture(tmp_path / "a.png")
  text(tmp_path / "t.csv", f'image,label,thing\na.png,cat,"{cell}"\n')
  with pytest.raises(DataError, match="t.csv:1: the column 'thing' is not"):
    read("csv", tmp_path, "t.csv")


def test_tables_beside_their_pictures_and_heads_that_come_late(tmp_path):
  picture(tmp_path / "train/a.png")
  head = "filename,width,height,class,xmin,ymin,xmax,ymax"
  row = f"{head}\na.png,100,80,dog,10,10,50,40\n"
  for before in ("", "\n", "# of me\n\n", "sep=,\n"):
    text(tmp_path / "train/_annotations.csv", before + row)
    assert sources.splits("csv", str(tmp_path)) == ["train/_annotations.csv"]
    findings = examine("csv", tmp_path)
    assert not findings.flaws and clean(findings) == 1
  text(tmp_path / "train/_annotations.csv", row + "a.png,100,80,dog,1,1,x,4\n")
  findings = examine("csv", tmp_path)
  assert [flaw.line for flaw in findings.flaws] == [3]


def test_a_picture_has_boxes_or_an_image_label(tmp_path):
  picture(tmp_path / "a.png")
  head = "image,label,xmin,ymin,xmax,ymax"
  text(tmp_path / "t.csv", f"{head}\na.png,cat,1,2,30,40\na.png,dog,,,,\n")
  findings = examine("csv", tmp_path)
  assert kinds(findings) == ["bad annotation"] and not clean(findings)


@pytest.mark.parametrize(
  "element",
  [
    '<zone name="q" x1="1" y1="2" x2="30" y2="40"/>',
    '<tag name="cat" x="1" y="2" width="30" height="40"/>',
    "<vehicle><name>car</name><pos>1 2 30 40</pos></vehicle>",
    "<vehicle><bb>1,2,3,4</bb></vehicle>",
    "<source><object><bndbox><xmin>1</xmin></bndbox></object></source>",
    "<part><bndbox><xmin>1</xmin></bndbox></part>",
  ],
)
def test_boxes_in_elements_and_attributes_are_no_negatives(tmp_path, element):
  root = voc(tmp_path, xml(more=element))
  findings = examine("voc", root)
  assert "not read" in kinds(findings) and not clean(findings)


def test_attributes_are_counted(tmp_path):
  content = xml(CAR).replace("<xmin>", "<xmin format='int'>")
  findings = examine("voc", voc(tmp_path, content))
  passed = findings.datasets["train"].passed
  assert not findings.flaws and passed == {"attribute xmin's format": 1}


@pytest.mark.parametrize("key", ["annotations", "bbox", "image_id"])
def test_a_key_that_is_twice_is_an_error(tmp_path, key):
  root = coco(tmp_path)
  content = (root / "a.json").read_text()
  again = content.replace(f'"{key}":', f'"{key}": 1, "{key}":', 1)
  text(root / "a.json", again)
  with pytest.raises(DataError, match=f"a.json: the key '{key}' is twice"):
    read("coco", root, "a.json")


def test_odd_values_of_coco_are_no_crash(tmp_path):
  names = [{"id": 1, "name": "cat", "supercategory": ["x"]}]
  box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 30, 40]}
  root = coco(tmp_path, categories=names, annotations=[box, None])
  assert kinds(examine("coco", root)) == ["bad annotation"]
  root = coco(tmp_path, categories=[*names, {"id": 2, "name": "cat"}])
  with pytest.raises(DataError, match="categories 1, 2 are all called 'cat'"):
    read("coco", root, "a.json")
  root = coco(tmp_path, categories=[{"id": 1, "name": " "}])
  with pytest.raises(DataError, match="a.json: class names"):
    read("coco", root, "a.json")


def test_what_is_marked_deleted_is_left_out_and_said(tmp_path):
  gone = lambda row: row.update(deleted=row["id"] == 1)  # noqa: E731
  data = read("coco", coco(tmp_path / "coco", annotations=gone), "a.json")
  assert [len(r.labels) for r in data.records] == [0, 1]
  assert data.notes == {"annotations marked deleted, left out": 1}
  gone = (*CAR[:5], "<deleted>1</deleted>")
  data = read("voc", voc(tmp_path / "voc", xml(CAR, gone)), "train")
  assert len(data.records[0].labels) == 1
  assert data.notes["objects marked deleted, left out"] == 1


@pytest.mark.parametrize("other", ["A.PNG", "./a.png", "images/a.png"])
def test_one_picture_by_two_names_is_not_clean(tmp_path, other):
  size = {"width": 100, "height": 80}
  names = [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": other}]
  root = coco(tmp_path, images=[name | size for name in names])
  findings = examine("coco", root)
  assert "listed twice" in kinds(findings) and not clean(findings)
  with pytest.raises(DataError, match="a.png: is there already"):
    read("coco", root, "a.json")


@pytest.mark.parametrize(
  ("box", "kind"),
  [
    ("0.1,0.1,1.02,0.5", "like fractions"),
    ("0.5,0.5,1.4,1.4", "like fractions"),
    ("0,0,0,0", "no area"),
  ],
)
def test_boxes_that_leave_nothing_make_no_negative(tmp_path, box, kind):
  picture(tmp_path / "a.png")
  text(
    tmp_path / "t.csv", f"image,label,xmin,ymin,xmax,ymax\na.png,cat,{box}\n"
  )
  findings = examine("csv", tmp_path)
  assert kinds(findings) == [kind] and not clean(findings)


def test_a_devkit_has_the_lists_of_its_years(tmp_path):
  for year in ("VOC2007", "VOC2012"):
    for name in ("a", "b"):
      voc(tmp_path / year, name=name, lines="a\n")
    text(tmp_path / year / "ImageSets/Main/test.txt", "b\n")
    text(tmp_path / year / "ImageSets/Main/README.txt", "Lists.\n")
    text(tmp_path / year / "ImageSets/Main/._train.txt", "\0\xff")
  assert sources.splits("voc", str(tmp_path)) == [
    *("VOC2007/test", "VOC2007/train", "VOC2012/test", "VOC2012/train")
  ]
  findings = examine("voc", tmp_path)
  assert clean(findings) == 4


def test_folders_in_folders_of_annotations(tmp_path):
  for batch in ("one", "two"):
    picture(tmp_path / f"JPEGImages/{batch}/a.jpg")
    text(tmp_path / f"Annotations/{batch}/a.xml", xml(CAR, filename="a.jpg"))
  findings = examine("voc", tmp_path)
  assert not findings.flaws and clean(findings) == 2
  text(tmp_path / "ImageSets/Main/train.txt", "one/a\ntwo/a.jpg\n")
  assert len(read("voc", tmp_path, "train").records) == 2


@pytest.mark.parametrize(
  "lines", ["images/my photo 1.png\n", "# pictures\nimages/my photo 1.png\n"]
)
def test_lists_of_names_with_blanks_are_lists(tmp_path, lines):
  yolo(tmp_path, name="my photo 1.png")
  text(tmp_path / "train.txt", lines)
  assert sources.splits("yolo", str(tmp_path)) == ["train.txt"]


def test_stray_pictures_and_files_of_yolo(tmp_path):
  for folder in ("images/train", "images/val"):
    yolo(tmp_path, folder=folder)
  picture(tmp_path / "images/stray.png")
  (tmp_path / "classes.txt").rename(tmp_path / "labels/classes.txt")
  text(tmp_path / "args.yaml", "epochs: 3\n")
  findings = examine("yolo", tmp_path)
  assert list(findings.datasets) == ["images/train", "images/val"]
  assert kinds(findings) == ["orphan picture"] and clean(findings) == 2
  picture(tmp_path / "images/train/a.jpg")  # shares a.txt with a.png
  assert "listed twice" in kinds(examine("yolo", tmp_path))


def test_splits_of_yaml_that_are_not_there_or_the_same(tmp_path):
  yolo(tmp_path, folder="train/images")
  (tmp_path / "classes.txt").unlink()
  text(
    tmp_path / "data.yaml",
    "train: train/images\nval: valid/images\ntest: train/images\n"
    "names: [cat, dog]\nroboflow: {}\n",
  )
  findings = examine("yolo", tmp_path)
  assert sorted(kinds(findings)) == ["bad split", "leak"]
  assert sorted(flaw.line for flaw in findings.flaws) == [2, 3]
  (dataset,) = findings.datasets.values()
  assert dataset.passed == {"key roboflow of data.yaml": 1}


def test_classes_whose_pictures_lie_deeper(tmp_path):
  for name in ("cat/1.png", "dog/1.png", "dog/old/2.png"):
    picture(tmp_path / name)
  findings = examine("folders", tmp_path)
  assert list(findings.datasets) == [""] and clean(findings) == 3
  # Nothing at all: what is there is named.
  empty = tmp_path / "empty"
  picture(empty / "1.png")
  text(empty / "val.txt", "1.png cat\n")
  findings = examine("folders", empty)
  assert set(kinds(findings)) == {"empty split", "orphan picture"}
  assert findings.passed == {"file val.txt": 1}


def test_pictures_in_folders_that_nothing_mentions_are_a_flaw(tmp_path):
  coco(tmp_path)
  for name in ("val2017/a.png", "val2017/b.png", "SegmentationClass/a.png"):
    picture(tmp_path / name)
  findings = examine("coco", tmp_path)
  (flaw,) = findings.flaws
  assert flaw.kind == "orphan picture" and "2 pictures are in it" in str(flaw)


def test_names_as_macos_and_label_studio_write_them(tmp_path):
  import unicodedata

  for name, given in (
    ("caf\xe9.png", unicodedata.normalize("NFD", "caf\xe9.png")),
    ("d e.png", "d%20e.png"),
    ("g.png", "/data/local-files/?d=g.png"),
  ):
    root = tmp_path / name
    picture(root / name)
    head = "image,label,xmin,ymin,xmax,ymax"
    text(root / "t.csv", f"{head}\n{given},cat,1,2,30,40\n")
    data = read("csv", root, "t.csv")
    assert data.records[0].path == str(root / name) and len(data.notes) == 1


@pytest.mark.parametrize(
  ("columns", "cells"),
  [
    ("location", "Berlin"),
    ("hand_left", "1"),
    ("top_speed,when", "120,2024-01-02 3"),
    ("address", "10.2.3.4"),
    ("region,object_size", "north,large"),
    ("a,b,c", "1,2,3"),
  ],
)
@pytest.mark.parametrize("box", [True, False])
def test_what_tells_of_no_box_is_counted_and_trains(
  tmp_path, columns, cells, box
):
  picture(tmp_path / "a.png")
  sides = ",xmin,ymin,xmax,ymax" if box else ""
  values = ",1,2,30,40" if box else ""
  text(
    tmp_path / "t.csv",
    f"image,label{sides},{columns}\na.png,cat{values},{cells}\n",
  )
  data = read("csv", tmp_path, "t.csv")
  (record,) = data.records
  assert len(record.labels) == box and record.image_label == (-1 if box else 0)
  assert data.passed == {f"column {name}": 1 for name in columns.split(",")}


def test_places_and_sizes_in_coco_and_voc_are_no_boxes(tmp_path):
  root = coco(
    tmp_path / "coco",
    images=lambda row: row.update(location=38, region="north"),
    annotations=lambda row: row.update(object_size="large", objectness=0.5),
  )
  data = read("coco", root, "a.json")
  assert [len(record.labels) for record in data.records] == [1, 1]
  assert data.passed["image's key location"] == 2
  root = voc(tmp_path / "voc", xml(CAR, more="<location>Berlin</location>"))
  data = read("voc", root, "train")
  assert data.passed == {"element annotation's location": 1}


def test_a_height_that_is_not_written_in_every_line(tmp_path):
  picture(tmp_path / "a.png")
  head = "image,label,xmin,ymin,xmax,ymax,width,height"
  rows = "a.png,cat,1,2,30,40,100,80\na.png,cat,5,6,30,40,100,\n"
  text(tmp_path / "t.csv", f"{head}\n{rows}")
  assert len(read("csv", tmp_path, "t.csv").records[0].labels) == 2
