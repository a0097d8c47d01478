"""TensorBoard's event files, read back as TensorBoard reads them."""

import json
import struct
import sys

import pytest
from support import run_module, toy_config

from yolo9000.files import read_json_lines
from yolo9000.tables import plan, run
from yolo9000.training import build, loop, validation
from yolo9000.training.board import Board, scalars

pytestmark = pytest.mark.usefixtures("libraries_promote")

LINES = [
  {
    "step": 2,
    "loss": 3.5,
    "parts": {"coord": 1.5, "label": 2.0},
    "learning_rate": 0.25,
    "seconds": 1.0,
  },
  {
    "step": 2,
    "metric": 0.5,
    "VOC07 AP": 0.5,
    "COCO AP": None,
    "truths": 7,
    "per_class": {"disc": {"VOC07 AP": 0.5}},
    "groups": {"round": 0.75},
    "COCO AP by IoU": {"0.50": 0.25},
  },
]


def events(path):
  """Records of a file: length, its checksum, an event, its checksum."""
  from tensorboardX.proto.event_pb2 import Event

  data, place = path.read_bytes(), 0
  while place < len(data):
    (length,) = struct.unpack_from("<Q", data, place)
    yield Event.FromString(data[place + 12 : place + 12 + length])
    place += 16 + length


def shown(folder):
  """Points by name, as TensorBoard shows them: a start purges what follows."""
  points = {}
  for path in sorted(folder.glob("events.*"), key=lambda p: p.stat().st_mtime):
    for event in events(path):
      if event.HasField("session_log"):
        points = {
          name: [point for point in old if point[0] < event.step]
          for name, old in points.items()
        }
      for value in event.summary.value:
        point = (event.step, value.simple_value)
        points.setdefault(value.tag, []).append(point)
  return points


def test_figures_have_names_and_those_of_classes_stay_where_they_are():
  assert dict(scalars(LINES[0])) == {
    "train/loss": 3.5,
    "train/parts/coord": 1.5,
    "train/parts/label": 2.0,
    "train/learning_rate": 0.25,
    "train/seconds": 1.0,
  }
  assert dict(scalars(LINES[1])) == {
    "evaluation/VOC07_AP": 0.5,
    "evaluation/truths": 7,
    "evaluation/groups/round": 0.75,
    "evaluation/COCO_AP_by_IoU/0.50": 0.25,
  }


def test_a_start_forgets_what_came_after_its_checkpoint(tmp_path):
  first = Board(tmp_path, 0, [])
  for step in (1, 2, 3, 4):
    first.write({"step": step, "loss": float(step)})
  first.close()
  second = Board(tmp_path, 2, [{"step": 1, "loss": 1.0}])  # not written twice
  second.write({"step": 3, "loss": 30.0})
  second.close()
  assert shown(tmp_path) == {"train/loss": [(1, 1.0), (2, 2.0), (3, 30.0)]}


def test_a_run_that_began_without_has_its_earlier_points(tmp_path):
  board = Board(tmp_path, 2, LINES)
  board.close()
  assert shown(tmp_path)["train/loss"] == [(2, 3.5)]
  assert shown(tmp_path)["evaluation/VOC07_AP"] == [(2, 0.5)]


def test_a_runs_points_are_those_of_its_metrics(tmp_path):
  """Four steps, then the same run goes on to eight."""
  config = toy_config(
    run__total_steps=4, run__evaluate_every=2, run__tensorboard=True
  )
  loop.train(config, tmp_path)
  longer = plan.with_changes(config, [("run.total_steps", 8)])
  loop.train(longer, tmp_path)
  lines = read_json_lines(tmp_path / "metrics.jsonl")
  expected = {}
  for line in lines:
    for name, value in scalars(line):
      expected.setdefault(name, []).append((line["step"], value))
  found = shown(tmp_path / "tensorboard")
  assert found.keys() == expected.keys()
  for name, points in expected.items():
    steps, values = zip(*points, strict=True)
    assert [step for step, _ in found[name]] == list(steps), name
    assert [value for _, value in found[name]] == pytest.approx(values), name
  assert [step for step, _ in found["train/loss"]] == list(range(1, 9))
  assert len(found["evaluation/VOC07_AP"]) == 4
  schedule = build.make_schedule(longer)
  for step, rate in found["train/learning_rate"][4:]:
    assert rate == pytest.approx(float(schedule(step)))


def test_without_the_word_there_is_no_folder(tmp_path):
  loop.train(toy_config(run__total_steps=1), tmp_path)
  assert not (tmp_path / "tensorboard").exists()


def test_another_process_writes_nothing(tmp_path, monkeypatch):
  monkeypatch.setattr("yolo9000.training.log.processes.first", lambda: False)
  config = toy_config(run__tensorboard=True)
  log = loop.make_log(config, tmp_path, 0)
  log.write(step=1, loss=1.0)
  log.close()
  assert not list(tmp_path.iterdir())


def test_it_makes_no_other_run(tmp_path):
  """A run goes on with it or without, and a table's stages keep their keys."""
  config = toy_config(run__total_steps=1)
  run.run_alone(config, tmp_path)
  other = plan.with_changes(config, [("run.tensorboard", True)])
  run.check_same(other, tmp_path)
  assert plan.make(config).stages.keys() == plan.make(other).stages.keys()
  old = json.loads((tmp_path / "config.json").read_text())
  del old["run"]["tensorboard"]  # as it was before there was the word
  (tmp_path / "config.json").write_text(json.dumps(old))
  run.check_same(config, tmp_path)


def test_a_missing_package_is_a_line_before_anything_begins(
  tmp_path, monkeypatch
):
  monkeypatch.setitem(sys.modules, "tensorboardX", None)
  with pytest.raises(
    ValueError, match="needs a package: pip install tensorboardX"
  ):
    validation.validate(toy_config(run__tensorboard=True))
  validation.validate(toy_config())


def test_the_command_line_turns_it_on(tmp_path):
  words = ["--config=ablation:quick,row=batch norm"]
  words += ["--config.yolo.run.tensorboard=perhaps"]
  done = run_module("yolo9000.main", *words, cwd=tmp_path)
  assert done.returncode == 2 and "perhaps" in done.stderr
