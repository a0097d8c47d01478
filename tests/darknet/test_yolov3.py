"""YOLOv3's networks against the original program's forward passes, and OpenCV.

Each network was recorded at three input sizes.
"""

import functools
import re
from functools import partial

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
from yolo9000.darknet.cfg import read_cfg
from yolo9000.darknet.weights import (
  change_deviation,
  cpu_deviation,
  gpu_deviation,
  read_weights,
)
from yolo9000.data import augment
from yolo9000.detectors import yolov2, yolov3
from yolo9000.networks.chain import Chain
from yolo9000.networks.rows import Yolo
from yolo9000.networks.shapes import output_shapes

RUNS = [
  (name, size)
  for name in ("yolov3tiny", "yolov3", "yolov3spp")
  for size in ("", "s2/", "s3/")
]


@pytest.fixture(scope="module")
def load(golden_network, goldens):
  """(recorded numbers, network, every layer's output as on CPU and on GPU)."""

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
    return source, network, run(on_cpu, image), run(on_gpu, image)

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
  source, network, *outputs = load(name, size)
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
  source, network, outputs, _ = load(name, size)
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
  on_photo = augment.unplace_boxes(boxes, letterboxed(source, network))
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
