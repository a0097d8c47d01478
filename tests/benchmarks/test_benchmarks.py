"""Every benchmark command runs, in small."""

import itertools
import re
import time
from importlib.util import find_spec

import pytest
from support import run_module

from experiments import base
from yolo9000.benchmarks import data, speed
from yolo9000.data.batches import empty_batch
from yolo9000.tables import cost


def test_the_benchmark_command(tmp_path):
  done = run_module(
    "yolo9000.benchmarks.speed",
    *"--width=.0625 --size=64 --batch_size=2 --rounds=1".split(),
    *"--backbone=tiny --held layer_0? layer_1[02]".split(),
    cwd=tmp_path,
  )
  assert done.returncode == 0, done.stderr
  memory = {}
  for what in ("forward", "train step", "held still"):
    line = rf"{what} +[\d.]+ ms/image +[\d.]+ images/s +\d+ % +(\d+) MiB"
    found = re.search(line, done.stdout)
    assert found, done.stdout
    memory[what] = int(found[1])
  assert memory["held still"] <= memory["train step"]


def test_the_tree_benchmark_command(tmp_path):
  words = "--width=.0625 --size=64 --nodes=50 --cells=2 --rounds=1"
  done = run_module("yolo9000.benchmarks.tree", *words.split(), cwd=tmp_path)
  assert done.returncode == 0, done.stderr
  for what in ("tree log-softmax", "training step, few", "prediction, few"):
    assert re.search(rf"{what}.* ms, [\d.]+ times", done.stdout), what
  assert re.search(r"train_step_bytes +\d+ MiB, \d+ with few", done.stdout)


def test_the_data_benchmark_command(tmp_path):
  words = "--rounds=1 --seconds=.5 --memory_images=640 --annotations=100"
  done = run_module("yolo9000.benchmarks.data", *words.split(), cwd=tmp_path)
  assert done.returncode == 0, done.stderr
  for kind in ("detector, 416", "classifier, 224"):
    for workers in ("1 thread", r"\d+ threads", r"\d+ processes"):
      line = rf"{kind}, {workers} +\d+ images/s +[\d.]+ times"
      assert re.search(line, done.stdout)
  assert re.search(r"decoding alone, 1 thread +\d+ images/s +1.00", done.stdout)
  assert "memory after 640 images" in done.stdout
  assert re.search(r"H200 +\d+ images/s, +[\d.]+ of these cores", done.stdout)
  assert "doctor: 100 annotation files with 300 boxes" in done.stdout
  assert "0 flaws" in done.stdout


def test_what_is_too_short_is_refused(tmp_path):
  words = "--rounds=1 --seconds=.01"
  done = run_module("yolo9000.benchmarks.data", *words.split(), cwd=tmp_path)
  assert done.returncode == 2
  assert "would measure noise; expected at least 0.5 seconds" in done.stderr


def test_what_lies_ready_is_not_measured():
  """Fifty batches at once, and then at most fifty in a second."""
  taken = []

  def stream():
    batch = empty_batch(32, size=32, max_objects=1)
    for n in itertools.count():
      taken.append(n)
      if n >= 50:
        time.sleep(0.02)
      yield batch

  assert data.rate_of(stream(), warm_up=50, seconds=0.5) <= 32 * 50
  assert len(taken) > 50


def test_a_step_needs_the_operations_that_the_benchmark_says():
  """Counted in the lowered program of the detector at full width."""
  config = speed.full_size(
    base.detector([str(n) for n in range(20)]),
    width=1.0,
    size=416,
    batch_size=1,
    dtype="float32",
  )
  giga = cost.of_picture(config).operations / 1e9
  assert 3 * data.YOLOV2_GFLOP == pytest.approx(giga, rel=0.02)


def test_the_peers_benchmark_command(tmp_path):
  for name in ("torch", "onnx", "onnxruntime"):
    pytest.importorskip(name, reason=f"{name} is of the extra bench")
  words = "--width=.0625 --size=64 --batch_sizes=2 --rounds=1".split()
  done = run_module("yolo9000.benchmarks.peers", *words, cwd=tmp_path)
  assert done.returncode == 0, done.stderr
  for name in ("yolo9000", "PyTorch", "ONNX Runtime", "OpenCV"):
    assert re.search(rf"batch 2  {name} +[\d.]+ ms/image", done.stdout)


def test_torchvisions_detectors_are_a_benchmark(tmp_path):
  """Full size, once: what they say, and losses before and after an update."""
  for name in ("torch", "torchvision", "onnx", "onnxruntime"):
    pytest.importorskip(name, reason=f"{name} is of the extra bench")
  words = "--what=ssd_forward,ssd_train --batch_sizes=1 --rounds=1".split()
  done = run_module("yolo9000.benchmarks.peers", *words, cwd=tmp_path)
  assert done.returncode == 0, done.stderr
  for what in ("ssd_forward", "ssd_train"):
    assert re.search(
      rf"{what} +batch 1  torchvision +[\d.]+ ms/image", done.stdout
    )


def test_a_missing_library_is_one_line(tmp_path):
  if find_spec("torch"):
    pytest.skip("PyTorch is here")
  done = run_module("yolo9000.benchmarks.peers", cwd=tmp_path)
  assert done.returncode == 2 and "pip install -e '.[bench]'" in done.stderr
  assert "Traceback" not in done.stderr
