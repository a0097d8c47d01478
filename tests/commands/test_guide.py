"""The README's five commands for one's own classes and tree, one by one."""

import csv
import json
import re
import shlex
import subprocess
import sys

import cv2
import pytest
from support import ROOT

from yolo9000.data.flaws import Flaws
from yolo9000.data.formats import shapes
from yolo9000.data.formats.reading import Source

FEW = (
  "--config.run.total_steps=2 --config.run.batch_size=4 "
  "--config.task.network.width=.0625 --config.run.image_sizes=(64,) "
  "--config.evaluation.image_size=64 --config.task.joint.warm_up_images=0"
)


def commands():
  text = (ROOT / "README.md").read_text()
  start = text.index("in five commands")
  block = re.search(r"```sh\n(.*?)```", text[start:], re.S)[1]
  return block.splitlines()


def node(name):
  return name.replace(" ", "_")


@pytest.fixture
def mine(tmp_path):
  """What the guide asks for: tree.csv, boxes.csv, labels."""
  folder = tmp_path / "mine"
  drawn = shapes.read(Source("shapes", "", "boxes[:6]"), Flaws(strict=True))
  with_label = shapes.read(
    Source("shapes", "", "labels[:6]"), Flaws(strict=True)
  )
  (folder / "pictures").mkdir(parents=True)
  with (folder / "tree.csv").open("w", newline="") as file:
    rows = csv.writer(file)
    rows.writerow(["child", "parent"])
    rows.writerows([name, ""] for name in shapes.OUTLINES)
    rows.writerows([node(name), name.split()[1]] for name in shapes.CLASS_NAMES)
  with (folder / "boxes.csv").open("w", newline="") as file:
    rows = csv.writer(file)
    rows.writerow(["image", "label", "xmin", "ymin", "xmax", "ymax"])
    for n, record in enumerate(drawn.records):
      path = f"pictures/{n}.png"
      cv2.imwrite(str(folder / path), drawn.read_image(record)[..., ::-1])
      for box, label in zip(record.boxes_px, record.labels, strict=True):
        coarse = shapes.CLASS_NAMES[label].split()[1]
        rows.writerow([path, coarse, *box.astype(int).tolist()])
  for n, record in enumerate(with_label.records):
    name = node(shapes.CLASS_NAMES[record.image_label])
    place = folder / "labels" / name
    place.mkdir(parents=True, exist_ok=True)
    image = with_label.read_image(record)[..., ::-1]
    cv2.imwrite(str(place / f"{n}.png"), image)
    cv2.imwrite(str(folder / "photo.jpg"), image)
  return folder


def test_from_a_table_and_two_folders_to_detections(mine):
  assert len(commands()) == 5
  for command in commands():
    words = shlex.split(command)
    assert words[:2] == ["python", "-m"]
    if "yolo9000.main" in words:
      words += FEW.split()
    words = [
      word.replace("--config=", f"--config={ROOT}/").replace(
        "--threshold=.1", "--threshold=0"
      )
      for word in words
    ]
    done = subprocess.run(
      [sys.executable, *words[1:]],
      cwd=mine.parent,
      capture_output=True,
      text=True,
      timeout=1200,
    )
    assert done.returncode == 0, (command, done.stdout, done.stderr)
  assert (mine / "tree.svg").stat().st_size > 1000
  found = json.loads((mine.parent / "detections/detections.json").read_text())
  assert len(found) == 100  # of 20 leaves; the tree walked would give few
  assert {row["category_id"] for row in found} <= set(range(5, 25))
