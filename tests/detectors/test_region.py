"""From the last numbers to detections: classes of all slots or of few."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from yolo9000 import wordtree
from yolo9000.detectors import region
from yolo9000.wordtree import WordTree

# 0 -> 2 3, 1 -> 4, 3 -> 5 6
TREE = WordTree(tuple("abcdefg"), (-1, -1, 0, 0, 1, 3, 3))
PRIORS = jnp.array([[1.0, 1.0], [2.0, 1.0]])
RNG = np.random.default_rng(0)
FEATURES = jnp.asarray(RNG.normal(size=(3, 4, 8)), jnp.float32)
LAST = region.LastLayer(
  jnp.asarray(2 * RNG.normal(size=(8, 2 * 12)), jnp.float32),
  jnp.asarray(RNG.normal(size=24), jnp.float32),
  num_priors=2,
  dtype=jnp.float32,
)
RAW = jnp.einsum("yxd,de->yxe", FEATURES, LAST.kernel) + LAST.bias[None, None]
RAW = RAW.reshape(3, 4, 2, 12)


PARAMS = {"kernel": LAST.kernel[None, None], "bias": LAST.bias}
VARIABLES = {"params": {"last": PARAMS}}


def reader(max_cells):
  return region.Reader("last", PRIORS, jnp.float32, max_cells, TREE, "direct")


@partial(jax.jit, static_argnames=("max_cells", "threshold", "class_agnostic"))
def detections(max_cells, *, threshold, class_agnostic):
  output = FEATURES if max_cells else RAW.reshape(3, 4, 24)
  return region.detect(
    reader(max_cells).candidates(VARIABLES, output),
    probabilities=region.class_probabilities("tree", TREE, None),
    class_agnostic=class_agnostic,
    iou_threshold=0.5,
    score_threshold=threshold,
    max_candidates=168,
    max_detections=168,
  )


@partial(jax.jit, static_argnames=("max_cells", "threshold"))
def walk(max_cells, *, threshold):
  output = FEATURES if max_cells else RAW.reshape(3, 4, 24)
  return region.detect_nodes(
    reader(max_cells).candidates(VARIABLES, output),
    tree=TREE,
    tree_threshold=0.5,
    walk_by="paths",
    max_candidates=168,
    iou_threshold=2.0,
    score_threshold=threshold,
    max_detections=6,
  )


@pytest.mark.parametrize("class_agnostic", [False, True])
def test_best_cells_are_exact_while_they_cover_the_threshold(class_agnostic):
  """And not with one cell less."""
  objectness = np.sort(jax.nn.sigmoid(RAW[..., 4]).max(-1).reshape(-1))
  for cells in (3, 5):
    kept = objectness[-cells]
    below = objectness[-cells - 1]
    options = dict(
      threshold=float(kept + below) / 2, class_agnostic=class_agnostic
    )
    dense = detections(0, **options)
    sparse = detections(cells, **options)
    count = int(dense.mask.sum())
    assert count == sparse.mask.sum() > 0
    for ours, theirs in zip(sparse, dense, strict=True):
      np.testing.assert_allclose(
        ours[:count], theirs[:count], rtol=1e-5, atol=1e-5
      )
    fewer = detections(cells - 1, **options)
    if class_agnostic:
      assert not np.allclose(fewer.scores[:count], dense.scores[:count])
    walked, whole, less = (
      walk(n, threshold=options["threshold"]) for n in (cells, 0, cells - 1)
    )
    assert whole.mask.sum() == walked.mask.sum() > less.mask.sum()
    np.testing.assert_array_equal(walked.labels, whole.labels)


def test_parts_of_the_last_layer_are_those_of_the_whole():
  np.testing.assert_allclose(LAST.boxes(FEATURES), RAW[..., :5], rtol=1e-5)
  slot = jnp.array([0, 23, 7, 7])
  np.testing.assert_allclose(
    LAST.class_logits(FEATURES, slot),
    RAW.reshape(-1, 12)[slot, 5:],
    rtol=1e-5,
    atol=1e-6,
  )
  paths = wordtree.path_log_probability(
    TREE, wordtree.log_softmax(TREE, RAW.reshape(-1, 12)[:, 5:])
  )
  for label in range(7):
    np.testing.assert_allclose(
      LAST.path_error(FEATURES, jnp.asarray(label), tree=TREE),
      -paths[:, label],
      rtol=1e-4,
      atol=1e-5,
    )


def test_a_whole_output_has_its_classes():
  head = reader(0).head(VARIABLES, RAW.reshape(3, 4, 24))
  assert head.raw.shape == (3, 4, 2, 12) and head.class_logits is None
  head = reader(2).head(VARIABLES, FEATURES)
  assert head.raw.shape == (3, 4, 2, 5) and head.slot_errors is not None


LOGITS = jnp.asarray(RNG.normal(size=(6, 7)), jnp.float32)


def test_scores_of_nodes_are_those_of_their_paths():
  found = region.class_probabilities("tree", TREE, None)(LOGITS)
  np.testing.assert_allclose(found[:, :2].sum(1), 1, rtol=1e-5)
  for parent, children in ((0, [2, 3]), (1, [4]), (3, [5, 6])):
    np.testing.assert_allclose(
      found[:, children].sum(1), found[:, parent], rtol=1e-5
    )


@pytest.mark.parametrize("rule", ["tree", "softmax", "logistic"])
def test_a_flat_softmax_is_taken_over_the_scored_classes_alone(rule):
  nodes = [0, 4, 5]
  whole = region.class_probabilities(rule, TREE, None)(LOGITS)
  among = region.class_probabilities(rule, TREE, nodes)(LOGITS)
  assert not among[:, [1, 2, 3, 6]].any()
  expected = whole[:, nodes]
  if rule == "softmax":
    expected = expected / expected.sum(1, keepdims=True)
  np.testing.assert_allclose(among[:, nodes], expected, rtol=1e-4)
