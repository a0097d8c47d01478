"""python -m yolo9000.main, and what can be done with what it leaves."""

import json
import re
import signal
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
  assert ": detector-" not in done.stderr
  sizes = re.findall(r"^\| size (\d+) \| (\d+) ", done.stdout, re.M)
  assert sizes == sorted(sizes, key=lambda pair: int(pair[0]))
  assert [paper for _, paper in sizes] == ["288", "352", "416", "480", "544"]
  assert "One set of weights" in done.stdout and "chance" not in done.stdout
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
  assert done.returncode == 2 and "the plain reorg is no layer" in done.stderr


def test_the_quick_yolo9000_makes_its_table(tmp_path):
  quick = f"--config={ROOT}/experiments/yolo9000.py:quick"
  done = run_module("yolo9000.main", quick, "--workdir=w", cwd=tmp_path)
  assert done.returncode == 0, done.stderr
  text = (tmp_path / "w/table.md").read_text()
  title, _, header, _, *rows = text.splitlines()
  assert title == (
    "# yolo9000_quick: a miniature of section 4, ImageNet detection (16.0 on "
    "classes never boxed)"
  )
  assert "| boxed coarsely | coarse | never boxed |" in header
  assert [row.split(" | ")[0] for row in rows[:4]] == [
    *("| joint, tree", "| boxes alone, tree", "| joint, flat softmax"),
    "| flat softmax, fine classes alone",
  ]


FOUND = "--config.data.root=."


@pytest.mark.parametrize(
  ("words", "message"),
  [
    ([], "flag --config=None: .* must have a value"),
    (
      ["--config=experiments/none.py"],
      "none.py is not there; the package has ablation, cl",
    ),
    (
      [f"--config={ROOT}/experiments/vok.py"],
      "did you mean .*experiments/voc.p",
    ),
    (
      [QUICK, "--config.yolo.task.network.widht=1"],
      "--config.yolo.task.network",
    ),
    (
      [QUICK, "--config.yolo.task.network.widht=1"],
      "'widht'; did you mean wid",
    ),
    (
      [f"--config={ROOT}/experiments/ablation.py:huge"],
      "'huge' is unk.*quick,",
    ),
    ([QUICK + ",row=none"], "row=none is unknown; there are YOLO, batch norm"),
    (
      [VOC, "--config.task.network.width=wide"],
      "width=wide: could not convert",
    ),
    ([VOC, "--wrokdir=a"], "Unknown command line flag 'wrokdir'"),
    (
      [VOC, "config.run.seed=1"],
      "not a flag: config.run.seed=1; begin it with",
    ),
    ([VOC], "data.root is empty: --config.data.root=FOLDER must name where"),
    ([VOC, "--config.data.root=none"], "none/?: no such folder"),
    ([VOC, FOUND], "no such split of VOC.*expected a list trainval.txt in"),
    (
      [*DRAWN, "--config.task.network.dtype=int8"],
      "int8'; allowed are float32",
    ),
    (
      [*DRAWN, "--config.run.batch_size=-4"],
      "batch_size -4 must be a positive",
    ),
    (
      [*DRAWN, "--config.run.total_steps=-4"],
      "total_steps is -4; it must be at",
    ),
    (
      [*DRAWN, "--config.task.model=yolov7"],
      "'yolov7'; allowed are classifier,",
    ),
    (
      [*DRAWN, "--config.task.network.backbone=vit"],
      "'vit'; allowed are darkn",
    ),
    (
      [*DRAWN, "--config.optimizer.name=lion"],
      "'lion'; allowed are sgd, adamw",
    ),
    (
      [*DRAWN, "--config.run.image_sizes=(100,)"],
      "size 100 must be a positive",
    ),
    (
      [*DRAWN, "--config.run.start_from=no"],
      "'no', which is not there; expect",
    ),
    (
      [*DRAWN, "--config.data.train.main.format=vok"],
      "'vok' is unknown; there",
    ),
    (
      [*DRAWN, "--config.data.test.split=tests"],
      "no split 'tests'; it has train",
    ),
    ([*DRAWN, "--workdir=names.txt/w"], "names.txt cannot be written"),
    (
      [QUICK, "--config.detector.task.model=yolov7", "--dry-run"],
      "'yolov7'; al",
    ),
    (
      [*DRAWN, "--config.run.batch_size=0", "--dry-run"],
      "size 0 must be a pos",
    ),
    ([VOC, "--config.data.root=none", "--dry-run"], "none/?: no such folder"),
  ],
)
def test_what_cannot_be_is_one_message_and_leaves_nothing(
  tmp_path, words, message
):
  (tmp_path / "names.txt").write_text("dog\n")
  done = main(*words, cwd=tmp_path)
  assert done.returncode == 2 and "Traceback" not in done.stderr
  assert re.search(message, done.stderr), done.stderr[-2000:]
  assert len(done.stderr.splitlines()) <= 8
  assert [path.name for path in tmp_path.iterdir()] == ["names.txt"]


@pytest.mark.parametrize(
  "module", ["main", "priors", "detect", "data", "export"]
)
def test_help_is_no_error(tmp_path, module):
  done = run_module(f"yolo9000.{module}", "--help", cwd=tmp_path)
  assert done.returncode == 0 and "--" in done.stdout


SMALL = [
  *(*DRAWN, "--config.task.network.width=.0625", "--workdir=w"),
  *("--config.run.image_sizes=(64,)", "--config.evaluation.image_size=64"),
  *("--config.evaluation.batch_size=4", "--config.run.log_every=1"),
]


def test_a_run_is_extended_moved_and_told_about(tmp_path):
  """One run: 3 steps, then 2 more in another folder with other threads."""
  short = [*SMALL, "--config.run.total_steps=3", "--config.run.profile=0"]
  done = main(*short, cwd=tmp_path)
  assert done.returncode == 0, done.stderr[-2000:]
  assert re.search(r"w: 3 steps in [\d.]+ minutes", done.stdout)
  assert re.search(r"red disc +[\d.]+ +[\d.]+ +\d+\n", done.stdout)
  assert "python -m yolo9000.detect --run=w PICTURES" in done.stdout
  before = {p: p.stat().st_mtime_ns for p in (tmp_path / "w").rglob("*")}
  done = main(*short, "--config.run.batch_size=2", cwd=tmp_path)
  assert done.returncode == 2
  assert "run.batch_size: 4 there, 2 now" in done.stderr
  after = {p: p.stat().st_mtime_ns for p in (tmp_path / "w").rglob("*")}
  assert after == before  # a refusal writes nothing

  (tmp_path / "w").rename(tmp_path / "moved")
  longer = [*short, "--workdir=moved", "--config.run.extend=2"]
  done = main(*longer, "--config.data.num_threads=1", cwd=tmp_path)
  assert done.returncode == 0, done.stderr[-2000:]
  assert "goes on with data.num_threads: 2 there, 1 now" in done.stderr
  assert "moved: goes on from step 3" in done.stderr
  found = json.loads((tmp_path / "moved/results.json").read_text())
  assert (found["steps"], found["extended_by"]) == (5, 2)
  assert (tmp_path / "moved/results_before_2_more.json").exists()
  done = main(*short, "--workdir=moved", cwd=tmp_path)
  assert done.returncode == 0 and "5 steps" in done.stdout  # as it is


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_with_the_code_for_start_me_again(tmp_path, number):
  run = subprocess.Popen(
    [sys.executable, "-m", "yolo9000.main", *SMALL],
    cwd=tmp_path,
    stderr=subprocess.DEVNULL,
  )
  lines, deadline = tmp_path / "w" / "metrics.jsonl", time.monotonic() + 900
  while time.monotonic() < deadline and run.poll() is None:
    if lines.is_file() and lines.stat().st_size:
      break
    time.sleep(0.05)
  run.send_signal(number)
  assert run.wait(600) == 75
  assert list((tmp_path / "w" / "checkpoints" / "latest").glob("[0-9]*"))
