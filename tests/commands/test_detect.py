"""Every kind of input and output of the detect command, on real photos."""

import json
import re
from functools import partial

import cv2
import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest
from ml_collections import ConfigDict
from support import ROOT, joint_config, load_experiment, tiny_config

from yolo9000 import boxes as box
from yolo9000 import detect, tiles
from yolo9000.darknet.weights import cpu_deviation, gpu_deviation
from yolo9000.data import drawing, fitting, sources
from yolo9000.data.disk import DataError
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats import shapes
from yolo9000.data.formats.reading import Source
from yolo9000.data.images import decode_picture
from yolo9000.data.pictures import Item
from yolo9000.detector import (
  Detector,
  Prepared,
  detect_all,
  from_darknet,
  from_run,
)
from yolo9000.networks import input as pictures
from yolo9000.tables import run as runs
from yolo9000.training import build, devices
from yolo9000.training.evaluation import predict_all
from yolo9000.types import Detections
from yolo9000.wordtree import Classes
from yolo9000.wordtree.files import read_tree

pytestmark = pytest.mark.usefixtures("libraries_promote")
PHOTOS = ("dog", "eagle", "giraffe", "horses", "kite", "person", "scream")


@pytest.fixture(scope="module")
def files(goldens, golden_network):
  """Arguments for a recorded YOLOv2, whose boxes mean nothing."""
  cfg, weights = golden_network(goldens("fwd_yolov2voc_a"))
  return [f"--cfg={cfg}", f"--weights={weights}", "--threshold=.3"]


def run(out, *words):
  code = detect.main([*map(str, words), f"--out={out}"])
  path = out / "detections.json"
  return code, json.loads(path.read_text()) if path.exists() else None


def test_a_folder_a_pattern_and_a_file_give_the_same(files, shared, tmp_path):
  photos = shared / "darknet"
  names = [f"--names={photos}/voc.names"]
  code, rows = run(tmp_path / "a", *files, *names, "--txt", photos)
  assert code == 0
  assert {row["image_id"] for row in rows} == set(range(7))
  drawn = sorted(p.stem for p in (tmp_path / "a").glob("*.jpg"))
  assert drawn == list(PHOTOS)
  code, again = run(tmp_path / "b", *files, "--batch_size=3", photos / "*.jpg")
  assert code == 0 and len(again) == len(rows)
  for one, two in zip(rows, again, strict=True):
    np.testing.assert_allclose(one["bbox"], two["bbox"], atol=0.05)
    assert one["file_name"] == two["file_name"]
    assert one["category_id"] == two["category_id"]
  _, one = run(tmp_path / "c", *files, *names, photos / "dog.jpg", "--no_draw")
  assert one == [row for row in rows if row["image_id"] == 0]
  assert not list((tmp_path / "c").glob("*.jpg"))

  # COCO's boxes and YOLO's label lines say the same, in pixels and fractions.
  height, width = cv2.imread(str(photos / "dog.jpg")).shape[:2]
  lines = (tmp_path / "a" / "labels" / "dog.txt").read_text().splitlines()
  assert len(lines) == len(one)
  for line, row in zip(lines, one, strict=True):
    label, *numbers = line.split()
    x, y, w, h = row["bbox"]
    assert int(label) == row["category_id"]
    expected = [
      (x + w / 2) / width,
      (y + h / 2) / height,
      w / width,
      h / height,
    ]
    np.testing.assert_allclose(np.array(numbers, float), expected, atol=1e-4)
    assert 0 <= x and x + w <= width + 0.02 and y + h <= height + 0.02
    assert row["score"] > 0.3


def test_the_drawn_boxes_are_on_the_picture(files, shared, tmp_path):
  photo = shared / "darknet" / "dog.jpg"
  _, rows = run(tmp_path, *files, photo)
  before, after = cv2.imread(str(photo)), cv2.imread(str(tmp_path / "dog.jpg"))
  changed = np.abs(before.astype(int) - after).max(axis=2) > 60
  x, y, w, h = rows[0]["bbox"]
  edge = changed[int(y) : int(y + h), max(0, int(x) - 2) : int(x) + 6]
  assert edge.any(axis=1).mean() > 0.5
  assert changed.mean() < 0.5


def film(path, photos, frames=7):
  """A video that goes through the photos."""
  video = cv2.VideoWriter(
    str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (320, 240)
  )
  for number in range(frames):
    image = cv2.imread(str(photos / f"{PHOTOS[number]}.jpg"))
    video.write(cv2.resize(image, (320, 240)))
  video.release()


def test_a_video(files, shared, tmp_path):
  film(tmp_path / "film.mp4", shared / "darknet")
  out = tmp_path / "out"
  code, rows = run(
    out, *files, "--txt", tmp_path / "film.mp4", "--batch_size=4"
  )
  assert code == 0
  assert {row["frame"] for row in rows} == set(range(7))
  assert {row["file_name"] for row in rows} == {str(tmp_path / "film.mp4")}
  assert len(list((out / "labels" / "film").glob("00000?.txt"))) == 7
  drawn = cv2.VideoCapture(str(out / "film.mp4"))
  assert drawn.get(cv2.CAP_PROP_FRAME_COUNT) == 7
  assert drawn.get(cv2.CAP_PROP_FPS) == 10
  _, few = run(tmp_path / "few", *files, tmp_path / "film.mp4", "--frames=3")
  assert {row["frame"] for row in few} == {0, 1, 2}


def test_a_camera(files, shared, tmp_path, monkeypatch):
  """There is none here: a video stands behind its number."""
  film(tmp_path / "film.mp4", shared / "darknet")
  capture = cv2.VideoCapture
  monkeypatch.setattr(
    cv2, "VideoCapture", lambda n: capture(str(tmp_path / "film.mp4"))
  )
  code, rows = run(tmp_path / "out", *files, "--camera=0", "--frames=5")
  assert code == 0 and {row["frame"] for row in rows} == set(range(5))
  assert (tmp_path / "out" / "camera 0.mp4").exists()


def test_what_cannot_be_read_is_reported_and_the_rest_done(
  files, shared, tmp_path, capsys
):
  photos = tmp_path / "photos"
  photos.mkdir()
  (photos / "a.jpg").write_text("no picture")
  (photos / "b.mp4").write_text("no film")
  good = (shared / "darknet" / "dog.jpg").read_bytes()
  (photos / "c.jpg").write_bytes(good)
  (photos / "d.jpg").write_bytes(good[: len(good) // 2])
  code, rows = run(tmp_path / "out", *files, photos, "--batch_size=2")
  told = capsys.readouterr()
  assert code == 1 and {row["image_id"] for row in rows} == {2}
  assert "on 1 pictures" in told.out and "3 could not be read" in told.out
  for line in (
    "a.jpg: not a picture that can be read",
    "b.mp4: no frame that OpenCV can read",
    "d.jpg: the picture ends before its end marker",
  ):
    assert line in told.err


def test_pictures_of_one_name_do_not_overwrite_each_other(
  files, shared, tmp_path
):
  good = (shared / "darknet" / "dog.jpg").read_bytes()
  names = ("a/x.jpg", "b/x.jpg", "c/x_2.jpg", "d/film_000000.jpg")
  for name in names:
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_bytes(good)
  film(tmp_path / "film.mp4", shared / "darknet", frames=2)
  out = tmp_path / "out"
  words = [*(tmp_path / name for name in names), tmp_path / "film.mp4"]
  run(out, *files, "--txt", *words)
  drawn = {"x.jpg", "x_2.jpg", "x_2_2.jpg", "film_000000.jpg"}
  assert {p.name for p in out.glob("*.jpg")} == drawn
  assert len(list((out / "labels").rglob("*.txt"))) == 6


def test_inputs_are_never_overwritten(files, shared, tmp_path, capsys):
  good = (shared / "darknet" / "dog.jpg").read_bytes()
  (tmp_path / "x.jpg").write_bytes(good)
  code, _ = run(tmp_path, *files, tmp_path)
  assert code == 2 and "an input that would be" in capsys.readouterr().err
  assert (tmp_path / "x.jpg").read_bytes() == good


def test_results_that_cannot_be_written_are_an_error(
  files, shared, tmp_path, capsys
):
  film(tmp_path / "film.mp4", shared / "darknet", frames=2)
  out = tmp_path / "out"
  for name, given in (
    ("dog.jpg", shared / "darknet" / "dog.jpg"),
    ("film.mp4", tmp_path / "film.mp4"),
  ):
    (out / name).mkdir(parents=True)
    code, _ = run(out, *files, given)
    assert code == 2
    assert f"{name}: cannot be written" in capsys.readouterr().err
  (tmp_path / "file").write_text("")
  code, _ = run(tmp_path / "file" / "x", *files, shared / "darknet" / "dog.jpg")
  assert code == 2 and "Not a directory" in capsys.readouterr().err


GOOD = ("{cfg}", "{weights}", "{photo}")


@pytest.mark.parametrize(
  ("words", "message"),
  [
    (["{photo}"], "expected --run, or --cfg and --weights"),
    (["{cfg}", "{photo}"], "expected --run, or --cfg and --weights"),
    (GOOD[:2], "expected pictures, videos, folders or --camera"),
    ([*GOOD[:2], "no.jpg"], "no.jpg: no picture or video there; expected a"),
    ([*GOOD[:2], "{empty}"], "there; expected a file such as .jpg or .mp4"),
    ([*GOOD, "--size=100"], "multiple of 32, such as 96"),
    ([*GOOD, "--size=big"], "expected 416 or 640x384"),
    ([*GOOD, "--map=x"], "x: is for a tree, and .* has none"),
    ([*GOOD, "--checkpoint=best"], "--checkpoint is not for --cfg"),
    (["--run=x", "--names=y", "{photo}"], "--names is not for --run"),
    ([*GOOD, "--frames=-1"], "--frames must be at least 1"),
    ([*GOOD, "--threshold=nan"], "--threshold must be at least 0"),
    ([*GOOD, "--iou=1.5"], "--iou must be at least 0 and below 1"),
    ([*GOOD, "--size=64x"], "expected 416 or 640x384"),
    ([*GOOD, "--names={cocos}"], "has 80 names; expected 20"),
    (
      ["{cfg}", "--weights={text}", "{photo}"],
      "begins with .*expected version",
    ),
    (
      ["--cfg={photo}", "{weights}", "{photo}"],
      "is not UTF-8; expected a text",
    ),
    (["--run={empty}", "{photo}"], "expected a run's folder"),
    ([*GOOD, "--batch_size=0"], "at least 1"),
  ],
)
def test_bad_arguments_end_with_a_message(
  words, message, files, shared, tmp_path, capsys
):
  (tmp_path / "empty").mkdir()
  photo = shared / "darknet" / "dog.jpg"
  values = dict(
    cfg=files[0],
    weights=files[1],
    photo=photo,
    text=shared / "darknet" / "cfg" / "yolov2.cfg",
    empty=tmp_path / "empty",
    cocos=shared / "darknet" / "coco.names",
  )
  words = [word.format(**values) for word in words]
  code, _ = run(tmp_path / "out", *words)
  assert code == 2
  assert re.search(message, capsys.readouterr().err)


# Its boxes are half a pixel of the input off where the margin is odd.
PROGRAM_IS_OFF = {"yolov2voc_b": 0.5 / 63, "yolov2tinyvoc": 0.5 / 63}


@pytest.mark.parametrize(
  ("name", "photo", "resize"),
  [
    ("yolov2voc_a", "dog", "letterbox"),
    ("yolov2voc_b", "person", "letterbox"),
    ("yolov2tinyvoc", "horses", "letterbox"),
    *(("yolov1", "eagle", "stretch"), ("yolov1tiny", "eagle", "stretch")),
  ],
)
def test_detector_in_pixels_of_the_photo(
  name, photo, resize, goldens, golden_network, shared, monkeypatch
):
  """The program's recorded boxes, from its own input, which is not rounded.

  These networks are a sixteenth wide and have random weights; rounding to bytes
  alone, let alone another interpolation, moves their boxes by some percent.
  """
  source = goldens(f"fwd_{name}")
  image = decode_picture(str(shared / "darknet" / f"{photo}.jpg"))
  trained = from_darknet(*golden_network(source), deviation=cpu_deviation)
  assert trained.resize == resize
  _, _, threshold, _, iou, relative = source["det_args"].tolist()
  detector = Detector(
    trained,
    score_threshold=threshold,
    iou_threshold=iou,
    max_detections=1000,
  )
  input_ = source["input"].transpose(0, 2, 3, 1)
  monkeypatch.setattr(pictures, "normalise", lambda images: jnp.array(input_))
  prepared = detector.prepare(image)
  assert prepared.input.shape == input_.shape[1:]
  found = detector.finish(detector.start([prepared], 1), [prepared])[0]
  edges = np.array([image.shape[1], image.shape[0]] * 2, np.float32)
  recorded = box.cxcywh_to_xyxy(source["boxes"]) * (edges if relative else 1)
  recorded = np.clip(recorded, 0, edges)
  scores = source["probs_post_nms"]
  strong = np.argwhere(scores > 0.3)
  assert len(strong) > 3
  odd = PROGRAM_IS_OFF.get(name, 0.0) * edges.max()
  for row, label in strong:
    near = np.abs(found.boxes - recorded[row]).max(axis=1) < 0.1 + odd
    near &= found.labels == label
    assert near.any()
    assert np.abs(found.scores[near] - scores[row, label]).min() < 1e-3


def test_yolo9000_by_walk_and_by_map(goldens, golden_network, shared, tmp_path):
  """The labels of the program's best boxes, on its own input."""
  source = goldens("fwd_yolo9000")
  cfg, weights = golden_network(source)
  (tmp_path / "a.map").write_text("".join(f"{n}\n" for n in source["det_map"]))
  tree = read_tree(cfg.parent / "golden.tree")
  names = tmp_path / "a.names"  # of nodes, as those of 9k.names, may repeat
  names.write_text("crane\n" * len(tree.ids))
  words = [f"--cfg={cfg}", f"--weights={weights}", "--threshold=.24"]
  photo = shared / "darknet" / "giraffe.jpg"
  labels = {}
  for name, more in {
    "h30": ["--tree_threshold=.3"],
    "h80": ["--tree_threshold=.8"],
    "h30 conditional": ["--tree_threshold=.3", "--walk_by=conditional"],
    "map": [f"--map={tmp_path}/a.map", "--threshold=.02"],
    "few": ["--max_detections=2", "--tree_threshold=.3"],
    "all cells": ["--max_cells=12", "--tree_threshold=.3"],
    "few cells": ["--max_cells=4", "--tree_threshold=.3"],
    "leaves": ["--nodes=leaves", "--threshold=.002"],
    "same names": [f"--names={names}", "--nodes=leaves", "--threshold=.002"],
    "below": ["--nodes=below n00001000", "--threshold=.002"],
  }.items():
    code, rows = run(tmp_path / name, *words, photo, *more)
    assert code == 0 and rows
    labels[name] = [row["category_id"] for row in rows]
  # A higher threshold stops at more general nodes: of smaller numbers.
  assert np.mean(labels["h80"]) < np.mean(labels["h30"])
  # The paper's rule goes farther down.
  assert np.mean(labels["h30 conditional"]) > np.mean(labels["h30"])
  assert len(labels["few"]) == 2 < len(labels["h30"])
  assert labels["all cells"] == labels["h30"]
  assert 0 < len(labels["few cells"]) < len(labels["h30"])
  assert labels["same names"] == labels["leaves"]
  # Labels stay those of the network.
  assert set(labels["leaves"]) <= set(tree.leaves.tolist())
  assert set(labels["below"]) <= set(tree.select("below n00001000").tolist())
  trained = from_darknet(cfg, weights, map=tmp_path / "a.map")
  ids = trained.tree.ids
  assert trained.classes.names == tuple(ids[n] for n in source["det_map"])
  assert max(labels["map"]) < 200
  detector = Detector(trained, score_threshold=0.02, iou_threshold=0.45)
  found = detector.detect(decode_picture(str(photo)))
  assert found.labels.tolist() == labels["map"]


@pytest.mark.parametrize(
  "words",
  [
    *(["--resize=stretch"], ["--size=192"], ["--iou=.05"]),
    *(["--threshold=.5"], ["--max_detections=3"], ["--batch_norm=cpu"]),
  ],
  ids=lambda words: words[0],
)
def test_every_option_changes_the_result(words, files, shared, tmp_path):
  photo = shared / "darknet" / "dog.jpg"
  _, before = run(tmp_path / "a", *files, photo)
  code, after = run(tmp_path / "b", *files, photo, *words)
  assert code == 0 and after != before


def test_the_batch_norm_option_is_that_of_the_program(files, shared, tmp_path):
  """Its names are not swapped: the default is the GPU's."""
  photo = shared / "darknet" / "dog.jpg"
  cfg, weights = (word.split("=")[1] for word in files[:2])
  for name, deviation in (("gpu", gpu_deviation), ("cpu", cpu_deviation)):
    trained = from_darknet(cfg, weights, deviation=deviation)
    found = Detector(trained, score_threshold=0.3).detect(
      decode_picture(str(photo))
    )
    word = [] if name == "gpu" else ["--batch_norm=cpu"]
    _, rows = run(tmp_path / name, *files, photo, *word)
    scores = [row["score"] for row in rows]
    np.testing.assert_allclose(scores, found.scores, atol=6e-6)


def test_the_size_is_checked_and_options_are_those_of_the_detector(
  goldens, golden_network, shared
):
  cfg, weights = golden_network(goldens("fwd_yolov2voc_a"))
  trained = from_darknet(cfg, weights)
  image = decode_picture(str(shared / "darknet" / "dog.jpg"))
  plain = Detector(trained, score_threshold=0.3).detect(image)
  assert len(plain.scores) > 5
  wide = Detector(trained, score_threshold=0.3, size=(192, 320))
  assert wide.prepare(image).input.shape == (192, 320, 3)
  assert len(wide(image).scores)
  with pytest.raises(ValueError, match="multiple of 32"):
    Detector(trained, size=(200, 320))
  with pytest.raises(ValueError, match="allowed are stretch, letterbox"):
    Detector(trained, resize="crop")
  for wrong in (image / 255, image[..., 0], image[..., [0, 1, 2, 0]]):
    with pytest.raises(ValueError, match="expected uint8 RGB"):
      wide(wrong)
  agnostic = Detector(trained, score_threshold=0.3, class_agnostic=True).detect(
    image
  )
  assert agnostic.scores.tolist() != plain.scores.tolist()
  with pytest.raises(ValueError, match="unknown options .'max_cell'"):
    Detector(trained, max_cell=3)


def test_classes_that_do_not_exclude_each_other(
  goldens, golden_network, shared
):
  """softmax=0: a box may have several classes, each by its own logistic."""
  cfg, weights = golden_network(goldens("fwd_yolov2voc_a"))
  cfg.write_text(cfg.read_text().replace("softmax=1", "softmax=0"))
  trained = from_darknet(cfg, weights)
  assert not trained.network.layers[-1].exclusive
  image = decode_picture(str(shared / "darknet" / "dog.jpg"))
  found = Detector(trained, score_threshold=0.3).detect(image)
  # A softmax's scores of one box sum to its objectness, at most 1.
  sums = [
    found.scores[(found.boxes == one).all(axis=1)].sum() for one in found.boxes
  ]
  assert max(sums) > 1.5


def test_yolov1_takes_its_own_size_alone(goldens, golden_network):
  trained = from_darknet(*golden_network(goldens("fwd_yolov1")))
  Detector(trained, size=(192, 192))
  with pytest.raises(ValueError, match="expected 192x192: the network takes"):
    Detector(trained, size=(224, 224))


def average_precision(detector, data, score):
  """AP of what the users' detector finds on the pictures of a data set."""
  found = []
  for record in data.records:
    image = data.read_image(record)
    one = detector.detect(image)
    edges = np.array([*image.shape[1::-1]] * 2, np.float32)
    found.append(one._replace(boxes=one.boxes / edges))
  return score(found, data.records)["VOC07 AP"]


def check_the_same_ap(trained, data, score, **options):
  """Of an evaluation and of the users' detector.

  The weights are as good as random, so what the evaluation finds best on each
  picture is called the truth.
  """
  size = trained.size[0]  # tables are of squares
  found = predict_all(
    trained.make_task(options),
    devices.replicate(trained.variables, devices.make_mesh()),
    data,
    image_size=size,
    resize=trained.resize,
    batch_size=4,
    num_threads=1,
  )
  records = [
    record._replace(
      boxes_px=np.clip(one.boxes[:3], 0, 1) * record.edges_px,
      labels=one.labels[:3],
      difficult=np.zeros(len(one.labels[:3]), bool),
    )
    for one, record in zip(found, data.records, strict=True)
  ]
  expected = score(found, records)["VOC07 AP"]
  detector = Detector(trained, size=(size, size), **options)
  data = data._replace(records=records)
  assert average_precision(detector, data, score) == expected > 0


def yolov1_config():
  """With a cell of 64 pixels; 60 steps, for before them boxes have no area."""
  learning = dict(optimizer__average=0.0, schedule__rate=5e-3)
  config = ConfigDict(tiny_config(run__total_steps=60, **learning).to_dict())
  experiment = load_experiment(ROOT / "experiments" / "ablation.py")
  config.task = experiment.yolo().task
  config.task.network.update(side=1, width=1 / 32, batch_norm=True)
  return config.lock()


@pytest.mark.parametrize(
  "config", [yolov1_config, tiny_config, joint_config], ids=lambda f: f.__name__
)
def test_the_ap_of_a_table_is_that_of_the_users_detector(config, tmp_path):
  """YOLO's, YOLOv2's, YOLO9000's; detections.json has the same scores."""
  made = config()
  recorded = runs.run_alone(made, tmp_path)["VOC07 AP"]
  classes = build.read_classes(made.data)
  data = build.test_data(made, classes)
  score = build.make_score(made, classes)
  trained = from_run(tmp_path)
  detector = Detector(trained)
  assert average_precision(detector, data, score) == recorded
  check_the_same_ap(trained, data, score, score_threshold=0.0)
  rows = json.loads((tmp_path / "detections.json").read_text())
  for number, record in enumerate(data.records):
    expected = [row["score"] for row in rows if row["image_id"] == number]
    found = detector.detect(data.read_image(record)).scores
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_the_ap_of_a_cfg_is_that_of_the_users_detector(goldens, golden_network):
  """Its network is a Task like any other, so a table could measure it."""
  trained = from_darknet(
    *golden_network(goldens("fwd_yolov2voc_a")), resize="stretch"
  )
  config = tiny_config(class_names=trained.classes.names)
  drawn = Classes(shapes.CLASS_NAMES)  # as many
  score = build.make_score(config, trained.classes)
  data = build.test_data(config, drawn)
  check_the_same_ap(trained, data, score, score_threshold=0.005)


class Blind(Detector):
  """Sees nothing, and notes what is done when."""

  def __init__(self):
    self.order = []

  def prepare(self, image, proposals_px):
    return Prepared(image, fitting.Placement(0.0, 0.0, 1.0, 1.0), (4, 4))

  def start(self, prepared, batch_size):
    self.order.append(f"start {len(prepared)}")
    nothing = np.zeros((batch_size, 1))
    return Detections(np.zeros((batch_size, 1, 4)), *[nothing] * 2, nothing > 0)

  def load(self, number):
    self.order.append(f"load {number}")
    if number in (0, 7):
      raise DataError(f"bad {number}")
    return np.full((4, 4, 3), number, np.uint8)

  def items(self, count):
    for number in range(count):
      load = partial(self.load, number)
      yield Item("", str(number), number, None, 0.0, load)


def test_the_next_batch_is_read_while_the_device_works():
  """Reading is ahead by one batch, and no further; errors keep their place."""
  blind = Blind()
  found = detect_all(blind, blind.items(10), batch_size=2, num_threads=1)
  assert str(next(found)) == "bad 0"
  # The device has the second batch; the third may be read, not the fourth.
  assert blind.order.count("start 2") == 1 and "load 3" in blind.order
  assert "load 6" not in blind.order
  rest = [
    str(one) if isinstance(one, DataError) else one.image[0, 0, 0]
    for one in found
  ]
  assert rest == [1, 2, 3, 4, 5, 6, "bad 7", 8, 9]
  assert sum(word.startswith("load") for word in blind.order) == 10


@pytest.mark.parametrize("shade", [0, 128, 255])
def test_names_can_be_read_on_any_background(shade):
  """Text stands on a field of another brightness, lines on a dark edge."""
  image = np.full((200, 300, 3), shade, np.uint8)
  boxes = np.array([[20.0, 60, 120, 160], [150, 2, 299, 199]])
  labels, scores = np.array([0, 15]), np.array([0.9, 0.5])
  names = [f"Ω {n}" for n in range(16)]
  drawn = drawing.draw(
    image,
    boxes,
    labels,
    [f"{names[n]} {s:.2f}" for n, s in zip(labels, scores, strict=True)],
  )
  assert (image == shade).all()  # a copy
  grey = drawn @ np.array([0.299, 0.587, 0.114])
  for left, top, _, _ in boxes.astype(int).tolist():
    top = max(top - 14, 0)
    field = grey[top : top + 12, left + 2 : left + 40]
    assert field.max() - field.min() > 90
  assert not np.array_equal(drawn[100, 21], drawn[100, 151])


def test_boxes_without_area_or_beyond_the_picture_are_drawn():
  image = np.zeros((40, 40, 3), np.uint8)
  boxes = np.array([[5.0, 5, 5, 5], [-9, -9, 99, 99], [39, 39, 40, 40]])
  drawing.draw(image, boxes, np.arange(3), ["a", "b", "c"])
  drawing.draw(image, np.zeros((0, 4)), np.zeros(0, int), [])


def test_a_detector_takes_what_people_have(files, shared, tmp_path):
  cfg, weights = (word.partition("=")[2] for word in files[:2])
  names = str(shared / "darknet/voc.names")
  options = {"names": names, "score_threshold": 0.3}
  detector = Detector.from_darknet(cfg, weights, **options)
  photo = shared / "darknet/dog.jpg"
  found = detector(photo)
  image = decode_picture(str(photo))
  for given in (str(photo), image, PIL.Image.fromarray(image)):
    for one, two in zip(found, detector(given), strict=True):
      np.testing.assert_array_equal(one, two)
  assert len(found.names) == len(found.scores) > 0
  labels = found.labels.tolist()
  assert found.names == tuple(detector.class_names[label] for label in labels)
  # A grey picture, one that EXIF turns, and what is none.
  grey = PIL.Image.fromarray(image).convert("L")
  assert detector(grey).boxes_px.shape[1] == 4
  turned = PIL.Image.fromarray(np.rot90(image).copy())
  turned.getexif()[0x0112] = 6
  turned.save(tmp_path / "turned.png", exif=turned.getexif())
  assert len(detector(tmp_path / "turned.png").scores)
  with pytest.raises(DataError, match="none.jpg: cannot be read"):
    detector("none.jpg")
  with pytest.raises(ValueError, match="expected uint8 RGB"):
    detector(np.zeros((4, 4, 3)))


def test_what_is_written_can_be_read_as_a_data_set(files, shared, tmp_path):
  """Labels, class names and links to the pictures, by YOLO's reader."""
  photos, out = shared / "darknet", tmp_path / "out"
  names = [f"--names={photos}/voc.names", "--txt"]
  code, rows = run(out, *files, *names, photos / "dog.jpg", photos / "kite.jpg")
  assert code == 0
  known = (photos / "voc.names").read_text().split()
  assert all(row["category_name"] == known[row["category_id"]] for row in rows)
  data = sources.read(Source("yolo", str(out), "images"), Flaws(strict=True))
  assert data.class_names == tuple(known)
  # Weak boxes that rounding makes equal are one.
  left_out = [flaw for flaw in data.flaws if "left out" in flaw.message]
  found = sum(len(record.labels) for record in data.records)
  assert len(data.records) == 2 and found + len(left_out) == len(rows) > 0


def test_txt_never_replaces_a_picture_of_the_users(
  files, shared, tmp_path, capsys
):
  """Labelling a YOLO set in place would link its pictures to themselves."""
  photo = tmp_path / "data/images/dog.jpg"
  photo.parent.mkdir(parents=True)
  photo.write_bytes((shared / "darknet/dog.jpg").read_bytes())
  before = photo.read_bytes()
  code, _ = run(tmp_path / "data", *files, photo.parent, "--txt")
  assert code == 2 and "would be overwritten" in capsys.readouterr().err
  # Nor one of the same name that lies there and is no input.
  code, _ = run(tmp_path / "data", *files, shared / "darknet/dog.jpg", "--txt")
  assert code == 2
  assert photo.read_bytes() == before and not photo.is_symlink()


def test_a_call_that_fails_keeps_good_results(files, shared, tmp_path, capsys):
  out = tmp_path / "out"
  _, rows = run(out, *files, shared / "darknet/dog.jpg")
  told = capsys.readouterr().out.splitlines()
  assert told[0] == f"{len(rows)} boxes on 1 pictures in {out}"
  assert re.fullmatch(r"  class \d+: \d+ on 1 pictures", told[1])
  (tmp_path / "bad.jpg").write_text("no picture")
  code, again = run(out, *files, tmp_path / "bad.jpg")
  assert code == 1 and again == rows and rows


def test_tiles_find_small_things(tmp_path):
  """A picture of four times the side, and of each quarter the same boxes."""
  places = tiles.cut(100, 300, 128, 0.25)
  assert places[0].tolist() == [0, 0, 300, 100]
  assert places[1:, 0].tolist() == [0, 86, 172] and places[-1, 2] == 300
  assert tiles.cut(50, 60, 64, 0.2).tolist() == [[0, 0, 60, 50]]
  with pytest.raises(ValueError, match="tiles of 0 pixels"):
    tiles.cut(50, 60, 0, 0.2)

  def found(*rows):
    boxes, scores, labels = zip(*rows, strict=True) if rows else ((), (), ())
    return Detections(
      np.array(boxes, np.float32).reshape(-1, 4),
      np.array(scores, np.float32),
      np.array(labels, np.int32),
      np.ones(len(rows), bool),
    )

  whole = found(((80, 10, 140, 60), 0.5, 1))
  first = found(((80, 10, 128, 60), 0.6, 1), ((2, 2, 9, 9), 0.4, 0))
  second = found(((0, 10, 54, 60), 0.9, 1), ((0, 10, 54, 60), 0.8, 2))
  limits = {"threshold": 0.6, "most": 100}
  joined = tiles.join([whole, first, second, found()], places, **limits)
  # The best of what is one object, each class alone, in the picture's pixels.
  assert joined.boxes.tolist() == [
    *([86, 10, 140, 60], [86, 10, 140, 60], [2, 2, 9, 9])
  ]
  np.testing.assert_allclose(joined.scores, [0.9, 0.8, 0.4])
  assert joined.labels.tolist() == [1, 2, 0]
  limits["most"] = 2
  joined = tiles.join([whole, first, second, found()], places, **limits)
  assert joined.labels.tolist() == [1, 2]
  # Boxes of one tile were judged before: a child before its parent stays.
  family = found(((0, 0, 100, 100), 0.9, 1), ((10, 10, 40, 90), 0.8, 1))
  joined = tiles.join([family], places[:1], threshold=0.6, most=100)
  assert len(joined.scores) == 2


def test_the_tile_option(files, shared, tmp_path):
  photo = shared / "darknet/dog.jpg"
  _, whole = run(tmp_path / "whole", *files, photo)
  code, tiled = run(tmp_path / "tiled", *files, photo, "--tile=400")
  assert code == 0 and len(tiled) > len(whole)
