"""YOLOv3's networks against the original program's forward passes, and OpenCV.

Each network was recorded at three input sizes.
"""

import functools
import re
from functools import partial

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_forward import (
  assert_close,
  assert_same_boxes,
  detections,
  letterboxed,
  planar,
  table,
)

from yolo9000.boxes import suppression
from yolo9000.darknet.cfg import read_cfg, write_cfg
from yolo9000.darknet.weights import (
  Header,
  change_deviation,
  cpu_deviation,
  gpu_deviation,
  read_weights,
  write_weights,
)
from yolo9000.data import fitting
from yolo9000.detectors import yolov2, yolov3
from yolo9000.export.darknet import write
from yolo9000.networks.chain import Chain
from yolo9000.networks.rows import Network, Yolo
from yolo9000.networks.shapes import output_shapes
from yolo9000.training.trained import Trained, from_darknet
from yolo9000.wordtree import Classes

RUNS = [
  (name, size)
  for name in ("yolov3tiny", "yolov3", "yolov3spp")
  for size in ("", "s2/", "s3/")
]


@pytest.fixture(scope="module")
def load(golden_network, goldens):
  """(recorded numbers, network, variables, all outputs as on CPU, on GPU)."""

  @functools.cache
  def load(name, size):
    source = goldens(f"fwd_{name}")
    cfg, weights = golden_network(source)
    network = read_cfg(cfg)
    on_gpu = read_weights(weights, network, partial=False)[0]
    on_cpu = change_deviation(on_gpu, cpu_deviation, gpu_deviation)
    if size:
      source = {
        key.removeprefix(size): source[key]
        for key in source
        if key.startswith(size)
      }
    image = jnp.asarray(source["input"].transpose(0, 2, 3, 1))
    network = network._replace(shape=image.shape[1:])
    net = Chain(network.layers)
    run = jax.jit(partial(net.apply, train=False, method="outputs"))
    return source, network, on_gpu, run(on_cpu, image), run(on_gpu, image)

  return load


def activated(row, output):
  """What the program's yolo layer shows: raw after its activations."""
  if not isinstance(row, Yolo):
    return planar(output)
  raw = np.array(yolov2.slots(output, len(row.own)))
  sure = np.array(jax.nn.sigmoid(raw))
  sure[..., 2:4] = raw[..., 2:4]
  return planar(sure.reshape(output.shape))


@pytest.mark.parametrize(("name", "size"), RUNS)
def test_layers_are_the_programs(load, name, size):
  """All that were recorded, with both of its batch norms' epsilons."""
  source, network, _, *outputs = load(name, size)
  last = len(network.layers) - 1
  seen = 0
  for key, recorded in source.items():
    found = re.fullmatch(r"(layer_(\d+)|output)(_gpu_bn_eps)?", key)
    if found is None:
      continue
    index = last if found[2] is None else int(found[2])
    on_cpu, on_gpu = (
      activated(network.layers[index], o[index]) for o in outputs
    )
    ours, other = (on_gpu, on_cpu) if found[3] else (on_cpu, on_gpu)
    assert_close(ours, recorded)
    if index == last:  # the two can be told apart
      near = np.abs(ours - recorded).max()
      assert near < np.abs(other - recorded).max()
    seen += 1
  levels = sum(isinstance(row, Yolo) for row in network.layers)
  assert seen >= 2 * levels + 2
  if not size:
    shapes = [(d, h, w) for h, w, d in output_shapes(*network)]
    np.testing.assert_array_equal(shapes, source["layer_out_chw"])


@jax.jit
def unsuppressed(boxes, scores, iou):
  """Scores (N, C), 0 where a better box of the class suppresses one."""

  def of_class(scores):
    order = jnp.argsort(-scores)
    same, best = jnp.zeros(len(scores), jnp.int32), scores[order]
    keep = suppression.suppress(boxes[order], same, best > 0, iou)
    return jnp.zeros_like(scores).at[order].set(jnp.where(keep, best, 0.0))

  return jax.lax.map(of_class, scores.T).T


@pytest.mark.parametrize(("name", "size"), RUNS)
def test_detections_are_the_programs(load, name, size):
  """At both thresholds, before and after suppression.

  The program keeps slots whose objectness is above the threshold; they are
  ours, in the same order. At .005 thousands of pairs of box and class are
  candidates, so each class is suppressed by itself there; at .5 it is what
  users call.
  """
  source, network, _, outputs, _ = load(name, size)
  levels = [row for row in network.layers if isinstance(row, Yolo)]
  maps = [
    output[0]
    for row, output in zip(network.layers, outputs, strict=True)
    if isinstance(row, Yolo)
  ]
  find = partial(yolov3.candidates, levels=levels, size=network.shape[:2])
  candidates = jax.jit(find)(maps)
  boxes, objectness, logits = map(np.asarray, candidates)
  probabilities = np.asarray(jax.nn.sigmoid(logits))
  on_photo = fitting.unplace_boxes(boxes, letterboxed(source, network))
  edges = np.array([*source["orig_wh"]] * 2, np.float32)
  for prefix in ("", "t50_"):
    _, _, threshold, _, iou, _ = source[f"{prefix}det_args"].tolist()
    rows = np.flatnonzero(objectness > threshold)
    np.testing.assert_array_equal(rows, source[f"{prefix}det_index"])
    assert_same_boxes(on_photo[rows], source[f"{prefix}boxes"])
    if not prefix:
      recorded = source["boxes_pixels"] / edges
      assert_same_boxes(on_photo[rows], recorded)
    close = partial(np.testing.assert_allclose, atol=1e-4, rtol=0)
    close(objectness[rows], source[f"{prefix}objectness"])
    scores = (objectness[:, None] * probabilities)[rows]
    scores = np.where(scores > threshold, scores, 0)
    close(scores, source[f"{prefix}probs_pre_nms"])
    kept = unsuppressed(boxes[rows], scores, iou)
    close(kept, source[f"{prefix}probs_post_nms"])
    if f"{prefix}objectness_obj_nms" in source:
      alone = unsuppressed(boxes[rows], objectness[rows, None], iou)
      close(alone[:, 0], source[f"{prefix}objectness_obj_nms"])
  best = detections(
    *(candidates, iou, threshold),
    probabilities=yolov2.class_probabilities(False, None),
    count=600,
  )
  found = table(best, boxes, scores.shape[1])
  close(found[rows], source["t50_probs_post_nms"])
  assert (found > 0).sum() == (found[rows] > 0).sum() > 0


@pytest.mark.parametrize(("name", "size"), RUNS)
def test_opencv_reads_what_we_write(load, name, size, tmp_path):
  """What the levels say, and the boxes and objectness of their slots."""
  source, network, variables, _, outputs = load(name, size)
  theirs = change_deviation(variables, gpu_deviation, opencv_deviation)
  write_cfg(tmp_path / "a.cfg", network)
  write_weights(tmp_path / "a.weights", network, theirs, Header())
  check_by_opencv(tmp_path / "a", network, source["input"], outputs)


def opencv_deviation(variance):
  return (variance + 1e-6) ** 0.5


def check_by_opencv(stem, network, image, outputs):
  """That OpenCV's reading of stem's two files gives our levels' outputs."""
  net = cv2.dnn.readNetFromDarknet(f"{stem}.cfg", f"{stem}.weights")
  net.setInput(image)
  for index, row in enumerate(network.layers):
    if isinstance(row, Yolo):
      ours = planar(outputs[index])
      found = net.forward(f"conv_{index - 1}")
      assert found.shape == ours.shape
      assert np.abs(found - ours).max() <= 1e-3 * np.abs(ours).max()
      boxes, objectness, _ = yolov3.candidates(
        [outputs[index][0]], levels=[row], size=network.shape[:2]
      )
      found = net.forward(f"yolo_{index}")
      assert_same_boxes(boxes, found[:, :4])
      np.testing.assert_allclose(objectness, found[:, 4], atol=1e-4)


def test_what_is_exported_is_read_back_and_by_opencv(tmp_path):
  """A narrow tiny network with random numbers."""
  how = yolov3.Network(form="tiny", priors=yolov3.COCO_TINY, width=1 / 16)
  options, classes = yolov3.Options(how), Classes(("a", "b"))
  network = Network(yolov3.network_rows(options, classes), (64, 96, 3))
  net, rng = Chain(network.layers), np.random.default_rng(0)
  image = rng.uniform(0, 1, (1, *network.shape)).astype(np.float32)
  init = partial(net.init, train=False)
  variables = jax.device_get(jax.jit(init)(jax.random.key(0), image))
  variables = jax.tree.map(
    lambda x: (x + rng.uniform(0.05, 0.3, x.shape) * (x.ndim == 1)).astype(
      np.float32
    ),
    dict(variables),
  )
  trained = Trained(
    make_task=lambda detect: yolov3.make_task(options, classes),
    detect={},
    variables=variables,
    classes=classes,
    size=network.shape[:2],
    resize="letterbox",
    network=network,
    norm_epsilon=1e-6,  # as OpenCV
    seen=12,
  )
  write(trained, tmp_path / "a")
  again = from_darknet(
    *(tmp_path / "a.cfg", tmp_path / "a.weights"),
    names=tmp_path / "a.names",
  )
  assert again.network == network and again.classes == classes
  assert (again.seen, again.resize) == (12, "letterbox")
  converted = change_deviation(variables, opencv_deviation, gpu_deviation)
  jax.tree.map(np.testing.assert_array_equal, again.variables, converted)
  run = jax.jit(partial(net.apply, train=False, method="outputs"))
  outputs = run(again.variables, image)
  write_weights(tmp_path / "a.weights", network, variables, Header())
  check_by_opencv(tmp_path / "a", network, planar(image), outputs)
