"""Start points; a run as the original program's files."""

import json
import re

import jax
import numpy as np
import pytest
from support import tiny_config
from test_weights import (
  LAYERS,
  NETWORK,
  assert_close,
  assert_equal,
  output,
  random_variables,
)

from yolo9000.darknet.cfg import write_cfg
from yolo9000.darknet.weights import Header, write_weights
from yolo9000.detectors import classifier, yolov3
from yolo9000.export import __main__ as command
from yolo9000.export.darknet import write
from yolo9000.files import FileError
from yolo9000.networks.rows import Conv, Local, Network, Region, Route, Shortcut
from yolo9000.tables.run import run_alone
from yolo9000.training import build, checkpoint, loop, validation
from yolo9000.training.start import Start, _same, flat, read_start, take
from yolo9000.training.trained import from_darknet, from_run
from yolo9000.wordtree import Classes

pytestmark = pytest.mark.usefixtures("libraries_promote")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """A finished run with the program's reorg and another epsilon."""
  workdir = tmp_path_factory.mktemp("run")
  run_alone(tiny_config(**PROGRAM, run__total_steps=3), workdir)
  return workdir


PROGRAM = dict(
  task__network__backbone="darknet19",
  task__network__program_reorg=True,
  task__network__passthrough="program",
  task__norm__epsilon=1e-3,
)


def test_a_run_is_written_for_the_original_program(run, tmp_path):
  trained = from_run(run)
  assert trained.seen == 12 and trained.classes.names[0] == "red disc"
  write(trained, tmp_path / "x" / "net")
  again = from_darknet(
    tmp_path / "x" / "net.cfg",
    tmp_path / "x" / "net.weights",
    names=tmp_path / "x" / "net.names",
    resize="stretch",
  )
  assert again.classes == trained.classes and again.seen == 12
  assert again.network.shape == (64, 64, 3)
  image = jax.random.uniform(jax.random.key(0), (1, 96, 64, 3))
  expected = output(again.network.layers, again.variables, image)
  # The run's own network, with its own epsilon and the average that it has.
  found = checkpoint.read(run, "latest")["average"]
  np.testing.assert_allclose(
    output(trained.network.layers, found, image, epsilon=1e-3),
    expected,
    rtol=1e-3,
    atol=1e-5,
  )


def test_a_run_without_a_running_average(tmp_path):
  run_alone(tiny_config(run__total_steps=1, optimizer__average=0.0), tmp_path)
  trained = from_run(tmp_path, which="best")
  state = checkpoint.read(tmp_path, "latest")
  assert not state["average"]
  assert_equal(
    trained.variables["params"]["layer_14"],
    state["variables"]["params"]["layer_14"],
  )


def test_the_export_command(run, tmp_path, capsys):
  words = ["--to=darknet", f"--run={run}", str(tmp_path / "a.b")]
  assert command.main(words) == 0
  assert sorted(p.name for p in tmp_path.iterdir()) == [
    *("a.b.cfg", "a.b.names", "a.b.weights"),
  ]
  wrong = [*words[:1], f"--run={tmp_path}", str(tmp_path / "c")]
  assert command.main(wrong) == 2
  assert "expected a run's folder" in capsys.readouterr().err


def test_take_stops_at_the_first_other_row():
  fresh = random_variables(NETWORK)
  layers = (*LAYERS[:3], Local(2, 3, activation="relu"), *LAYERS[4:])
  found = random_variables(NETWORK, seed=1)
  variables, report = take(fresh, Start(flat(found), layers), LAYERS)
  for name, source in (("00", found), ("02", found), ("03", fresh)):
    assert_equal(
      variables["params"][f"layer_{name}"], source["params"][f"layer_{name}"]
    )
  assert_equal(
    variables["batch_stats"]["layer_00_norm"],
    found["batch_stats"]["layer_00_norm"],
  )
  assert report[:2] == ["layer_00: taken", "layer_02: taken"]
  # All shapes are the same; what comes after another activation is not.
  assert len(report) == 5
  for line in report[2:]:
    assert re.search(
      r"fresh, layer 3 is Local.*leaky.* here, Local.*relu", line
    )
  with pytest.raises(ValueError, match="nothing of the start point fits"):
    take(fresh, Start(flat(found), (Conv(5, 3),)), LAYERS)
  # A file that ends early, and routes that are written in two ways.
  part = {
    kind: {n: x for n, x in arrays.items() if n.startswith("layer_00")}
    for kind, arrays in found.items()
  }
  _, report = take(fresh, Start(flat(part), LAYERS), LAYERS)
  assert report[1] == "layer_02: fresh, the start point does not have it"
  assert _same(Route((0, 2)), Route((-3, -1)), 3)
  assert not _same(Route((0, 2)), Route((-2, -1)), 3)


def test_take_leaves_the_last_layer_fresh_for_other_priors():
  head = (Conv(6, 1, batch_norm=False), Region(((1.0, 1.0),), 1))
  network = Network((Conv(4, 3), *head), (4, 4, 3))
  fresh, found = random_variables(network), random_variables(network, seed=1)
  layers = network.layers
  _, report = take(fresh, Start(flat(found), layers), layers)
  assert report == ["layer_00: taken", "layer_01: taken"]
  other = (*layers[:2], Region(((2.0, 1.0),), 1))
  _, report = take(fresh, Start(flat(found), other), layers)
  assert report[0] == "layer_00: taken"
  assert report[1].startswith("layer_01: fresh, layer 2 is Region(priors=((1.0")


def levels_of(names, **network):
  """YOLOv3's rows, narrow, for classes called by these letters."""
  options = yolov3.Options(yolov3.Network(width=1 / 32, **network))
  rows = yolov3.network_rows(options, Classes(tuple(names)))
  return Network(rows, (64, 64, 3))


@pytest.mark.parametrize(
  ("there", "answers"),
  [
    (levels_of("abc"), {81, 93, 105}),
    (levels_of("ab", priors=yolov3.COCO[::-1]), {81, 93, 105}),
    (levels_of("ab"), set()),
  ],
  ids=["classes", "priors", "same"],
)
def test_of_other_classes_or_priors_only_what_answers_stays_fresh(
  there, answers
):
  """The second level goes on from what is before the first one's answer."""
  here = levels_of("ab")
  fresh, found = random_variables(here), random_variables(there, seed=1)
  _, report = take(fresh, Start(flat(found), there.layers), here.layers)
  told = {line.split(":")[0] for line in report if ": fresh" in line}
  assert told == {f"layer_{n}" for n in answers}
  assert len(report) == 75


def test_shortcuts_are_compared_by_what_they_add():
  assert _same(Shortcut(-3), Shortcut(1), 4)
  assert not _same(Shortcut(-3), Shortcut(1, "leaky"), 4)
  assert not _same(Shortcut(-3), Shortcut(0), 4)


def test_arrays_of_an_npz_are_taken_by_name_and_shape(tmp_path):
  """Whoever wrote it; of a module all arrays are taken, or none."""
  fresh, found = random_variables(NETWORK), flat(random_variables(NETWORK, 1))
  del found["params/layer_02/bias"]
  found["params/layer_03/kernel"] = np.zeros((1, 2))
  np.savez(tmp_path / "a.npz", other=np.zeros(3), **found)
  start = read_start(tmp_path / "a.npz", "", None, epsilon=1e-5)
  variables, report = take(fresh, start, LAYERS)
  for name in ("layer_00", "layer_00_norm", "layer_05"):
    for key, array in variables["params"][name].items():
      np.testing.assert_array_equal(array, found[f"params/{name}/{key}"])
  for name in ("layer_02", "layer_03"):
    assert_equal(variables["params"][name], fresh["params"][name])
  assert report[0] == "layer_00: taken"
  assert report[1] == "layer_02: fresh, the start point does not have it"
  assert report[2].startswith("layer_03: fresh, (1, 2) there, ")
  (tmp_path / "b.npz").write_bytes(b"no archive")
  with pytest.raises(FileError, match="b.npz: cannot be read"):
    read_start(tmp_path / "b.npz", "", None, epsilon=1e-5)


def test_torchvisions_names_are_known(tmp_path):
  """Of a classifier's file or a detector's, kernels turned."""
  rng = np.random.default_rng(0)
  theirs = {
    "conv1.weight": rng.normal(size=(8, 3, 7, 7)),
    "bn1.weight": rng.normal(size=8),
    "bn1.running_var": rng.uniform(size=8),
    "bn1.num_batches_tracked": np.int64(5),
    "fc.weight": rng.normal(size=(9, 8)),
  }
  norm = {"conv1_norm": {"scale": np.ones(8)}}
  fresh = {
    "params": {
      "backbone": {"conv1": {"kernel": np.zeros((7, 7, 3, 8))}, **norm}
    },
    "batch_stats": {"backbone": {"conv1_norm": {"var": np.ones(8)}}},
  }
  for prefix in ("", "backbone.body."):
    named = {prefix + name: array for name, array in theirs.items()}
    np.savez(tmp_path / "a.npz", **named)
    start = read_start(tmp_path / "a.npz", "", None, epsilon=1e-5)
    variables, report = take(fresh, start, None)
    assert report == ["backbone/conv1: taken"]
    params = variables["params"]["backbone"]
    for found, name in (
      (params["conv1"]["kernel"].transpose(3, 2, 0, 1), "conv1.weight"),
      (params["conv1_norm"]["scale"], "bn1.weight"),
      (
        variables["batch_stats"]["backbone"]["conv1_norm"]["var"],
        "bn1.running_var",
      ),
    ):
      np.testing.assert_array_equal(found, theirs[name])


def start(workdir, **changes):
  """Zero steps from a start point: what the state begins with."""
  config = tiny_config(
    **{**PROGRAM, "task__norm__epsilon": 1e-5, "run__total_steps": 1, **changes}
  )
  classes = build.read_classes(config.data)
  task, tx = build.make_task(config, classes), build.make_optimizer(config)
  workdir.mkdir(exist_ok=True)
  fresh = loop.init_state(config, task, tx)
  return fresh, loop.begin(config, classes, fresh, workdir)


def test_a_detector_starts_from_a_classifier_file(tmp_path):
  """Of darknet19.weights with its cfg, and of the first 23 or 18 layers."""
  options = classifier.Options(classifier.Network(width=1 / 16))
  rows = classifier.network_rows(options, Classes(tuple("abcdefghij")))
  network = Network(rows, (64, 64, 3))
  variables = random_variables(network)
  write_cfg(tmp_path / "d.cfg", network)
  write_weights(tmp_path / "d.weights", network, variables, Header())
  starts = {"d.weights": str(tmp_path / "d.cfg")}
  for count in (23, 18):
    first = Network(network.layers[:count], network.shape)
    write_weights(tmp_path / f"conv.{count}", first, variables, Header())
    starts[f"conv.{count}"] = ""
  for name, cfg in starts.items():
    fresh, state = start(
      tmp_path / "w",
      run__start_from=str(tmp_path / name),
      run__start_cfg=cfg,
    )
    last = "layer_16" if name == "conv.18" else "layer_22"
    for layer in ("layer_00", last):
      assert_equal(state.variables["params"][layer], variables["params"][layer])
    assert_equal(state.average, state.variables)
    assert_equal(
      state.variables["params"]["layer_23"],
      jax.device_get(fresh.variables["params"]["layer_23"]),
    )
    report = (tmp_path / "w" / "start.txt").read_text()
    assert report.splitlines()[0].endswith(name)
    assert report.count(": taken") == (13 if name == "conv.18" else 18)
    if cfg:
      assert "layer_23: fresh, layer 23 is Conv(filters=64, size=3" in report
      assert "Conv(filters=10, size=1" in report
  with pytest.raises(FileError, match="give its .cfg as run.start_cfg"):
    start(tmp_path / "w", run__start_from=str(tmp_path / "d.weights"))


def test_the_first_rows_of_any_start(run, tmp_path):
  """Of a file that goes on in another way, of a run, and of an .npz."""
  options = classifier.Options(classifier.Network(width=1 / 16))
  rows = classifier.network_rows(options, Classes(tuple("abcdefghij")))
  network = Network(rows, (64, 64, 3))
  variables = random_variables(network)
  write_weights(tmp_path / "d.weights", network, variables, Header())
  np.savez(tmp_path / "d.npz", **flat(variables))
  for path in (tmp_path / "d.weights", tmp_path / "d.npz", run):
    fresh, state = start(
      tmp_path / "w", run__start_from=str(path), run__start_layers=3
    )
    arrays, old = state.variables["params"], fresh.variables["params"]
    for layer in ("layer_00", "layer_02"):
      assert not np.array_equal(arrays[layer]["kernel"], old[layer]["kernel"])
      if path != run:
        assert_equal(arrays[layer], variables["params"][layer])
    assert_equal(arrays["layer_04"], jax.device_get(old["layer_04"]))
    report = (tmp_path / "w" / "start.txt").read_text()
    assert report.count(": taken") == 2
  with pytest.raises(
    ValueError, match="start_layers is 99; the network has 32"
  ):
    start(
      tmp_path / "w",
      run__start_from=str(tmp_path / "d.weights"),
      run__start_layers=99,
    )


def test_a_detector_starts_from_a_run_with_other_classes(run, tmp_path):
  workdir = run
  config = json.loads((workdir / "config.json").read_text())
  names = tuple(config["data"]["class_names"][:7])
  _, state = start(
    tmp_path / "w",
    task__norm__epsilon=1e-3,
    class_names=names,
    run__start_from=str(workdir),
  )
  average = checkpoint.read(workdir, "latest")["average"]
  assert_close(
    state.variables["params"]["layer_29"], average["params"]["layer_29"]
  )
  assert_close(
    state.variables["params"]["layer_29_norm"],
    average["params"]["layer_29_norm"],
  )
  report = (tmp_path / "w" / "start.txt").read_text()
  assert "layer_30: fresh, layer 30 is Conv(filters=60" in report
  assert report.count(": taken") == 22
  # Another epsilon: the scales make up for it.
  _, other = start(tmp_path / "w", run__start_from=str(workdir))
  name = "layer_29_norm"
  ratio = (
    other.variables["params"][name]["scale"] / average["params"][name]["scale"]
  )
  variance = average["batch_stats"][name]["var"]
  np.testing.assert_allclose(
    ratio, ((variance + 1e-5) / (variance + 1e-3)) ** 0.5, rtol=1e-5
  )
  # The plain reorg sees other numbers from layer 27 on.
  _, plain = start(
    tmp_path / "w",
    task__network__program_reorg=False,
    run__start_from=str(workdir),
  )
  report = (tmp_path / "w" / "start.txt").read_text()
  assert "layer_26: taken" in report
  assert "layer_29: fresh, layer 27 is Reorg(program_order=False" in report


def test_a_start_point_that_is_not_there_ends_before_anything(tmp_path):
  config = tiny_config(run__start_from=str(tmp_path / "nope"))
  with pytest.raises(ValueError, match="nope', which is not there"):
    validation.check_config(config, build.make_task(config))
  with pytest.raises(FileNotFoundError, match="nope: is not there"):
    read_start(tmp_path / "nope", "", NETWORK, epsilon=1e-5)
  with pytest.raises(FileNotFoundError, match="expected a run's folder"):
    read_start(tmp_path, "", NETWORK, epsilon=1e-5)


def test_training_begins_at_its_start_point_and_resumes_without_it(
  run, tmp_path
):
  """With a rate of nothing, one step leaves the start point as it was."""
  workdir = run
  config = tiny_config(
    **PROGRAM,
    run__start_from=str(workdir),
    run__total_steps=1,
    schedule__rate=1e-30,
    optimizer__weight_decay=0.0,
  )
  run_alone(config, tmp_path / "w")
  before = checkpoint.read(workdir, "latest")["average"]
  after = checkpoint.read(tmp_path / "w", "latest")["variables"]
  assert_close(before["params"], after["params"])
  (tmp_path / "w" / "start.txt").unlink()
  (tmp_path / "w" / "results.json").unlink()
  run_alone(config, tmp_path / "w")
  assert not (tmp_path / "w" / "start.txt").exists()
