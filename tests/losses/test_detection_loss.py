"""The loss of a picture with boxes, golden and by hand."""

import inspect
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from yolo9000 import boxes as box
from yolo9000 import losses

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "region_train.npz")
PAPER = dict(
  class_error=losses.softmax_error,
  weights=losses.Weights(1.0, 5.0, 1.0, 1.0),
  ignore_iou=0.6,
  small_box_weight=False,
  prior_pull=0.0,
  rescore=True,
  match_predicted_shape=False,
  location="direct",
)
# Compiled once for all tests that have the same options and shapes.
STATIC = (
  *("class_error", "ignore_iou", "small_box_weight", "rescore"),
  *("match_predicted_shape", "location"),
)
detection_loss = jax.jit(losses.detection_loss, static_argnames=STATIC)


@partial(jax.jit, static_argnames=STATIC)
@partial(jax.grad, has_aux=True)
def gradient_and_parts(raw, boxes, labels, mask, **options):
  """Of a batch: the gradient of the sum, and each picture's parts."""
  loss = partial(losses.detection_loss, **options)
  parts = jax.vmap(loss)(raw, boxes, labels, mask)
  return sum(jnp.sum(part) for part in parts.values()), parts


@pytest.mark.parametrize(
  ("case", "era"), sorted(k.split("/") for k in GOLDEN if "/grad" in k)
)
def test_gradient_is_the_programs(case, era):
  """To 1e-4 of the largest entry, under the rules of 2022 and January 2017.

  The January 2017 program treats logistic classes differently, so for those
  there is no recording.
  """
  golden = {
    k.split("/")[1]: GOLDEN[k] for k in GOLDEN if k.startswith(case + "/")
  }
  # softmax bias_match rescore background thresh coord object noobject class
  hyper = golden["hyper"].tolist()
  truth = golden["truth"]
  mask = np.cumprod(truth[..., 0] != 0, axis=1).astype(bool)
  gradient, _ = gradient_and_parts(
    jnp.asarray(golden["x"].transpose(0, 3, 4, 1, 2)),  # (B, Y, X, A, F)
    jnp.asarray(box.cxcywh_to_xyxy(truth[..., :4])),
    jnp.asarray(truth[..., 4].astype(np.int32)),
    jnp.asarray(mask),
    priors=jnp.asarray(golden["anchors"]),
    class_error=losses.softmax_error if hyper[0] else losses.logistic_error,
    weights=losses.Weights(hyper[5], hyper[6], hyper[7], hyper[8]),
    ignore_iou=hyper[4],
    small_box_weight=era == "grad",
    prior_pull=0.01 if golden["seen"] < 12800 else 0.0,
    rescore=bool(hyper[2]),
    match_predicted_shape=not hyper[1],
    location="direct",
  )
  descent = -gradient.transpose(0, 3, 4, 1, 2)
  largest = np.abs(golden[era]).max()
  np.testing.assert_allclose(descent, golden[era], rtol=0, atol=1e-4 * largest)


def test_all_cases_are_there():
  # 29 less 9 with a tree and 1 with a background class; 2 of them logistic.
  eras = [key.split("/")[1] for key in GOLDEN]
  assert (eras.count("grad"), eras.count("grad_2017")) == (19, 17)


def picture(seed=0, truths=4, classes=3, rows=3, cols=4, priors=2):
  rng = np.random.default_rng(seed)
  raw = rng.normal(0, 1, (rows, cols, priors, 5 + classes)).astype(np.float32)
  low = rng.uniform(0, 0.6, (truths, 2))
  boxes = np.concatenate([low, low + rng.uniform(0.1, 0.4, (truths, 2))], 1)
  return (
    jnp.asarray(raw),
    jnp.asarray(boxes.astype(np.float32)),
    jnp.asarray(rng.integers(0, classes, truths).astype(np.int32)),
    jnp.ones(truths, bool),
    jnp.asarray([[0.5, 0.7], [2.0, 1.5]], jnp.float32),
  )


def test_one_truth_by_hand():
  """A 1 x 1 grid, prior 1 x 1, all logits 0, one truth (.5, .5, .5, 1).

  Every sigmoid is 1/2, so the decoded box is the whole picture and t_xy is
  right. t_w should be ln 1/2 and t_h 0: coord = 1/2 (ln 2)^2. The boxes share
  1/2 of the larger one: objectness = 5/2 (1/2 - 1/2)^2 = 0. Two classes at
  equal logits: label = ln 2. The only slot is taken: no background.
  """
  parts = detection_loss(
    jnp.zeros((1, 1, 1, 7)),
    jnp.array([[0.25, 0.0, 0.75, 1.0]]),
    jnp.array([1]),
    jnp.array([True]),
    priors=jnp.ones((1, 2)),
    **PAPER,
  )
  expected = {
    "coord": np.log(2) ** 2 / 2,
    "objectness": 0.0,
    "background": 0.0,
    "label": np.log(2),
    "prior_pull": 0.0,
  }
  assert parts.keys() == expected.keys()
  for name, value in expected.items():
    np.testing.assert_allclose(parts[name], value, atol=1e-6, err_msg=name)
  # 2 - w h = 1.5 weighs the box error alone.
  weighed = detection_loss(
    jnp.zeros((1, 1, 1, 7)),
    jnp.array([[0.25, 0.0, 0.75, 1.0]]),
    jnp.array([1]),
    jnp.array([True]),
    priors=jnp.ones((1, 2)),
    **{**PAPER, "small_box_weight": True},
  )
  np.testing.assert_allclose(weighed["coord"], 1.5 * expected["coord"])


def test_decode_by_hand():
  # Cell (row 1, col 0) of a 2 x 2 grid, prior 1 x 2 cells, logits 0: the centre
  # is (.5, 1.5) cells, the size (1, 2) cells.
  boxes = losses.decode(
    jnp.zeros((2, 2, 1, 6)), jnp.array([[1.0, 2.0]]), location="direct"
  )
  np.testing.assert_allclose(boxes[1, 0, 0], [0, 0.25, 0.5, 1.25])


@pytest.mark.parametrize("error", [losses.softmax_error, losses.logistic_error])
def test_no_truths_gives_background_only_and_finite_gradients(error):
  raw, boxes, labels, mask, priors = picture()
  options = {**PAPER, "class_error": error, "prior_pull": 0.01}
  for padding in (boxes, jnp.zeros_like(boxes), boxes * 1e6):
    gradient, parts = gradient_and_parts(
      raw[None],
      padding[None],
      labels[None],
      jnp.zeros_like(mask)[None],
      priors=priors,
      **options,
    )
    assert np.isfinite(gradient).all()
    assert parts["coord"] == parts["objectness"] == parts["label"] == 0
    expected = np.sum(1 / (1 + np.exp(-raw[..., 4])) ** 2) / 2
    np.testing.assert_allclose(parts["background"], expected, rtol=1e-6)


def test_padding_and_order_do_not_matter():
  raw, _, labels, mask, priors = picture(seed=3)
  corner = jnp.array([[0.1, 0.1], [0.6, 0.1], [0.1, 0.7], [0.6, 0.7]])
  boxes = jnp.concatenate([corner, corner + 0.2], axis=1)  # a slot each
  parts = detection_loss(raw, boxes, labels, mask, priors=priors, **PAPER)
  order = jnp.array([2, 0, 3, 1])
  pad = ((0, 3), (0, 0))
  again = detection_loss(
    raw,
    jnp.pad(boxes[order], pad, constant_values=0.3),
    jnp.pad(labels[order], pad[0], constant_values=2),
    jnp.pad(mask[order], pad[0]),
    priors=priors,
    **PAPER,
  )
  for name in parts:
    np.testing.assert_allclose(parts[name], again[name], rtol=1e-6)


def test_the_later_of_two_truths_in_a_slot_keeps_it():
  raw, _, _, mask, priors = picture(truths=2)
  boxes = jnp.array([[0.1, 0.1, 0.2, 0.2], [0.11, 0.11, 0.19, 0.19]])
  labels = jnp.array([0, 2])
  both = detection_loss(raw, boxes, labels, mask, priors=priors, **PAPER)
  later = jnp.array([False, True])
  one = detection_loss(raw, boxes, labels, later, priors=priors, **PAPER)
  for name in ("coord", "objectness", "label"):
    np.testing.assert_allclose(both[name], one[name], err_msg=name)


def test_a_truth_on_the_far_edge_belongs_to_the_last_cell():
  shapes = jnp.ones((2, 3, 1, 2))
  slot = losses.assign(jnp.array([[1.0, 1.0, 0.1, 0.1]]), shapes)
  assert slot[0] == 1 * 3 + 2


def test_classes_cost_grows_with_objects_not_slots():
  """No array of slots x classes is made on the way, apart from raw itself."""
  classes = 1000
  raw = jax.ShapeDtypeStruct((7, 7, 3, 5 + classes), jnp.float32)

  def total(raw):
    parts = losses.detection_loss(
      raw,
      jnp.zeros((4, 4)),
      jnp.zeros(4, jnp.int32),
      jnp.ones(4, bool),
      priors=jnp.ones((3, 2)),
      **PAPER,
    )
    return sum(parts.values())

  def computed(jaxpr):
    for equation in jaxpr.eqns:
      inner = [p for p in equation.params.values() if hasattr(p, "jaxpr")]
      for value in inner:
        yield from computed(value.jaxpr)
      if not inner:
        yield equation

  big = {
    equation.primitive.name
    for equation in computed(jax.make_jaxpr(total)(raw).jaxpr)
    for out in equation.outvars
    if out.aval.size >= 7 * 7 * 3 * classes
  }
  assert big <= {"reshape"}  # of raw, which moves nothing


def test_static_mistakes_are_errors():
  raw, boxes, labels, mask, priors = picture()
  unchecked = inspect.unwrap(losses.detection_loss)  # by the tests' shapes
  with pytest.raises(ValueError, match="same A"):
    unchecked(raw, boxes, labels, mask, priors=jnp.ones((3, 2)), **PAPER)
  with pytest.raises(ValueError, match="at least one class"):
    unchecked(raw[..., :5], boxes, labels, mask, priors=priors, **PAPER)


def test_losses_need_jax_and_numpy_alone():
  """They are taken into other code: no flax, optax, jaxtyping or cv2."""
  code = """
import sys
for name in ("flax", "optax", "orbax", "grain", "ml_collections", "absl",
             "jaxtyping", "cv2", "matplotlib", "tqdm", "defusedxml"):
  sys.modules[name] = None
from yolo9000 import losses
print(losses.Weights(1, 5, 1, 1))
"""
  done = subprocess.run([sys.executable, "-c", code], capture_output=True)
  assert done.returncode == 0, done.stderr.decode()


def test_offsets_are_of_the_anchor_box_and_may_leave_the_cell():
  """t = (2, -1) of a 1 x 2 box: its centre moves 2 right and 2 up."""
  raw = jnp.zeros((2, 2, 1, 6)).at[1, 0, 0, :2].set(jnp.array([2.0, -1.0]))
  boxes = losses.decode(raw, jnp.array([[1.0, 2.0]]), location="offset")
  # Cell (row 1, col 0), centre (.5, 1.5) cells: now (2.5, -.5) of 2 cells.
  np.testing.assert_allclose(boxes[1, 0, 0], [1.0, -0.75, 1.5, 0.25])
  np.testing.assert_allclose(boxes[0, 0, 0], [0.0, -0.25, 0.5, 0.75])


@pytest.mark.parametrize("location", losses.detection.LOCATIONS)
def test_a_slot_that_says_the_truth_has_no_coordinate_error(location):
  truth = jnp.array([[0.30, 0.55, 0.70, 0.85]])  # centre (.5, .7): cell (2, 1)
  priors = jnp.array([[1.0, 2.0], [2.0, 1.0]])
  offset, prior = jnp.array([1.5 - 1, 2.1 - 2]), priors[1]  # of 3 x 3 cells
  if location == "direct":
    t_xy = jnp.log(offset / (1 - offset))
  else:
    t_xy = (offset - 0.5) / prior
  t_wh = jnp.log(jnp.array([0.4, 0.3]) * 3 / prior)
  said = jnp.concatenate([t_xy, t_wh])
  raw = jnp.zeros((3, 3, 2, 7)).at[2, 1, 1, :4].set(said)
  decoded = losses.decode(raw, priors, location=location)[2, 1, 1]
  np.testing.assert_allclose(decoded, truth[0], atol=1e-6)
  options = {**PAPER, "location": location}
  one = jnp.zeros(1, jnp.int32), jnp.ones(1, bool)
  parts = detection_loss(raw, truth, *one, priors=priors, **options)
  assert parts["coord"] < 1e-10
  moved = raw.at[2, 1, 1, 0].add(0.1)
  parts = detection_loss(moved, truth, *one, priors=priors, **options)
  assert parts["coord"] > 1e-5


def test_an_unknown_location_names_the_allowed():
  unchecked = inspect.unwrap(losses.detection_loss)
  options = {**PAPER, "location": "corner"}
  with pytest.raises(ValueError, match="'corner'; allowed are direct, offset"):
    unchecked(
      jnp.zeros((2, 2, 1, 6)),
      *(jnp.zeros((1, 4)), jnp.zeros(1, jnp.int32), jnp.ones(1, bool)),
      priors=jnp.ones((1, 2)),
      **options,
    )
