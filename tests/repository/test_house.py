"""Rules of the house: floors, names, lengths, style."""

import ast
import itertools
import re
import subprocess
import sys

import pytest
from support import ROOT

from yolo9000.detectors import DETECTORS

PACKAGE = ROOT / "yolo9000"
# A file imports from its own folder and from those above it in this list.
FLOORS = (
  *("types", "files", "extras", "ranges", "command_line", "boxes"),
  *("wordtree", "losses"),
  *("networks", "darknet", "data", "scoring", "detectors", "training"),
  *("tables", "export", "commands", "benchmarks"),
)
WITHOUT_JAX = (
  *("data", "scoring", "files"),
  *("boxes.geometry", "boxes.masks", "boxes.priors"),
)


def modules():
  """Dotted name and syntax tree of every file of the package."""
  for path in sorted(PACKAGE.rglob("*.py")):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
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
  """The folder of a module; what people type are commands, wherever it is."""
  first, *rest = module.split(".")
  typed = rest == ["__main__"] or not (rest or first in FLOORS)
  return FLOORS.index("commands" if typed else first)


def test_a_folder_imports_only_from_those_above_it():
  known = {name for name, _ in modules()}
  for name, tree in modules():
    if name == "__init__":
      assert not list(imports(tree))
      continue
    for imported in imports(tree):
      below = imported.removeprefix("yolo9000.")
      if imported.startswith("yolo9000.") and below in known:
        assert floor(below) <= floor(name), f"{name} imports {below}"


def test_data_never_imports_jax():
  for name, tree in modules():
    if {name, name.split(".")[0]} & set(WITHOUT_JAX):
      roots = {imported.split(".")[0] for imported in imports(tree)}
      assert not roots & {"jax", "flax", "optax", "orbax"}, name


def test_worker_processes_do_not_import_jax():
  """What a worker of the data needs brings no backend with it."""
  code = (
    "import sys\n"
    "from yolo9000.data import augment, batches, doctor, sources\n"
    "sys.exit('jax' in sys.modules)"
  )
  assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
  ("missing", "wanted"),
  [
    ("grain,ml_collections,matplotlib", "yolo9000.training.loop"),
    ("tensorflow", "yolo9000.main"),
    ("flax,optax,orbax,cv2,grain,ml_collections,absl", "yolo9000.losses"),
  ],
)
def test_it_imports_without(missing, wanted):
  """A loss needs jax and numpy alone, the loop nothing that only draws."""
  code = f"""
import sys
for name in {missing!r}.split(","):
  sys.modules[name] = None
import {wanted}
"""
  done = subprocess.run([sys.executable, "-c", code], capture_output=True)
  assert done.returncode == 0, done.stderr.decode()


def functions():
  """Module, node and lines, without signature and docstring, of each one."""
  for name, tree in modules():
    for node in ast.walk(tree):
      if not isinstance(node, ast.FunctionDef):
        continue
      lines = node.end_lineno - node.body[0].lineno + 1
      if ast.get_docstring(node):
        lines -= node.body[0].end_lineno - node.body[0].lineno + 1
      yield name, node, lines


def test_functions_and_files_are_short():
  """60 lines a function, the loop 90; 400 a file, a detector as its paper."""
  for name, node, lines in functions():
    longest = 90 if (name, node.name) == ("training.loop", "train") else 60
    assert lines <= longest, f"{name}.{node.name} has {lines} lines"
  for path in PACKAGE.rglob("*.py"):
    if path.parent.name != "detectors":
      assert len(path.read_text().splitlines()) <= 400, path


def test_no_function_takes_more_than_twelve_arguments():
  """A formula in losses/ may."""
  for name, node, _ in functions():
    arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
    count = len([a for a in arguments if a.arg not in ("self", "cls")])
    if not name.startswith("losses."):
      assert count <= 12, f"{name}.{node.name} takes {count} arguments"


def test_no_call_packs_its_arguments():
  """`f(*(a, b))` saves a line and costs the reader a thought."""
  for name, tree in modules():
    for node in ast.walk(tree):
      for one in node.args if isinstance(node, ast.Call) else ():
        packed = isinstance(one, ast.Starred)
        packed = packed and isinstance(one.value, ast.Tuple)
        assert not packed, f"{name}:{one.lineno}"


def code_words(tree):
  """Names and strings of a file, without its docstrings."""
  told = {
    node.body[0].value
    for node in ast.walk(tree)
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
    and node.body
    and isinstance(node.body[0], ast.Expr)
  }
  for node in ast.walk(tree):
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
      if node not in told:
        yield node.value
    elif isinstance(node, ast.Name):
      yield node.id
    elif isinstance(node, ast.Attribute):
      yield node.attr
    elif isinstance(node, ast.ImportFrom):
      yield from (node.module or "").split(".")[1:]
      yield from (alias.name for alias in node.names)


def test_no_code_outside_detectors_names_one():
  """Its name is a key of a list there, and a word in configs."""
  # The package has the name of one; the benchmark of trees takes the config of
  # that experiment.
  names = {*DETECTORS} - {"yolo9000"}
  # It makes two detectors with the options that torchvision's have.
  excepted = ("detectors.", "benchmarks.torchvision")
  for name, tree in modules():
    if not name.startswith(excepted):
      assert not names & set(code_words(tree)), name


def longest_common_run(one, other):
  """Most lines in a row that two files have in common."""
  best, before = 0, {}
  places = {}
  for number, line in enumerate(other):
    places.setdefault(line, []).append(number)
  for line in one:
    now = {n: before.get(n - 1, 0) + 1 for n in places.get(line, ())}
    best, before = max(best, *now.values(), 0), now
  return best


@pytest.mark.parametrize(
  ("folder", "most"), [("yolo9000", 8), ("experiments", 12)]
)
def test_no_two_files_share_a_run_of_lines(folder, most):
  """Blank lines, and what is imported, do not count."""
  texts = {}
  for path in sorted((ROOT / folder).rglob("*.py")):
    imported = r"^from [^(\n]*(\([^)]*\))?$"
    text = re.sub(imported, "", path.read_text(), flags=re.M)
    lines = [line.strip() for line in text.splitlines()]
    texts[path] = [line for line in lines if line]
  for one, other in itertools.combinations(texts, 2):
    run = longest_common_run(texts[one], texts[other])
    assert run <= most, (one.name, other.name)


def test_no_name_is_undefined():
  """Ruff takes the letters of shapes for names too; all others must be."""
  words = ["--isolated", "--select", "F821", "--output-format", "concise"]
  done = subprocess.run(
    [sys.executable, "-m", "ruff", "check", *words, str(PACKAGE)],
    capture_output=True,
    text=True,
  )
  told = re.findall(r"Undefined name `(\w+)`", done.stdout)
  assert {name for name in told if len(name) > 1} == set()


@pytest.mark.parametrize("words", [["check"], ["format", "--check"]])
def test_style(words):
  done = subprocess.run(
    [sys.executable, "-m", "ruff", *words, str(ROOT)], capture_output=True
  )
  assert done.returncode == 0, done.stdout.decode()
