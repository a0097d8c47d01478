"""What README and docs promise: commands, options, links, code."""

import re
import subprocess
import sys

import pytest
import yaml
from support import ROOT, load_experiment

from yolo9000 import __version__
from yolo9000.command_line import COMMANDS
from yolo9000.tables import plan

PAGES = [
  *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")),
  ROOT / "launch" / "README.md",
  *sorted((ROOT / "docs").glob("*.md")),
]


def blocks(path, language):
  return re.findall(rf"```{language}\n(.*?)```", path.read_text(), re.S)


def commands(path):
  """Lines of the page's shell blocks; a backslash joins two."""
  for block in blocks(path, "sh"):
    lines = block.replace("\\\n", " ").splitlines()
    yield from (line for line in lines if line and not line.startswith("#"))


def test_the_readmes_first_two_commands_are_the_promised_ones():
  first, second = list(commands(PAGES[0]))[:2]
  assert first.endswith("-m yolo9000.main --config=experiments/ablation.py")
  assert second.endswith("-m pytest")


def test_what_is_cited_is_this_release():
  cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
  assert cited["cff-version"] == "1.2.0" and cited["version"] == __version__
  assert cited["references"][0]["url"].endswith("1612.08242")
  assert f"\n## {__version__}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_one_command_has_the_names_that_pages_say(page):
  for name in re.findall(r"[`/]yolo9000 ([a-z]+)", page.read_text()):
    assert any(known.split()[0] == name for known in COMMANDS), name


def names(page):
  return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_modules_experiments_and_options_of_commands_exist(page, tmp_path):
  for command in commands(page):
    for module in re.findall(r"-m (yolo9000\.[a-z_.]+)", command):
      path = ROOT / module.replace(".", "/")
      found = path.with_suffix(".py").is_file()
      assert found or (path / "__main__.py").is_file(), command
    for path, argument in re.findall(
      r"--config=([\w/.]+\.py)(?::(\S+))?", command
    ):
      if not (ROOT / path).is_file():
        assert "/" not in path, command  # a file of the reader's own
        continue
      module = load_experiment(ROOT / path)
      known = (*getattr(module, "ARGUMENTS", ()), *plan.TABLE_ARGUMENTS)
      words = [word.split("=")[0] for word in filter(None, argument.split(","))]
      for word in words:
        assert {word, f"{word}="} & {*known, "folder="}, command
      needs_files = {"own", "animals", "full", "imagenet"} & set(words)
      plain = needs_files or not argument
      config = module.get_config(*([] if plain else [argument]))
      for option in re.findall(r"--config\.([\w.]+)", command):
        holder = config
        for part in option.split("."):
          assert part in holder, f"{command}: there is no {option}"
          holder = holder[part]


def links(page):
  for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
    if "://" not in link:
      yield link


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_links_and_named_files_are_there(page):
  for link in links(page):
    assert (page.parent / link).exists(), link
  told = re.findall(
    r"`((?:yolo9000|tests|docs|launch|experiments)/[\w/.]+)`", page.read_text()
  )
  for name in told:
    assert (ROOT / name).exists(), name


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_python_blocks_run_as_printed(page, tmp_path):
  """But those that begin with what they need: a run, or someone's files."""
  text = page.read_text()
  for block in blocks(page, "python"):
    before = text[: text.index(block)].rsplit("```", 1)[0].rstrip()
    sentence = before.split("\n\n")[-1]
    compile(block, str(page), "exec")
    if re.search(r"\b(needs?|part of|excerpt)\b", sentence):
      continue
    done = subprocess.run(
      [sys.executable, "-c", block],
      cwd=tmp_path,
      capture_output=True,
      text=True,
      timeout=600,
    )
    assert done.returncode == 0, (block, done.stderr[-2000:])
