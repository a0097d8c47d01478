"""What a finished run and a table at work tell on the screen."""

import json

from support import toy_config

from yolo9000.tables import cost, plan, summary, sweep
from yolo9000.tables.plan import row

RESULTS = {
  "VOC07 AP": 0.4561,
  "COCO AP": None,
  "truths": 12,
  "detections": 40,
  "per_class": {
    "red disc": {"VOC07 AP": 0.5, "truths": 7},
    "cat": {"VOC07 AP": None, "truths": 0},
  },
  "groups": {"round": 0.25},
  "steps": 1500,
  "extended_by": 500,
  "training_minutes": 3.04,
}


def test_a_finished_run_is_a_table_and_where_everything_lies(tmp_path):
  for name in ("curves.png", "results.json"):
    (tmp_path / name).touch()
  text = summary.summary(RESULTS, toy_config(), tmp_path)
  assert text.splitlines() == [
    f"{tmp_path}: 1,500 steps in 3.0 minutes. In percent:",
    "               VOC07 AP  truths",
    "  red disc         50.0       7",
    "  cat                         0",
    "  group round      25.0",
    "  all              45.6      12",
    f"In {tmp_path}/ are",
    "  curves.png            loss and AP on the way",
    "  results.json          every figure",
    *(
      ["Find boxes on pictures of yours:"]
      + [f"  python -m yolo9000.detect --run={tmp_path} PICTURES"]
      if len(toy_config().task.to_dict()["detect"]) > 1
      else []
    ),
    "Go on with it for 1,000 steps more: the same command with",
    "  --config.run.extend=1500",
  ]


def test_a_classifier_has_a_number_for_each_class(tmp_path):
  found = {**RESULTS, "per_class": {"cat": 0.5}, "groups": {}}
  del found["truths"]
  text = summary.summary({**found, "top-1": 0.5}, toy_config(), tmp_path)
  assert "  cat      50.0" in text


def test_a_table_says_how_far_it_is_and_how_long_it_takes(
  tmp_path, monkeypatch
):
  rows = tuple(
    row(n, None, {"task.network.hidden": i + 8}) for i, n in enumerate("abc")
  )
  made = plan.make(toy_config(rows=rows))
  stages = list(made.stages.values())
  monkeypatch.setattr(cost, "seconds_here", lambda config: 600.0)
  progress = sweep.Progress(stages, tmp_path)
  first, second = (stage.key for stage in stages[:2])
  assert progress.before(first) == (
    f"stage 1 of {len(stages)}: {first}; to the end of all about "
    f"{10 * len(stages):.1f} minutes, an estimate"
  )
  folder = plan.folder(tmp_path, first)
  folder.mkdir(parents=True)
  (folder / "results.json").write_text(json.dumps({}))
  progress.after(first)  # in no time at all
  assert progress.before(second).startswith(f"stage 2 of {len(stages)}: ")
  assert "about 0.0 minutes" in progress.before(second)
