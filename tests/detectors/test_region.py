"""From the last numbers to detections: classes of all slots or of few."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from yolo9000 import wordtree
from yolo9000.detectors import yolo9000, yolov2
from yolo9000.wordtree import WordTree

# 0 -> 2 3, 1 -> 4, 3 -> 5 6
TREE = WordTree(tuple("abcdefg"), (-1, -1, 0, 0, 1, 3, 3))
PRIORS = jnp.array([[1.0, 1.0], [2.0, 1.0]])
RNG = np.random.default_rng(0)
FEATURES = jnp.asarray(RNG.normal(size=(3, 4, 8)), jnp.float32)
LAST = yolo9000.LastLayer(
  jnp.asarray(2 * RNG.normal(size=(8, 2 * 12)), jnp.float32),
  jnp.asarray(RNG.normal(size=24), jnp.float32),
  num_priors=2,
  dtype=jnp.float32,
)
RAW = np.asarray(FEATURES) @ np.asarray(LAST.kernel) + np.asarray(LAST.bias)
RAW = RAW.reshape(3, 4, 2, 12)
LOGITS = jnp.asarray(RNG.normal(size=(6, 7)), jnp.float32)

node_probabilities = partial(
  yolo9000.node_probabilities, tree=TREE, nodes=range(7)
)


@jax.jit  # once for all that the test compares
def of_cells(threshold):
  """Detections from all slots (0) and from so many cells, by each rule."""
  apart = yolov2.Detect(0.5, threshold, 168, 168)
  walked = yolo9000.Detect(2.0, threshold, 168, 6, walk="paths")
  found = {}
  for cells in (0, 2, 3, 4, 5):
    if cells:
      candidates = yolo9000.best_cells(
        FEATURES, LAST, PRIORS, location="direct", max_cells=cells
      )
    else:
      candidates = yolov2.all_slots(jnp.asarray(RAW), PRIORS, location="direct")
    for rule in ("per class", "class agnostic"):
      found[cells, rule] = yolov2.detections(
        candidates,
        probabilities=node_probabilities,
        how=apart._replace(class_agnostic=rule == "class agnostic"),
      )
    found[cells, "walk"] = yolo9000.detect_nodes(
      candidates, tree=TREE, how=walked
    )
  return found


@pytest.mark.parametrize("rule", ["per class", "class agnostic"])
def test_best_cells_are_exact_while_they_cover_the_threshold(rule):
  """And not with one cell less."""
  objectness = np.sort(1 / (1 + np.exp(-RAW[..., 4].max(-1).reshape(-1))))
  for cells in (3, 5):
    kept = objectness[-cells]
    below = objectness[-cells - 1]
    found = jax.device_get(of_cells(jnp.asarray((kept + below) / 2)))
    dense, sparse = found[0, rule], found[cells, rule]
    count = int(dense.mask.sum())
    assert count == sparse.mask.sum() > 0
    arrays = jax.tree.leaves(sparse), jax.tree.leaves(dense)
    for ours, theirs in zip(*arrays, strict=True):
      np.testing.assert_allclose(
        ours[:count], theirs[:count], rtol=1e-5, atol=1e-5
      )
    fewer = found[cells - 1, rule]
    if rule == "class agnostic":
      assert not np.allclose(fewer.scores[:count], dense.scores[:count])
    walked, whole, less = (found[n, "walk"] for n in (cells, 0, cells - 1))
    assert whole.mask.sum() == walked.mask.sum() > less.mask.sum()
    np.testing.assert_array_equal(walked.labels, whole.labels)


def test_parts_of_the_last_layer_are_those_of_the_whole():
  slot = np.array([0, 23, 7, 7])

  @jax.jit
  def parts():
    every = jnp.asarray(np.arange(7))
    errors = partial(LAST.path_error, FEATURES, tree=TREE)
    return (
      LAST.boxes(FEATURES),
      LAST.class_logits(FEATURES, jnp.asarray(slot)),
      jax.lax.map(errors, every),  # (C, N)
      wordtree.path_log_probability(
        TREE,
        wordtree.log_softmax(TREE, jnp.asarray(RAW.reshape(-1, 12)[:, 5:])),
      ),
    )

  boxes, logits, errors, paths = jax.device_get(parts())
  np.testing.assert_allclose(boxes, RAW[..., :5], rtol=1e-5)
  np.testing.assert_allclose(
    logits, RAW.reshape(-1, 12)[slot, 5:], rtol=1e-5, atol=1e-6
  )
  np.testing.assert_allclose(errors.T, -paths, rtol=1e-4, atol=1e-5)


def test_a_whole_output_has_its_classes():
  output = jnp.asarray(RAW.reshape(3, 4, 24))
  head = yolo9000.all_classes(output, num_priors=2)
  assert head.raw.shape == (3, 4, 2, 12) and head.class_logits is None
  head = yolo9000.few_classes(LAST, FEATURES, tree=TREE, num_priors=2)
  assert head.raw.shape == (3, 4, 2, 5) and head.slot_errors is not None


def test_scores_of_nodes_are_those_of_their_paths():
  found = np.asarray(jax.jit(node_probabilities)(LOGITS))
  np.testing.assert_allclose(found[:, :2].sum(1), 1, rtol=1e-5)
  for parent, children in ((0, [2, 3]), (1, [4]), (3, [5, 6])):
    np.testing.assert_allclose(
      found[:, children].sum(1), found[:, parent], rtol=1e-5
    )


def test_nodes_are_those_that_are_asked_for():
  few = jax.jit(
    partial(yolo9000.node_probabilities, tree=TREE, nodes=(5, 1, 5))
  )
  whole = np.asarray(jax.jit(node_probabilities)(LOGITS))
  np.testing.assert_allclose(few(LOGITS), whole[:, [5, 1, 5]], rtol=1e-6)


@pytest.mark.parametrize("rule", ["tree", "softmax", "logistic"])
def test_a_flat_softmax_is_taken_over_the_scored_classes_alone(rule):
  nodes = [0, 4, 5]

  @jax.jit
  def probabilities(logits):
    if rule == "tree":
      few = partial(node_probabilities, answers=nodes)
      return node_probabilities(logits), few(logits)
    both = (
      yolov2.class_probabilities(rule == "softmax", labels)
      for labels in (None, nodes)
    )
    return tuple(of(logits) for of in both)

  whole, among = map(np.asarray, probabilities(LOGITS))
  assert not among[:, [1, 2, 3, 6]].any()
  expected = whole[:, nodes]
  if rule == "softmax":
    expected = expected / expected.sum(1, keepdims=True)
  np.testing.assert_allclose(among[:, nodes], expected, rtol=1e-4)


def test_detect_nodes_by_hand():
  """One cell, one prior: half the picture, objectness 1/2, a terrier."""
  tree = WordTree(
    ("animal", "plant", "dog", "cat", "rose", "terrier"), (-1, -1, 0, 0, 1, 2)
  )
  logits = np.log([3.0, 1.0, 9.0, 3.0, 5.0, 7.0])  # odds of 3 to 1
  raw = np.concatenate([np.zeros(5), logits])[None, None, None]

  @partial(jax.jit, static_argnames="walk")
  def detect(raw, walk):
    how = yolo9000.Detect(0.5, 0.4, 9, 9, walk=walk, tree_threshold=0.3)
    slots = yolov2.all_slots(raw, jnp.array([[0.5, 0.5]]), location="direct")
    return yolo9000.detect_nodes(slots, tree=tree, how=how)

  for walk, node in (("paths", 2), ("conditional", 5)):
    found = detect(jnp.asarray(raw, jnp.float32), walk)
    np.testing.assert_allclose(found.boxes, [[0.25, 0.25, 0.75, 0.75]])
    assert found.labels.tolist() == [node] and found.scores.tolist() == [0.5]
