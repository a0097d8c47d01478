"""The export command, the engines behind detect, and what a page promises."""

import json
import re
import subprocess
import sys

import cv2
import jax.numpy as jnp
import numpy as np
import pytest
from support import ROOT, tiny_config
from test_exported import make_trained, make_yolov2

from yolo9000 import detect, evaluate
from yolo9000.detector import Detector
from yolo9000.export import __main__ as command
from yolo9000.export import onnx as writer
from yolo9000.export import shipped
from yolo9000.tables.run import run_alone
from yolo9000.training.trained import from_run
from yolo9000.types import Task


@pytest.fixture(scope="module")
def run(tmp_path_factory, libraries_promote):
  """A run with weak boxes, and a picture."""
  folder = tmp_path_factory.mktemp("export")
  config = tiny_config(run__total_steps=3, task__detect__score_threshold=0.001)
  run_alone(config, folder / "run")
  rng = np.random.default_rng(0)
  cv2.imwrite(
    str(folder / "photo.jpg"), rng.integers(0, 256, (90, 120, 3), np.uint8)
  )
  return folder


def boxes_of(folder):
  rows = json.loads((folder / "detections.json").read_text())
  return [(r["category_id"], r["score"], *r["bbox"]) for r in rows]


def test_all_engines_detect_the_same(run, tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  for form in ("onnx", "stablehlo"):
    words = [f"--run={run / 'run'}", f"--to={form}", f"out/it.{form}"]
    assert command.main(words) == 0
    assert f"next: python -m yolo9000.detect out/it.{form}" in (
      capsys.readouterr().out
    )
  ways = {
    "jax": [f"--run={run / 'run'}"],
    "engine": [f"--run={run / 'run'}", "--engine=onnx"],
    "onnx": ["out/it.onnx"],
    "stablehlo": ["out/it.stablehlo"],
  }
  for name, words in ways.items():
    words += [f"--out={name}", "--threshold=.002", str(run / "photo.jpg")]
    assert detect.main(words) == 0
  expected = boxes_of(tmp_path / "jax")
  assert len(expected) > 5
  for name in ways:
    np.testing.assert_allclose(
      boxes_of(tmp_path / name), expected, rtol=1e-3, atol=0.02
    )


def test_an_exported_file_has_the_runs_figures(run, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  words = [f"--run={run / 'run'}", "--to=onnx", "it"]
  assert command.main(words) == 0
  data = ["--data", "shapes", "test", "--shown=0"]
  assert evaluate.main([f"--run={run / 'run'}", *data, "--out=a"]) == 0
  assert evaluate.main(["it.onnx", *data, "--out=b"]) == 0
  figures = [
    json.loads((tmp_path / name / "figures.json").read_text()) for name in "ab"
  ]
  assert figures[0]["VOC07 AP"] == pytest.approx(figures[1]["VOC07 AP"])


def test_the_detector_of_a_file(run, tmp_path):
  (path,) = writer.write(from_run(run / "run"), tmp_path / "it")
  ours = Detector.from_run(run / "run", score_threshold=0.002)
  file = Detector.from_file(path, score_threshold=0.002)
  assert file.class_names == ours.class_names and file.size == ours.size
  photo = str(run / "photo.jpg")
  found, expected = file(photo, tile=64), ours(photo, tile=64)
  assert found.names == expected.names
  np.testing.assert_allclose(found.boxes_px, expected.boxes_px, atol=0.02)
  assert not Detector.from_file(path)(photo).names  # people's threshold
  with pytest.raises(ValueError, match="engine is 'torch'; allowed are jax"):
    Detector(from_run(run / "run"), engine="torch")
  with pytest.raises(ValueError, match="takes a multiple of 32"):
    Detector.from_file(path, size=(60, 64))


@pytest.mark.parametrize(
  ("words", "told"),
  [
    (["--run=nowhere", "--to=onnx", "a"], "nowhere/config.json: is not there"),
    (["--to=onnx", "a"], "expected --run, or --cfg and --weights"),
    (["--run=RUN", "--to=darknet", "--iou=.3", "a"], "got iou_threshold"),
    (["--run=RUN", "--to=onnx", "--nodes=leaves", "a"], "the model has none"),
    (["--run=RUN", "--to=onnx", "--size=50", "a"], "image size 50 must be"),
  ],
)
def test_what_cannot_be_exported(
  words, told, run, tmp_path, monkeypatch, capsys
):
  monkeypatch.chdir(tmp_path)
  words = [word.replace("RUN", str(run / "run")) for word in words]
  assert command.main(words) == 2
  assert told in capsys.readouterr().err
  assert not list(tmp_path.iterdir())


def test_a_run_without_a_checkpoint(run, tmp_path, capsys):
  config = (run / "run" / "config.json").read_text()
  (tmp_path / "config.json").write_text(config)
  for words in (["--to=onnx"], ["--to=stablehlo"], ["--to=darknet"]):
    out = str(tmp_path / "a")
    assert command.main([f"--run={tmp_path}", *words, out]) == 2
    assert "no checkpoint" in capsys.readouterr().err


def test_a_file_takes_no_looser_options(run, tmp_path, capsys):
  writer.write(from_run(run / "run"), tmp_path / "it", score_threshold=0.1)
  photo, file = str(run / "photo.jpg"), str(tmp_path / "it.onnx")
  for words, told in (
    (["--threshold=.05"], "was exported with score_threshold 0.1"),
    (["--iou=.3"], "--iou is not for"),
    (["--engine=jax"], "--engine is not for"),
    (["--run=a"], "expected --run, or --cfg and --weights, or"),
    ([file.replace("it", "other")], "expected one exported file"),
  ):
    assert detect.main([file, photo, *words]) == 2
    assert told in capsys.readouterr().err


def test_a_missing_extra_is_named(run, tmp_path, monkeypatch, capsys):
  for module in ("onnx", "onnxruntime", "flatbuffers"):
    monkeypatch.setitem(sys.modules, module, None)
  for form, missing in (("onnx", "onnx"), ("stablehlo", "flatbuffers")):
    words = [f"--run={run / 'run'}", f"--to={form}", str(tmp_path / "a")]
    assert command.main(words) == 2
    told = capsys.readouterr().err
    assert f"needs {missing}, which is not installed" in told
    assert "pip install 'yolo9000[export]'" in told
  (tmp_path / "a.onnx").write_bytes(b"")
  photo = str(run / "photo.jpg")
  for words in ([str(tmp_path / "a.onnx")], [f"--run={run / 'run'}"]):
    if words[0].startswith("--run"):
      words.append("--engine=onnx")
    assert detect.main([*words, photo]) == 2
    assert "pip install 'yolo9000[export]'" in capsys.readouterr().err


def test_an_unknown_primitive_is_named():
  task, classes, size = make_yolov2()
  trained = make_trained(task, classes, size)

  def predict(variables, images):
    found = task.predict(variables, images)
    strange = jnp.fft.fft(found.scores.astype(jnp.float32)).real
    return found._replace(scores=strange)

  other = Task(task.init, task.loss, predict, task.check_size)
  strange = trained._replace(make_task=lambda detect: other)
  with pytest.raises(
    ValueError, match=r"test_export_command.py:\d+.*primitive fft"
  ):
    writer.make(shipped.ship(strange))


def test_a_fixed_size_where_the_program_needs_one():
  """A predict that asks for a number of pixels is traced at its own size."""
  task, classes, size = make_yolov2()
  trained = make_trained(task, classes, size)

  def predict(variables, images):
    assert int(images.shape[1]) == 64
    return task.predict(variables, images)

  other = Task(task.init, task.loss, predict, task.check_size)
  what = shipped.ship(trained._replace(make_task=lambda detect: other))
  assert what.images.shape[1:] == (64, 96, 3)
  assert what.description["steps"] == [0, 0]
  writer.make(what)


def test_the_pages_code_reads_the_files(run, tmp_path):
  trained = from_run(run / "run")
  (tmp_path / "photo.jpg").write_bytes((run / "photo.jpg").read_bytes())
  writer.write(trained, tmp_path / "detector.onnx")
  words = [f"--run={run / 'run'}", "--to=stablehlo"]
  assert command.main([*words, str(tmp_path / "detector.stablehlo")]) == 0
  text = (ROOT / "docs" / "export.md").read_text()
  blocks = re.findall(r"```python\n(.*?)```", text, re.S)
  for block in blocks:
    block = block.replace("> 0.5", "> 0.002").replace("416", "64")
    done = subprocess.run(
      [sys.executable, "-c", block],
      cwd=tmp_path,
      capture_output=True,
      text=True,
      timeout=300,
      check=True,
    )
    assert trained.classes.names[0].split()[0] in done.stdout
