"""report.html: one file, complete, and drawn by a browser as it should be."""

import json
import re
import shutil
import subprocess

import cv2
import numpy as np
import pytest
from support import toy_config

from yolo9000.tables import plan, report, results, sweep
from yolo9000.tables.plan import row

pytestmark = pytest.mark.usefixtures("libraries_promote")
ROWS = (
  row("plain", 74.4, {"task.network.hidden": 8}),
  row("pass & through", 75.4, {"task.network.hidden": 9}),
  row("larger", 78.6, {"evaluation.image_size": 96}),
)


@pytest.fixture(scope="module")
def made(libraries_promote, tmp_path_factory):
  """A table of three rows with two seeds."""
  workdir = tmp_path_factory.mktemp("report")
  config = toy_config(rows=ROWS, run__total_steps=2, seeds=(0, 1))
  assert sweep.run_rows(config, workdir) == 0
  return config, workdir, (workdir / "report.html").read_text()


def test_it_is_one_file_that_asks_nothing_of_a_network(made):
  _, _, page = made
  assert not re.search(r"<(script|link|iframe)|https?:|src=\"(?!data:)", page)


def test_it_has_all_that_the_table_needs(made):
  config, workdir, page = made
  for words in (
    "Step by step",
    "pass &amp; through",  # names are text, whatever they hold
    "task.network.hidden: 8 → 9",
    "evaluation.image_size: 64 → 96",
    "by seed",
    "recall small",
    "red disc",
    "&quot;total_steps&quot;: 2",
  ):
    assert words in page, words
  for key in plan.make(config).stages:
    assert key in page
  # The chart, the curves, and four pictures for each of three rows.
  assert page.count("<img") == 2 + 4 * 3
  commit = json.loads((workdir / "plain/results.json").read_text())["commit"]
  assert f"<td>{commit}</td>" in page


def test_a_table_that_is_not_finished_has_a_report(made, tmp_path):
  config, _, _ = made
  planned = plan.make(config)
  filled = results.fill(planned, tmp_path, {})
  report.write(config, planned, filled, tmp_path, tmp_path)
  page = (tmp_path / "report.html").read_text()
  assert page.count("not run") >= 3 and "not known" in page


def test_a_step_against_the_paper_is_said_to_be_one(made, tmp_path):
  config, workdir, _ = made
  planned = plan.make(config)
  filled = results.fill(planned, workdir, {})
  filled[1] = filled[1]._replace(paper=70.0)
  better = [dict(r, **{"VOC07 AP": 0.9}) for r in filled[1].results.values()]
  filled[1] = filled[1]._replace(results=dict(enumerate(better)))
  report.write(config, planned, filled, workdir, tmp_path)
  page = (tmp_path / "report.html").read_text()
  assert "It goes the other way than in the paper" in page


def chromium(*words):
  """Runs the browser without a screen; None where there is none."""
  path = shutil.which("chromium") or shutil.which("google-chrome")
  if path is None:
    pytest.skip("there is no Chromium here")
  switches = "--headless --no-sandbox --disable-gpu --disable-quic"
  switches += " --no-first-run --disable-background-networking"
  switches += " --disable-component-update --disable-sync"
  return subprocess.run(
    [path, *switches.split(), *words],
    capture_output=True,
    text=True,
    timeout=1200,
    check=True,
  ).stdout


def test_a_browser_shows_it(made, tmp_path):
  """Every picture is decoded, no text sticks out, and the page is not blank."""
  _, _, page = made
  probe = """<script>addEventListener("load", () => {
    const images = [...document.images].map(i => i.naturalWidth * i.width);
    const head = document.querySelector("h1").getBoundingClientRect();
    document.title = JSON.stringify({images, head: head.height,
      sticks_out: document.body.scrollWidth > innerWidth});
  })</script>"""
  path = tmp_path / "page.html"
  path.write_text(page.replace("</body>", probe + "</body>"))
  size = "--window-size=1100,3000"
  profile = f"--user-data-dir={tmp_path / 'profile'}"
  found = chromium(size, profile, "--dump-dom", f"file://{path}")
  seen = json.loads(re.search(r"<title>(.*?)</title>", found)[1])
  assert len(seen["images"]) == 14 and min(seen["images"]) > 0
  assert seen["head"] > 10 and not seen["sticks_out"]
  shot = tmp_path / "shot.png"
  chromium(size, profile, f"--screenshot={shot}", f"file://{path}")
  pixels = cv2.imread(str(shot))
  assert pixels.shape == (3000, 1100, 3)
  dark = np.mean(pixels.min(axis=2) < 128)
  assert 0.005 < dark < 0.5
