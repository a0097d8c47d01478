import csv
import json

import pytest
from support import tiny_config

from yolo9000 import sweep

pytestmark = pytest.mark.usefixtures("libraries_promote")


@pytest.fixture(scope="module")
def finished(libraries_promote, tmp_path_factory):
  """A sweep of four rows: the third is broken, the fourth evaluates again."""
  workdir = tmp_path_factory.mktemp("sweep")
  config = rows_config()
  return config, workdir, sweep.run_rows(config, workdir)


def rows_config(**changes):
  rows = (
    ("priors", 74.4, (("task.passthrough", "none"),)),
    ("passthrough", 75.4, (("task.passthrough", "paper"),)),
    ("broken", 76.8, (("run.image_sizes", (65,)),)),
    (
      "larger",
      78.6,
      (("run.image_sizes", (64,)), ("evaluation.image_size", 96)),
    ),
  )
  return tiny_config(rows=rows, run__total_steps=2, **changes)


def test_each_row_adds_to_the_one_before():
  configs = sweep.row_configs(rows_config())
  assert [c.task.passthrough for c in configs.values()] == (
    ["none", "paper", "paper", "paper"]
  )
  assert configs["larger"].evaluation.image_size == 96
  assert all(c.rows == () for c in configs.values())


def test_a_broken_row_is_reported_and_the_others_finish(finished):
  _, workdir, failed = finished
  assert failed == 1
  table = (workdir / "table.md").read_text()
  assert "| broken | failed | 76.8 |" in table
  assert "broken failed: ValueError: image size 65 must be" in table
  assert "Traceback" in (workdir / "broken" / "error.txt").read_text()
  for row in ("priors", "passthrough", "larger"):
    assert (workdir / row / "results.json").is_file()


def test_the_table_has_the_papers_number_beside_ours(finished):
  _, workdir, _ = finished
  with (workdir / "table.csv").open() as file:
    rows = list(csv.DictReader(file))
  assert [r["paper"] for r in rows] == ["74.4", "75.4", "76.8", "78.6"]
  result = json.loads((workdir / "priors" / "results.json").read_text())
  assert rows[0]["VOC07 AP"] == f"{100 * result['VOC07 AP']:.1f}"
  assert {"commit", "hardware", "training_minutes"} <= result.keys()
  assert (workdir / "table.png").stat().st_size > 5000


def test_a_row_that_differs_in_evaluation_alone_trains_nothing(finished):
  _, workdir, _ = finished
  result = json.loads((workdir / "larger" / "results.json").read_text())
  assert result["weights_of"] == "passthrough"
  assert not (workdir / "larger" / "checkpoints").exists()
  assert (workdir / "larger" / "detections.png").is_file()


def test_finished_rows_are_kept(finished, monkeypatch):
  config, workdir, _ = finished
  before = (workdir / "priors" / "results.json").read_text()

  def must_not_train(config, folder):
    assert folder.name == "broken"
    raise ValueError("still broken")

  monkeypatch.setattr(sweep.train, "train", must_not_train)
  assert sweep.run_rows(config, workdir) == 1
  assert (workdir / "priors" / "results.json").read_text() == before


def test_a_folder_of_another_config_is_refused(finished):
  _, workdir, _ = finished
  other = sweep.row_configs(rows_config(schedule__rate=0.5))["priors"]
  with pytest.raises(
    ValueError, match=r"(?s)another config.*schedule.rate: .* 0.5"
  ):
    sweep.run_row(other, workdir / "priors", {})


def test_wrong_names_and_types_are_errors():
  config = tiny_config()
  with pytest.raises(AttributeError, match="task.widht: there is no 'widht'"):
    sweep.with_changes(config, [("task.widht", 1.0)])
  with pytest.raises(
    AttributeError, match="there is no 'tasks'; there are data"
  ):
    sweep.with_changes(config, [("tasks.width", 1.0)])
  with pytest.raises(TypeError):
    sweep.with_changes(config, [("run.seed", "zero")])


def test_a_mistake_does_not_lock_the_folder(tmp_path):
  """The corrected command works in the same workdir."""
  with pytest.raises(ValueError, match="int8"):
    sweep.run_row(tiny_config(task__dtype="int8"), tmp_path, {})
  config = tiny_config(run__total_steps=1)
  assert sweep.run_row(config, tmp_path, {})["weights_of"] == tmp_path.name


def test_evaluation_alone_checks_its_values(finished, tmp_path):
  config, workdir, _ = finished
  row = sweep.row_configs(config)["passthrough"]
  wrong = sweep.with_changes(row, [("evaluation.image_size", 70)])
  with pytest.raises(ValueError, match="70 must be a positive multiple of 32"):
    sweep.run_row(wrong, tmp_path, {workdir / "passthrough": row})


def test_a_row_that_starts_from_another_can_be_moved(tmp_path):
  rows = (
    ("first", None, ()),
    ("second", None, (("run.start_from", "row first"),)),
  )
  config = tiny_config(rows=rows, run__total_steps=1)
  assert sweep.run_rows(config, tmp_path / "a") == 0
  assert "taken" in (tmp_path / "a" / "second" / "start.txt").read_text()
  (tmp_path / "a").rename(tmp_path / "b")
  assert sweep.run_rows(config, tmp_path / "b") == 0


def test_a_row_cannot_start_from_one_that_did_not_finish(tmp_path):
  rows = (
    ("first", None, (("run.image_sizes", (65,)),)),
    (
      "second",
      None,
      (("run.image_sizes", (64,)), ("run.start_from", "row first")),
    ),
  )
  assert sweep.run_rows(tiny_config(rows=rows), tmp_path) == 2
  table = (tmp_path / "table.md").read_text()
  assert "'row first', a row that did not finish before" in table


def test_rows_may_have_different_figures(tmp_path):
  """A row without a figure, or without a group, says none."""
  config = tiny_config(rows=(("a", None, ()), ("b", None, ())))
  found = {"VOC07 AP": 0.5, "VOC10 AP": 0.4, "metric": 0.5, "groups": {}}
  found |= {"training_minutes": 1.0, "weights_of": "a", "per_class": {}}
  found |= {"commit": "c", "hardware": "h"}
  results = {"a": found, "b": {**found, "COCO AP": 0.3}}
  sweep.write_table(config, tmp_path, results, {})
  table = (tmp_path / "table.md").read_text()
  assert "| a | 50.0 |  | 40.0 | none |" in table
  assert "| b | 50.0 |  | 40.0 | 30.0 |" in table
