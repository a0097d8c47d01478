"""Heads of both stages, against torchvision's."""

import jax
import jax.numpy as jnp
import numpy as np
from oracles import torchvision

from yolo9000.networks.regions import Predictor, ProposalHead, TwoLayers


def assert_close(found, expected):
  error = np.abs(np.asarray(found) - expected).max()
  assert error <= 1e-5 * np.abs(expected).max()


def test_proposal_head_is_torchvisions(goldens):
  """Level by level, row by row, cell by cell, anchor by anchor."""
  golden = goldens("tv_rcnn")
  variables = torchvision.variables(
    golden, "rpn_head/w/", "rpn.head.", "proposals"
  )
  levels = [torchvision.last(golden[f"rpn_head/feat{n}"]) for n in range(3)]
  head = ProposalHead(3, 6)
  logits, codes = jax.jit(head.apply)(variables, levels)
  assert_close(logits, golden["rpn_head/objectness_flat"])
  assert_close(codes, golden["rpn_head/deltas_flat"])
  start = 0
  for n in range(3):
    of_level = golden[f"rpn_head/objectness{n}"].transpose(0, 2, 3, 1)
    count = of_level[0].size
    found = logits[:, start : start + count].reshape(of_level.shape)
    assert_close(found, of_level)
    of_level = golden[f"rpn_head/deltas{n}"].transpose(0, 2, 3, 1)
    found = codes[:, start : start + count].reshape(of_level.shape)
    assert_close(found, of_level)
    start += count


def test_two_numbers_say_what_their_difference_says(goldens):
  """The background's weights are the others', with the other sign."""
  golden = goldens("tv_rcnn")
  variables = torchvision.variables(
    golden, "rpn_head/w/", "rpn.head.", "proposals"
  )
  levels = [torchvision.last(golden["rpn_head/feat2"])]
  expected, _ = ProposalHead(3, 6).apply(variables, levels)
  said = variables["params"]["objectness"]
  variables["params"]["objectness"] = {
    name: jnp.concatenate([-array, array], axis=-1)
    for name, array in said.items()
  }
  found, _ = ProposalHead(3, 6, two_way=True).apply(variables, levels)
  assert_close(found, 2 * np.asarray(expected))


def test_box_head_and_predictor_are_torchvisions(goldens):
  golden = goldens("tv_rcnn")
  x = torchvision.last(golden["box_head/x"])[None]
  variables = torchvision.variables(
    golden, "box_head/w/", "roi_heads.box_head.", "box_head"
  )
  vectors = TwoLayers(12).apply(variables, x, train=True)
  assert_close(vectors[0], golden["box_head/out"])
  variables = torchvision.variables(
    golden, "box_predictor/w/", "roi_heads.box_predictor.", "predictor"
  )
  logits, codes = Predictor(4).apply(variables, vectors)
  assert_close(logits[0], golden["box_head/class_logits"])
  assert_close(codes[0].reshape(7, 20), golden["box_head/box_regression"])
  assert Predictor(4, boxes=1).init_with_output(jax.random.key(0), vectors)[0][
    1
  ].shape == (1, 7, 1, 4)


def test_dropout_is_each_pictures_own():
  """In training alone; a picture's does not depend on those beside it."""
  x = jnp.ones((2, 3, 2, 2, 4))
  head = TwoLayers(32, dropout=0.5)
  variables = head.init(jax.random.key(0), x, train=False)
  keys = jax.random.split(jax.random.key(1), 2)

  def of(x, keys):
    return head.apply(variables, x, train=True, dropout_keys=keys)

  both = of(x, keys)
  plain = head.apply(variables, x, train=False)
  assert np.mean(both == 0) > np.mean(plain == 0)
  assert np.any(both[0] != both[1])
  np.testing.assert_allclose(of(x[1:], keys[1:])[0], both[1], rtol=1e-6)
