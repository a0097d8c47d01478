"""yolo9000 NAME: one command for all, and experiments by their names."""

import re
import subprocess
import sys
import time
from importlib.util import find_spec

import pytest
from support import ROOT, run_module

from yolo9000 import __version__, command_line
from yolo9000.command_line import COMMANDS

# Written by another hand, or not there where an extra is missing.
THERE = {n: m for n, (m, _) in COMMANDS.items() if find_spec(m)}


def yolo9000(*words, cwd):
  """As the installed script does it."""
  code = (
    "import sys; sys.argv[0] = '/bin/yolo9000'\n"
    "from yolo9000.__main__ import main; main()"
  )
  return subprocess.run(
    [sys.executable, "-c", code, *words],
    cwd=cwd,
    capture_output=True,
    text=True,
    timeout=600,
  )


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"]])
def test_help_lists_the_commands_on_a_screen_at_once(tmp_path, words):
  start = time.perf_counter()
  done = yolo9000(*words, cwd=tmp_path)
  assert time.perf_counter() - start < 10  # against jax on a busy machine
  assert done.returncode == 0
  fits_a_screen(done.stdout)
  for name in COMMANDS:
    assert f"\n  {name} " in done.stdout


def test_help_imports_nothing_heavy():
  code = "import sys; import yolo9000.__main__; print(*sys.modules)"
  done = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=True
  )
  assert not {"jax", "numpy", "cv2", "flax"} & set(done.stdout.split())


def fits_a_screen(text):
  lines = text.splitlines()
  assert len(lines) <= 40 and max(map(len, lines)) <= 80, text


@pytest.mark.parametrize("name", THERE)
def test_the_help_of_a_command_fits_a_screen(tmp_path, name):
  """And says how it was typed, in both ways."""
  done = yolo9000(*name.split(), "--help", cwd=tmp_path)
  assert done.returncode == 0, done.stderr
  fits_a_screen(done.stdout)
  assert f"yolo9000 {name}" in done.stdout
  assert "python -m" not in done.stdout
  done = run_module(THERE[name], "--help", cwd=tmp_path)
  assert done.returncode == 0, done.stderr
  fits_a_screen(done.stdout)
  assert f"python -m {THERE[name]}" in done.stdout


@pytest.mark.parametrize(
  ("words", "message"),
  [
    (
      "detct a.jpg",
      "yolo9000: there is no command 'detct'; did you mean detec",
    ),
    ("xyz", "yolo9000: there is no command 'xyz'; --help lists them"),
    ("benchmark spede", "'benchmark spede'; did you mean benchmark speed?"),
    ("detect a.jpg", "yolo9000 detect: expected --run, or --cfg and --weights"),
    ("train --config=voc", "yolo9000 train: data.root is empty"),
    ("priors --config=voc", "yolo9000 priors: data.root is empty"),
    ("export --run=no --to=darknet a", "yolo9000 export: "),
  ],
)
def test_what_cannot_be_is_one_line_that_names_the_command(
  tmp_path, words, message
):
  done = yolo9000(*words.split(), cwd=tmp_path)
  assert done.returncode in (1, 2) and done.stderr.count("\n") == 1
  assert message in done.stderr, done.stderr


def test_the_module_is_the_command_too(tmp_path):
  done = run_module("yolo9000", "detct", cwd=tmp_path)
  assert done.returncode == 2
  assert done.stderr.startswith("python -m yolo9000: there is no command 'detc")
  done = run_module("yolo9000", "detect", cwd=tmp_path)
  assert done.stderr.startswith("python -m yolo9000 detect: expected --run")


def test_it_says_which_one_it_is(tmp_path):
  done = yolo9000("--version", cwd=tmp_path)
  assert done.stdout == f"yolo9000 {__version__}\n"
  assert (
    "version = attr: yolo9000.__version__" in (ROOT / "setup.cfg").read_text()
  )


def test_nothing_or_half_a_command_lists_what_there_is(tmp_path):
  done = yolo9000(cwd=tmp_path)
  assert done.returncode == 2 and "detect" in done.stderr
  done = yolo9000("benchmark", cwd=tmp_path)
  assert done.returncode == 2 and "yolo9000 benchmark speed" in done.stdout
  assert yolo9000("benchmark", "--help", cwd=tmp_path).returncode == 0


OWN = """
from ml_collections import ConfigDict
from experiments import base

def get_config():
  raise ValueError(base.__file__)
"""


def base_of(cwd, config):
  """The file of `experiments.base` that a config in cwd finds."""
  done = yolo9000("train", f"--config={config}", cwd=cwd)
  return re.search(r"\S+base\.py", done.stderr)[0]


def test_an_experiment_of_the_package_is_found_by_its_name(
  tmp_path, monkeypatch, capsys
):
  monkeypatch.chdir(tmp_path)
  own = command_line.EXPERIMENTS / "ablation.py"
  assert command_line.find_experiment("ablation") == own
  assert not capsys.readouterr().err
  for name in ("experiments/ablation.py", "experiments/ablation"):
    assert command_line.find_experiment(name) == own
    assert "ablation.py, of the package" in capsys.readouterr().err
  for name in (
    "mine/ablation.py",
    "ablation.py",
    "base",
    "experiments/base.py",
  ):
    with pytest.raises(FileNotFoundError, match=f"{name} is not there; "):
      command_line.find_experiment(name)
  with pytest.raises(FileNotFoundError, match="did you mean ablation?"):
    command_line.find_experiment("ablaton")
  with pytest.raises(FileNotFoundError, match="the package has ablation, cl"):
    command_line.find_experiment("xyz.py")
  (tmp_path / "experiments").mkdir()
  (tmp_path / "experiments" / "ablation.py").touch()
  path = command_line.find_experiment("experiments/ablation.py")
  assert str(path) == "experiments/ablation.py"  # a path that exists wins


def test_two_words_and_arguments_work_as_well(tmp_path):
  for words in (
    ["--config=ablation:huge"],
    ["--config", "ablation:huge"],
  ):
    done = yolo9000("train", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert "'huge' is unknown" in done.stderr


def test_a_folder_of_the_users_does_not_hide_the_packages(tmp_path):
  """But a config in it finds its neighbours first."""
  packaged = str(command_line.EXPERIMENTS / "base.py")
  mine = tmp_path / "experiments"
  mine.mkdir()
  (mine / "__init__.py").touch()
  (mine / "own.py").write_text(OWN)
  (tmp_path / "own.py").write_text(OWN)
  assert base_of(tmp_path, "own.py") == packaged
  assert base_of(tmp_path, "experiments/own.py") == packaged
  (mine / "base.py").write_text("")
  assert base_of(tmp_path, "own.py") == packaged
  assert base_of(tmp_path, "experiments/own.py") == str(mine / "base.py")
  done = yolo9000("train", "--config=ablation:huge", cwd=tmp_path)
  assert "'huge' is unknown" in done.stderr  # and not: no attribute of base
  # The module puts the folder where the user stands first; it holds there too.
  done = run_module("yolo9000.main", "--config=ablation:huge", cwd=tmp_path)
  assert "'huge' is unknown" in done.stderr
