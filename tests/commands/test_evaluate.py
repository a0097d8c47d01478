"""The evaluate command against COCO's program, VOC's rule and a run's own."""

import contextlib
import csv
import io
import json
import shutil

import cv2
import numpy as np
import pycocotools.coco
import pycocotools.cocoeval
import pytest
from conftest import SHARED
from oracles import devkit
from pycocotools import mask as coco_masks
from support import in_browser, joint_config, tiny_config

from experiments import base
from yolo9000 import evaluate
from yolo9000.data import sources
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats import shapes
from yolo9000.data.formats.reading import Source
from yolo9000.scoring import coco
from yolo9000.tables import plan
from yolo9000.tables import run as runs

pytestmark = pytest.mark.usefixtures("libraries_promote")
FILES = {
  *("confusion.csv", "figures.json", "index.html", "per_class.csv"),
  *("precision_recall.csv", "precision_recall.png"),
}


def run(out, *words):
  code = evaluate.main([*map(str, words), f"--out={out}"])
  path = out / "figures.json"
  return code, json.loads(path.read_text()) if path.exists() else None


def table(path):
  with path.open() as file:
    return list(csv.reader(file))


@pytest.fixture(scope="module")
def trained(libraries_promote, tmp_path_factory):
  """A run that has learned a little, and its evaluation as it is."""
  folder = tmp_path_factory.mktemp("evaluate")
  results = runs.run_alone(tiny_config(run__total_steps=60), folder / "run")
  code, figures = run(
    folder / "own", f"--run={folder / 'run'}", "--matrix_score=.02"
  )
  assert code == 0
  return folder, results, figures


def test_a_run_has_the_figures_of_its_results(trained):
  folder, results, figures = trained
  for name in ("VOC07 AP", "VOC10 AP", "truths", "detections"):
    assert figures[name] == results[name], name
  assert figures["diagnosis"] == pytest.approx(results["diagnosis"])
  assert figures["VOC07 AP"] > 0
  for name, row in results["per_class"].items():
    assert figures["per_class"][name].items() >= row.items()
  assert {p.name for p in (folder / "own").iterdir()} == (
    FILES | {"detections.json"}
  )


def test_the_protocol_is_told(trained):
  told = trained[2]["protocol"]
  assert told["input size"] == "64x64, stretch"
  assert told["score threshold"] == 0.005
  assert told["IoU of suppression"] == 0.45
  assert told["most detections on a picture"] == 100
  assert told["pictures"] == 8 and told["truths"] == 29
  assert told["difficult truths, not counted"] == 0
  assert "11 points" in told["VOC07 AP"] and "101 points" in told["COCO AP"]


def test_a_tree_credits_the_classes_above(libraries_promote, tmp_path):
  changes = {
    "evaluation.groups": {"outlines": ("disc", "ring")},
    "evaluation.classes": ("disc", "ring", "red disc"),
  }
  config = plan.with_changes(joint_config(run__total_steps=1), changes.items())
  results = runs.run_alone(config, tmp_path / "run")
  code, figures = run(tmp_path / "out", f"--run={tmp_path / 'run'}")
  assert code == 0
  for name in ("VOC07 AP", "VOC10 AP", "truths", "groups"):
    assert figures[name] == results[name], name
  assert (
    figures["per_class"]["disc"]["truths"]
    == (results["per_class"]["disc"]["truths"])
  )
  assert "tree" in figures["protocol"]


def test_flags_change_what_is_measured_and_told(trained, tmp_path):
  folder, _, figures = trained
  words = ("--threshold=.05", "--size=96", "--resize=letterbox", "--shown=0")
  _, other = run(tmp_path / "out", f"--run={folder / 'run'}", *words)
  told = other["protocol"]
  assert told["score threshold"] == 0.05
  assert told["input size"] == "96x96, letterbox"
  assert other["detections"] < figures["detections"]


def test_its_detections_have_the_same_figures_when_they_are_read(
  trained, tmp_path, capsys
):
  folder, _, figures = trained
  capsys.readouterr()
  code, again = run(
    tmp_path / "out",
    f"--detections={folder / 'own' / 'detections.json'}",
    *("--data", "shapes", "tiny"),
  )
  assert code == 0
  assert again["VOC07 AP"] == pytest.approx(figures["VOC07 AP"], abs=1e-9)
  for name in coco.COCO_FIGURES:
    assert again[name] == pytest.approx(figures[name], abs=1e-9), name
  printed = capsys.readouterr().out
  percent = f"VOC07 AP: {100 * figures['VOC07 AP']:.2f}\n"
  assert percent in printed and "  input size" not in printed
  assert "class of a detection: by category_name" in printed


def test_the_tables_add_up(trained):
  folder, _, figures = trained
  head, *rows = table(folder / "own" / "confusion.csv")
  counts = np.array([row[1:] for row in rows], int)
  assert head[1:] == [row[0] for row in rows] and head[-1] == "background"
  truths = [row["truths"] for row in figures["per_class"].values()]
  np.testing.assert_array_equal(counts[:-1].sum(axis=1), truths)
  assert counts[-1].sum() > 0 and counts[-1, -1] == 0
  head, *rows = table(folder / "own" / "per_class.csv")
  assert len(rows) == 20 and rows[0][0] == "red disc"
  assert (
    float(rows[0][head.index("VOC07 AP")])
    == (figures["per_class"]["red disc"]["VOC07 AP"])
  )
  points = table(folder / "own" / "precision_recall.csv")[1:]
  mine = [float(row[1]) for row in points if row[0] == "red disc"]
  assert mine == sorted(mine, reverse=True)
  assert len(mine) == figures["per_class"]["red disc"]["detections"]


@pytest.mark.parametrize("width", [1280, 400])
def test_a_browser_shows_the_page(trained, tmp_path, width):
  page = (trained[0] / "own" / "index.html").read_text()
  seen, _ = in_browser(page, tmp_path, width)
  assert len(seen["images"]) == 9 and min(seen["images"]) > 0
  assert seen["head"] > 10 and not seen["sticks_out"]


def boxes_csv(folder, rows):
  """A data set of one picture; rows of label and box."""
  folder.mkdir()
  cv2.imwrite(str(folder / "a.png"), np.full((64, 64, 3), 90, np.uint8))
  lines = ["image,label,xmin,ymin,xmax,ymax", *(f"a.png,{r}" for r in rows)]
  (folder / "boxes.csv").write_text("\n".join(lines))
  return "--data", "csv", folder, "boxes.csv"


def test_some_of_the_models_classes_are_enough(trained, tmp_path):
  data = boxes_csv(tmp_path / "data", ["blue disc,1,1,20,20"])
  code, figures = run(tmp_path / "out", f"--run={trained[0] / 'run'}", *data)
  assert code == 0
  told = figures["protocol"]["classes"]
  assert told.startswith("1 of the data set, 20 of the model; the model alone")


def test_classes_that_the_model_has_not(trained, tmp_path, capsys):
  data = boxes_csv(tmp_path / "data", ["cat,1,1,20,20", "red disc,1,1,9,9"])
  words = (f"--run={trained[0] / 'run'}", *data)
  code, _ = run(tmp_path / "out", *words)
  error = capsys.readouterr().err
  assert code == 2 and error.count("\n") == 1
  assert "its 2 classes are not the model's 20" in error
  assert "only in the data set cat;" in error and "--names=FILE" in error
  assert not (tmp_path / "out").exists()
  pairs = tmp_path / "pairs.csv"
  pairs.write_text("cat,blue disc\nred disc,red disc\n")
  code, figures = run(tmp_path / "out", *words, f"--data_map={pairs}")
  assert code == 0
  assert figures["per_class"]["blue disc"]["truths"] == 1


def test_a_run_without_a_checkpoint(trained, tmp_path, capsys):
  shutil.copy(trained[0] / "run" / "config.json", tmp_path)
  code, _ = run(tmp_path / "out", f"--run={tmp_path}")
  error = capsys.readouterr().err
  assert code == 2 and "checkpoint" in error and str(tmp_path) in error


def test_a_picture_that_cannot_be_read_ends_it(trained, tmp_path, capsys):
  data = boxes_csv(tmp_path / "data", ["red disc,1,1,20,20"])
  picture = tmp_path / "data" / "a.png"
  picture.write_bytes(picture.read_bytes()[:60])
  code, figures = run(tmp_path / "out", f"--run={trained[0] / 'run'}", *data)
  assert code == 2 and figures is None
  assert "a.png" in capsys.readouterr().err


@pytest.mark.parametrize(
  ("words", "message"),
  [
    ([], "expected --run, or --cfg and --weights"),
    (["--cfg=a", "--weights=b"], "expected --data FORMAT ROOT SPLIT"),
    (["--run=a", "--classes=b"], "--classes is for --data"),
    (["--detections=a", "--run=b"], "--run is not for --detections"),
    (["--detections=a"], "expected --data FORMAT ROOT SPLIT"),
    (["--detections=a", "--size=64"], "--size is not for --detections"),
    (["photo.jpg", "--run=a"], "photo.jpg: expected an exported file"),
    (["a.onnx", "--run=a"], "expected --run, or --cfg and --weights, or"),
    (["--detections=a", "--data", "coco"], "coco: expected FORMAT ROOT SPLIT"),
    (["--detections=a", "--data", "x", "/"], "data format 'x' is unknown"),
    (["--run=a", "--matrix_iou=0"], "--matrix_iou must be above 0"),
    (["--run=a", "--shown=-1"], "--shown must be at least 0"),
    (["--run=a", "--threads=0"], "--threads must be at least 1"),
  ],
)
def test_arguments_that_cannot_be(tmp_path, capsys, words, message):
  code, _ = run(tmp_path / "out", *words)
  error = capsys.readouterr().err
  assert code == 2 and message in error and error.count("\n") == 1


def coco_folder(folder, names=("dog", "emu", "cat", "never")):
  """Truths and results as programs write them, with what is easy to get wrong.

  Ids have gaps, areas are not the boxes', a picture has no truth, one has more
  than a hundred detections of a class, scores are equal, boxes stick out.
  """
  rng = np.random.default_rng(0)
  images = [30, 7, 12, 100, 5]
  truths, results = [], []
  for n in range(40):
    w, h = rng.uniform(8, 120, 2)
    x, y = rng.uniform(0, 320 - w), rng.uniform(0, 240 - h)
    truths.append(
      {
        "id": 500 + n,
        "image_id": images[n % 4],  # the last has none
        "category_id": [3, 9, 4][n % 3],
        "bbox": [x, y, w, h],
        "area": w * h * rng.uniform(0.4, 1),
        "iscrowd": int(n % 9 == 0),
      }
    )
  for _ in range(400):
    truth = truths[rng.integers(40)]
    w, h = truth["bbox"][2:]
    moved = np.array(truth["bbox"]) + rng.normal(0, 0.1, 4) * [w, h, w, h]
    other = rng.random() < 0.2
    results.append(
      {
        "image_id": int(rng.choice(images)) if other else truth["image_id"],
        "category_id": truth["category_id"],
        "bbox": [*moved[:2].tolist(), *np.abs(moved[2:]).tolist()],
        "score": float(rng.integers(0, 20) / 20),
      }
    )
  results += [{**results[0], "score": 0.95 - n / 1000} for n in range(150)]
  content = {
    "images": [
      {"id": i, "file_name": f"{i}.png", "width": 320, "height": 240}
      for i in images
    ],
    "annotations": truths,
    "categories": [
      {"id": number, "name": name}
      for number, name in zip((3, 4, 9, 77), names, strict=True)
    ],
  }
  (folder / "annotations").mkdir(parents=True)
  path = folder / "annotations" / "instances_val.json"
  path.write_text(json.dumps(content))
  (folder / "results.json").write_text(json.dumps(results))
  return path, folder / "results.json"


def by_hand(truths, results, kind="bbox"):
  """COCO's own program on the two files."""
  with contextlib.redirect_stdout(io.StringIO()):
    truth = pycocotools.coco.COCO(truths)
    found = truth.loadRes(str(results))
    scores = pycocotools.cocoeval.COCOeval(truth, found, kind)
    scores.evaluate()
    scores.accumulate()
    scores.summarize()
  precision = scores.eval["precision"][:, :, :, 0, -1]
  names = [truth.cats[number]["name"] for number in scores.params.catIds]
  return scores.stats, dict(zip(names, precision.T.mean((1, 2)), strict=True))


def check_figures(figures, stats, names=coco.COCO_FIGURES):
  """The twelve; None is its -1, where there is nothing to find."""
  for name, value in zip(names, stats, strict=True):
    wanted = None if value < 0 else pytest.approx(value, abs=1e-12)
    assert figures[name] == wanted, name


def test_cocos_twelve_figures_are_those_of_its_program(tmp_path):
  """Without one picture there."""
  truths, results = coco_folder(tmp_path / "data")
  code, figures = run(
    *(tmp_path / "out", f"--detections={results}"),
    *("--data", "coco", tmp_path / "data", "val"),
  )
  stats, per_class = by_hand(truths, results)
  assert code == 0
  check_figures(figures, stats)
  assert 0.1 < figures["COCO AP"] < 0.9
  for name in ("cat", "dog", "emu"):
    value = figures["per_class"][name]["COCO AP"]
    assert value == pytest.approx(per_class[name], abs=1e-12), name
  assert figures["per_class"]["never"]["COCO AP"] is None
  told = figures["protocol"]
  assert told["pictures that are not there"] == 5
  assert told["crowds (iscrowd), not counted"] == 5
  assert told["picture of a detection"] == "by image_id, the data set's own"
  page = (tmp_path / "out" / "index.html").read_text()
  assert "pictures cannot be shown:" in page and "<li>7.png: " in page


def with_ellipses(path, *, runs):
  """Gives each row of a file the mask of an ellipse in its box."""
  content = json.loads(path.read_text())
  angles = np.linspace(0, 2 * np.pi, 20, endpoint=False)
  circle = np.stack([np.cos(angles), np.sin(angles)], axis=1) / 2 + 0.5
  for row in content if runs else content["annotations"]:
    x, y, w, h = row["bbox"]
    points = np.clip(circle * [w, h] + [x, y], 0, [320, 240])
    row["segmentation"] = [points.reshape(-1).tolist()]
    if runs:
      (found,) = coco_masks.frPyObjects(row["segmentation"], 240, 320)
      row["segmentation"] = {**found, "counts": found["counts"].decode()}
  path.write_text(json.dumps(content))


def test_another_programs_masks_are_compared(tmp_path, capsys):
  truths, results = coco_folder(tmp_path / "data")
  with_ellipses(truths, runs=False)
  with_ellipses(results, runs=True)
  words = (
    *(tmp_path / "out", f"--detections={results}"),
    *("--data", "coco", tmp_path / "data", "val"),
  )
  code, figures = run(*words)
  assert code == 0
  # With boxes beside the masks its program would take the boxes' areas.
  alone = [
    {key: row[key] for key in row if key != "bbox"}
    for row in json.loads(results.read_text())
  ]
  (tmp_path / "masks.json").write_text(json.dumps(alone))
  stats, _ = by_hand(truths, tmp_path / "masks.json", "segm")
  check_figures(figures, stats, coco.MASK_FIGURES)
  check_figures(figures, by_hand(truths, results)[0])
  assert 0.1 < figures["COCO mask AP"] < 0.9
  # Masks that are not for these pictures, for some entries alone, or for none
  # of the truths.
  rows = json.loads(results.read_text())
  rows[2]["segmentation"]["size"] = [320, 240]
  results.write_text(json.dumps(rows))
  capsys.readouterr()
  assert run(*words)[0] == 2
  assert "entry 3: segmentation is {'size': [320" in capsys.readouterr().err
  del rows[2]["segmentation"]
  results.write_text(json.dumps(rows))
  _, figures = run(*words)
  told = "549 of 550 have one: not compared"
  assert figures["protocol"]["masks of detections"] == told
  truths, results = coco_folder(tmp_path / "boxes")
  with_ellipses(results, runs=True)
  _, figures = run(
    *(tmp_path / "out", f"--detections={results}"),
    *("--data", "coco", tmp_path / "boxes", "val"),
  )
  assert figures["protocol"]["masks of detections"].startswith("not compared")
  assert "COCO mask AP" not in figures


@pytest.mark.parametrize("split", ["train2017", "val2017"])
def test_so_are_those_of_cocos_own_pictures(shared, tmp_path, split):
  root = shared / "data" / "coco_tiny38"
  path = root / "annotations" / f"instances_{split}.json"
  rng = np.random.default_rng(1)
  results = []
  for truth in json.loads(path.read_text())["annotations"] * 3:
    bbox = np.array(truth["bbox"]) * (1 + rng.normal(0, 0.08, 4))
    row = {key: truth[key] for key in ("image_id", "category_id")}
    score = round(rng.random(), 1)
    results.append({**row, "bbox": bbox.tolist(), "score": score})
  results_path = tmp_path / "results.json"
  results_path.write_text(json.dumps(results))
  _, figures = run(
    *(tmp_path / "out", f"--detections={results_path}", "--shown=2"),
    *("--data", "coco", root, split),
  )
  stats, _ = by_hand(path, results_path)
  check_figures(figures, stats)


def test_truths_are_judged_as_they_are(tmp_path):
  """Tiny boxes, one out of its picture, one twice: COCO's program has them."""
  truths, results = coco_folder(tmp_path / "data")
  content = json.loads(truths.read_text())
  row = content["annotations"][1]
  odd = ([0, 0, 1, 1.5], [400, 300, 20, 20], [-30, -20, 90, 60], [5, 5, 0, 9])
  for n, bbox in enumerate((*odd, row["bbox"])):
    content["annotations"].append({**row, "id": 900 + n, "bbox": list(bbox)})
  for image in content["images"]:
    del image["file_name"]
  del content["images"][0]["width"], content["images"][0]["height"]
  truths.write_text(json.dumps(content))
  rows = json.loads(results.read_text())
  keys = ("image_id", "category_id")
  more = {key: row[key] for key in keys} | {"score": 0.99}
  rows += [{**more, "bbox": list(bbox)} for bbox in odd]
  results.write_text(json.dumps(rows))
  code, figures = run(
    *(tmp_path / "out", f"--detections={results}"),
    *("--data", "coco", tmp_path / "data", "val"),
  )
  stats, _ = by_hand(truths, results)
  assert code == 0
  check_figures(figures, stats)
  told = figures["protocol"]
  assert told["truths"] == 40
  flaws = told["flaws of the annotations, judged as they are"]
  assert "1 outside" in flaws and "1 like fractions" in flaws


def test_a_models_list_has_the_figures_of_the_page_by_hand(trained, tmp_path):
  """What it writes, given to COCO's program; other classes are left out."""
  names = ("red disc", "blue disc", "green ring", "red box")
  truths, _ = coco_folder(tmp_path / "data", names)
  rng = np.random.default_rng(0)
  for row in json.loads(truths.read_text())["images"]:
    picture = rng.integers(0, 256, (240, 320, 3)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "data" / row["file_name"]), picture)
  code, figures = run(
    *(tmp_path / "out", f"--run={trained[0] / 'run'}", "--threshold=0"),
    *("--data", "coco", tmp_path / "data", "val"),
  )
  path = tmp_path / "out" / "detections.json"
  stats, _ = by_hand(truths, path)
  assert code == 0
  check_figures(figures, stats)
  rows = json.loads(path.read_text())
  assert {row["category_id"] for row in rows} <= {3, 4, 9, 77}
  left = "detections of classes that the data set has not, left out"
  assert figures["protocol"][left] > 0 and len(rows) > 0
  _, again = run(
    *(tmp_path / "again", f"--detections={path}"),
    *("--data", "coco", tmp_path / "data", "val"),
  )
  check_figures(again, stats)
  assert again["VOC07 AP"] == pytest.approx(figures["VOC07 AP"], abs=1e-9)


def test_a_list_without_detections_is_worth_nothing(tmp_path):
  _, results = coco_folder(tmp_path / "data")
  results.write_text("[]")
  code, figures = run(
    *(tmp_path / "out", f"--detections={results}"),
    *("--data", "coco", tmp_path / "data"),
  )
  assert code == 0 and figures["COCO AP"] == figures["VOC07 AP"] == 0
  assert figures["protocol"]["pictures without a detection"] == 5


def test_an_annotation_of_id_0_is_told(tmp_path):
  """COCO's program takes 0 for none; its figures are given as they are."""
  truths, results = coco_folder(tmp_path / "data")
  content = json.loads(truths.read_text())
  for n, row in enumerate(content["annotations"]):
    row["id"] = n
  truths.write_text(json.dumps(content))
  _, figures = run(
    *(tmp_path / "out", f"--detections={results}"),
    *("--data", "coco", tmp_path / "data", "val"),
  )
  stats, _ = by_hand(truths, results)
  assert figures["COCO AP"] == pytest.approx(stats[0], abs=1e-12)
  assert "an annotation has the id 0" in figures["protocol"]


@pytest.fixture(scope="module")
def blood():
  """VOC's files of blood cells, with detections in whole pixels."""
  root = SHARED / "data" / "voc_bccd"
  if not root.is_dir():
    pytest.skip(f"{root} is not here")
  source = Source("voc", str(root), "test")
  data = sources.read(source, Flaws(strict=True))
  rng = np.random.default_rng(2)
  rows = []
  for record in data.records:
    for label, box in zip(record.labels, record.boxes_px, strict=True):
      for _ in range(2):
        side = box[2:] - box[:2]
        moved = box + np.round(rng.normal(0, 0.12, 4) * np.tile(side, 2))
        x, y, right, bottom = moved.tolist()
        if right > x and bottom > y:
          score = round(rng.random(), 1)
          rows.append((record.image_id, int(label), score, moved.tolist()))
  return root, data, [rows[n] for n in rng.permutation(len(rows))]


def inclusive(box):
  """xmin, ymin, xmax, ymax in pixels that count from 1."""
  return [box[0] + 1, box[1] + 1, box[2], box[3]]


def test_vocs_figures_follow_the_devkit(blood, tmp_path):
  """In whole pixels, with the last one in the box, as the devkit counts."""
  root, data, rows = blood
  results = [
    {
      "image_id": image,
      "category_id": label,
      "category_name": data.class_names[label],
      "bbox": [x, y, right - x, bottom - y],
      "score": score,
    }
    for image, label, score, (x, y, right, bottom) in rows
  ]
  (tmp_path / "results.json").write_text(json.dumps(results))
  code, figures = run(
    *(tmp_path / "out", f"--detections={tmp_path / 'results.json'}"),
    *("--data", "voc", root, "test", "--shown=1"),
  )
  assert code == 0
  (tmp_path / "devkit").mkdir()
  for label, name in enumerate(data.class_names):
    lines = [
      " ".join(map(str, (image, score, *inclusive(box))))
      for image, kind, score, box in rows
      if kind == label
    ]
    path = tmp_path / "devkit" / f"comp4_det_test_{name}.txt"
    path.write_text("\n".join(lines))
  _, again = run(
    *(tmp_path / "out", f"--detections={tmp_path / 'devkit'}"),
    *("--data", "voc", root, "test", "--shown=0"),
  )
  for name in ("VOC07 AP", "VOC10 AP", "per_class"):
    assert again[name] == figures[name], name

  for label, name in enumerate(data.class_names):
    truths = {
      r.image_id: [
        (inclusive(box.tolist()), bool(hard))
        for box, kind, hard in zip(
          r.boxes_px, r.labels, r.difficult, strict=True
        )
        if kind == label
      ]
      for r in data.records
    }
    found = [
      (image, score, inclusive(box))
      for image, kind, score, box in rows
      if kind == label
    ]
    for figure, points in (("VOC07 AP", 11), ("VOC10 AP", None)):
      value = devkit.average_precision(truths, found, points=points)
      ours = figures["per_class"][name][figure]
      assert ours == pytest.approx(value, abs=1e-12), (name, figure)
      assert 0.05 < value < 1


def test_another_iou_of_a_hit(tmp_path):
  """It changes VOC's figures and not COCO's."""
  _, results = coco_folder(tmp_path / "data")
  words = (f"--detections={results}", "--data", "coco", tmp_path / "data")
  _, strict = run(tmp_path / "strict", *words, "--voc_iou=.8")
  _, loose = run(tmp_path / "loose", *words, "--voc_iou=.3")
  _, plain = run(tmp_path / "plain", *words)
  values = [figures["VOC10 AP"] for figures in (strict, plain, loose)]
  assert values == sorted(values) and values[0] < values[2]
  assert strict["COCO AP"] == loose["COCO AP"]
  assert strict["protocol"]["VOC07 AP"].endswith("at least 0.8")
  per_class = [row["VOC10 AP"] for row in strict["per_class"].values()]
  known = [value for value in per_class if value is not None]
  assert np.mean(known) == pytest.approx(strict["VOC10 AP"])


def test_so_do_truths_that_training_would_mend(tmp_path):
  """One from pixel 0, one that sticks out, one twice; a line for each."""
  truths = [(0, 0, 9, 9), (90, 40, 130, 80), (20, 20, 50, 50), (20, 20, 50, 50)]
  found = [(0, 0, 9, 5), (80, 40, 135, 80), (20, 20, 50, 50), (21, 20, 50, 50)]
  objects = "".join(
    f"<object><name>cat</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin>"
    f"<xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>"
    for a, b, c, d in truths
  )
  (tmp_path / "voc").mkdir()
  (tmp_path / "voc" / "a.xml").write_text(
    f"<annotation><size><width>100</width><height>60</height></size>{objects}"
    f"</annotation>"
  )
  scores = (0.9, 0.8, 0.7, 0.6)
  (tmp_path / "det_cat.txt").write_text(
    "".join(
      " ".join(map(str, ("a", score, *box))) + "\n"
      for score, box in zip(scores, found, strict=True)
    )
  )
  code, figures = run(
    *(tmp_path / "out", f"--detections={tmp_path / 'det_cat.txt'}"),
    *("--data", "voc", tmp_path / "voc"),
  )
  assert code == 0 and figures["per_class"]["cat"]["truths"] == 4
  value = devkit.average_precision(
    {"a": [(box, False) for box in truths]},
    [("a", score, box) for score, box in zip(scores, found, strict=True)],
    points=None,
  )
  assert figures["VOC10 AP"] == pytest.approx(value, abs=1e-12)
  assert 0.5 < value < 1
  flaws = figures["protocol"]["flaws of the annotations, judged as they are"]
  assert "out of range" in flaws and "1 duplicate box" in flaws


def test_numbers_of_classes_need_an_order(blood, tmp_path, capsys):
  root, data, rows = blood
  path = tmp_path / "results.json"
  row = {"category_id": 2, "bbox": [1, 2, 3, 4], "score": 0.5}
  path.write_text(json.dumps([{**row, "image_id": rows[0][0]}]))
  words = (f"--detections={path}", "--data", "voc", root, "test", "--shown=0")
  code, _ = run(tmp_path / "out", *words)
  assert code == 2 and "or --classes=FILE" in capsys.readouterr().err
  (tmp_path / "names.txt").write_text("WBC\nRBC\nPlatelets\n")
  classes = f"--classes={tmp_path / 'names.txt'}"
  code, figures = run(tmp_path / "out", *words, classes)
  assert code == 0 and figures["per_class"]["Platelets"]["detections"] == 1
  told = figures["protocol"]["class of a detection"]
  assert told == "by category_id, from 0: WBC, RBC, Platelets"


def test_files_of_the_original_program(goldens, golden_network, tmp_path):
  """By the options of its `detector valid`, on a photo with boxes."""
  photos = SHARED / "darknet"
  if not photos.is_dir():
    pytest.skip(f"{photos} is not here")
  cfg, weights = golden_network(goldens("fwd_yolov2voc_a"))
  folder = tmp_path / "data"
  folder.mkdir()
  shutil.copy(photos / "dog.jpg", folder)
  (folder / "boxes.csv").write_text(
    "image,label,xmin,ymin,xmax,ymax\ndog.jpg,dog,130,220,310,540\n"
  )
  names = f"--names={photos / 'voc.names'}"
  words = (f"--cfg={cfg}", f"--weights={weights}", "--data", "csv", folder)
  code, figures = run(tmp_path / "out", *words, "boxes.csv", names)
  assert code == 0
  told = figures["protocol"]
  assert told["score threshold"] == 0.005 and figures["detections"] > 0
  assert "letterbox" in told["input size"]


def test_a_classifier(tmp_path):
  """Flat, of one object on each picture."""
  made = base.classifier(shapes.CLASS_NAMES, "")
  made.update(name="tiny", paper="Table 6", rows=())
  settings = {
    "data.train.main.map": (),
    "data.train.main.split": "labels[:8]",
    "data.test.map": (),
    "data.test.split": "labels_test[:8]",
    "task.network.classes": "softmax",
    "task.network.backbone": "five",
    "task.network.width": 1 / 16,
    "optimizer.average": 0.0,
    "run.image_sizes": (32,),
    "run.total_steps": 2,
    "run.batch_size": 4,
    "evaluation.image_size": 32,
    "evaluation.batch_size": 4,
  }
  made = plan.with_changes(made, settings.items())
  results = runs.run_alone(made, tmp_path / "run")
  code, figures = run(tmp_path / "out", f"--run={tmp_path / 'run'}")
  assert code == 0
  for name in ("top-1", "top-5", "per_class"):
    assert figures[name] == results[name]
  head, *rows = table(tmp_path / "out" / "confusion.csv")
  counts = np.array([row[1:] for row in rows], int)
  assert counts.sum() == 8 and "background" not in head
  assert np.trace(counts) == round(8 * figures["top-1"])
  page = (tmp_path / "out" / "index.html").read_text()
  wrong = 8 - round(8 * figures["top-1"])
  assert f"{wrong} of 8 first answers are wrong" in page
  assert page.count("<img") == wrong
