"""python -m yolo9000.main, and what can be done with what it leaves."""

import re
import subprocess
import sys
import time

import cv2
import pytest
from support import ROOT, check_starts, load_experiment, run_module

from yolo9000.data.flaws import Flaws
from yolo9000.data.formats import shapes
from yolo9000.data.formats.reading import Source
from yolo9000.tables import plan


def main(*words, cwd):
  return run_module("yolo9000.main", *words, cwd=cwd)


QUICK = f"--config={ROOT}/experiments/ablation.py:quick"
VOC = f"--config={ROOT}/experiments/voc.py"
DRAWN = [  # the same without files
  VOC,
  f"--config.data.class_names={shapes.CLASS_NAMES}",
  "--config.data.train.main.format=shapes",
  "--config.data.train.main.split=tiny",
  *("--config.data.test.format=shapes", "--config.data.test.split=tiny"),
]


def test_the_quick_ablation_makes_its_table(tmp_path):
  done = run_module("yolo9000.main", QUICK, "--workdir=w", cwd=tmp_path)
  assert done.returncode == 0, done.stderr
  assert "| multi-scale |" in done.stdout
  names = {p.name for p in (tmp_path / "w").iterdir()}
  assert {"table.md", "table.csv", "table.png", "report.html"} < names

  # Each stage took what it shares with the one before it.
  config = load_experiment(ROOT / "experiments" / "ablation.py")
  made = plan.make(config.get_config("quick").lock())
  assert check_starts(made, made.stages.values(), tmp_path / "w") == 10

  # Table 3 takes the weights that are there, and measures how fast they are.
  sizes = QUICK.replace("ablation.py", "sizes.py")
  done = run_module("yolo9000.main", sizes, "--workdir=w", cwd=tmp_path)
  assert done.returncode == 0, done.stderr
  assert ": evaluation-" in done.stderr
  assert "stage detector-" not in done.stderr
  assert "| images/s | paper |" in done.stdout
  report = (tmp_path / "w/sizes/report.html").read_text()
  assert "against images per second" in report

  # What it trained detects and is exported, as the README says.
  image = shapes.read(Source("shapes", "", "test[:1]"), Flaws(strict=True))
  cv2.imwrite(str(tmp_path / "a.png"), image.read_image(image.records[0]))
  words = ["--run=w/multi-scale", "--threshold=.001", "a.png"]
  done = run_module("yolo9000.detect", *words, cwd=tmp_path)
  assert done.returncode == 0, done.stderr
  assert re.search(r"\d+ boxes on 1 pictures in detections", done.stdout)
  assert (tmp_path / "detections" / "a.jpg").is_file()
  export = ["yolo9000.export", "--to=darknet"]
  words = ["--run=w/priors_and_location", "net"]
  done = run_module(*export, *words, cwd=tmp_path)
  assert done.returncode == 0, done.stderr
  assert (tmp_path / "net.weights").is_file()
  done = run_module(*export, "--run=w/passthrough", "other", cwd=tmp_path)
  assert done.returncode == 1 and "the plain reorg is no layer" in done.stderr


def test_the_quick_yolo9000_makes_its_table(tmp_path):
  quick = f"--config={ROOT}/experiments/yolo9000.py:quick"
  done = run_module("yolo9000.main", quick, "--workdir=w", cwd=tmp_path)
  assert done.returncode == 0, done.stderr
  header, _, *rows = (tmp_path / "w/table.md").read_text().splitlines()
  assert "| boxed coarsely | coarse | never boxed |" in header
  assert [row.split(" | ")[0] for row in rows[:4]] == [
    *("| joint, tree", "| boxes alone, tree", "| joint, flat softmax"),
    "| flat softmax, fine classes alone",
  ]


@pytest.mark.parametrize(
  ("words", "message"),
  [
    (
      [QUICK, "--config.yolo.task.network.widht=1"],
      "'widht'; did you mean width",
    ),
    ([VOC, "--config.task.network.width=wide"], "width"),
    ([*DRAWN, "--config.task.network.dtype=int8"], "allowed are float32"),
    ([VOC, "--config.data.root=."], "no such split of VOC"),
    ([VOC], "data.root is empty: --config.data.root=FOLDER must name where"),
    ([QUICK + ",row=none"], "row=none is unknown; there are YOLO"),
    (
      [VOC, "config.run.seed=1"],
      "not a flag: config.run.seed=1; begin it with --",
    ),
  ],
)
def test_bad_flags_end_with_a_message(tmp_path, words, message):
  done = main(*words, cwd=tmp_path)
  assert done.returncode in (1, 2)
  assert re.search(message, done.stderr + done.stdout, re.S), done.stderr[
    -2000:
  ]


def test_an_unknown_argument_of_the_experiment_names_the_known(tmp_path):
  done = main(f"--config={ROOT}/experiments/ablation.py:huge", cwd=tmp_path)
  assert done.returncode != 0
  assert "'huge'" in done.stderr and "quick" in done.stderr


def test_sigterm_ends_with_the_code_for_start_me_again(tmp_path):
  words = [*DRAWN, "--config.task.network.width=.0625"]
  words += [
    "--config.run.image_sizes=(64,)",
    "--config.evaluation.image_size=64",
  ]
  run = subprocess.Popen(
    [sys.executable, "-m", "yolo9000.main", *words, "--workdir=w"],
    cwd=tmp_path,
    stderr=subprocess.DEVNULL,
  )
  lines, deadline = tmp_path / "w" / "metrics.jsonl", time.monotonic() + 900
  while time.monotonic() < deadline and run.poll() is None:
    if lines.is_file() and lines.stat().st_size:
      break
    time.sleep(0.05)
  run.terminate()
  assert run.wait(600) == 75
  assert list((tmp_path / "w" / "checkpoints" / "latest").glob("[0-9]*"))
