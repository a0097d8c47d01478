"""YOLOv1's loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from yolo9000 import boxes as box
from yolo9000 import losses, yolov1
from yolo9000.layers import Detection

CASES = (
  *("base", "norescore", "nosqrt", "softmax", "forced", "zero_truths"),
  *("scales", "no_overlap_rmse", "voc_7x7x2", "voc_7x7x3", "negative_wh"),
)


def truths(rows, side):
  """The program's row of each cell as boxes, labels and mask."""
  there, classes = rows[:, 0] > 0, rows[:, 1:-4]
  cell = np.arange(len(rows))
  centre = (rows[:, -4:-2] + np.stack([cell % side, cell // side], 1)) / side
  boxes = np.concatenate([centre, rows[:, -2:]], 1)
  boxes = np.asarray(box.cxcywh_to_xyxy(boxes), np.float32)
  return boxes, classes.argmax(1).astype(np.int32), there


@pytest.mark.parametrize("case", CASES)
def test_gradient_is_the_programs(goldens, case):
  """To 1e-4 of the largest entry; the program of both eras."""
  whole = goldens("detection_train")
  golden = {
    k.split("/")[1]: whole[k] for k in whole if k.startswith(f"{case}/")
  }
  hyper = dict(zip(whole["hyper_names"].tolist(), golden["hyper"], strict=True))
  how = Detection(
    *(int(hyper[name]) for name in ("side", "classes", "n")),
    square_root=bool(hyper["sqrt"]),
    exclusive=bool(hyper["softmax"]),
  )
  weights = losses.Weights(
    *(
      float(hyper[f"{name}_scale"])
      for name in ("coord", "object", "noobject", "class")
    )
  )

  @jax.jit
  @jax.grad
  def gradient(x, boxes, labels, mask):
    parts = yolov1.detection_loss(
      *(x, boxes, labels, mask),
      how=how,
      weights=weights,
      rescore=bool(hyper["rescore"]),
      by_size=bool(hyper["forced"]),
    )
    return sum(parts.values())

  for x, rows, delta in zip(
    golden["x"], golden["truth"], golden["delta"], strict=True
  ):
    found = -gradient(jnp.asarray(x), *truths(rows, how.side))
    error = np.abs(found - delta).max()
    assert error <= 1e-4 * np.abs(golden["delta"]).max()


HOW = Detection(2, 2, 2)
PAPER = dict(
  how=HOW,
  weights=losses.Weights(5.0, 1.0, 0.5, 1.0),
  rescore=True,
  by_size=False,
)


def test_by_hand():
  """The truth is in the last of four cells; its second box is half as sure."""
  output = np.zeros(2 * 2 * (2 + 2 * 5), np.float32)
  classes, confidences, numbers = np.split(output, (8, 16))
  classes.reshape(4, 2)[3] = [0.0, 1.0]
  confidences.reshape(4, 2)[:] = [[0.1, 0], [0, 0], [0, 0], [0.2, 0.5]]
  numbers.reshape(4, 2, 4)[3, 1] = [0.5, 0.5, 0.5, 0.5]  # roots of a quarter
  boxes = np.array([[0.625, 0.625, 0.875, 0.875], [0, 0, 1, 1]], np.float32)
  parts = yolov1.detection_loss(
    jnp.asarray(np.concatenate([classes, confidences, numbers])),
    jnp.asarray(boxes),
    jnp.array([0, 1]),
    jnp.array([True, False]),
    **PAPER,
  )
  np.testing.assert_allclose(parts["coord"], 0, atol=1e-6)
  np.testing.assert_allclose(parts["objectness"], 0.5**2 / 2)
  np.testing.assert_allclose(
    parts["background"], 0.5 * (0.1**2 + 0.2**2) / 2, rtol=1e-6
  )
  np.testing.assert_allclose(parts["label"], 1.0)


def test_of_two_truths_in_a_cell_the_first_is_taught():
  rng = np.random.default_rng(0)
  output = jnp.asarray(rng.normal(size=48), jnp.float32)
  low = np.array([[0.1, 0.1], [0.2, 0.2], [0.6, 0.6]], np.float32)
  boxes = jnp.asarray(np.concatenate([low, low + 0.2], 1))
  labels = jnp.array([0, 1, 1])
  both = yolov1.detection_loss(
    output, boxes, labels, jnp.array([True, True, True]), **PAPER
  )
  one = yolov1.detection_loss(
    output, boxes, labels, jnp.array([True, False, True]), **PAPER
  )
  assert both == one


def test_gradients_are_finite_without_truths():
  boxes, labels, mask = jnp.zeros((3, 4)), jnp.zeros(3, int), jnp.zeros(3, bool)

  def loss(x):
    parts = yolov1.detection_loss(x, boxes, labels, mask, **PAPER)
    return sum(parts.values())

  found = jax.grad(loss)(jnp.ones(48))
  assert np.isfinite(found).all()
  assert not found[:8].any() and not found[16:].any()
