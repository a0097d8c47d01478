"""Stages run once, whoever works in the folder and whenever it is stopped."""

import csv
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from support import ROOT, toy_config

from yolo9000.tables import plan, results, run, sentences, sweep, table_files
from yolo9000.tables.plan import row
from yolo9000.training import loop

pytestmark = pytest.mark.usefixtures("libraries_promote")


@pytest.fixture(scope="module")
def finished(libraries_promote, tmp_path_factory):
  """A sweep of four rows: the third is broken, the fourth evaluates again."""
  workdir = tmp_path_factory.mktemp("sweep")
  config = rows_config()
  return config, workdir, sweep.run_rows(config, workdir)


def rows_config(**changes):
  rows = (
    row("priors", 74.4, {"task.network.hidden": 8}),
    row("passthrough", 75.4, {"task.network.hidden": 9}),
    row("broken", 76.8, {"run.image_sizes": (65,)}),
    row("larger", 78.6, {"evaluation.image_size": 96}, on="passthrough"),
  )
  return toy_config(rows=rows, run__total_steps=2, **changes)


def test_a_broken_row_is_reported_and_the_others_finish(finished):
  config, workdir, failed = finished
  assert failed == 1
  text = (workdir / "table.md").read_text()
  assert "| broken | failed | 76.8 |" in text
  assert "broken failed: ValueError: image size 65 must be a" in text
  (broken,) = [r for r in plan.make(config).rows if r.name == "broken"]
  folder = plan.folder(workdir, broken.stages[-1])
  assert "Traceback" in (folder / "error.txt").read_text()
  for name in ("priors", "passthrough", "larger"):
    assert (workdir / name / "results.json").is_file()


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
  larger = (workdir / "larger").resolve()
  assert larger.name.startswith("evaluation-")
  assert not (larger / "metrics.jsonl").exists()
  assert (larger / "detections.png").is_file()
  # It can be used as the run that it evaluated.
  trained = (workdir / "passthrough" / "checkpoints").resolve()
  assert (larger / "checkpoints").resolve() == trained


def test_finished_rows_are_kept(finished, monkeypatch):
  config, workdir, _ = finished
  before = (workdir / "priors" / "results.json").read_text()

  def must_not_train(config, folder):
    assert config.run.image_sizes == (65,)
    raise ValueError("still broken")

  monkeypatch.setattr(loop, "train", must_not_train)
  assert sweep.run_rows(config, workdir) == 1
  assert (workdir / "priors" / "results.json").read_text() == before


def test_a_changed_config_has_other_stages(finished):
  config, workdir, _ = finished
  other = plan.make(rows_config(schedule__rate=0.5)).stages
  assert not set(other) & set(plan.make(config).stages)
  assert all(not plan.folder(workdir, key).exists() for key in other)


def test_a_folder_of_another_config_is_refused(tmp_path):
  run.run_alone(toy_config(run__total_steps=1), tmp_path)
  other = toy_config(run__total_steps=1, schedule__rate=0.5)
  with pytest.raises(
    ValueError, match=r"(?s)another config.*schedule.rate: .* 0.5"
  ):
    run.run_alone(other, tmp_path)


def test_a_mistake_does_not_lock_the_folder(tmp_path):
  """The corrected command works in the same workdir."""
  with pytest.raises(ValueError, match="mAP"):
    run.run_alone(toy_config(evaluation__metric="mAP"), tmp_path)
  config = toy_config(run__total_steps=1)
  assert run.run_alone(config, tmp_path)["commit"]


def test_evaluation_alone_checks_its_values(finished):
  config, workdir, _ = finished
  stages = plan.make(config).stages.values()
  (evaluation,) = [stage for stage in stages if not stage.trains]
  wrong = plan.with_changes(evaluation.config, [("evaluation.image_size", 70)])
  stage = evaluation._replace(config=wrong, key="evaluation-wrong")
  with pytest.raises(ValueError, match="70 must be a multiple of 32"):
    sweep.run_stage(stage, workdir)


def test_a_row_that_starts_from_another_can_be_moved(tmp_path):
  rows = (row("first"), row("second", None, {"run.start_from": "row first"}))
  config = toy_config(rows=rows, run__total_steps=1)
  assert sweep.run_rows(config, tmp_path / "a") == 0
  assert "taken" in (tmp_path / "a" / "second" / "start.txt").read_text()
  (tmp_path / "a").rename(tmp_path / "b")
  assert sweep.run_rows(config, tmp_path / "b") == 0


def test_a_row_that_starts_from_a_failed_one_fails_with_it(tmp_path):
  rows = (
    row("first", None, {"run.image_sizes": (65,)}),
    row("second", None, {"run.start_from": "row first"}, on="base"),
  )
  assert sweep.run_rows(toy_config(rows=rows), tmp_path) == 2
  text = (tmp_path / "table.md").read_text()
  assert "second failed: ValueError: image size 65 must be a" in text


def test_something_else_in_the_place_of_a_row_is_not_touched(tmp_path):
  (tmp_path / "a").mkdir()
  (tmp_path / "a" / "mine.txt").write_text("mine")
  with pytest.raises(ValueError, match="no link of this table"):
    sweep.link(tmp_path / "a", tmp_path / "stages" / "x")
  assert (tmp_path / "a" / "mine.txt").read_text() == "mine"


def filled(name, paper, *values):
  found = {"commit": "c", "hardware": "h", "training_minutes": 1.0}
  found |= {"per_class": {}, "groups": {}}
  by_seed = {
    seed: {**found, "VOC07 AP": value, "metric": value}
    for seed, value in enumerate(values)
  }
  return results.Filled(name, paper, by_seed, dict.fromkeys(by_seed, 1.0), "")


def test_rows_may_have_different_figures(tmp_path):
  """A row without a figure says none."""
  rows = [filled("a", None, 0.5), filled("b", None, 0.5), filled("c", 3.0)]
  rows[1].results[0]["COCO AP"] = 0.3
  config = toy_config(rows=tuple(row(one.name, one.paper) for one in rows))
  table_files.write(config, rows, tmp_path)
  text = (tmp_path / "table.md").read_text()
  assert "| a | 50.0 |  | none |" in text
  assert "| b | 50.0 |  | 30.0 |" in text
  assert "| c | not run | 3.0 |" in text


def test_steps_are_judged_by_a_paired_test_over_seeds():
  """Worked out by hand: gains 10, 12, 14 have t = 12 / (2 / sqrt 3) = 10.4."""
  one = filled("one", 60.0, 0.30, 0.31, 0.32)
  two = filled("two", 65.8, 0.40, 0.43, 0.46)
  how = results.Frame("steps", "", {}, ())
  words = sentences.step_in_words(one, two, "VOC07 AP", how)
  assert words == (
    "two: +12.0 (paper +5.8), by seed +10.0 +12.0 +14.0; significant, "
    "p = 0.0091."
  )
  three = filled("three", 66.0, 0.42, 0.41, 0.46)
  words = sentences.step_in_words(two, three, "VOC07 AP", how)
  assert "cannot be told from chance with 3 seeds, p = 1" in words
  four = filled("four", None, 0.4)
  alone = sentences.step_in_words(one, four, "VOC07 AP", how)
  assert alone == "four: +10.0."
  how = how._replace(
    kind="alternatives", recorded={"one": (20.0, 22.0), "four": (30.0, 34.0)}
  )
  alone = sentences.step_in_words(one, four, "VOC07 AP", how)
  assert alone == (
    "four, beside one: +10.0 (recorded +11.0, the mean of 2 seeds)."
  )
  assert results.spread([30.0, 31.0, 32.0]) == "31.0 ± 1.0"
  assert np.isclose(np.std([30.0, 31.0, 32.0], ddof=1), 1.0)


def test_a_lock_is_free_again_when_its_job_is_dead(tmp_path):
  code = (
    "import sys, time\nfrom pathlib import Path\n"
    "from yolo9000.tables.run import locked\n"
    "with locked(Path(sys.argv[1])) as mine:\n"
    "  print(mine, flush=True)\n  time.sleep(600)"
  )
  path = tmp_path / "locks" / "a"
  words = [sys.executable, "-c", code, path]
  with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as job:
    assert job.stdout.readline() == "True\n"
    with run.locked(path) as mine:
      assert not mine
    job.kill()
  with run.locked(path) as mine:
    assert mine
    with path.open() as file, pytest.raises(BlockingIOError):
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


# A sweep of a shared first stage, two rows, and an evaluation.
ROWS = (
  row("a", 1.0),
  row("b", 2.0, {"second.schedule.rate": 0.5}),
  row("c", 3.0, {"second.evaluation.image_size": 96}),
)
JOB = """
import logging, sys
import jax
jax.config.update("jax_compilation_cache_dir", sys.argv[2])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
sys.path[:0] = sys.argv[3:]
from pathlib import Path
from test_plan import chained
from yolo9000.tables import sweep
logging.basicConfig(level=logging.INFO, force=True)
from test_sweep import ROWS
sys.exit(sweep.run_rows(chained(ROWS), Path(sys.argv[1])))
"""


FOLDERS = [str(Path(__file__).parents[n]) for n in (0, 1)]


def start(workdir, cache, log):
  words = [sys.executable, "-c", JOB, workdir, cache, *FOLDERS]
  return subprocess.Popen(words, stderr=log, stdout=subprocess.DEVNULL)


def figures(workdir):
  """The table without its times."""
  with (workdir / "table.csv").open() as file:
    return [row[:-1] for row in csv.reader(file)]


def begun(log):
  """Stages that were begun, each time."""
  return re.findall(r"stage \d+ of \d+: (\w+-\w{10})\b", log.read_text())


def test_killed_and_together_it_ends_with_the_same_table(tmp_path):
  """Killed at five random moments; by two processes at once."""
  cache = tmp_path / "cache"
  began = time.monotonic()
  with (tmp_path / "whole.log").open("w") as log:
    assert start(tmp_path / "whole", cache, log).wait(1200) == 0
  seconds = time.monotonic() - began
  expected = figures(tmp_path / "whole")
  keys = {path.name for path in (tmp_path / "whole/stages").iterdir()}
  assert len(keys) == 4 and len(begun(tmp_path / "whole.log")) == 4

  rng = np.random.default_rng(0)
  killed, done = tmp_path / "killed", {}
  for moment in rng.uniform(0.1, 0.9, 5):
    with (tmp_path / "killed.log").open("w") as log:
      job = start(killed, cache, log)
      time.sleep(moment * seconds / 2)
      job.send_signal(signal.SIGKILL)
      job.wait()
    assert not set(begun(tmp_path / "killed.log")) & set(done)
    for path in killed.glob("stages/*/results.json"):
      content = path.read_text()
      assert done.setdefault(path.parent.name, content) == content
  with (tmp_path / "killed.log").open("w") as log:
    assert start(killed, cache, log).wait(1200) == 0
  assert not set(begun(tmp_path / "killed.log")) & set(done)
  assert figures(killed) == expected
  assert {path.name for path in (killed / "stages").iterdir()} == keys

  # Two jobs over the rows, as launch/ starts them.
  (tmp_path / "results.py").write_text(
    f"import sys\nsys.path[:0] = {FOLDERS!r}\n"
    f"from test_plan import chained\n"
    f"def get_config():\n  return chained({ROWS!r})\n"
  )
  both = tmp_path / "both"
  command = [sys.executable, ROOT / "launch" / "local.py", "--jobs=2"]
  command += [f"--config={tmp_path}/results.py", f"--workdir={both}"]
  variables = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(cache)}
  with (tmp_path / "both.log").open("w") as log:
    done = subprocess.run(command, stderr=log, env=variables, timeout=1200)
  assert done.returncode == 0
  assert sorted(begun(tmp_path / "both.log")) == sorted(keys)
  assert figures(both) == expected


def test_what_failed_here_and_was_done_by_another_job_is_done(tmp_path):
  made = plan.make(toy_config(rows=(row("a"),)))
  (stage,) = made.stages.values()
  folder = plan.folder(tmp_path, stage.key)
  folder.mkdir(parents=True)
  failed = {}
  (folder / "error.txt").write_text("OSError: no space\nTraceback ..")
  assert sweep._state(stage, tmp_path, failed, time.time() + 60) == "ready"
  assert sweep._state(stage, tmp_path, failed, 0.0) == "failed"
  assert failed == {stage.key: "OSError: no space"}
  figures = {"VOC07 AP": 0.5, "training_minutes": 1.0}
  (folder / "results.json").write_text(json.dumps(figures))
  assert sweep._state(stage, tmp_path, failed, 0.0) == "done" and not failed
  (one,) = results.fill(
    toy_config(rows=(row("a"),)), made, tmp_path, {stage.key: "OSError"}
  )
  assert one.values("VOC07 AP") == [50.0] and not one.error


def test_a_row_without_the_stage_is_refused(tmp_path):
  config = toy_config(rows=(row("a"),))
  config = plan.with_changes(config, [])
  with config.unlocked():
    config.only_row, config.only_stage = "a", "classifier"
  with pytest.raises(ValueError, match="row 'a' has no stage 'classifier'"):
    sweep.run_rows(config, tmp_path)
