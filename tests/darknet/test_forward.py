"""Whole networks against the original program's recorded forward passes."""

import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from yolo9000 import boxes as box
from yolo9000 import wordtree
from yolo9000.boxes.suppression import Suppression
from yolo9000.darknet.cfg import read_cfg
from yolo9000.darknet.weights import (
  change_deviation,
  cpu_deviation,
  fold,
  gpu_deviation,
  read_weights,
)
from yolo9000.data import fitting
from yolo9000.detectors import yolo9000, yolov1, yolov2
from yolo9000.networks.chain import Chain
from yolo9000.networks.rows import Route, layer_name

NETWORKS = (
  *("darknet19", "yolov1", "yolov1tiny", "yolov2tinyvoc"),
  *("yolov2voc_a", "yolov2voc_b", "yolo9000"),
)
REGIONS = [name for name in NETWORKS if name.startswith(("yolov2", "yolo9"))]


@pytest.fixture(scope="module")
def load(golden_network, goldens):
  """(recorded numbers, network, variables) of a forward pass."""

  @functools.cache
  def load(name):
    source = goldens(f"fwd_{name}")
    cfg, weights = golden_network(source)
    network = read_cfg(cfg)
    return source, network, read_weights(weights, network, partial=False)[0]

  return load


@pytest.fixture(scope="module")
def on_cpu(load):
  """The same, with variables as the program has them on CPU, and its output."""

  @functools.cache
  def on_cpu(name):
    source, network, variables = load(name)
    variables = change_deviation(variables, cpu_deviation, gpu_deviation)
    return source, network, run(network.layers, variables, source)

  return on_cpu


def image_of(source):
  return jnp.asarray(source["input"].transpose(0, 2, 3, 1))


@functools.cache
def compiled(layers):
  return jax.jit(partial(Chain(layers).apply, train=False))


def run(layers, variables, source):
  return compiled(tuple(layers))(variables, image_of(source))


def each_layer(layers, variables, image):
  """Every row's output: a chain of that row alone, after the rows before."""
  outputs, x = [], image
  for index, row in enumerate(layers):
    if isinstance(row, Route):
      sources = [outputs[number] for number in row.sources(index)]
      x = jnp.concatenate(sources, axis=-1)
    else:
      own, first = layer_name(index), layer_name(0)
      of_row = {
        kind: {
          name.replace(own, first): arrays
          for name, arrays in modules.items()
          if name.startswith(own)
        }
        for kind, modules in variables.items()
      }
      x = x.reshape(len(x), *(1, 1, -1)) if x.ndim == 2 else x
      x = Chain((row,)).apply(of_row, x, train=False)
    outputs.append(x)
  return outputs


def planar(output):
  """As the program stores it."""
  output = np.asarray(output)
  return output.transpose(0, 3, 1, 2) if output.ndim == 4 else output


@partial(jax.jit, static_argnums=0)
def activated(last_row, output):
  """What the program's region layer shows: raw after its activations."""
  raw = yolov2.slots(output, len(last_row.priors))
  xy, wh, objectness, logits = jnp.split(raw, [2, 4, 5], axis=-1)
  if last_row.tree:
    classes = jnp.exp(wordtree.log_softmax(last_row.tree, logits))
  else:
    classes = jax.nn.softmax(logits)
  parts = [jax.nn.sigmoid(xy), wh, jax.nn.sigmoid(objectness), classes]
  return jnp.concatenate(parts, axis=-1).reshape(output.shape)


def assert_close(ours, recorded):
  error = np.abs(ours.reshape(recorded.shape) - recorded).max()
  assert error <= 1e-4 * np.abs(recorded).max()


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_is_the_programs(load, on_cpu, name):
  """Each one by itself, and the last one of the whole network."""
  source, network, variables = load(name)
  layers = network.layers
  last = len(layers) - 1
  assert f"layer_{last:02d}" in source and f"layer_{last + 1:02d}" not in source
  variables = change_deviation(variables, cpu_deviation, gpu_deviation)
  outputs = jax.jit(partial(each_layer, layers))(variables, image_of(source))
  whole = on_cpu(name)[2]
  for index, output in enumerate((*outputs, whole)):
    index = min(index, last)
    if index == last and name in REGIONS:
      output = activated(layers[last], output)
    assert_close(planar(output), source[f"layer_{index:02d}"])


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize(
  "name", ["darknet19", "yolov2voc_a", "yolov2voc_b", "yolo9000"]
)
def test_the_gpus_batch_norm_epsilon(load, name, folded):
  source, network, variables = load(name)
  layers = network.layers
  if folded:
    layers, variables = fold(layers, variables, gpu_deviation)
  output = run(layers, variables, source)
  if name in REGIONS:
    output = activated(layers[-1], output)
  recorded = source["output_gpu_bn_eps"]
  assert_close(planar(output), recorded)
  # The two epsilons can be told apart: the other one is farther away.
  near = np.abs(planar(output) - recorded).max()
  assert near < np.abs(planar(output) - source["output"]).max()


def letterboxed(source, network):
  """Where the program takes the photo to lie on the network's input.

  It lays it at a whole pixel but undoes that with the exact half of the margin:
  where the margin is odd its boxes are half a pixel off, and ours are not.
  """
  photo = np.zeros((*source["orig_wh"][::-1], 3), np.uint8)
  height, width, _ = network.shape
  where = fitting.letterbox(photo, (width, height))[1]
  across, down = where.right - where.left, where.bottom - where.top
  exact = ((1 - across) / 2, (1 - down) / 2)
  assert round((exact[0] - where.left) * width, 6) in (0, 0.5)
  assert round((exact[1] - where.top) * height, 6) in (0, 0.5)
  return fitting.Placement(*exact, exact[0] + across, exact[1] + down)


def table(found, boxes, num_classes):
  """Detections as the program's matrix of boxes and classes."""
  found = jax.device_get(found)
  scores = np.zeros((len(boxes), num_classes), np.float32)
  for one, label, score in zip(
    found.boxes[found.mask],
    found.labels[found.mask],
    found.scores[found.mask],
    strict=True,
  ):
    row = np.flatnonzero(np.all(np.abs(boxes - one) < 1e-6, axis=1))
    assert len(row) == 1
    scores[row[0], label] = score
  return scores


def assert_same_boxes(boxes, recorded):
  """In fractions of the photo; some are many photos large."""
  boxes = box.xyxy_to_cxcywh(boxes)
  np.testing.assert_allclose(boxes, recorded, rtol=1e-4, atol=1e-4)


class Found:
  """What is read from a region layer: slots by prior, row and column."""

  def __init__(self, source, network, output):
    self.source, self.network = source, network
    self.region = network.layers[-1]
    self.raw = yolov2.slots(output, len(self.region.priors))[0]
    self.candidates = slots_of(self.raw, self.region)
    self.boxes = self.by_prior(self.candidates.boxes)
    self.objectness = self.by_prior(self.candidates.objectness)
    self.logits = self.by_prior(self.candidates.logits)

  def by_prior(self, numbers):
    """As in the program, from row, column and prior."""
    numbers = np.asarray(numbers)
    rest = numbers.shape[1:]
    numbers = numbers.reshape(*self.raw.shape[:3], *rest)
    return np.moveaxis(numbers, 2, 0).reshape(-1, *rest)

  @property
  def on_photo(self):
    """Boxes as parts of the photo."""
    return fitting.unplace_boxes(
      self.boxes, letterboxed(self.source, self.network)
    )


@partial(jax.jit, static_argnums=1)
def slots_of(raw, region):
  priors = jnp.asarray(region.priors, jnp.float32)
  return yolov2.all_slots(raw, priors, location="direct")


# Their options leave out no candidate. Thresholds that are no constants of the
# compiled program serve all cases.


@partial(jax.jit, static_argnames=("probabilities", "count", "class_agnostic"))
def detections(
  candidates, iou, threshold, *, probabilities, count, class_agnostic=False
):
  how = yolov2.Detect(iou, threshold, count, count, class_agnostic)
  return yolov2.detections(candidates, probabilities=probabilities, how=how)


@partial(jax.jit, static_argnames=("tree", "tree_threshold"))
def walked(candidates, iou, threshold, *, tree, tree_threshold):
  count = len(candidates.boxes)
  how = yolo9000.Detect(iou, threshold, count, count, walk="paths")
  how = how._replace(tree_threshold=tree_threshold)
  return yolo9000.detect_nodes(candidates, tree=tree, how=how)


SOFTMAX = yolov2.class_probabilities(True, None)


@pytest.mark.parametrize(
  ("name", "prefix"),
  [
    *(("yolov2voc_a", ""), ("yolov2voc_a", "t50_")),
    *(("yolov2voc_b", ""), ("yolov2voc_b", "t50_")),
    ("yolov2tinyvoc", ""),
  ],
)
def test_detections_of_yolov2(on_cpu, name, prefix):
  found = Found(*on_cpu(name))
  source = found.source
  _, _, threshold, _, iou, _ = source[f"{prefix}det_args"].tolist()

  # Before suppression: boxes on the photo, objectness, probabilities.
  assert_same_boxes(found.on_photo, source[f"{prefix}boxes"])
  objectness = np.where(found.objectness > threshold, found.objectness, 0)
  np.testing.assert_allclose(
    objectness, source[f"{prefix}objectness"], atol=1e-4
  )
  scores = objectness[:, None] * np.asarray(SOFTMAX(jnp.asarray(found.logits)))
  scores = np.where(scores > threshold, scores, 0)
  np.testing.assert_allclose(
    scores, source[f"{prefix}probs_pre_nms"], atol=1e-4
  )

  # After it.
  kept = detections(
    *(found.candidates, iou, threshold),
    probabilities=SOFTMAX,
    count=scores.size,
  )
  recorded = source[f"{prefix}probs_post_nms"]
  np.testing.assert_allclose(
    table(kept, found.boxes, scores.shape[1]), recorded, atol=1e-4
  )
  assert (recorded > 0).any()


def test_boxes_in_pixels_of_the_photo(on_cpu):
  found = Found(*on_cpu("yolov2voc_a"))
  photo = np.array([*found.source["orig_wh"]] * 2, np.float32)
  boxes = found.on_photo * photo
  assert_same_boxes(boxes / photo, found.source["boxes_pixels"] / photo)


@partial(jax.jit, static_argnames="grid")
def of_yolov1(output, iou, threshold, *, grid):
  decoded = yolov1.decode(output, grid)
  count = decoded[1].size * grid.num_classes
  how = Suppression(iou, threshold, count, count)
  return decoded, yolov1.detections(output, grid=grid, how=how)


@pytest.mark.parametrize("name", ["yolov1", "yolov1tiny"])
def test_detections_of_yolov1(on_cpu, name):
  source, network, output = on_cpu(name)
  grid = network.layers[-1]
  _, _, threshold, _, iou, _ = source["det_args"].tolist()
  (boxes, confidences, classes), found = jax.device_get(
    of_yolov1(output[0], iou, threshold, grid=grid)
  )
  edges = np.array([*source["orig_wh"]] * 2, np.float32)
  assert_same_boxes(boxes, source["boxes"] / edges)
  np.testing.assert_allclose(confidences, source["objectness"], atol=1e-4)
  scores = confidences[:, None] * classes
  np.testing.assert_allclose(
    np.where(scores > threshold, scores, 0), source["probs_pre_nms"], atol=1e-4
  )
  np.testing.assert_allclose(
    table(found, boxes, grid.num_classes), source["probs_post_nms"], atol=1e-4
  )


@pytest.mark.parametrize("prefix", ["top_h10", "top_h30", "top_h50", "top_h80"])
def test_detections_of_yolo9000_by_the_programs_walk(on_cpu, prefix):
  found = Found(*on_cpu("yolo9000"))
  source, tree = found.source, found.region.tree
  _, _, threshold, tree_threshold, iou, _ = source[
    f"{prefix}_det_args"
  ].tolist()
  assert_same_boxes(found.on_photo, source[f"{prefix}_boxes"])
  # An IoU above 1 suppresses nothing.
  for when, most in (("pre", 2.0), ("post", iou)):
    kept = walked(
      *(found.candidates, most, threshold),
      tree=tree,
      tree_threshold=tree_threshold,
    )
    np.testing.assert_allclose(
      table(kept, found.boxes, len(tree.ids)),
      source[f"{prefix}_probs_{when}_nms"],
      atol=1e-4,
    )
  np.testing.assert_allclose(
    np.where(found.objectness > threshold, found.objectness, 0),
    source[f"{prefix}_objectness"],
    atol=1e-4,
  )


def test_yolo9000_with_a_map_of_200_classes(on_cpu):
  found = Found(*on_cpu("yolo9000"))
  source, nodes = found.source, found.source["det_map"].tolist()
  _, _, threshold, _, iou, _ = source["map_det_args"].tolist()
  probabilities = partial(
    yolo9000.node_probabilities, tree=found.region.tree, nodes=nodes
  )
  # Those at or below the threshold are no candidates.
  count = int((source["map_probs_pre_nms"] > 0).sum()) + 1
  for when, most in (("pre", 2.0), ("post", iou)):
    kept = detections(
      *(found.candidates, most, threshold),
      probabilities=probabilities,
      count=count,
    )
    recorded = source[f"map_probs_{when}_nms"]
    assert not recorded[:, len(nodes) :].any()
    np.testing.assert_allclose(
      table(kept, found.boxes, len(nodes)), recorded[:, : len(nodes)], atol=1e-4
    )


def test_paths_of_yolo9000_after_decoding(on_cpu):
  """The program overwrites conditional by paths' probabilities."""
  found = Found(*on_cpu("yolo9000"))
  tree = found.region.tree
  of_paths = partial(
    yolo9000.node_probabilities, tree=tree, nodes=range(len(tree.ids))
  )
  paths = np.asarray(jax.jit(of_paths)(found.candidates.logits))
  rows, cols, priors, _ = found.raw.shape
  recorded = found.source["output_after_decode"]
  recorded = recorded.reshape(priors, -1, rows, cols)
  # As all that 24 layers of float32 lead to: processors add in other orders,
  # and one was 1.2e-5 away.
  np.testing.assert_allclose(
    paths.reshape(rows, cols, priors, -1).transpose(2, 3, 0, 1),
    recorded[:, 5:],
    atol=1e-4,
  )


def test_suppression_by_objectness_of_yolo9000(on_cpu):
  """do_nms_obj at .4, of the boxes that the walk at .5 gave a class."""
  found = Found(*on_cpu("yolo9000"))
  threshold = float(found.source["top_h50_det_args"][2])
  best = jax.device_get(
    detections(
      *(found.candidates, 0.4, threshold),
      probabilities=SOFTMAX,
      count=len(found.boxes),
      class_agnostic=True,
    )
  )
  kept = found.source["top_h50_obj_nms"] > 0
  assert 0 < kept.sum() == best.mask.sum()
  for one in best.boxes[best.mask]:
    assert kept[np.abs(found.boxes - one).max(axis=1) < 1e-6].all()
