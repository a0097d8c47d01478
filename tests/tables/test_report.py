"""report.html: one file, complete, and drawn by a browser as it should be."""

import json
import re
import shutil

import numpy as np
import pytest
from support import in_browser, toy_config

from yolo9000.tables import (
  plan,
  report,
  results,
  sentences,
  summary,
  sweep,
  table_files,
)
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
  assert page.count("<img") == 2 + 4 * (1 + 3)
  commit = json.loads((workdir / "plain/results.json").read_text())["commit"]
  assert f"<td>{commit}</td>" in page


def test_a_table_that_is_not_finished_has_a_report(made, tmp_path):
  config, _, _ = made
  planned = plan.make(config)
  filled = results.fill(config, planned, tmp_path, {})
  report.write(config, planned, filled, tmp_path, tmp_path)
  page = (tmp_path / "report.html").read_text()
  assert page.count("not run") >= 3 and "not known" in page


def test_a_row_may_have_options_that_the_one_below_it_lacks(made, tmp_path):
  """Another detector, and of that one an option."""
  config, _, _ = made
  config = plan.with_changes(config, [])
  changes = {"task": {"model": "toy", "kind": "a"}, "task.kind": "b"}
  with config.unlocked():
    config.rows = (row("plain"), row("another", None, changes))
  planned = plan.make(config)
  filled = results.fill(config, planned, tmp_path, {})
  report.write(config, planned, filled, tmp_path, tmp_path)
  assert "task.kind: None → &#x27;b&#x27;" in (
    tmp_path / "report.html"
  ).read_text().replace("&#39;", "&#x27;")


def test_a_step_against_the_paper_is_said_to_be_one(made, tmp_path):
  config, workdir, _ = made
  planned = plan.make(config)
  filled = results.fill(config, planned, workdir, {})
  filled[1] = filled[1]._replace(paper=70.0)
  better = [dict(r, **{"VOC07 AP": 0.9}) for r in filled[1].results.values()]
  filled[1] = filled[1]._replace(results=dict(enumerate(better)))
  report.write(config, planned, filled, workdir, tmp_path)
  page = (tmp_path / "report.html").read_text()
  assert "It goes the other way than in the paper" in page


def test_what_a_table_says_of_itself(made, tmp_path):
  """Steps, sizes and alternatives; a miniature and the paper's own setting."""
  config, workdir, _ = made
  for kind, setting, words in (
    ("steps", "", ("Step by step", "Each row adds to the one above it")),
    ("sizes", "", ("Size by size", "One set of weights")),
    ("alternatives", "", ("The alternatives", "are alternatives", "beside")),
    (
      *("steps", "a miniature on drawn shapes"),
      ("a miniature of T", "This is a miniature on drawn shapes.", "points of"),
    ),
  ):
    config = plan.with_changes(config, [])
    with config.unlocked():
      config.update(table=kind, setting=setting, paper="T")
      config.recorded = {"plain": (1.0, 2.0)} if setting else {}
    planned = plan.make(config)
    filled = results.fill(config, planned, workdir, {})
    report.write(config, planned, filled, workdir, tmp_path)
    page = (tmp_path / "report.html").read_text()
    for one in words:
      assert one in page, (kind, one)
    assert ("cannot be compared" in page) == bool(setting)
    assert ("recorded, 2 seeds" in page) == bool(setting)
    told = sentences.steps_in_words(config, filled)
    assert bool(told) == (kind != "sizes")
  # It stands beside no paper.
  with config.unlocked():
    config.paper = ""
  alone = [row._replace(paper=None) for row in filled]
  note = sentences.notes(config, alone)[0]
  assert "This is a miniature on drawn shapes. Data:" in note
  assert "paper" not in note + results.heading(config)
  assert "paper" not in results.cells(config, alone)[0]
  with config.unlocked():
    config.table = "rows"
  with pytest.raises(ValueError, match="table is 'rows'; allowed are steps"):
    results.frame(config)
  with config.unlocked():
    config.update(table="steps", shown=("plain",))
  with pytest.raises(ValueError, match="shown has plain; expected the rows'"):
    results.frame(config)


def test_a_table_has_coco_ap_by_iou(made, tmp_path):
  """Where the rows have it; means and spreads over seeds, no IoU twice."""
  config, workdir, page = made
  planned = plan.make(config)
  filled = results.fill(config, planned, workdir, {})
  assert results.by_iou(filled) == {} and "by IoU" not in page
  figure = "COCO AP by IoU"
  filled[1].results[0][figure] = {"0.50": 0.4, "0.75": 0.25}
  filled[1].results[1][figure] = {"0.50": 0.6}
  assert results.by_iou(filled) == {
    "COCO AP by IoU of a hit": [
      ["row", "IoU 0.50", "IoU 0.75"],
      [filled[1].name, "50.0 ± 14.1", "25.0"],
    ]
  }
  report.write(config, planned, filled, workdir, tmp_path)
  title = "COCO AP by IoU of a hit:"
  assert title in (tmp_path / "report.html").read_text()
  table_files.write(config, filled, tmp_path)
  line = f"| {filled[1].name} | 50.0 ± 14.1 | 25.0 |"
  text = (tmp_path / "table.md").read_text()
  assert title in text and line in text


def test_a_single_run_has_a_page(made, tmp_path):
  config, workdir, _ = made
  found = json.loads((workdir / "plain/results.json").read_text())
  shutil.copytree((workdir / "plain").resolve(), tmp_path / "run")
  summary.write_page(config, found, tmp_path / "run")
  page = (tmp_path / "run/report.html").read_text()
  assert page.count("<img") == 3 and "red disc" in page
  assert "total_steps" in page
  for width in (1280, 400):
    seen, _ = in_browser(page, tmp_path, width)
    assert len(seen["images"]) == 3 and min(seen["images"]) > 0
    assert seen["head"] > 10 and not seen["sticks_out"]


def test_links_lead_to_the_rows_folders(made):
  _, workdir, page = made
  links = re.findall('href="([^"]*)"', page)
  assert len(links) >= 9
  for link in links:
    assert (workdir / link).exists(), link


@pytest.mark.parametrize("width", [1280, 400])
def test_a_browser_shows_it(made, tmp_path, width):
  _, _, page = made
  seen, pixels = in_browser(page, tmp_path, width)
  assert len(seen["images"]) == 18 and min(seen["images"]) > 0
  assert seen["head"] > 10 and not seen["sticks_out"]
  dark = np.mean(pixels.min(axis=2) < 128)
  assert 0.005 < dark < 0.5
