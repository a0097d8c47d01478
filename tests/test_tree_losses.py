"""The losses of YOLO9000: labels in a tree, pictures with a label alone."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from yolo9000 import boxes as box
from yolo9000 import losses
from yolo9000.wordtree import WordTree

CASES = (
  *("tree_det_map", "tree_det_map_warm", "tree_det_nomap", "tree_class_only"),
  *("tree_class_only_warm", "tree_class_only_lowobj", "tree_mixed_batch"),
  *("tree_det_then_class_entry", "tree_scales"),
)
WEIGHTS = losses.Weights(1.0, 5.0, 1.0, 1.0)
# 0 -> 2 3, 1 -> 4, 3 -> 5 6
TREE = WordTree(tuple("abcdefg"), (-1, -1, 0, 0, 1, 3, 3))


@pytest.mark.parametrize("era", ["grad", "grad_2017"])
@pytest.mark.parametrize("case", CASES)
def test_gradient_is_the_programs(goldens, case, era):
  """To 1e-4 of the largest entry, under the rules of 2022 and January 2017.

  The first row at 999999 makes the picture one with a label alone, also after
  boxes, and its class is not mapped.
  """
  whole = goldens("region_train")
  golden = {
    k.split("/")[1]: whole[k] for k in whole if k.startswith(f"{case}/")
  }
  parents = tuple(golden["tree_parent"].tolist())
  tree = WordTree(tuple(map(str, range(len(parents)))), parents)
  hyper, truth = golden["hyper"].tolist(), golden["truth"]
  there = np.cumprod(truth[..., 0] != 0, axis=1).astype(bool)
  marks = there & (truth[..., 0] > 100000)
  labels = truth[..., 4].astype(np.int32)
  first = marks.argmax(1)
  image_label = np.where(marks.any(1), labels[np.arange(4), first], -1)
  image_label = image_label.astype(np.int32)
  if "map" in golden:
    mapped = np.minimum(labels, len(golden["map"]) - 1)
    labels = golden["map"][mapped].astype(np.int32)
  weights = losses.Weights(hyper[5], hyper[6], hyper[7], hyper[8])
  class_error = partial(losses.tree_error, tree=tree)
  boxes_loss = partial(
    losses.detection_loss,
    priors=jnp.asarray(golden["anchors"]),
    class_error=class_error,
    weights=weights,
    ignore_iou=hyper[4],
    small_box_weight=era == "grad",
    prior_pull=0.01 if golden["seen"] < 12800 else 0.0,
    rescore=bool(hyper[2]),
    match_predicted_shape=not hyper[1],
    location="direct",
  )
  label_loss = partial(
    losses.image_label_loss,
    class_error=class_error,
    weights=weights,
    slot_rule="score",
    objectness_rule="later" if era == "grad" else "2017",
  )

  alone = jnp.asarray(image_label >= 0)

  def total(raw):
    of_labels = jax.vmap(label_loss)(raw, jnp.maximum(image_label, 0))
    of_boxes = jax.vmap(boxes_loss)(
      raw,
      jnp.where(alone[:, None, None], 0.5, box.cxcywh_to_xyxy(truth[..., :4])),
      jnp.asarray(labels),
      jnp.asarray(there) & ~alone[:, None],
    )
    return jnp.sum(
      jnp.where(alone, sum(of_labels.values()), sum(of_boxes.values()))
    )

  raw = jnp.asarray(golden["x"].transpose(0, 3, 4, 1, 2))  # (B, Y, X, A, F)
  descent = -jax.jit(jax.grad(total))(raw).transpose(0, 3, 4, 1, 2)
  largest = np.abs(golden[era]).max()
  np.testing.assert_allclose(descent, golden[era], rtol=0, atol=1e-4 * largest)


def test_tree_error_by_hand():
  """Node f: Pr(a) Pr(d | a) Pr(f | d), of groups (a b), (c d), (f g)."""
  logits = jnp.asarray([[1.0, 0.0, 2.0, 3.0, 9.0, 0.5, 0.5]])
  error = partial(losses.tree_error, tree=TREE)
  same = jnp.eye(1, dtype=bool)
  expected = np.log1p(np.exp(-1)) + np.log1p(np.exp(-1)) + np.log(2)
  np.testing.assert_allclose(
    error(logits, jnp.asarray([5]), same), [expected], rtol=1e-6
  )
  # An only child is certain: e costs what b costs.
  np.testing.assert_allclose(
    error(logits, jnp.asarray([4]), same), error(logits, jnp.asarray([1]), same)
  )


@pytest.mark.parametrize(
  ("label", "touched"),
  [(0, "ab"), (1, "ab"), (3, "abcd"), (5, "abcdfg"), (4, "ab")],
)
def test_nothing_below_or_beside_the_label_is_penalised(label, touched):
  rng = np.random.default_rng(0)
  logits = jnp.asarray(rng.normal(size=7), jnp.float32)

  def error(row):
    one, same = jnp.asarray([label]), jnp.eye(1, dtype=bool)
    return losses.tree_error(row[None], one, same, tree=TREE)[0]

  gradient = jax.grad(error)(logits)
  moved = {TREE.ids[n] for n in np.flatnonzero(np.abs(gradient) > 1e-7)}
  assert moved == set(touched)
  # Of every group the gradient sums to zero.
  sums = jax.ops.segment_sum(gradient, jnp.asarray(TREE.group), TREE.num_groups)
  np.testing.assert_allclose(sums, 0, atol=1e-6)


def grid(seed=0, classes=7):
  rng = np.random.default_rng(seed)
  raw = rng.normal(0, 2, (3, 4, 2, 5 + classes)).astype(np.float32)
  return jnp.asarray(raw)


@pytest.mark.parametrize("slot_rule", losses.SLOT_RULES)
@pytest.mark.parametrize("objectness_rule", losses.OBJECTNESS_RULES)
@pytest.mark.parametrize("error", ["tree", "softmax"])
@pytest.mark.parametrize("seed", [0])
def test_image_label_loss_is_what_slow_loops_say(
  slot_rule, objectness_rule, error, seed
):
  raw, label = grid(seed), 5
  class_error = {
    "tree": partial(losses.tree_error, tree=TREE),
    "softmax": losses.softmax_error,
  }[error]
  weights = losses.Weights(1.0, 4.0, 3.0, 2.0)
  parts = losses.image_label_loss(
    raw,
    jnp.asarray(label),
    class_error=class_error,
    weights=weights,
    slot_rule=slot_rule,
    objectness_rule=objectness_rule,
  )
  rows = np.asarray(raw, np.float64).reshape(-1, 12)
  probability, objectness = [], []
  for row in rows:
    logits = row[5:]
    if error == "softmax":
      p = np.exp(logits) / np.exp(logits).sum()
      probability.append(p[label])
    else:
      p, node = 1.0, label
      while node >= 0:
        group = [n for n in range(7) if TREE.parents[n] == TREE.parents[node]]
        p *= np.exp(logits[node]) / np.exp(logits[group]).sum()
        node = TREE.parents[node]
      probability.append(p)
    objectness.append(1 / (1 + np.exp(-row[4])))
  rank = {
    "probability": probability,
    "score": np.multiply(probability, objectness),
    "objectness": objectness,
  }[slot_rule]
  best = int(np.argmax(rank))
  lacking = max(0.3 - objectness[best], 0)
  background = sum(o**2 for n, o in enumerate(objectness) if n != best)
  expected = {
    "objectness": 4 * lacking**2 / 2 * (objectness_rule != "later"),
    "background": 3 * background / 2 * (objectness_rule != "paper"),
    "label": -2 * np.log(probability[best]),
  }
  assert parts.keys() == expected.keys()
  for name, value in expected.items():
    np.testing.assert_allclose(parts[name], value, rtol=2e-5, err_msg=name)


def test_the_three_slot_rules_differ():
  """A slot that is sure of the label, one that sees something, and both."""
  raw = np.full((1, 3, 1, 7), -9.0, np.float32)
  raw[0, :, 0, 4] = [-4, 4, 1]  # objectness
  raw[0, :, 0, 5:] = [[5, 0], [0, 2], [2, 0]]  # classes; the label is 0
  chosen = {}
  for rule in losses.SLOT_RULES:
    gradient = jax.grad(
      lambda x, rule=rule: losses.image_label_loss(
        x,
        jnp.asarray(0),
        class_error=losses.softmax_error,
        weights=WEIGHTS,
        slot_rule=rule,
        objectness_rule="paper",
      )["label"]
    )(jnp.asarray(raw))
    (chosen[rule],) = np.flatnonzero(np.abs(gradient[0, :, 0, 5:]).max(-1))
  assert chosen == {"probability": 0, "objectness": 1, "score": 2}


def test_boxes_are_not_taught_by_an_image_label():
  def total(raw):
    return sum(
      losses.image_label_loss(
        raw,
        jnp.asarray(2),
        class_error=partial(losses.tree_error, tree=TREE),
        weights=WEIGHTS,
        slot_rule="objectness",
        objectness_rule="2017",
      ).values()
    )

  gradient = jax.grad(total)(grid())
  assert not gradient[..., :4].any() and np.isfinite(gradient).all()


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_huge_logits_stay_finite(size):
  raw = grid().at[0, 0, 0].set(size)
  for rule in losses.SLOT_RULES:

    def total(x, rule=rule):
      return sum(
        losses.image_label_loss(
          x,
          jnp.asarray(6),
          class_error=partial(losses.tree_error, tree=TREE),
          weights=WEIGHTS,
          slot_rule=rule,
          objectness_rule="2017",
        ).values()
      )

    value, gradient = jax.value_and_grad(total)(raw)
    assert np.isfinite(value) and np.isfinite(gradient).all()


@pytest.mark.parametrize(
  "rules", [("best", "paper"), ("score", "2018")], ids=["slot", "objectness"]
)
def test_unknown_rules_name_the_known(rules):
  with pytest.raises(ValueError, match="must be one of probability, score"):
    losses.image_label_loss(
      grid(),
      jnp.asarray(0),
      class_error=losses.softmax_error,
      weights=WEIGHTS,
      slot_rule=rules[0],
      objectness_rule=rules[1],
    )


@pytest.mark.parametrize(
  ("count", "children"),
  [(1, 1), (100_000, 7), (100_000, 100_000), (2000, 1)],
)
def test_trees_of_any_size(count, children):
  """One node; seven below each; all in one group; each below the one before."""
  parents = tuple(
    -1 if children >= count or not n else (n - 1) // children
    for n in range(count)
  )
  tree = WordTree(tuple(map(str, range(count))), parents)
  rng = np.random.default_rng(0)
  logits = jnp.asarray(rng.normal(size=(2, count)), jnp.float32)
  labels = jnp.array([count - 1, count // 2])
  error = jax.jit(partial(losses.tree_error, tree=tree))
  found = error(logits, labels, jnp.eye(2, dtype=bool))
  for row, label, value in zip(logits, labels, found, strict=True):
    total = 0.0
    for node in tree.path(int(label)):
      siblings = np.asarray(row, np.float64)[tree.group == tree.group[node]]
      total += np.log(np.exp(siblings).sum()) - float(row[node])
    np.testing.assert_allclose(value, total, rtol=1e-5, atol=1e-6)
