"""The doctor: planted flaws are found, each of them and nothing else."""

import json
import os
import re
import shutil
import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import PIL.Image
import pytest
from support import in_browser

from yolo9000.data import __main__ as command
from yolo9000.data import doctor, page, sources
from yolo9000.data.flaws import KINDS, Flaws
from yolo9000.data.formats.reading import MOST_BOXES, Source


def examine(form, root, *splits, class_names=(), outside=False):
  return doctor.examine(
    *(form, str(root), splits),
    class_names=class_names,
    outside=outside,
    threads=2,
  )


def found(findings):
  """Kind and file of each flaw."""
  return sorted((f.kind, os.path.basename(f.path)) for f in findings.flaws)


def png_that_claims(width, height):
  """A header and nothing else; 60 bytes."""

  def chunk(name, data):
    body = name + data
    return (
      struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))
    )

  size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
  data = zlib.compress(b"")
  return b"\x89PNG\r\n\x1a\n" + b"".join(
    [chunk(b"IHDR", size), chunk(b"IDAT", data), chunk(b"IEND", b"")]
  )


class Voc:
  """A VOC folder that flaws are planted in."""

  def __init__(self, root):
    self.root, self.count = root, 0
    for name in ("Annotations", "ImageSets/Main", "JPEGImages"):
      (root / name).mkdir(parents=True)

  def picture(self, name, width=40, height=20):
    self.count += 1
    noise = np.random.default_rng(self.count).integers(
      0, 256, (height, width, 3)
    )
    path = self.root / f"JPEGImages/{name}.jpg"
    cv2.imwrite(str(path), noise.astype(np.uint8))
    return path

  def annotation(self, name, *boxes, label="dog", size=(40, 20)):
    objects = "".join(
      f"<object>\n<name>{label}</name>\n<bndbox><xmin>{a}</xmin>"
      f"<ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax></bndbox>\n</object>\n"
      for a, b, c, d in boxes
    )
    path = self.root / f"Annotations/{name}.xml"
    path.write_text(
      f"<annotation>\n<size><width>{size[0]}</width>"
      f"<height>{size[1]}</height></size>\n{objects}</annotation>\n"
    )
    return path

  def both(self, name, *boxes, **more):
    self.annotation(name, *boxes, **more)
    return self.picture(name)

  def split(self, name, *lines):
    text = b"\n".join(
      line if isinstance(line, bytes) else line.encode() for line in lines
    )
    (self.root / f"ImageSets/Main/{name}.txt").write_bytes(text)


GOOD = (1, 1, 10, 10)


def plant(root):
  """A folder with every flaw that VOC can have; returns what is in it."""
  voc = Voc(root)
  train, expected = ["good"], []

  def flaw(kind, name, file=None):
    expected.append((kind, file or f"{name}.xml"))
    if file is None or file.startswith(name):
      train.append(name)

  voc.both("good", GOOD, (20, 5, 40, 20))
  flaw("missing picture", "nopic", "train.txt")
  train.append("nopic")
  voc.annotation("nopic", GOOD)
  flaw("missing annotation", "noxml", "train.txt")
  train.append("noxml")
  voc.picture("noxml")
  flaw("listed twice", "good", "train.txt")
  train.append("good")
  flaw("forbidden path", "../good", "train.txt")
  train.append("../JPEGImages/good")
  expected.append(("bad text", "latin.txt"))
  expected.append(("empty split", "latin"))
  voc.split("latin", "caf", b"caf\xe9")

  voc.both("orphan", GOOD)
  expected.append(("orphan picture", "orphan.jpg"))
  expected.append(("orphan annotation", "orphan.xml"))

  voc.picture("broken")
  (root / "Annotations/broken.xml").write_text("<annotation>\n<size>")
  flaw("bad annotation", "broken")
  voc.picture("bomb")
  (root / "Annotations/bomb.xml").write_text(BOMB)
  flaw("bad annotation", "bomb")

  boxes = {
    "bad number": ("nan", 1, 10, 10),
    "no area": (5, 1, 5, 10),
    "reversed box": (9, 1, 3, 10),
    "outside": (60, 1, 70, 10),
    "out of range": (30, 1, 50, 10),
    "duplicate box": GOOD,
    "like fractions": (0.1, 0.2, 0.5, 0.7),
    "thin box": (5.5, 1, 5, 10),
  }
  for kind, box in boxes.items():
    name = kind.replace(" ", "_")
    voc.both(name, GOOD, box)
    flaw(kind, name)
  path = voc.annotation("not_read", GOOD)
  path.write_text(path.read_text().replace("object>", "Object>"))
  voc.picture("not_read")
  flaw("not read", "not_read")
  voc.both("unknown", GOOD, label="cow")
  flaw("unknown class", "unknown")
  many = [(x, y, x + 1, y + 1) for x in range(1, 39) for y in range(1, 19)]
  many += [(x, y, x + 2, y + 1) for x in range(1, 38) for y in range(1, 19)]
  assert len(many) > MOST_BOXES
  voc.both("many", *many)
  flaw("many boxes", "many", "many.jpg")

  voc.both("text", GOOD).write_text("no picture")
  flaw("unreadable picture", "text", "text.jpg")
  voc.both("giga", GOOD).write_bytes(png_that_claims(60000, 60000))
  flaw("unreadable picture", "giga", "giga.jpg")
  path = voc.both("half", GOOD)
  path.write_bytes(path.read_bytes()[:-200])
  flaw("truncated picture", "half", "half.jpg")
  voc.both("size", GOOD, size=(41, 20))
  flaw("wrong size", "size", "size.jpg")
  image = PIL.Image.open(voc.both("turned", GOOD))
  exif = image.getexif()
  exif[0x0112] = 3
  image.save(root / "JPEGImages/turned.jpg", exif=exif)
  flaw("turned picture", "turned", "turned.jpg")
  shutil.copy(voc.both("copy", GOOD), root / "JPEGImages/copy2.jpg")
  voc.annotation("copy2", GOOD)
  train.append("copy")
  flaw("duplicate picture", "copy2", "copy2.jpg")
  shutil.copy(voc.both("leaked", GOOD), root / "JPEGImages/tested.jpg")
  voc.annotation("tested", GOOD)
  flaw("leak", "leaked", "leaked.jpg")
  voc.split("train", *train)
  voc.split("test", "tested")
  return sorted(expected)


BOMB = (
  '<!DOCTYPE a [<!ENTITY a0 "ha">'
  + "".join(f'<!ENTITY a{n + 1} "{f"&a{n};" * 10}">' for n in range(10))
  + "]><annotation><size>&a10;</size></annotation>"
)


def test_planted_flaws_are_found_and_nothing_else(tmp_path):
  expected = plant(tmp_path / "set")
  findings = examine("voc", tmp_path / "set", class_names=("dog",))
  assert found(findings) == expected
  kinds = {flaw.kind for flaw in findings.flaws}
  assert len(kinds) >= 20
  # What VOC cannot have is planted in the next test, masks in test_masks.py.
  assert set(KINDS) - kinds == {"folder link", "bad split", "bad mask"}
  # Files and lines: the second object of each begins in the sixth line.
  by_file = {os.path.basename(f.path): f for f in findings.flaws}
  for name in ("outside", "reversed_box", "bad_number", "no_area"):
    assert by_file[f"{name}.xml"].line == 7, name
    assert "object 2" in by_file[f"{name}.xml"].message
  assert by_file["latin.txt"].line == 2
  lines = {f.kind: f.line for f in findings.flaws if f.path.endswith("n.txt")}
  content = (tmp_path / "set/ImageSets/Main/train.txt").read_bytes()
  for kind, text in (
    ("missing picture", b"nopic"),
    ("listed twice", b"good"),
    ("forbidden path", b"../JPEGImages/good"),
  ):
    last = content.split(b"\n")[::-1].index(text)
    assert lines[kind] == len(content.split(b"\n")) - last, kind

  # What is clean has lost no object and can be read.
  clean = {os.path.basename(r.path) for r in findings.clean["train"]}
  assert clean == {"good.jpg", "no_area.jpg", "out_of_range.jpg"} | {
    *("duplicate_box.jpg", "many.jpg", "copy.jpg", "thin_box.jpg")
  }
  assert [r.path for r in findings.clean["test"]] == [
    str(tmp_path / "set/JPEGImages/tested.jpg")
  ]


def test_a_folder_that_a_link_brings_again_is_found(tmp_path):
  (tmp_path / "cat/deep").mkdir(parents=True)
  cv2.imwrite(str(tmp_path / "cat/a.png"), np.zeros((8, 8, 3), np.uint8))
  (tmp_path / "cat/deep/again").symlink_to(tmp_path / "cat")
  (tmp_path / "cat/self.png").symlink_to(tmp_path / "cat/self.png")
  findings = examine("folders", tmp_path, "")
  assert found(findings) == [
    ("folder link", "again"),
    ("unreadable picture", "self.png"),
  ]


def test_flaws_of_yolo_text(tmp_path):
  (tmp_path / "images").mkdir()
  (tmp_path / "labels").mkdir()
  for n, name in enumerate("abc"):
    image = np.full((20, 40, 3), 50 * n, np.uint8)
    cv2.imwrite(str(tmp_path / f"images/{name}.jpg"), image)
    (tmp_path / f"labels/{name}.txt").write_text("0 .5 .5 .5 .5\n")
  (tmp_path / "labels/b.txt").write_text("0 .5 .5 .5 .5\n7 .5 .5 .5 .5\n")
  (tmp_path / "labels/c.txt").unlink()
  (tmp_path / "labels/d.txt").write_text("0 .5 .5 .5 .5\n")
  (tmp_path / "classes.txt").write_text("cat\n")
  findings = examine("yolo", tmp_path)
  assert found(findings) == [
    ("missing annotation", "c.jpg"),
    ("orphan annotation", "d.txt"),
    ("unknown class", "b.txt"),
  ]
  (flaw,) = [f for f in findings.flaws if f.kind == "unknown class"]
  assert flaw.line == 2
  assert [os.path.basename(r.path) for r in findings.clean["images"]] == [
    "a.jpg"
  ]


@pytest.mark.parametrize(
  ("form", "name", "splits", "flaws"),
  [
    ("voc", "voc_bccd", (), ["no area"] * 2),
    ("coco", "coco_tiny38", (), []),
    ("folders", "imagenet_fullsize", (), []),
    ("folders", "joint_tiny_imagenet_animals", ("cls",), []),
    (
      "coco",
      "joint_tiny_imagenet_animals",
      [
        f"{part}/instances_coarse.json"
        for part in ("det", "eval", "det_mosaic", "eval_mosaic")
      ],
      [],
    ),
  ],
)
def test_real_data_has_the_flaws_that_are_known(
  shared, form, name, splits, flaws
):
  root = shared / "data" / name
  if not root.is_dir():
    pytest.skip(f"{root} is not here")
  findings = examine(form, root, *splits)
  assert [f.kind for f in findings.flaws] == flaws
  assert all(
    len(findings.clean[s]) == len(d.records)
    for s, d in findings.datasets.items()
  )
  if name == "voc_bccd":
    notes = [d.notes for d in findings.datasets.values()]
    assert sum(n["objects marked truncated"] for n in notes) == 1131
    counts = doctor.class_counts(findings.datasets)
    assert {k: sum(v.values()) for k, v in counts.items()} == {
      **{"RBC": 4153, "WBC": 372, "Platelets": 361}
    }


def test_two_annotations_of_the_same_pictures_are_a_leak(shared):
  root = shared / "data" / "joint_tiny_imagenet_animals"
  if not root.is_dir():
    pytest.skip(f"{root} is not here")
  splits = [f"eval_mosaic/instances_{x}.json" for x in ("coarse", "fine")]
  findings = examine("coco", root, *splits)
  assert [f.kind for f in findings.flaws] == ["leak"] * 110


def test_statistics(tmp_path):
  voc = Voc(tmp_path)
  voc.both("a", (1, 1, 20, 20), (21, 1, 30, 5))
  voc.both("b", (1, 1, 40, 20), label="cat")
  voc.split("train", "a")
  voc.split("test", "b")
  findings = examine("voc", tmp_path)
  assert doctor.class_counts(findings.datasets) == {
    "dog": {"train": 2},
    "cat": {"test": 1},
  }
  assert doctor.size_histogram(findings.sizes) == {"up to 64": 2}
  boxes = doctor.box_statistics(
    findings.datasets, image_size=416, resize="stretch"
  )
  assert boxes.quantiles["width, part of the picture"][-1] == 1
  assert boxes.quantiles["width over height"][-1] == 2
  assert boxes.quantiles["boxes on a picture"] == [1, 1.1, 1.5, 1.9, 2]
  assert boxes.priors.average_iou == pytest.approx(1)
  empty = {"x": findings.datasets["test"]._replace(records=[])}
  assert doctor.box_statistics(empty, image_size=416, resize="stretch") is None


def test_the_command(tmp_path):
  plant(tmp_path / "set")
  (tmp_path / "names.txt").write_text("dog\n")
  # A file's name that is no text: bytes that are not UTF-8.
  strange = os.fsencode(tmp_path / "set/JPEGImages") + b"/caf\xe9.jpg"
  with open(strange, "wb") as file:
    file.write(b"hello")
  words = ["voc", "set", "--classes=names.txt", "--out=report"]
  done = subprocess.run(
    [sys.executable, "-m", "yolo9000.data", *words],
    cwd=tmp_path,
    capture_output=True,
  )
  assert done.returncode == 1, done.stderr
  text = done.stdout.decode()
  assert "  orphan picture: 2\n" in text and "caf\\xe9.jpg" in text
  assert re.search(r"train: \d+ pictures, \d+ objects", text)
  assert "picture/s" in done.stderr.decode()  # the progress bar
  out = tmp_path / "report"
  page = (out / "index.html").read_text("utf-8")
  assert page.count("<img") >= 10 and "http" not in page
  assert "caf\\xe9.jpg" in page
  flaws = (out / "flaws.txt").read_text("utf-8").splitlines()
  assert len(flaws) == len(plant(tmp_path / "again")) + 1

  # The clean list trains: no flaw, same boxes.
  data = sources.read(
    Source("jsonl", str(out), "clean_train.jsonl"), Flaws(strict=True)
  )
  assert len(data.records) == 7
  assert [f.kind for f in data.flaws] == ["thin box", "many boxes"]
  for record in data.records:
    assert data.read_image(record).shape == (20, 40, 3)


def test_the_command_on_what_is_no_data_set(tmp_path, capsys):
  assert command.main(["voc", str(tmp_path)]) == 2
  assert "no split of a voc data set is there" in capsys.readouterr().err
  assert command.main(["vok", str(tmp_path)]) == 2
  assert "'vok' is unknown; there are coco" in capsys.readouterr().err


def test_a_good_set_ends_with_0(tmp_path, capsys):
  voc = Voc(tmp_path / "set")
  voc.both("a", GOOD)
  voc.split("train", "a")
  out = tmp_path / "out"
  assert command.main(["voc", str(tmp_path / "set"), f"--out={out}"]) == 0
  assert "0 flaws" in capsys.readouterr().out
  rows = (out / "clean_train.jsonl").read_text().splitlines()
  assert json.loads(rows[1])["path"] == "JPEGImages/a.jpg"


def csv_set(root, name, *rows):
  root.mkdir(exist_ok=True)
  text = "\n".join(["image,label,xmin,ymin,xmax,ymax", *rows])
  (root / name).write_text(text)


def picture(path, seed):
  path.parent.mkdir(parents=True, exist_ok=True)
  noise = np.random.default_rng(seed).integers(0, 256, (20, 40, 3), np.uint8)
  cv2.imwrite(str(path), noise)


def test_one_bad_split_does_not_hide_the_others(tmp_path):
  """A missing folder of pictures, and a table that is none."""
  picture(tmp_path / "a.jpg", 0)
  csv_set(tmp_path, "bad-1.csv", "nowhere/a.jpg,dog,1,1,9,9")
  csv_set(tmp_path, "bad_1.csv", "a.jpg,dog,1,1,9,9")
  (tmp_path / "none.csv").write_text("a,b\n1,2\n")
  findings = examine("csv", tmp_path)
  assert found(findings) == [
    ("bad split", tmp_path.name),
    ("empty split", "bad-1.csv"),
    ("missing picture", "bad-1.csv"),
  ]
  out = tmp_path / "out"
  out.mkdir()
  (out / "clean_old.jsonl").write_text("of an earlier run")
  written = doctor.write_clean(findings, str(tmp_path), out)
  assert [(p.name, n) for p, n in written] == [
    ("clean_bad_1_csv.jsonl", 0),
    ("clean_bad_1_csv_2.jsonl", 1),
  ]
  assert len(list(out.iterdir())) == 2


def test_clean_lists_keep_paths_that_leave_the_root(tmp_path, monkeypatch):
  picture(tmp_path / "set/a#1.jpg", 0)
  picture(tmp_path / "set2/b.jpg", 1)
  rows = ("a#1.jpg,dog,1,1,9,9", "../set2/b.jpg,dog,1,1,9,9")
  csv_set(tmp_path / "set", "t.csv", *rows)
  monkeypatch.chdir(tmp_path)
  words = ["csv", "set", "t.csv", "--outside", "--out=out"]
  assert command.main(words) == 0
  monkeypatch.chdir("/")
  source = Source("jsonl", str(tmp_path / "out"), "clean_t_csv.jsonl")
  data = sources.read(source._replace(outside=True), Flaws(strict=True))
  assert [os.path.basename(r.path) for r in data.records] == [
    "a#1.jpg",
    "b.jpg",
  ]
  assert all(data.read_image(r).shape == (20, 40, 3) for r in data.records)


def test_files_that_are_waited_for_and_loose_pictures(tmp_path):
  picture(tmp_path / "train/cat/a.jpg", 0)
  picture(tmp_path / "train/loose.jpg", 1)
  picture(tmp_path / "stray.jpg", 2)
  os.mkfifo(tmp_path / "train/cat/pipe.jpg")
  os.mkdir(tmp_path / "train/cat/folder.jpg")
  findings = examine("folders", tmp_path)
  assert found(findings) == [
    ("orphan picture", "loose.jpg"),
    ("orphan picture", "stray.jpg"),
    ("unreadable picture", "folder.jpg"),
    ("unreadable picture", "pipe.jpg"),
  ]


@pytest.mark.parametrize(
  "words", [["--threads=0"], ["--size=0"], ["--resize=foo"], ["--shown=-1"]]
)
def test_impossible_arguments(tmp_path, words):
  with pytest.raises(SystemExit, match="2"):
    command.main(["voc", str(tmp_path), *words])


@pytest.mark.parametrize("width", [1280, 400])
def test_a_browser_shows_the_page(tmp_path, width):
  """All of it, with every kind of flaw, at the width of a telephone too."""
  plant(tmp_path / "set")
  findings = examine("voc", tmp_path / "set", class_names=("dog", "cow" * 30))
  boxes = doctor.box_statistics(
    findings.datasets, image_size=416, resize="stretch"
  )
  made = page.page(
    *("set", findings, boxes),
    **{"root": str(tmp_path / "set"), "text": ["a" * 300]},
    **{"clean": ["b" * 300], "seed": 0},
  )
  assert "1 classes without any" in made and "Priors that fit" in made
  assert str(tmp_path) not in re.sub("<pre>.*", "", made, flags=re.S)
  assert "Annotations/outside.xml:7" in made
  seen, _ = in_browser(made, tmp_path, width)
  assert len(seen["images"]) > 20 and min(seen["images"]) > 0
  assert seen["head"] > 10 and not seen["sticks_out"]
