"""Rows, chains, stages: what is shared, what is left out, what is refused."""

import pytest
from ml_collections import ConfigDict
from support import ROOT, load_experiment, tiny_config, toy_config

from yolo9000.tables import plan
from yolo9000.tables.plan import row

ROWS = (
  row("plain", 69.6, {"task.network.width": 0.25}),
  row("wide", 75.4, {"task.network.width": 0.5}),
  row("larger", 78.6, {"evaluation.image_size": 96}),
)


def chained(rows, **first):
  """Two stages of tiny_config; the second starts from the first."""
  config = ConfigDict(dict(name="chained", paper="none", seeds=(0,), rows=rows))
  config.only_row = config.only_stage = ""
  config.stages = ("first", "second")
  config.first = ConfigDict(toy_config(**first).to_dict())
  config.second = ConfigDict(toy_config().to_dict())
  return config.lock()


def test_each_row_adds_to_the_one_before():
  configs = plan.row_configs(tiny_config(rows=ROWS))
  assert [c.task.network.width for c in configs.values()] == [0.25, 0.5, 0.5]
  assert configs["larger"].evaluation.image_size == 96


def test_a_row_names_the_row_it_differs_from():
  rows = (
    *ROWS,
    row("rate", None, {"schedule.rate": 1.0}, on="plain"),
    row("alone", None, {"schedule.rate": 2.0}, on="base"),
    row("above", None, {"run.seed": 7}),
  )
  config = tiny_config(rows=rows)
  configs = plan.row_configs(config)
  widths = [configs[n].task.network.width for n in ("rate", "alone", "above")]
  assert widths == [0.25, config.task.network.width, config.task.network.width]
  assert configs["rate"].evaluation.image_size == 64
  assert configs["above"].schedule.rate == 2.0
  assert plan.differs_from(config)["above"] == "alone"
  wrong = tiny_config(rows=(row("a", None, {}, on="b"), row("b")))
  with pytest.raises(ValueError, match="row 'a' is on 'b'; above it are base"):
    plan.row_configs(wrong)


def test_what_is_typed_and_rows_set_otherwise():
  config = tiny_config(rows=ROWS, task__network__width=0.25)
  config.run.total_steps = 7
  typed = {"task.network.width": 0.25, "run.total_steps": 7}
  expected = "--config.task.network.width has no effect where a row sets 0.5: "
  assert plan.overruled(config, typed) == [f"{expected}wide, larger"]
  config = ConfigDict({**config.to_dict(), "only_row": "plain"})
  assert plan.overruled(config, typed) == []
  other = row("other", None, {"task": {"model": "toy"}})
  (said,) = plan.overruled(tiny_config(rows=(other,)), {"task.norm.axis": ""})
  assert said == (
    "--config.task.norm.axis has no effect where a row has no such option: "
    "other"
  )


def test_wrong_names_and_types_are_errors():
  config = tiny_config()
  with pytest.raises(
    AttributeError, match="task.network.widht: there is no 'widht'"
  ):
    plan.with_changes(config, [("task.network.widht", 1.0)])
  with pytest.raises(AttributeError, match="there is no 'tasks'; there are"):
    plan.with_changes(config, [("tasks.width", 1.0)])
  with pytest.raises(TypeError):
    plan.with_changes(config, [("run.seed", "zero")])


def test_rows_share_the_stages_that_are_the_same():
  rows = (
    row("a"),
    row("b", None, {"second.task.network.hidden": 9}),
    row(
      "c",
      None,
      {"first.task.network.hidden": 8, "second.task.network.hidden": 8},
    ),
  )
  a, b, c = plan.make(chained(rows)).rows
  assert a.stages[0] == b.stages[0] != c.stages[0]
  # The second stage of c differs by its own width and by what it starts from.
  assert len({a.stages[1], b.stages[1], c.stages[1]}) == 3


def test_a_stage_depends_on_what_it_starts_from_and_on_its_seed():
  rows = (
    row("a"),
    row("b", None, {"first.schedule.rate": 0.5}),
  )
  config = plan.with_changes(chained(rows), (("seeds", (0, 1)),))
  made = plan.make(config)
  ends = {(one.name, one.seed): one.stages[-1] for one in made.rows}
  assert len(set(ends.values())) == 4
  assert [made.stages[k].config.run.seed for k in ends.values()] == [0, 0, 1, 1]
  for one in made.rows:
    first, second = (made.stages[key] for key in one.stages)
    assert first.parent is None and second.parent == first.key


def test_speed_and_evaluation_change_no_stage():
  rows = (
    row("a"),
    row("b", None, {"second.data.num_threads": 7, "first.run.log_every": 9}),
    row("c", None, {"second.evaluation.image_size": 96}),
    row("d", None, {"second.task.detect.score_threshold": 0.3}, on="b"),
  )
  made = plan.make(chained(rows))
  a, b, c, d = made.rows
  assert a.stages == b.stages == c.stages[:2] == d.stages[:2]
  assert c.stages[2] != d.stages[2]
  evaluation = made.stages[c.stages[2]]
  assert evaluation.parent == a.stages[1] and not evaluation.trains
  assert evaluation.config.evaluation.image_size == 96


def test_stages_without_steps_and_before_a_start_point_are_left_out():
  off = {"first.run.total_steps": 0}
  start = {"second.run.start_from": "x.weights"}
  for changes in (off, start):
    (one,) = plan.make(chained((row("a", None, changes),))).rows
    assert [key.split("-")[0] for key in one.stages] == ["second"]
  nothing = row("nothing", None, {**off, "second.run.total_steps": 0})
  (one,) = plan.make(chained((nothing,))).rows
  assert one.error == "every stage has 0 steps; expected one with more"


def test_a_row_or_a_stage_alone_needs_what_it_stands_on():
  config = load_experiment(ROOT / "experiments/ablation.py").get_config(
    "row=passthrough,seed=1"
  )
  made = plan.make(config.lock())
  names = [stage.name for stage in plan.chosen(made, config)]
  assert names == ["classifier", "hires", "detector"]
  assert {one.seed for one in made.rows} == {1}
  config = load_experiment(ROOT / "experiments/ablation.py").get_config(
    "stage=hires"
  )
  names = [s.name for s in plan.chosen(plan.make(config.lock()), config)]
  assert names == ["classifier", "hires"] * 2


@pytest.mark.parametrize(
  ("argument", "message"),
  [
    ("huge", "'huge' is unknown.*quick, voc, folder=, row="),
    ("quick,quick", "there twice"),
    ("row", "'row' is unknown"),
    ("row=none", "row=none is unknown; there are YOLO, batch norm"),
    ("stage=low", "stage=low is unknown; there are classifier, hires"),
    ("seeds=0", "seeds=0 must be a whole number from 1 on"),
    ("seed=x", "seed=x must be a whole number from 0 on"),
    ("seed=1,seeds=2", "expected one of them"),
  ],
)
def test_arguments_that_cannot_be(argument, message):
  experiment = load_experiment(ROOT / "experiments" / "ablation.py")
  with pytest.raises(ValueError, match=message):
    experiment.get_config(argument)


def test_starting_from_a_row_that_is_not_above_is_refused():
  rows = (row("a", None, {"run.start_from": "row b"}), row("b", on="base"))
  one, _ = plan.make(tiny_config(rows=rows)).rows
  assert one.error == "run.start_from is 'row b'; rows above it are none"
