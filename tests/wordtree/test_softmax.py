"""Probabilities of a tree's nodes: by hand, and on the real tree."""

import inspect
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import SHARED

from yolo9000 import losses, wordtree
from yolo9000.wordtree import WordTree
from yolo9000.wordtree.files import read_tree

#  animal          plant
#  dog      cat    rose
#  terrier
TREE = WordTree(
  ("animal", "plant", "dog", "cat", "rose", "terrier"), (-1, -1, 0, 0, 1, 2)
)
# Odds of 3 to 1 in each group of two; groups of one are certain.
LOGITS = np.log(np.float32([3.0, 1.0, 9.0, 3.0, 5.0, 7.0]))
CONDITIONAL = [0.75, 0.25, 0.75, 0.25, 1.0, 1.0]
PATHS = [0.75, 0.25, 0.5625, 0.1875, 0.25, 0.5625]


# Compiled once for all tests with the same tree and shape.
@partial(jax.jit, static_argnums=0)
def probabilities(tree, logits):
  """Conditional ones, and those of the paths."""
  logs = wordtree.log_softmax(tree, logits)
  return jnp.exp(logs), jnp.exp(wordtree.path_log_probability(tree, logs))


@partial(jax.jit, static_argnums=0)
def walk(tree, given, threshold):
  """`wordtree.walk`, whose threshold need not be known when it is compiled."""
  unchecked = inspect.unwrap(wordtree.walk)
  return unchecked(tree, given, threshold=threshold)


def test_siblings_share_a_softmax():
  found, _ = probabilities(TREE, LOGITS)
  np.testing.assert_allclose(found, CONDITIONAL, rtol=1e-6)
  batch = np.stack([LOGITS, LOGITS + 100])[None]  # any leading shape; safe
  found, _ = probabilities(TREE, batch)
  np.testing.assert_allclose(
    found, np.broadcast_to(CONDITIONAL, (1, 2, 6)), rtol=1e-4
  )


def test_a_path_multiplies_its_conditional_probabilities():
  logs = jnp.asarray(np.log(np.float32(CONDITIONAL)))
  found = jax.jit(wordtree.path_log_probability, static_argnums=0)(TREE, logs)
  np.testing.assert_allclose(np.exp(found), PATHS, rtol=1e-6)


@pytest.mark.parametrize(
  ("threshold", "conditional", "paths"),
  [
    (0.0, "terrier", "terrier"),
    # .75 * .5625 = .42 and then * .5625 = .24: paths count twice.
    (0.3, "terrier", "dog"),
    (0.5, "terrier", "animal"),
    (0.6, "animal", "animal"),
    (0.9, "animal", "animal"),  # the best at the top at least
  ],
)
def test_walk_by_hand(threshold, conditional, paths):
  for given, name in ((CONDITIONAL, conditional), (PATHS, paths)):
    node = walk(TREE, jnp.array(given), threshold)
    assert TREE.ids[int(node)] == name


def test_the_first_of_equals_is_walked_to():
  equal = jnp.array([0.5, 0.5, 0.5, 0.5, 1.0, 1.0])
  assert wordtree.walk(TREE, equal, threshold=0.2) == 5  # dog, not cat


def test_gradients_are_finite_for_large_logits():
  @jax.jit
  @jax.grad
  def gradient(logits):
    logs = wordtree.log_softmax(TREE, logits)
    return wordtree.path_log_probability(TREE, logs)[5]

  found = gradient(jnp.array([1e4, -1e4, 0.0, 1e4, -1e4, 3.0]))
  np.testing.assert_allclose(found, [0, 0, 1, -1, 0, 0], atol=1e-6)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_every_cut_through_the_paths_sums_to_one(shape):
  rng = np.random.default_rng(0)
  logits = jnp.asarray(3 * rng.normal(size=(*shape, 6)), jnp.float32)
  cuts = (TREE.leaves, TREE.level(0), TREE.level(1), TREE.level(2))

  @jax.jit
  def best_of(paths):
    return [wordtree.most_probable(paths, nodes) for nodes in cuts]

  _, paths = probabilities(TREE, logits)
  for nodes, best in zip(cuts, best_of(paths), strict=True):
    of_cut = np.asarray(paths)[..., nodes]
    np.testing.assert_allclose(of_cut.sum(-1), 1, rtol=1e-5)
    assert best.shape == shape and np.isin(best, nodes).all()
    np.testing.assert_array_equal(
      np.take_along_axis(np.asarray(paths), np.asarray(best)[..., None], -1)[
        ..., 0
      ],
      of_cut.max(-1),
    )


def test_bfloat16_logits_are_safe():
  logits = jnp.asarray([300.0, -300.0, 100.0, 100.0, 5.0, 7.0], jnp.bfloat16)

  @jax.jit
  def logs_of(logits):
    logs = wordtree.log_softmax(TREE, logits)
    return wordtree.path_log_probability(TREE, logs)

  logs = logs_of(logits)
  assert logs.dtype == jnp.bfloat16
  logs = np.asarray(logs, np.float32)
  assert np.isfinite(logs).all()
  np.testing.assert_allclose(np.exp(logs[0]), 1, rtol=1e-2)


def test_trees_of_one_node_and_of_one_group():
  one = WordTree(("all",), (-1,))
  logits = jnp.asarray([[3.0], [-3.0]])
  np.testing.assert_array_equal(wordtree.log_softmax(one, logits), 0 * logits)
  assert walk(one, jnp.ones((2, 1)), 0.5).tolist() == [0, 0]
  flat = WordTree(("a", "b", "c"), (-1,) * 3)
  logits = jnp.asarray(
    np.random.default_rng(0).normal(size=(4, 3)), jnp.float32
  )
  np.testing.assert_allclose(
    np.log(probabilities(flat, logits)[1]),
    jax.nn.log_softmax(logits),
    rtol=1e-5,
    atol=1e-6,
  )


# The real tree


@pytest.fixture(scope="module")
def real_tree():
  path = SHARED / "darknet" / "9k.tree"
  if not path.is_file():
    pytest.skip(f"{path} is not here")
  return read_tree(path)


def test_the_real_tree_of_9418_nodes(real_tree, goldens):
  tree, source = real_tree, goldens("hierarchy9k")
  np.testing.assert_array_equal(tree.group, source["group"])
  np.testing.assert_array_equal(tree.child_group, source["child"])
  np.testing.assert_array_equal(tree.parents, source["parent"])
  logits = jnp.asarray(source["logits_f16"].astype(np.float32))
  conditional, paths = probabilities(tree, logits)
  np.testing.assert_allclose(conditional, source["cond_prob"], atol=1e-6)
  np.testing.assert_allclose(paths, source["abs_prob"], atol=1e-6)
  for column, threshold in enumerate(source["thresholds"].tolist()):
    for given, name in ((conditional, "conditional"), (paths, "absolute")):
      np.testing.assert_array_equal(
        walk(tree, given, threshold), source[f"top_from_{name}"][:, column]
      )
  # Leaves alone.
  leaves = tree.leaves
  np.testing.assert_array_equal(
    np.isin(np.arange(9418), leaves), source["leaf"].astype(bool)
  )
  np.testing.assert_array_equal(
    wordtree.most_probable(paths, leaves), source["leaf_argmax"]
  )
  paths = np.asarray(paths, np.float64)
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


def test_what_a_label_teaches_on_the_real_tree(real_tree, goldens):
  """The program's targets: 1 on its path, 0 beside it; the rest is not."""
  tree, source = real_tree, goldens("hierarchy9k")
  logits = jnp.asarray(source["logits_f16"][0].astype(np.float32))

  @jax.jit
  @jax.grad
  def gradient_of(logits, label):
    one, same = label[None], jnp.eye(1, dtype=bool)
    return losses.tree_error(logits[None], one, same, tree=tree)[0]

  for label, row in zip(
    source["fill_hierarchy_class"].tolist(),
    source["fill_hierarchy_truth"],
    strict=True,
  ):
    on_path = np.isin(np.arange(9418), tree.path(label))
    taught = np.isin(tree.group, tree.group[on_path])
    expected = np.where(on_path, 1, np.where(taught, 0, -1234))
    np.testing.assert_array_equal(expected, row)
    gradient = np.asarray(gradient_of(logits, jnp.asarray(label)))
    assert not gradient[~taught].any() and gradient[taught].any()


@pytest.mark.parametrize("seed", range(3))
def test_a_higher_threshold_never_goes_deeper(real_tree, seed):
  """Each walk ends on the path of the walk with a lower threshold."""
  rng = np.random.default_rng(seed)
  logits = jnp.asarray(rng.normal(0, 3, (20, 9418)), jnp.float32)
  conditional, _ = probabilities(real_tree, logits)
  below = None
  for threshold in np.linspace(0, 1, 15).tolist():
    nodes = walk(real_tree, conditional, threshold)
    for n, node in enumerate(nodes.tolist()):
      assert below is None or node in real_tree.path(below[n])
    below = nodes.tolist()
