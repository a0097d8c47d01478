"""Pictures with a label alone, beside those with boxes in a tree."""

import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from yolo9000 import boxes as box
from yolo9000 import losses
from yolo9000.losses.image_label import OBJECTNESS_RULES, SLOT_RULES
from yolo9000.wordtree import WordTree

CASES = (
  *("tree_det_map", "tree_det_map_warm", "tree_det_nomap", "tree_class_only"),
  *("tree_class_only_warm", "tree_class_only_lowobj", "tree_mixed_batch"),
  *("tree_det_then_class_entry", "tree_scales"),
)
WEIGHTS = losses.Weights(1.0, 5.0, 1.0, 1.0)
# 0 -> 2 3, 1 -> 4, 3 -> 5 6
TREE = WordTree(tuple("abcdefg"), (-1, -1, 0, 0, 1, 3, 3))


STATIC = (
  *("weights", "tree", "ignore_iou", "rescore", "match_predicted_shape"),
  "era",
)


@partial(jax.jit, static_argnames=STATIC)  # compiled once for all cases
@jax.grad
def golden_gradient(
  raw, boxes, labels, there, image_label, *, weights, tree, era, **options
):
  """Of what a batch costs: of each picture its boxes or its label alone."""
  class_error = partial(losses.tree_error, tree=tree)
  of_boxes = partial(
    losses.detection_loss,
    class_error=class_error,
    weights=weights,
    small_box_weight=era == "grad",
    location="direct",
    **options,
  )
  of_label = partial(
    losses.image_label_loss,
    class_error=class_error,
    weights=weights,
    slot_rule="score",
    objectness_rule="later" if era == "grad" else "2017",
  )
  alone = image_label >= 0
  boxes = jnp.where(alone[:, None, None], 0.5, boxes)
  mask = there & ~alone[:, None]
  by_boxes = jax.vmap(of_boxes)(raw, boxes, labels, mask)
  by_label = jax.vmap(of_label)(raw, jnp.maximum(image_label, 0))
  return jnp.sum(
    jnp.where(alone, sum(by_label.values()), sum(by_boxes.values()))
  )


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
  gradient = golden_gradient(
    jnp.asarray(golden["x"].transpose(0, 3, 4, 1, 2)),  # (B, Y, X, A, F)
    jnp.asarray(box.cxcywh_to_xyxy(truth[..., :4])),
    jnp.asarray(labels),
    jnp.asarray(there),
    jnp.asarray(image_label),
    priors=jnp.asarray(golden["anchors"]),
    weights=losses.Weights(hyper[5], hyper[6], hyper[7], hyper[8]),
    prior_pull=0.01 if golden["seen"] < 12800 else 0.0,
    tree=tree,
    ignore_iou=hyper[4],
    rescore=bool(hyper[2]),
    match_predicted_shape=not hyper[1],
    era=era,
  )
  descent = -gradient.transpose(0, 3, 4, 1, 2)
  largest = np.abs(golden[era]).max()
  np.testing.assert_allclose(descent, golden[era], rtol=0, atol=1e-4 * largest)


def grid(seed=0, classes=7):
  rng = np.random.default_rng(seed)
  raw = rng.normal(0, 2, (3, 4, 2, 5 + classes)).astype(np.float32)
  return jnp.asarray(raw)


ERRORS = {
  "tree": partial(losses.tree_error, tree=TREE),
  "softmax": losses.softmax_error,
}


@functools.cache
def of_all_rules(error):
  """The parts under each pair of rules, compiled as one program."""

  @jax.jit
  def parts(raw, label):
    return {
      (slot_rule, objectness_rule): losses.image_label_loss(
        raw,
        label,
        class_error=ERRORS[error],
        weights=losses.Weights(1.0, 4.0, 3.0, 2.0),
        slot_rule=slot_rule,
        objectness_rule=objectness_rule,
      )
      for slot_rule in SLOT_RULES
      for objectness_rule in OBJECTNESS_RULES
    }

  return parts(grid(), jnp.asarray(5))


@pytest.mark.parametrize("slot_rule", SLOT_RULES)
@pytest.mark.parametrize("objectness_rule", OBJECTNESS_RULES)
@pytest.mark.parametrize("error", ERRORS)
def test_image_label_loss_is_what_slow_loops_say(
  slot_rule, objectness_rule, error
):
  raw, label = grid(), 5
  parts = of_all_rules(error)[slot_rule, objectness_rule]
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


@partial(jax.jit, static_argnames=("error", "slot_rule", "objectness_rule"))
@partial(jax.value_and_grad, has_aux=True)
def value_and_gradient(raw, label, *, error, **rules):
  """Of the whole loss; and its parts."""
  parts = losses.image_label_loss(
    raw, label, class_error=ERRORS[error], weights=WEIGHTS, **rules
  )
  return sum(parts.values()), parts


def test_the_three_slot_rules_differ():
  """A slot that is sure of the label, one that sees something, and both."""
  raw = np.full((1, 3, 1, 7), -9.0, np.float32)
  raw[0, :, 0, 4] = [-4, 4, 1]  # objectness
  raw[0, :, 0, 5:] = [[5, 0], [0, 2], [2, 0]]  # classes; the label is 0
  chosen = {}
  for rule in SLOT_RULES:
    _, gradient = value_and_gradient(
      jnp.asarray(raw),
      jnp.asarray(0),
      error="softmax",
      slot_rule=rule,
      objectness_rule="paper",
    )
    of_classes = np.abs(gradient[0, :, 0, 5:]).max(-1)
    (chosen[rule],) = np.flatnonzero(of_classes)
  assert chosen == {"probability": 0, "objectness": 1, "score": 2}


OF_NODES = dict(error="tree", objectness_rule="2017")


def test_boxes_are_not_taught_by_an_image_label():
  _, gradient = value_and_gradient(
    grid(), jnp.asarray(2), slot_rule="objectness", **OF_NODES
  )
  gradient = np.asarray(gradient)
  assert not gradient[..., :4].any() and np.isfinite(gradient).all()


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_huge_logits_stay_finite(size):
  raw = np.array(grid())
  raw[0, 0, 0] = size
  for rule in SLOT_RULES:
    (value, _), gradient = value_and_gradient(
      jnp.asarray(raw), jnp.asarray(6), slot_rule=rule, **OF_NODES
    )
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
