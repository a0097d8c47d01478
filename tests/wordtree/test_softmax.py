"""Trees by hand; the real one of 9,418 nodes is in test_forward.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from yolo9000 import wordtree
from yolo9000.boxes import suppression
from yolo9000.detectors import region, yolov1
from yolo9000.networks import chain
from yolo9000.networks.rows import Detection, Softmax
from yolo9000.wordtree import TreeError, WordTree

#  animal          plant
#  dog      cat    rose
#  terrier
TREE = WordTree(
  ("animal", "plant", "dog", "cat", "rose", "terrier"), (-1, -1, 0, 0, 1, 2)
)
# Odds of 3 to 1 in each group of two; groups of one are certain.
LOGITS = jnp.log(jnp.array([3.0, 1.0, 9.0, 3.0, 5.0, 7.0]))
CONDITIONAL = [0.75, 0.25, 0.75, 0.25, 1.0, 1.0]
PATHS = [0.75, 0.25, 0.5625, 0.1875, 0.25, 0.5625]


def test_siblings_share_a_softmax():
  found = jnp.exp(wordtree.log_softmax(TREE, LOGITS))
  np.testing.assert_allclose(found, CONDITIONAL, rtol=1e-6)
  batch = jnp.stack([LOGITS, LOGITS + 100])[None]  # any leading shape; safe
  found = jnp.exp(wordtree.log_softmax(TREE, batch))
  np.testing.assert_allclose(
    found, np.broadcast_to(CONDITIONAL, (1, 2, 6)), rtol=1e-4
  )


def test_a_path_multiplies_its_conditional_probabilities():
  logs = jnp.log(jnp.array(CONDITIONAL))
  found = jnp.exp(wordtree.path_log_probability(TREE, logs))
  np.testing.assert_allclose(found, PATHS, rtol=1e-6)


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
    node = wordtree.walk(TREE, jnp.array(given), threshold=threshold)
    assert TREE.ids[int(node)] == name


def test_the_first_of_equals_is_walked_to():
  equal = jnp.array([0.5, 0.5, 0.5, 0.5, 1.0, 1.0])
  assert wordtree.walk(TREE, equal, threshold=0.2) == 5  # dog, not cat


def test_node_probabilities_are_those_of_the_nodes():
  found = region.node_probabilities(LOGITS[None], tree=TREE, nodes=(5, 1, 5))
  np.testing.assert_allclose(found[0], [0.5625, 0.25, 0.5625], rtol=1e-5)


def test_detect_nodes_by_hand():
  """One cell, one prior: half the picture, objectness 1/2, a terrier."""
  raw = jnp.concatenate([jnp.array([0.0, 0, 0, 0, 0]), LOGITS])[
    None, None, None
  ]
  slots = region.all_slots(raw, jnp.array([[0.5, 0.5]]), location="direct")
  options = dict(
    tree=TREE,
    max_candidates=9,
    iou_threshold=0.5,
    score_threshold=0.4,
    max_detections=9,
  )
  for walk_by, node in (("paths", 2), ("conditional", 5)):
    found = region.detect_nodes(
      slots, tree_threshold=0.3, walk_by=walk_by, **options
    )
    np.testing.assert_allclose(found.boxes, [[0.25, 0.25, 0.75, 0.75]])
    assert found.labels.tolist() == [node] and found.scores.tolist() == [0.5]
  with pytest.raises(ValueError, match="allowed are 'paths' and 'conditional'"):
    region.detect_nodes(slots, tree_threshold=0.3, walk_by="best", **options)


def test_softmax_layer_by_hand():
  logits = jnp.log(jnp.array([[3.0, 1.0, 1.0, 4.0]]))
  plain = chain.softmax(Softmax(), logits)
  np.testing.assert_allclose(plain[0], np.array([3, 1, 1, 4]) / 9, rtol=1e-6)
  groups = chain.softmax(Softmax(groups=2), logits)
  np.testing.assert_allclose(groups[0], [0.75, 0.25, 0.2, 0.8], rtol=1e-6)
  warm = chain.softmax(Softmax(temperature=2.0), logits)
  roots = np.sqrt([3, 1, 1, 4])
  np.testing.assert_allclose(warm[0], roots / roots.sum(), rtol=1e-6)
  tree = chain.softmax(Softmax(tree=TREE), LOGITS[None])
  np.testing.assert_allclose(tree[0], CONDITIONAL, rtol=1e-6)


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("square_root", [False, True])
def test_yolov1_by_hand(exclusive, square_root):
  """Two by two cells, two classes, one box in the cell at the lower left."""
  how = Detection(2, 2, 1, square_root=square_root, exclusive=exclusive)
  classes = np.zeros((4, 2))
  classes[2] = [1.0, 0.0]
  confidences = np.array([0, 0, 0.5, 0])
  numbers = np.zeros((4, 4))
  numbers[2] = [0.5, 0.5, 0.25, 0.5]
  parts = [classes.ravel(), confidences, numbers.ravel()]
  output = jnp.asarray(np.concatenate(parts), jnp.float32)
  found = yolov1.detect(
    output,
    how=how,
    iou_threshold=0.5,
    score_threshold=0.3,
    max_candidates=8,
    max_detections=1,
  )
  width, height = (0.0625, 0.25) if square_root else (0.25, 0.5)
  expected = [0.25 - width / 2, 0.75 - height / 2]
  expected += [0.25 + width / 2, 0.75 + height / 2]
  np.testing.assert_allclose(found.boxes[0], expected, atol=1e-6)
  assert found.labels[0] == 0
  probability = np.e / (np.e + 1) if exclusive else 1.0
  np.testing.assert_allclose(found.scores[0], 0.5 * probability, rtol=1e-5)


def test_labelled_boxes_suppress_their_own_class_alone():
  boxes = jnp.array([[0.0, 0, 1, 1], [0.0, 0, 1, 1], [0.0, 0, 1, 0.9]])
  found = suppression.labelled(
    boxes,
    jnp.array([0.9, 0.8, 0.7]),
    jnp.array([1, 2, 1]),
    iou_threshold=0.5,
    score_threshold=0.1,
    max_detections=3,
  )
  assert found.labels[found.mask].tolist() == [1, 2]


def test_gradients_are_finite_for_large_logits():
  def loss(logits):
    logs = wordtree.log_softmax(TREE, logits)
    return wordtree.path_log_probability(TREE, logs)[5]

  gradient = jax.grad(loss)(jnp.array([1e4, -1e4, 0.0, 1e4, -1e4, 3.0]))
  np.testing.assert_allclose(gradient, [0, 0, 1, -1, 0, 0], atol=1e-6)


def test_a_tree_needs_an_order():
  with pytest.raises(TreeError, match="siblings without a gap") as error:
    WordTree(("a", "b", "c", "d"), (-1, 0, -1, 0))
  assert error.value.node == 2


def test_parts_of_a_tree_by_hand():
  ids = np.array(TREE.ids)
  assert TREE.depth.tolist() == [0, 0, 1, 1, 1, 2]
  assert ids[TREE.leaves].tolist() == ["cat", "rose", "terrier"]
  assert [TREE.ids[n] for n in TREE.path(5)] == ["terrier", "dog", "animal"]
  assert ids[TREE.below(0)].tolist() == ["animal", "dog", "cat", "terrier"]
  assert ids[TREE.below(5)].tolist() == ["terrier"]
  assert ids[TREE.level(0)].tolist() == ["animal", "plant"]
  assert ids[TREE.level(1)].tolist() == ["dog", "cat", "rose"]
  assert ids[TREE.level(2)].tolist() == ["cat", "rose", "terrier"]


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_every_cut_through_the_paths_sums_to_one(shape):
  logits = jax.random.normal(jax.random.key(0), (*shape, 6)) * 3
  paths = jnp.exp(
    wordtree.path_log_probability(TREE, wordtree.log_softmax(TREE, logits))
  )
  for nodes in (TREE.leaves, TREE.level(0), TREE.level(1), TREE.level(2)):
    np.testing.assert_allclose(paths[..., nodes].sum(-1), 1, rtol=1e-5)
    best = wordtree.most_probable(paths, nodes)
    assert best.shape == shape and np.isin(best, nodes).all()
    np.testing.assert_array_equal(
      jnp.take_along_axis(paths, best[..., None], -1)[..., 0],
      paths[..., nodes].max(-1),
    )


def test_bfloat16_logits_are_safe():
  logits = jnp.asarray([300.0, -300.0, 100.0, 100.0, 5.0, 7.0], jnp.bfloat16)
  logs = wordtree.path_log_probability(TREE, wordtree.log_softmax(TREE, logits))
  assert logs.dtype == jnp.bfloat16 and np.isfinite(logs.astype(float)).all()
  np.testing.assert_allclose(jnp.exp(logs[0].astype(float)), 1, rtol=1e-2)


def test_trees_of_one_node_and_of_one_group():
  one = WordTree(("all",), (-1,))
  logits = jnp.asarray([[3.0], [-3.0]])
  np.testing.assert_array_equal(wordtree.log_softmax(one, logits), 0 * logits)
  assert wordtree.walk(one, jnp.ones((2, 1)), threshold=0.5).tolist() == [0, 0]
  flat = WordTree(("a", "b", "c"), (-1,) * 3)
  logits = jax.random.normal(jax.random.key(0), (4, 3))
  np.testing.assert_allclose(
    wordtree.path_log_probability(flat, wordtree.log_softmax(flat, logits)),
    jax.nn.log_softmax(logits),
    rtol=1e-5,
    atol=1e-6,
  )


def test_select_nodes_by_words():
  for what, nodes in (
    ("leaves", TREE.leaves),
    ("level 1", TREE.level(1)),
    ("below " + TREE.ids[1], TREE.below(1)),
    (f"{TREE.ids[2]},{TREE.ids[0]}", [2, 0]),
  ):
    np.testing.assert_array_equal(TREE.select(what), nodes)
  for wrong in ("level 9", "below eel", "eel", "level x", ""):
    with pytest.raises(ValueError, match="expected leaves, level 0 to"):
      TREE.select(wrong)
