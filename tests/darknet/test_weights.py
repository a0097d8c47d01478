"""Weights in and out, start points, and OpenCV as a second reader."""

import json
import re

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import tiny_config

from yolo9000.darknet.cfg import read_cfg, write_cfg
from yolo9000.networks.rows import Network
from yolo9000.darknet.weights import (
  Header,
  change_deviation,
  cpu_deviation,
  fold,
  gpu_deviation,
  read_weights,
  write_weights,
)
from yolo9000.files import FileError
from yolo9000.networks import chain, darknet19
from yolo9000.networks.rows import (
  Connected,
  Conv,
  Local,
  MaxPool,
  Region,
  Route,
  Softmax,
)
from yolo9000.tables import sweep
from yolo9000.training import build, loop
from yolo9000.training import trained as model
from yolo9000.wordtree import WordTree

pytestmark = pytest.mark.usefixtures("libraries_promote")

LAYERS = (
  Conv(4, 3),
  MaxPool(),
  Conv(3, 1, batch_norm=False, activation="linear"),
  Local(2, 3),
  Connected(5, batch_norm=True),
  Connected(4, activation="linear"),
  Softmax(),
)
NETWORK = Network(LAYERS, (6, 4, 3))


def random_variables(network, seed=0):
  """Variables in which no two numbers are equal; variances are positive."""
  net = chain.Darknet(network.layers, jnp.float32, 0.9, 1e-5)
  image = jnp.zeros((1, *network.shape), jnp.float32)
  shapes = jax.eval_shape(
    lambda key: net.init(key, image, train=False), jax.random.key(0)
  )
  rng = np.random.default_rng(seed)
  return jax.tree.map(
    lambda x: rng.uniform(0.5, 1.5, x.shape).astype(np.float32), dict(shapes)
  )


def assert_equal(a, b):
  assert jax.tree.structure(a) == jax.tree.structure(b)
  jax.tree.map(np.testing.assert_array_equal, a, b)


def assert_close(a, b):
  """To float32, after scales went to another epsilon and back."""
  assert jax.tree.structure(a) == jax.tree.structure(b)
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6), a, b)


@pytest.mark.parametrize(
  "header",
  [Header(seen=7), Header(0, 1, 0, 7), Header(1001, 0, 0, 7), Header(2, 5, 1)],
  ids=["2022", "2017", "transposed", "later"],
)
def test_what_is_written_is_read_back(tmp_path, header):
  path, variables = tmp_path / "a.weights", random_variables(NETWORK)
  write_weights(path, NETWORK, variables, header)
  found, again, covered = read_weights(path, NETWORK, partial=False)
  assert_equal(found, variables)
  assert again == header and covered == len(LAYERS)
  size = 16 if header[:2] == (0, 1) else 20
  floats = sum(x.size for x in jax.tree.leaves(variables))
  assert path.stat().st_size == size + 4 * floats


def test_a_connected_layer_sees_the_picture_channel_by_channel(tmp_path):
  """By hand: the program's input is [channel][row][column]."""
  network = Network((Connected(1, activation="linear"),), (1, 2, 3))
  numbers = np.array([10, 1, 2, 3, 4, 5, 6], "<f4")  # bias, then c, y, x
  path = tmp_path / "a.weights"
  path.write_bytes(b"\0\0\0\0\2\0\0\0\0\0\0\0" + bytes(8) + numbers.tobytes())
  variables = read_weights(path, network, partial=False)[0]
  kernel = variables["params"]["layer_00"]["kernel"]
  # Ours is row, column, channel.
  np.testing.assert_array_equal(kernel[:, 0], [1, 3, 5, 2, 4, 6])


@pytest.mark.parametrize("name", ["darknet19", "yolov1", "yolov1tiny"])
def test_golden_weights_round_trip(name, goldens, golden_network, tmp_path):
  check_round_trip(goldens(f"fwd_{name}"), "weights", golden_network, tmp_path)


@pytest.mark.parametrize(
  "name", ["yolov2voc_a", "yolov2voc_b", "yolov2tinyvoc", "yolo9000"]
)
def test_golden_detectors_round_trip(name, goldens, golden_network, tmp_path):
  check_round_trip(goldens(f"fwd_{name}"), "weights", golden_network, tmp_path)


@pytest.mark.parametrize("key", ["weights0", "weights_file_end"])
@pytest.mark.parametrize(
  "name",
  [
    *("classifier", "treeclassifier", "yolo9000"),
    *("yolov1", "yolov2", "yolov2_2017"),
  ],
)
def test_trained_goldens_round_trip(
  name, key, goldens, golden_network, tmp_path
):
  source = goldens(f"train_{name}")
  check_round_trip(source, key, golden_network, tmp_path)


def check_round_trip(source, key, golden_network, tmp_path):
  """The files come back to the byte, and with them the network."""
  cfg, weights = golden_network(source, key)
  network = read_cfg(cfg)
  variables, header, _ = read_weights(weights, network, partial=False)
  write_weights(tmp_path / "b.weights", network, variables, header)
  assert (tmp_path / "b.weights").read_bytes() == weights.read_bytes()
  write_cfg(tmp_path / "b.cfg", network)
  assert read_cfg(tmp_path / "b.cfg") == network
  text = (tmp_path / "b.cfg").read_text()
  write_cfg(tmp_path / "b.cfg", read_cfg(tmp_path / "b.cfg"))
  assert (tmp_path / "b.cfg").read_text() == text


def test_weights_of_another_length_name_layer_and_bytes(tmp_path):
  path = tmp_path / "a.weights"
  write_weights(path, NETWORK, random_variables(NETWORK), Header())
  good = path.read_bytes()
  cases = [
    (
      good[:-1],
      rf"has {len(good) - 1} bytes and ends in layer 5 .Connected., 1",
    ),
    (
      good[:300],
      rf"ends in layer 0 .Conv., 216 bytes before.*need {len(good)}",
    ),
    (good + b"abc", r"3 more than the 7 layers of the network need"),
    (good[:19], r"begins with 00 .*expected version numbers"),
    (b"abc", r"has 3 bytes; expected a header of 16 or 20"),
    (good[:-4] + b"\0\0\xc0\x7f", r"layer 5 .Connected., kernel: .*not finite"),
  ]
  for data, message in cases:
    path.write_bytes(data)
    with pytest.raises(FileError, match=rf"{path}: .*{message}"):
      read_weights(path, NETWORK, partial=False)
  negative = np.frombuffer(good[20:], "<f4").copy()
  negative[12:16] = -2  # layer 0: biases, scales, means, variances
  path.write_bytes(good[:20] + negative.tobytes())
  with pytest.raises(FileError, match="var: holds -2.0; .*another cfg"):
    read_weights(path, NETWORK, partial=False)
  with pytest.raises(FileError, match="cannot be read"):
    read_weights(tmp_path / "no.weights", NETWORK, partial=False)


def test_a_partial_file_ends_after_a_layer(tmp_path):
  variables = random_variables(NETWORK)
  path = tmp_path / "a.weights"
  first = Network(LAYERS[:3], NETWORK.shape)
  write_weights(path, first, variables, Header())
  found, _, covered = read_weights(path, NETWORK, partial=True)
  assert covered == 3 and set(found["params"]) == {
    *("layer_00", "layer_00_norm", "layer_02"),
  }
  with pytest.raises(FileError, match="ends in layer 3 .Local."):
    read_weights(path, NETWORK, partial=False)
  path.write_bytes(path.read_bytes()[:-4])
  with pytest.raises(FileError, match="ends in layer 2 .Conv., 4 bytes"):
    read_weights(path, NETWORK, partial=True)


def test_the_published_networks_need_files_of_these_lengths(shared, tmp_path):
  path = tmp_path / "a.weights"
  path.write_bytes(b"\0\0\0\0\2" + bytes(15))
  for name, floats in (
    ("cfg/yolov2.cfg", 50_983_561),
    ("cfg/yolov2-voc.cfg", 50_676_061),
    ("cfg/yolov2-tiny-voc.cfg", 15_867_885),
    ("cfg/yolo9000.cfg", 48_807_501),
    ("cfg/yolov1.cfg", 197_328_243),
    ("cfg/yolov1-tiny.cfg", 27_099_950),
    ("cfg/darknet19_448.cfg", 20_856_776),
    ("cfg/darknet9000.cfg", 29_485_226),
    ("cfg-2017/yolo-voc.cfg", 67_158_109),
    ("cfg-2017/yolo.cfg", 67_465_609),
  ):
    network = read_cfg(shared / "darknet" / name)
    with pytest.raises(FileError, match=f"need {4 * floats + 20}$"):
      read_weights(path, network, partial=False)


def output(layers, variables, image, epsilon=1e-5):
  net = chain.Darknet(tuple(layers), jnp.float32, 0.9, epsilon)
  return np.asarray(net.apply(variables, image, train=False))


def test_batch_norm_moves_between_programs_and_into_kernels():
  variables = random_variables(NETWORK)
  image = jax.random.uniform(jax.random.key(1), (2, 6, 4, 3))
  plain = output(LAYERS, variables, image)
  layers, folded = fold(LAYERS, variables, gpu_deviation)
  assert not any("norm" in name for name in folded["params"])
  np.testing.assert_allclose(output(layers, folded, image), plain, rtol=1e-5)
  # sqrt(v) + 1e-6, by way of the scales and by way of the kernels.
  by_scale = change_deviation(variables, cpu_deviation, gpu_deviation)
  layers, folded = fold(LAYERS, variables, cpu_deviation)
  np.testing.assert_allclose(
    *(output(LAYERS, by_scale, image), output(layers, folded, image)),
    rtol=1e-5,
  )
  wide = change_deviation(variables, lambda v: (v + 0.1) ** 0.5, gpu_deviation)
  np.testing.assert_allclose(
    output(LAYERS, wide, image),
    output(LAYERS, variables, image, epsilon=0.1),
    rtol=1e-5,
  )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """A finished run with the program's reorg and another epsilon."""
  workdir = tmp_path_factory.mktemp("run")
  changes = dict(
    task__network__program_reorg=True,
    task__network__passthrough="program",
    task__norm__epsilon=1e-3,
    run__total_steps=3,
  )
  config = tiny_config(**changes)
  sweep.run_alone(config, workdir)
  return config, workdir


def test_a_run_is_written_for_the_original_program(run, tmp_path):
  config, workdir = run
  trained = model.from_run(workdir, which="latest")
  assert trained.seen == 12 and trained.class_names[0] == "red disc"
  model.write(trained, tmp_path / "x" / "net")
  again = model.from_darknet(
    tmp_path / "x" / "net.cfg",
    tmp_path / "x" / "net.weights",
    names=tmp_path / "x" / "net.names",
    map=None,
    resize="stretch",
    deviation=gpu_deviation,
  )
  assert again.class_names == trained.class_names and again.seen == 12
  assert again.network.shape == (64, 64, 3)
  image = jax.random.uniform(jax.random.key(0), (1, 96, 64, 3))
  expected = output(again.network.layers, again.variables, image)
  # The run's own network, with its own epsilon and the average that it has.
  state = loop.Checkpoints(workdir)
  state.close()
  found = model.checkpoint.read(workdir, "latest")["average"]
  np.testing.assert_allclose(
    output(trained.network.layers, found, image, epsilon=1e-3),
    expected,
    rtol=1e-3,
    atol=1e-5,
  )


def test_a_run_without_a_running_average(tmp_path):
  config = tiny_config(run__total_steps=1, optimizer__average=0.0)
  sweep.run_alone(config, tmp_path)
  trained = model.from_run(tmp_path, which="best")
  state = model.checkpoint.read(tmp_path, "latest")
  assert not state["average"]
  assert_equal(
    trained.variables["params"]["layer_29"],
    state["variables"]["params"]["layer_29"],
  )


def test_the_plain_reorg_is_refused_with_the_reason(tmp_path):
  network = Network(
    (
      *darknet19.yolov2(
        network="darknet19",
        outputs=6,
        passthrough="paper",
        program_reorg=False,
        width=1 / 16,
      ),
      Region(((1.0, 1.0),), 1),
    ),
    (64, 64, 3),
  )
  with pytest.raises(ValueError, match="layer 26: the plain reorg is no layer"):
    write_cfg(tmp_path / "a.cfg", network)
  assert not list(tmp_path.iterdir())


def test_a_network_that_cannot_be_written_leaves_no_file(tmp_path):
  one, two = WordTree(("a", "b"), (-1, -1)), WordTree(("a", "b"), (-1, 0))
  base = (Connected(2, activation="linear"), Softmax(tree=one))
  cases = [
    ((*base, Softmax(tree=two)), "two trees"),
    ((Local(2, 5, padding=2),), "the program's local layer has 1"),
    ((Local(2, 5, padding=1),), "only 0 and .size - 1. / 2"),
    ((*base, Conv(4, 9, padding=0)), "nothing is left of its input"),
  ]
  for layers, message in cases:
    with pytest.raises(ValueError, match=message):
      write_cfg(tmp_path / "a.cfg", Network(layers, (6, 6, 3)))
  assert not list(tmp_path.iterdir())
  write_cfg(tmp_path / "my net.cfg", Network(base, (6, 6, 3)))
  assert read_cfg(tmp_path / "my net.cfg").layers == base
  assert {p.name for p in tmp_path.iterdir()} == {"my net.cfg", "my_net.tree"}


def test_the_export_command(run, tmp_path):
  _, workdir = run
  model.main([str(workdir), str(tmp_path / "a.b")])
  assert sorted(p.name for p in tmp_path.iterdir()) == [
    *("a.b.cfg", "a.b.names", "a.b.weights"),
  ]
  with pytest.raises(SystemExit, match="expected a run's folder"):
    model.main([str(tmp_path), str(tmp_path / "c")])


@pytest.mark.parametrize(
  ("width", "height"), [(416, 416), (320, 288), (352, 608)]
)
def test_opencv_reads_what_we_write(width, height, tmp_path):
  """OpenCV's own reader of the program's files gives the same output.

  288 pixels make 18 rows before the reorg and 9 after it, 416 and 608 make 26
  and 38: none is a multiple of 4, where the program's reorg wraps rows into
  other channels.
  """
  layers = (
    *darknet19.yolov2(
      network="darknet19",
      outputs=125,
      passthrough="program",
      program_reorg=True,
      width=0.25,
    ),
    Region(((1.3, 1.7), (3.2, 4.0), (5.1, 8.1), (9.5, 4.8), (11.2, 10.0)), 20),
  )
  network = Network(layers, (height, width, 3))
  net = chain.Darknet(layers, jnp.float32, 0.9, 1e-5)
  rng = np.random.default_rng(0)
  image = rng.uniform(0, 1, (1, height, width, 3)).astype(np.float32)
  variables = jax.device_get(
    net.init(jax.random.key(0), jnp.asarray(image), train=False)
  )
  variables = jax.tree.map(
    lambda x: (x + rng.uniform(0.05, 0.3, x.shape) * (x.ndim == 1)).astype(
      np.float32
    ),
    dict(variables),
  )
  ours = output(layers, variables, jnp.asarray(image))
  # OpenCV divides by sqrt(v + 1e-6).
  variables = change_deviation(
    variables, gpu_deviation, lambda v: (v + 1e-6) ** 0.5
  )
  write_cfg(tmp_path / "a.cfg", network)
  write_weights(tmp_path / "a.weights", network, variables, Header())
  theirs = cv2.dnn.readNetFromDarknet(
    str(tmp_path / "a.cfg"), str(tmp_path / "a.weights")
  )
  theirs.setInput(image.transpose(0, 3, 1, 2))
  found = theirs.forward(f"conv_{len(layers) - 2}").transpose(0, 2, 3, 1)
  assert found.shape == ours.shape == (1, height // 32, width // 32, 125)
  assert np.abs(found - ours).max() <= 1e-3 * np.abs(ours).max()


def test_take_stops_at_the_first_other_row():
  fresh = random_variables(NETWORK)
  layers = (*LAYERS[:3], Local(2, 3, activation="relu"), *LAYERS[4:])
  found = random_variables(NETWORK, seed=1)
  variables, report = model.take(LAYERS, fresh, layers, found)
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
    model.take(LAYERS, fresh, (Conv(5, 3),), found)
  # A file that ends early, and routes that are written in two ways.
  part = {"params": {"layer_00": found["params"]["layer_00"]}}
  _, report = model.take(LAYERS, fresh, LAYERS, part)
  assert report[1] == "layer_02: fresh, the start point ends before it"
  assert model._same(Route((0, 2)), Route((-3, -1)), 3)
  assert not model._same(Route((0, 2)), Route((-2, -1)), 3)


def test_take_leaves_the_last_layer_fresh_for_other_priors():
  head = (Conv(6, 1, batch_norm=False), Region(((1.0, 1.0),), 1))
  network = Network((Conv(4, 3), *head), (4, 4, 3))
  fresh, found = random_variables(network), random_variables(network, seed=1)
  layers = network.layers
  _, report = model.take(layers, fresh, layers, found)
  assert report == ["layer_00: taken", "layer_01: taken"]
  other = (*layers[:2], Region(((2.0, 1.0),), 1))
  _, report = model.take(layers, fresh, other, found)
  assert report[0] == "layer_00: taken"
  assert report[1].startswith("layer_01: fresh, layer 2 is Region(priors=((1.0")


def start(tmp_path, **changes):
  """Zero steps from a start point: what the state begins with."""
  config = tiny_config(
    **{"run__total_steps": 1, "task__network__program_reorg": True, **changes}
  )
  task, tx = build.make_task(config), build.make_optimizer(config)
  state = loop.init_state(config, task, tx)
  tmp_path.mkdir(exist_ok=True)
  return state, loop.start_point(config, state, tmp_path)


def test_a_detector_starts_from_a_classifier_file(tmp_path):
  """Of darknet19.weights with its cfg, and of the first 23 or 18 layers."""
  table = darknet19.classifier(
    network="darknet19", batch_norm=True, num_classes=10, width=1 / 16
  )
  network = Network((*table, Softmax()), (64, 64, 3))
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


def test_a_detector_starts_from_a_run_with_other_classes(run, tmp_path):
  _, workdir = run
  config = json.loads((workdir / "config.json").read_text())
  names = tuple(config["data"]["class_names"][:7])
  _, state = start(
    tmp_path / "w",
    task__network__passthrough="program",
    task__norm__epsilon=1e-3,
    class_names=names,
    run__start_from=str(workdir),
  )
  average = model.checkpoint.read(workdir, "latest")["average"]
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
  _, other = start(
    tmp_path / "w", task__network__passthrough="program", run__start_from=str(workdir)
  )
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
    task__network__passthrough="program",
    task__network__program_reorg=False,
    run__start_from=str(workdir),
  )
  report = (tmp_path / "w" / "start.txt").read_text()
  assert "layer_26: taken" in report
  assert "layer_29: fresh, layer 27 is Reorg(program_order=False" in report


def test_a_start_point_that_is_not_there_ends_before_anything(tmp_path):
  config = tiny_config(run__start_from=str(tmp_path / "nope"))
  with pytest.raises(ValueError, match="nope', which is not there"):
    build.check_config(config)
  with pytest.raises(FileNotFoundError, match="no run's folder"):
    model.read_start(tmp_path / "nope", "", NETWORK, epsilon=1e-5)
  with pytest.raises(FileNotFoundError, match="expected a run's folder"):
    model.read_start(tmp_path, "", NETWORK, epsilon=1e-5)


def test_training_begins_at_its_start_point_and_resumes_without_it(
  run, tmp_path
):
  """With a rate of nothing, one step leaves the start point as it was."""
  _, workdir = run
  config = tiny_config(
    task__network__program_reorg=True,
    task__network__passthrough="program",
    task__norm__epsilon=1e-3,
    run__start_from=str(workdir),
    run__total_steps=1,
    schedule__rate=1e-30,
    optimizer__weight_decay=0.0,
  )
  sweep.run_alone(config, tmp_path / "w")
  before = model.checkpoint.read(workdir, "latest")["average"]
  after = model.checkpoint.read(tmp_path / "w", "latest")["variables"]
  assert_close(before["params"], after["params"])
  (tmp_path / "w" / "start.txt").unlink()
  (tmp_path / "w" / "results.json").unlink()
  sweep.run_alone(config, tmp_path / "w")
  assert not (tmp_path / "w" / "start.txt").exists()
