"""Whole networks against the original program's recorded forward passes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from yolo9000 import boxes as box
from yolo9000 import losses, wordtree
from yolo9000.boxes import suppression
from yolo9000.darknet.cfg import read_cfg
from yolo9000.darknet.weights import (
  change_deviation,
  cpu_deviation,
  fold,
  gpu_deviation,
  read_weights,
)
from yolo9000.data import augment
from yolo9000.detectors import region, yolov1
from yolo9000.networks import chain
from yolo9000.wordtree.files import read_tree

NETWORKS = (
  *("darknet19", "yolov1", "yolov1tiny", "yolov2tinyvoc"),
  *("yolov2voc_a", "yolov2voc_b", "yolo9000"),
)
REGIONS = [name for name in NETWORKS if name.startswith(("yolov2", "yolo9"))]


@pytest.fixture(scope="module")
def load(golden_network, goldens):
  """(recorded numbers, network, variables) of a forward pass."""

  def load(name):
    source = goldens(f"fwd_{name}")
    cfg, weights = golden_network(source)
    network = read_cfg(cfg)
    return source, network, read_weights(weights, network, partial=False)[0]

  return load


def run(layers, variables, source):
  net = chain.Darknet(tuple(layers), jnp.float32, 0.9, 1e-5)
  image = jnp.asarray(source["input"].transpose(0, 2, 3, 1))
  return net.apply(variables, image, train=False)


def planar(output):
  """As the program stores it."""
  output = np.asarray(output)
  return output.transpose(0, 3, 1, 2) if output.ndim == 4 else output


def activated(last_row, output):
  """What the program's region layer shows: raw after its activations."""
  raw = np.array(region.slots(output, len(last_row.priors)))
  logits = jnp.asarray(raw[..., 5:])
  raw[..., [0, 1, 4]] = jax.nn.sigmoid(raw[..., [0, 1, 4]])
  if last_row.tree:
    raw[..., 5:] = jnp.exp(wordtree.log_softmax(last_row.tree, logits))
  else:
    raw[..., 5:] = jax.nn.softmax(logits)
  return raw.reshape(output.shape)


def assert_close(ours, recorded):
  error = np.abs(ours.reshape(recorded.shape) - recorded).max()
  assert error <= 1e-4 * np.abs(recorded).max()


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_is_the_programs(load, name):
  source, network, variables = load(name)
  variables = change_deviation(variables, cpu_deviation, gpu_deviation)
  last = len(network.layers) - 1
  assert f"layer_{last:02d}" in source and f"layer_{last + 1:02d}" not in source
  for index, row in enumerate(network.layers):
    output = run(network.layers[: index + 1], variables, source)
    if index == last and name in REGIONS:
      output = activated(row, output)
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
  where = augment.letterbox(photo, (width, height))[1]
  across, down = where.right - where.left, where.bottom - where.top
  exact = ((1 - across) / 2, (1 - down) / 2)
  assert round((exact[0] - where.left) * width, 6) in (0, 0.5)
  assert round((exact[1] - where.top) * height, 6) in (0, 0.5)
  return augment.Placement(*exact, exact[0] + across, exact[1] + down)


def table(found, boxes, num_classes):
  """Detections as the program's matrix of boxes and classes."""
  scores = np.zeros((len(boxes), num_classes), np.float32)
  for one, label, score in zip(
    np.asarray(found.boxes)[found.mask],
    np.asarray(found.labels)[found.mask],
    np.asarray(found.scores)[found.mask],
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


def everything(count):
  return dict(max_candidates=count, max_detections=count)


@pytest.mark.parametrize(
  ("name", "prefix"),
  [
    *(("yolov2voc_a", ""), ("yolov2voc_a", "t50_")),
    *(("yolov2voc_b", ""), ("yolov2voc_b", "t50_")),
    ("yolov2tinyvoc", ""),
  ],
)
def test_detections_of_yolov2(load, name, prefix):
  source, network, variables = load(name)
  layers, variables = fold(network.layers, variables, cpu_deviation)
  output = run(layers, variables, source)
  last_row = layers[-1]
  raw = region.slots(output, len(last_row.priors))[0]
  priors = jnp.asarray(last_row.priors, jnp.float32)
  by_row = np.asarray(losses.decode(raw, priors, location="direct"))
  # By prior, row and column, as in the program.
  by_row = by_row.transpose(2, 0, 1, 3).reshape(-1, 4)
  _, _, threshold, _, iou, _ = source[f"{prefix}det_args"].tolist()
  probabilities = region.PROBABILITIES["softmax"]

  # Before suppression: boxes on the photo, objectness, probabilities.
  boxes = augment.unplace_boxes(by_row, letterboxed(source, network))
  assert_same_boxes(boxes, source[f"{prefix}boxes"])
  numbers = np.asarray(raw).transpose(2, 0, 1, 3).reshape(len(boxes), -1)
  objectness = np.asarray(jax.nn.sigmoid(numbers[:, 4]))
  objectness = np.where(objectness > threshold, objectness, 0)
  np.testing.assert_allclose(
    objectness, source[f"{prefix}objectness"], atol=1e-4
  )
  scores = objectness[:, None] * probabilities(jnp.asarray(numbers[:, 5:]))
  scores = np.where(scores > threshold, scores, 0)
  np.testing.assert_allclose(
    scores, source[f"{prefix}probs_pre_nms"], atol=1e-4
  )

  # After it.
  found = region.detect(
    region.all_slots(raw, priors, location="direct"),
    probabilities=probabilities,
    class_agnostic=False,
    iou_threshold=iou,
    score_threshold=threshold,
    **everything(scores.size),
  )
  recorded = source[f"{prefix}probs_post_nms"]
  np.testing.assert_allclose(
    table(found, by_row, scores.shape[1]), recorded, atol=1e-4
  )
  assert (recorded > 0).any()


def test_boxes_in_pixels_of_the_photo(load):
  source, network, variables = load("yolov2voc_a")
  layers, variables = fold(network.layers, variables, cpu_deviation)
  raw = region.slots(run(layers, variables, source), 5)[0]
  priors = jnp.asarray(layers[-1].priors, jnp.float32)
  boxes = np.asarray(losses.decode(raw, priors, location="direct"))
  boxes = augment.unplace_boxes(
    boxes.transpose(2, 0, 1, 3).reshape(-1, 4), letterboxed(source, network)
  ) * np.array([*source["orig_wh"]] * 2, np.float32)
  photo = np.array([*source["orig_wh"]] * 2, np.float32)
  assert_same_boxes(boxes / photo, source["boxes_pixels"] / photo)


@pytest.mark.parametrize("name", ["yolov1", "yolov1tiny"])
def test_detections_of_yolov1(load, name):
  source, network, variables = load(name)
  layers, variables = fold(network.layers, variables, cpu_deviation)
  output = run(layers, variables, source)[0]
  how = layers[-1]
  boxes, confidences, classes = yolov1.decode(output, how)
  _, _, threshold, _, iou, _ = source["det_args"].tolist()
  edges = np.array([*source["orig_wh"]] * 2, np.float32)
  assert_same_boxes(np.asarray(boxes), source["boxes"] / edges)
  np.testing.assert_allclose(confidences, source["objectness"], atol=1e-4)
  scores = np.asarray(confidences[:, None] * classes)
  np.testing.assert_allclose(
    np.where(scores > threshold, scores, 0), source["probs_pre_nms"], atol=1e-4
  )
  found = yolov1.detect(
    output,
    how=how,
    iou_threshold=iou,
    score_threshold=threshold,
    **everything(scores.size),
  )
  np.testing.assert_allclose(
    table(found, np.asarray(boxes), how.num_classes),
    source["probs_post_nms"],
    atol=1e-4,
  )


def raw_of_yolo9000(load):
  source, network, variables = load("yolo9000")
  layers, variables = fold(network.layers, variables, cpu_deviation)
  last_row = layers[-1]
  raw = region.slots(run(layers, variables, source), len(last_row.priors))[0]
  priors = jnp.asarray(last_row.priors, jnp.float32)
  by_row = np.asarray(losses.decode(raw, priors, location="direct"))
  by_row = by_row.transpose(2, 0, 1, 3).reshape(-1, 4)
  return source, network, raw, priors, by_row


@pytest.mark.parametrize("prefix", ["top_h10", "top_h30", "top_h50", "top_h80"])
def test_detections_of_yolo9000_by_the_programs_walk(load, prefix):
  source, network, raw, priors, by_row = raw_of_yolo9000(load)
  tree = network.layers[-1].tree
  _, _, threshold, tree_threshold, iou, _ = source[
    f"{prefix}_det_args"
  ].tolist()
  boxes = augment.unplace_boxes(by_row, letterboxed(source, network))
  assert_same_boxes(boxes, source[f"{prefix}_boxes"])
  detect = partial(
    region.detect_nodes,
    region.all_slots(raw, priors, location="direct"),
    tree=tree,
    tree_threshold=float(tree_threshold),
    walk_by="paths",
    score_threshold=threshold,
    **everything(len(by_row)),
  )
  # An IoU above 1 suppresses nothing.
  for when, most in (("pre", 2.0), ("post", iou)):
    np.testing.assert_allclose(
      table(detect(iou_threshold=most), by_row, len(tree.ids)),
      source[f"{prefix}_probs_{when}_nms"],
      atol=1e-4,
    )
  numbers = np.asarray(raw).transpose(2, 0, 1, 3).reshape(len(by_row), -1)
  objectness = np.asarray(jax.nn.sigmoid(numbers[:, 4]))
  np.testing.assert_allclose(
    np.where(objectness > threshold, objectness, 0),
    source[f"{prefix}_objectness"],
    atol=1e-4,
  )


def test_yolo9000_with_a_map_of_200_classes(load):
  source, network, raw, priors, by_row = raw_of_yolo9000(load)
  nodes = source["det_map"].tolist()
  _, _, threshold, _, iou, _ = source["map_det_args"].tolist()
  for when, most in (("pre", 2.0), ("post", iou)):
    found = region.detect(
      region.all_slots(raw, priors, location="direct"),
      probabilities=partial(
        region.node_probabilities, tree=network.layers[-1].tree, nodes=nodes
      ),
      class_agnostic=False,
      iou_threshold=most,
      score_threshold=threshold,
      **everything(len(by_row) * len(nodes)),
    )
    recorded = source[f"map_probs_{when}_nms"]
    assert not recorded[:, len(nodes) :].any()
    np.testing.assert_allclose(
      table(found, by_row, len(nodes)), recorded[:, : len(nodes)], atol=1e-4
    )


def test_paths_of_yolo9000_after_decoding(load):
  """The program overwrites conditional by paths' probabilities."""
  source, network, raw, _, _ = raw_of_yolo9000(load)
  tree = network.layers[-1].tree
  paths = region.node_probabilities(
    raw.reshape(-1, raw.shape[-1])[:, 5:],
    tree=tree,
    nodes=range(len(tree.ids)),
  )
  rows, cols, priors, _ = raw.shape
  recorded = source["output_after_decode"].reshape(priors, -1, rows, cols)
  np.testing.assert_allclose(
    np.asarray(paths).reshape(rows, cols, priors, -1).transpose(2, 3, 0, 1),
    recorded[:, 5:],
    atol=1e-5,
  )


def test_suppression_by_objectness_of_yolo9000(load):
  """do_nms_obj at .4, of the boxes that the walk at .5 gave a class."""
  source, network, raw, priors, by_row = raw_of_yolo9000(load)
  threshold = float(source["top_h50_det_args"][2])
  found = region.detect(
    region.all_slots(raw, priors, location="direct"),
    probabilities=jax.nn.softmax,
    class_agnostic=True,
    iou_threshold=0.4,
    score_threshold=threshold,
    **everything(len(by_row)),
  )
  kept = source["top_h50_obj_nms"] > 0
  assert 0 < kept.sum() == found.mask.sum()
  for one in np.asarray(found.boxes)[found.mask]:
    assert kept[np.abs(by_row - one).max(axis=1) < 1e-6].all()


def test_the_real_tree_of_9418_nodes(shared, goldens):
  source = goldens("hierarchy9k")
  tree = read_tree(shared / "darknet" / "9k.tree")
  np.testing.assert_array_equal(tree.group, source["group"])
  np.testing.assert_array_equal(tree.child_group, source["child"])
  np.testing.assert_array_equal(tree.parents, source["parent"])
  logits = jnp.asarray(source["logits_f16"], jnp.float32)
  conditional = wordtree.log_softmax(tree, logits)
  paths = jnp.exp(wordtree.path_log_probability(tree, conditional))
  conditional = jnp.exp(conditional)
  np.testing.assert_allclose(conditional, source["cond_prob"], atol=1e-6)
  np.testing.assert_allclose(paths, source["abs_prob"], atol=1e-6)
  for column, threshold in enumerate(source["thresholds"].tolist()):
    for given, name in ((conditional, "conditional"), (paths, "absolute")):
      np.testing.assert_array_equal(
        wordtree.walk(tree, given, threshold=threshold),
        source[f"top_from_{name}"][:, column],
      )
  # Leaves alone.
  leaves = tree.leaves
  np.testing.assert_array_equal(
    np.isin(np.arange(9418), leaves), source["leaf"].astype(bool)
  )
  np.testing.assert_array_equal(
    wordtree.most_probable(paths, leaves), source["leaf_argmax"]
  )
  np.testing.assert_allclose(
    paths[:, leaves].max(1), source["leaf_max"], rtol=1e-5
  )
  np.testing.assert_allclose(
    paths[:, leaves].sum(1), source["leaf_sum"], rtol=1e-5
  )
  np.testing.assert_allclose(
    paths[:, source["prob_classes"]],
    source["hierarchy_probability"],
    rtol=2e-5,
    atol=1e-12,
  )
  # Groups.
  size = np.bincount(tree.group)
  np.testing.assert_array_equal(size, source["group_size"])
  first = np.r_[0, np.cumsum(size)[:-1]]
  np.testing.assert_array_equal(first, source["group_offset"])
  # What a classifier's label teaches: 1 on its path, 0 beside it, the rest not.
  for label, row in zip(
    source["fill_hierarchy_class"].tolist(),
    source["fill_hierarchy_truth"],
    strict=True,
  ):
    on_path = np.isin(np.arange(9418), tree.path(label))
    taught = np.isin(tree.group, tree.group[on_path])
    expected = np.where(on_path, 1, np.where(taught, 0, -1234))
    np.testing.assert_array_equal(expected, row)
    gradient = jax.grad(
      lambda x, label=label: losses.tree_error(
        x[None], jnp.array([label]), jnp.eye(1, dtype=bool), tree=tree
      )[0]
    )(logits[0])
    assert not gradient[~taught].any()


@pytest.mark.parametrize("seed", range(3))
def test_a_higher_threshold_never_goes_deeper(shared, seed):
  """Each walk ends on the path of the walk with a lower threshold."""
  tree = read_tree(shared / "darknet" / "9k.tree")
  rng = np.random.default_rng(seed)
  logits = jnp.asarray(rng.normal(0, 3, (20, 9418)), jnp.float32)
  conditional = jnp.exp(wordtree.log_softmax(tree, logits))
  below = None
  for threshold in np.linspace(0, 1, 15):
    nodes = wordtree.walk(tree, conditional, threshold=float(threshold))
    for n, node in enumerate(nodes.tolist()):
      assert below is None or node in tree.path(below[n])
    below = nodes.tolist()


def test_labelled_suppression_is_per_class_suppression():
  rng = np.random.default_rng(0)
  low = rng.uniform(0, 0.5, (40, 2))
  boxes = np.concatenate([low, low + rng.uniform(0.1, 0.5, (40, 2))], axis=1)
  boxes = jnp.asarray(boxes, jnp.float32)
  labels = jnp.asarray(rng.integers(0, 3, 40))
  scores = jnp.sort(jnp.asarray(rng.uniform(size=40), jnp.float32))[::-1]
  options = dict(iou_threshold=0.4, score_threshold=0.1, max_detections=40)
  one = suppression.labelled(boxes, scores, labels, **options)
  two = suppression.per_class(
    boxes,
    scores[:, None] * jax.nn.one_hot(labels, 3),
    max_candidates=40,
    **options,
  )
  jax.tree.map(np.testing.assert_array_equal, one, two)
  assert 0 < one.mask.sum() < 40
