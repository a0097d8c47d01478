"""Rules of the house: floors, experiments, style, the README's commands."""

import ast
import functools
import json
import re
import subprocess
import sys
import time

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from support import ROOT, load_experiment

from yolo9000.benchmarks import data as benchmark_data
from yolo9000.boxes import priors
from yolo9000.data import batches
from yolo9000.data.formats import shapes
from yolo9000.data.formats.reading import Flaws, Source
from yolo9000.detectors import yolov2
from yolo9000.networks.rows import operations
from yolo9000.tables import plan
from yolo9000.training import build
from yolo9000.wordtree import WordTree
from yolo9000.wordtree import files as tree_files

PACKAGE = ROOT / "yolo9000"
EXPERIMENTS = sorted((ROOT / "experiments").glob("*.py"))

# A file imports from its own folder and from those above it in this list.
FLOORS = (
  *("types", "files", "boxes", "wordtree", "losses", "networks", "darknet"),
  *("data", "scoring", "detectors", "training", "tables", "export"),
  *("benchmarks", "commands"),
)
WITHOUT_JAX = ("data", "scoring", "files", "boxes.geometry", "boxes.priors")


def modules():
  for path in sorted(PACKAGE.rglob("*.py")):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    if parts[-1] != "__init__":
      yield ".".join(parts), ast.parse(path.read_text())


def imports(tree):
  """Every module that a file imports, anywhere in it."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      yield node.module
      yield from (f"{node.module}.{alias.name}" for alias in node.names)


def floor(module):
  """The folder of a module; files of the top are commands, but for two."""
  first, *rest = module.split(".")
  return FLOORS.index(first if rest or first in FLOORS else "commands")


def test_a_folder_imports_only_from_those_above_it():
  known = {name for name, _ in modules()}
  for name, tree in modules():
    for imported in imports(tree):
      below = imported.removeprefix("yolo9000.")
      if imported.startswith("yolo9000.") and below in known:
        assert floor(below) <= floor(name), f"{name} imports {below}"


def test_data_never_imports_jax():
  for name, tree in modules():
    if {name, name.split(".")[0]} & set(WITHOUT_JAX):
      roots = {imported.split(".")[0] for imported in imports(tree)}
      assert not roots & {"jax", "flax", "optax", "orbax"}, name


@pytest.mark.parametrize("missing", ["grain,ml_collections", "tensorflow"])
def test_training_step_imports_without(missing):
  """Networks, losses and step run where the data pipeline is not installed."""
  code = f"""
import sys
import time
for name in {missing!r}.split(","):
  sys.modules[name] = None
from yolo9000 import darknet, losses, nms, optimizer, parallel, yolov2
from yolo9000 import checkpoint, detect, train
"""
  done = subprocess.run([sys.executable, "-c", code], capture_output=True)
  assert done.returncode == 0, done.stderr.decode()


def test_package_functions_and_files_are_short():
  """400 lines a file; 60 a function without its docstring.

  Two that are one story told in order may be longer: the loop, and YOLOv2's
  four functions, most of which hand on arguments by name.
  """
  for name, tree in modules():
    path = PACKAGE / (name.replace(".", "/") + ".py")
    assert len(path.read_text().splitlines()) <= 400, name
    for node in ast.walk(tree):
      if not isinstance(node, ast.FunctionDef):
        continue
      lines = node.end_lineno - node.body[0].lineno + 1
      if ast.get_docstring(node):
        lines -= node.body[0].end_lineno - node.body[0].lineno + 1
      longest = {"train": 90, "make_task": 110}.get(node.name, 60)
      assert lines <= longest, f"{name}.{node.name} has {lines} lines"


def configs():
  for path in EXPERIMENTS:
    module = load_experiment(path)
    for argument in ("", *getattr(module, "ARGUMENTS", ())):
      yield pytest.param(path, argument, id=f"{path.stem}:{argument}")


# Arguments that need a folder, below shared.
FOLDERS = {
  "animals": "data/joint_tiny_imagenet_animals",
  "full": "darknet",
}


@pytest.mark.parametrize(("path", "argument"), list(configs()))
def test_every_experiment_traces_its_init_loss_and_predict(
  path, argument, request, tmp_path
):
  if argument == "own":
    nodes = WordTree(("a", "b", "c"), (-1, 0, 0))
    tree_files.write_tree(tmp_path / "classes.tree", nodes)
    argument = f"own={tmp_path}"
  elif argument == "imagenet":
    for name in "ab":
      (tmp_path / "train" / name).mkdir(parents=True)
    argument = f"imagenet={tmp_path}"
  elif argument in FOLDERS and path.stem == "yolo9000":
    folder = request.getfixturevalue("shared") / FOLDERS[argument]
    argument = f"{argument}={folder}"
  module = load_experiment(path)
  config = module.get_config(argument) if argument else module.get_config()
  assert isinstance(config, ConfigDict)
  assert "python -m" in module.__doc__
  assert "AP" in module.__doc__ or "top-1" in module.__doc__
  if "task" in config and not config.data.class_names and not config.task.tree:
    config.task.tree = str(tmp_path / "a.tree")
    tree = WordTree(("a", "b", "c"), (-1, 0, 0))
    tree_files.write_tree(config.task.tree, tree)
  made = plan.make(config.lock())
  assert not any(row.error for row in made.rows)
  for stage in made.stages.values():
    with jax.numpy_dtype_promotion("standard"):  # Flax promotes bfloat16
      trace(stage.config)


def trace(row):
  task, tx = build.make_task(row), build.make_optimizer(row)
  size, most = row.run.image_sizes[-1], row.data.max_objects
  variables = jax.eval_shape(
    lambda key: task.init(key, size), jax.random.key(0)
  )
  jax.eval_shape(tx.init, variables["params"])
  batch = batches.empty_batch(2, size=size, max_objects=most)
  step = jax.ShapeDtypeStruct((), "int32")
  loss, _ = jax.eval_shape(task.loss, variables, batch, step)
  assert loss.shape == ()
  found = jax.eval_shape(task.predict, variables, batch.image)
  assert found.boxes.shape[0] == 2 and found.boxes.shape[2] == 4


def consequences(config):
  """What a row's stages compute: parameters, loss, pictures, evaluation."""
  return {
    (name, what): value
    for name, stage in plan.stage_configs(config, 0).items()
    for what, value in of_stage(name, json.dumps(plan.as_json(stage))).items()
  }


@functools.cache
def of_stage(name, text):
  stage = ConfigDict(json.loads(text))
  task = build.make_task(stage)
  size = 192 if name == "yolo" else 64
  variables = jax.jit(task.init, static_argnums=1)(jax.random.key(0), size)
  data = shapes.read(Source("shapes", "", "test[:2]"), Flaws(strict=True))
  batch = batches.empty_batch(2, size=size, max_objects=7)
  label = np.array([1, 2], np.int32)
  boxes = np.tile(np.float32([0.1, 0.2, 0.5, 0.7]), (2, 7, 1))
  images = [data.read_image(r)[:size, :size] for r in data.records]
  batch = batch._replace(
    image=np.stack(images),
    boxes=boxes,
    mask=np.arange(7)[None].repeat(2, 0) < 1,
    image_label=label if name in ("classifier", "hires") else -label,
  )
  loss, _ = jax.jit(task.loss)(variables, batch, np.int32(1))
  run = stage.run
  return {
    "parameters": str(jax.tree.map(jnp.shape, variables)),
    "loss": float(loss),
    "pictures": (run.image_sizes, run.total_steps),
    "evaluation": stage.evaluation.image_size,
  }


# What each row of Table 2 changes, of stages that it has and the one above had.
SWITCHES = {
  "batch norm": [
    *(("classifier", "parameters"), ("classifier", "loss")),
    *(("yolo", "parameters"), ("yolo", "loss")),
  ],
  "hi-res classifier": [("hires", "a new stage")],
  "anchor boxes": [("detector", "a new stage"), ("yolo", "left out")],
  "new network": [
    (stage, what)
    for stage in ("classifier", "hires", "detector")
    for what in ("parameters", "loss")
  ],
  "priors and location": [("detector", "parameters"), ("detector", "loss")],
  "passthrough": [("detector", "parameters"), ("detector", "loss")],
  "multi-scale": [("detector", "pictures")],
  "hi-res detector": [("detector", "evaluation")],
}


def test_every_ablation_switch_changes_what_it_says(libraries_promote):
  """Parameters, loss, pictures or evaluation, and nothing else."""
  config = load_experiment(ROOT / "experiments" / "ablation.py").get_config()
  before = None
  for name, row in plan.row_configs(config.lock()).items():
    found = consequences(row)
    if before is not None:
      changed = [
        key for key in found if key in before and found[key] != before[key]
      ]
      for stage in dict.fromkeys(key[0] for key in {**before, **found}):
        if (stage, "loss") not in before:
          changed.append((stage, "a new stage"))
        if (stage, "loss") not in found:
          changed.append((stage, "left out"))
      assert sorted(changed) == sorted(SWITCHES[name]), name
    before = found


def test_location_alone_changes_the_loss_and_the_boxes(libraries_promote):
  """It comes with the priors in Table 2, so the rows cannot show it."""
  config = load_experiment(ROOT / "experiments" / "ablation.py").get_config()
  row = plan.row_configs(config.lock())["anchor boxes"]
  direct = plan.with_changes(row, [("detector.task.location", "direct")])
  changed = [
    k for k, v in consequences(row).items() if v != consequences(direct)[k]
  ]
  assert changed == [("detector", "loss")]


@pytest.mark.parametrize("words", [["check"], ["format", "--check"]])
def test_style(words):
  done = subprocess.run(
    [sys.executable, "-m", "ruff", *words, str(ROOT)], capture_output=True
  )
  assert done.returncode == 0, done.stdout.decode()


def readme_commands():
  text = (ROOT / "README.md").read_text()
  blocks = re.findall(r"```sh\n(.*?)```", text, re.S)
  return [line for block in blocks for line in block.splitlines() if line]


def run_module(*words, cwd, timeout=280):
  return subprocess.run(
    [sys.executable, "-m", *words],
    cwd=cwd,
    capture_output=True,
    text=True,
    timeout=timeout,
  )


def test_the_readmes_first_two_commands_are_the_promised_ones():
  first, second = readme_commands()[:2]
  assert first.endswith("-m yolo9000.main --config=experiments/ablation.py")
  assert second.endswith("-m pytest")


def test_the_readmes_modules_and_experiments_exist():
  for command in readme_commands():
    for module in re.findall(r"-m (yolo9000\.[a-z.]+)", command):
      path = ROOT / module.replace(".", "/")
      assert (
        path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()
      ), command
    for path in re.findall(r"--config=([\w/.]+\.py)(?::(\S+))?", command):
      module = load_experiment(ROOT / path[0])
      known = (*getattr(module, "ARGUMENTS", ()), *plan.TABLE_ARGUMENTS)
      for word in filter(None, path[1].split(",")):
        name = word.split("=")[0]
        assert {name, f"{name}="} & {*known, "folder="}, command


def test_the_priors_command(tmp_path):
  done = run_module(
    "yolo9000.priors",
    f"--config={ROOT}/experiments/ablation.py",
    "--config.detector.data.train.main.split=train[:50]",
    cwd=tmp_path,
  )
  assert done.returncode == 0, done.stderr
  assert re.search(
    r"Table 1: Cluster IOU +9 [\d.]+ \(paper 67.2\)", done.stdout
  )
  assert "k = 15: average IoU" in done.stdout and "priors=((" in done.stdout


def test_the_benchmark_command(tmp_path):
  done = run_module(
    "yolo9000.benchmarks.speed",
    *"--width=.0625 --size=64 --batch_size=2 --rounds=1".split(),
    cwd=tmp_path,
  )
  assert done.returncode == 0, done.stderr
  for line in ("forward", "train step"):
    assert re.search(rf"{line} +[\d.]+ ms/image +[\d.]+ images/s", done.stdout)


def test_the_tree_benchmark_command(tmp_path):
  words = "--width=.0625 --size=64 --nodes=50 --cells=2 --rounds=1"
  done = run_module("yolo9000.benchmarks.tree", *words.split(), cwd=tmp_path)
  assert done.returncode == 0, done.stderr
  for what in ("tree log-softmax", "training step, few", "prediction, few"):
    assert re.search(rf"{what}.* ms, [\d.]+ times", done.stdout), what
  assert re.search(r"train_step_bytes +\d+ MiB, \d+ with few", done.stdout)


def test_the_data_benchmark_command(tmp_path):
  words = "--rounds=1 --images=64 --memory_images=640 --annotations=100"
  done = run_module("yolo9000.benchmarks.data", *words.split(), cwd=tmp_path)
  assert done.returncode == 0, done.stderr
  for kind in ("detector, 416", "classifier, 224"):
    for workers in ("1 thread", r"\d+ threads", r"\d+ processes"):
      assert re.search(rf"{kind}, {workers} +\d+ images/s", done.stdout)
  assert "memory after 640 images" in done.stdout
  assert re.search(r"H200 +\d+ images/s, +[\d.]+ of these cores", done.stdout)
  assert "doctor: 100 annotation files with 300 boxes" in done.stdout
  assert "0 flaws" in done.stdout


def test_the_network_needs_the_operations_that_the_benchmark_says():
  rows = yolov2.table(
    network="darknet19",
    location="direct",
    num_classes=20,
    priors=priors.VOC,
    class_error="softmax",
    passthrough="paper",
    program_reorg=False,
    width=1.0,
    tree=None,
  )
  giga = operations(rows, (416, 416, 3)) / 1e9
  assert benchmark_data.YOLOV2_GFLOP == pytest.approx(giga, abs=0.05)


def main(*words, cwd):
  return run_module("yolo9000.main", *words, cwd=cwd)


QUICK = f"--config={ROOT}/experiments/ablation.py:quick"
VOC = f"--config={ROOT}/experiments/voc.py"
DRAWN = [  # the same without files
  VOC,
  *("--config.data.root=", f"--config.data.class_names={shapes.CLASS_NAMES}"),
  "--config.data.train.main.format=shapes",
  "--config.data.train.main.split=tiny",
  *("--config.data.test.format=shapes", "--config.data.test.split=tiny"),
]


def test_the_quick_ablation_makes_its_table(tmp_path):
  done = run_module(
    "yolo9000.main", QUICK, "--workdir=w", cwd=tmp_path, timeout=240
  )
  assert done.returncode == 0, done.stderr
  assert "| multi-scale |" in done.stdout
  names = {p.name for p in (tmp_path / "w").iterdir()}
  assert {"table.md", "table.csv", "table.png", "report.html"} < names

  # Table 3 takes the weights that are there, and measures how fast they are.
  sizes = QUICK.replace("ablation.py", "sizes.py")
  done = run_module("yolo9000.main", sizes, "--workdir=w", cwd=tmp_path)
  assert done.returncode == 0, done.stderr
  assert "stage evaluation-" in done.stderr
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
  words = ["w/priors_and_location", "net"]
  done = run_module("yolo9000.model", *words, cwd=tmp_path)
  assert done.returncode == 0, done.stderr
  assert (tmp_path / "net.weights").is_file()
  done = run_module("yolo9000.model", "w/passthrough", "other", cwd=tmp_path)
  assert done.returncode == 1 and "the plain reorg is no layer" in done.stderr


def test_the_quick_yolo9000_makes_its_table(tmp_path):
  quick = f"--config={ROOT}/experiments/yolo9000.py:quick"
  done = run_module(
    "yolo9000.main", quick, "--workdir=w", cwd=tmp_path, timeout=200
  )
  assert done.returncode == 0, done.stderr
  header, _, *rows = (tmp_path / "w/table.md").read_text().splitlines()
  assert "| boxed coarsely | coarse | never boxed |" in header
  assert [row.split(" | ")[0] for row in rows[:4]] == [
    *("| joint, tree", "| boxes alone, tree", "| joint, flat softmax"),
    "| flat softmax, fine classes alone",
  ]


def test_the_peers_benchmark_command(tmp_path):
  for name in ("torch", "onnx", "onnxruntime"):
    pytest.importorskip(name, reason=f"{name} is of the extra bench")
  words = "--width=.0625 --size=64 --batch_sizes=2 --rounds=1".split()
  done = run_module("yolo9000.benchmarks.peers", *words, cwd=tmp_path)
  assert done.returncode == 0, done.stderr
  for name in ("yolo9000", "PyTorch", "ONNX Runtime", "OpenCV"):
    assert re.search(rf"batch 2  {name} +[\d.]+ ms/image", done.stdout)


@pytest.mark.parametrize(
  ("words", "message"),
  [
    ([QUICK, "--config.yolo.task.widht=1"], "Did you mean.*width"),
    ([VOC, "--config.task.width=wide"], "width"),
    ([*DRAWN, "--config.task.dtype=int8"], "allowed are float32"),
    ([VOC, "--config.data.root=."], "not a PASCAL VOC folder"),
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
  words = [*DRAWN, "--config.task.width=.0625"]
  words += [
    "--config.run.image_sizes=(64,)",
    "--config.evaluation.image_size=64",
  ]
  run = subprocess.Popen(
    [sys.executable, "-m", "yolo9000.main", *words, "--workdir=w"],
    cwd=tmp_path,
    stderr=subprocess.DEVNULL,
  )
  lines, deadline = tmp_path / "w" / "metrics.jsonl", time.monotonic() + 120
  while time.monotonic() < deadline and run.poll() is None:
    if lines.is_file() and lines.stat().st_size:
      break
    time.sleep(0.05)
  run.terminate()
  assert run.wait(60) == 75
  assert list((tmp_path / "w" / "checkpoints" / "latest").glob("[0-9]*"))
