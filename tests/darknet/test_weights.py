"""Weights in and out, and OpenCV as a second reader."""

import struct

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from yolo9000.darknet.cfg import read_cfg, write_cfg
from yolo9000.darknet.weights import (
  Header,
  change_deviation,
  cpu_deviation,
  fold,
  gpu_deviation,
  read_weights,
  write_weights,
)
from yolo9000.detectors import yolov2
from yolo9000.files import FileError
from yolo9000.networks.chain import Chain
from yolo9000.networks.norm import Norm
from yolo9000.networks.rows import (
  Connected,
  Conv,
  Local,
  MaxPool,
  Network,
  Region,
  Softmax,
)
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
  net = Chain(network.layers)
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
  "name",
  [
    *("yolov2voc_a", "yolov2voc_b", "yolov2tinyvoc", "yolo9000"),
    *("yolov3", "yolov3tiny", "yolov3spp"),
  ],
)
def test_golden_detectors_round_trip(name, goldens, golden_network, tmp_path):
  check_round_trip(goldens(f"fwd_{name}"), "weights", golden_network, tmp_path)


@pytest.mark.parametrize("key", ["weights0", "weights_file_end"])
@pytest.mark.parametrize(
  "name",
  [
    *("classifier", "treeclassifier", "yolo9000"),
    *("yolov1", "yolov2", "yolov2_2017", "yolov3", "yolov3tiny"),
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
  net = Chain(tuple(layers), norm=Norm(epsilon=epsilon))
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


def test_the_plain_reorg_is_refused_with_the_reason(tmp_path):
  how = yolov2.Network(passthrough="paper", priors=((1.0, 1.0),), width=1 / 16)
  network = Network(yolov2.layers(how, Region((), 1)), (64, 64, 3))
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


@pytest.mark.parametrize(
  ("width", "height"), [(416, 416), (320, 288), (352, 608)]
)
def test_opencv_reads_what_we_write(width, height, tmp_path):
  """OpenCV's own reader of the program's files gives the same output.

  288 pixels make 18 rows before the reorg and 9 after it, 416 and 608 make 26
  and 38: none is a multiple of 4, where the program's reorg wraps rows into
  other channels.
  """
  how = yolov2.Network(
    passthrough="program",
    program_reorg=True,
    priors=((1.3, 1.7), (3.2, 4.0), (5.1, 8.1), (9.5, 4.8), (11.2, 10.0)),
    width=0.25,
  )
  layers = yolov2.layers(how, Region((), 20))
  network = Network(layers, (height, width, 3))
  net = Chain(layers)
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


@pytest.mark.parametrize(
  ("version", "width"), [((0, 2, 0), 4), ((0, 0, 0), 8), ((0, 1, 0), 8)]
)
def test_a_counter_of_the_other_width(tmp_path, version, width, caplog):
  variables = random_variables(NETWORK)
  path = tmp_path / "a.weights"
  write_weights(path, NETWORK, variables, Header(*version, 77))
  usual = struct.calcsize(Header(*version).format)
  numbers = path.read_bytes()[usual:]
  head = struct.pack("<3i", *version) + (77).to_bytes(width, "little")
  path.write_bytes(head + numbers)
  found, header, covered = read_weights(path, NETWORK, partial=False)
  assert header == Header(*version, 77) and covered == len(LAYERS)
  for name, of_layer in found["params"].items():
    for key, array in of_layer.items():
      np.testing.assert_array_equal(array, variables["params"][name][key])
  assert f"a header of {12 + width} bytes" in caplog.text


@pytest.mark.parametrize("version", [(0, 2, 0), (0, 1, 0)])
@pytest.mark.parametrize("change", [-4, 4])
def test_a_file_that_is_cut_is_not_read_with_the_other_header(
  tmp_path, version, change
):
  path = tmp_path / "a.weights"
  write_weights(path, NETWORK, random_variables(NETWORK), Header(*version))
  data = path.read_bytes()
  path.write_bytes(data[:change] if change < 0 else data + bytes(change))
  with pytest.raises(FileError):
    read_weights(path, NETWORK, partial=False)


@pytest.mark.parametrize("width", [8, 4])
def test_first_layers_are_read_whatever_follows(tmp_path, width):
  """Of a file that another network than ours goes on in."""
  variables = random_variables(NETWORK)
  path = tmp_path / "a.weights"
  write_weights(path, NETWORK, variables, Header(seen=7))
  head = struct.pack("<3i", 0, 2, 0) + (7).to_bytes(width, "little")
  path.write_bytes(head + path.read_bytes()[20:])
  ours = Network((*LAYERS[:2], Conv(9, 3), Conv(5, 1)), (6, 4, 3))
  found, header, covered = read_weights(path, ours, partial=False, first=2)
  assert header.seen == 7 and covered == 2
  assert list(found["params"]) == ["layer_00_norm", "layer_00"]
  for name, of_layer in found["params"].items():
    for key, array in of_layer.items():
      np.testing.assert_array_equal(array, variables["params"][name][key])
  path.write_bytes(path.read_bytes()[:100])
  with pytest.raises(FileError, match="has 100 bytes and ends in layer 0"):
    read_weights(path, ours, partial=True, first=2)
