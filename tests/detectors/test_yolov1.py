"""YOLOv1: its network, loss and task."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from yolo9000 import boxes as box
from yolo9000 import losses
from yolo9000.darknet.cfg import read_cfg
from yolo9000.data import batches
from yolo9000.detectors import yolov1
from yolo9000.networks import darknet19
from yolo9000.networks.rows import Detection

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


def test_the_network_is_the_programs(shared):
  network = read_cfg(shared / "darknet" / "cfg" / "yolov1.cfg")
  table = darknet19.yolov1(
    outputs=1715, head="local", batch_norm=True, dropout=0.5, width=1.0
  )
  assert network.layers[:-1] == table


TASK = dict(
  class_names=("a", "b"),
  head="connected",
  batch_norm=False,
  dropout=0.5,
  width=1 / 64,
  num_boxes=2,
  side=2,
  square_root=True,
  exclusive=False,
  dtype="float32",
  norm_momentum=0.9,
  norm_epsilon=1e-5,
  norm_axis="",
  program_norm=False,
  weights=dict(coord=5.0, objectness=1.0, background=0.5, label=1.0),
  rescore=True,
  by_size=False,
  clip_gradient=1.0,
  iou_threshold=0.5,
  score_threshold=0.0,
  max_candidates=16,
  max_detections=4,
  metric="VOC07 AP",
  groups={},
  scored_classes=(),
)


@pytest.mark.parametrize("head", ["connected", "local"])
def test_it_learns_two_boxes_on_each_of_four_pictures(libraries_promote, head):
  task = yolov1.make_task(
    **{**TASK, "head": head, "batch_norm": True, "width": 1 / 32}
  )
  variables = jax.jit(task.init, static_argnums=1)(jax.random.key(0), 128)
  rng = np.random.default_rng(0)
  batch = batches.empty_batch(4, size=128, max_objects=2)
  low = rng.uniform(0, 0.5, (4, 2, 2))
  batch = batch._replace(
    image=rng.integers(0, 256, batch.image.shape).astype(np.uint8),
    boxes=np.concatenate([low, low + 0.4], -1).astype(np.float32),
    mask=np.ones((4, 2), bool),
  )
  batch = jax.tree.map(jnp.asarray, batch)
  tx = optax.adam(1e-3)

  @jax.jit
  def step(params, state, seen):
    def loss(params):
      found = task.loss({**variables, "params": params}, batch, seen)
      return found[0], found[1][1]

    (value, parts), grads = jax.value_and_grad(loss, has_aux=True)(params)
    updates, state = tx.update(grads, state)
    return optax.apply_updates(params, updates), state, value, parts

  params, state, values = variables["params"], None, []
  state = tx.init(params)
  for number in range(30):
    seen = jnp.asarray(4 * (number + 1))
    before = (params, state, seen)
    params, state, value, parts = step(*before)
    values.append(float(value))
    np.testing.assert_allclose(value, sum(parts.values()), rtol=1e-5)
  assert np.mean(values[-4:]) < 0.7 * np.mean(values[:2])
  # Dropout: the same for the same pictures, another for the next.
  assert step(*before)[2] == value != step(*before[:2], seen + 4)[2]
  found = task.predict(variables, batch.image)
  assert found.boxes.shape == (4, 4, 4)


def test_no_error_of_an_output_is_beyond_the_clip():
  gradient = jax.grad(lambda x: jnp.sum(5 * yolov1.clipped(x, 2.0) ** 2))
  np.testing.assert_allclose(
    gradient(jnp.array([0.1, 3.0, -3.0])), [1.0, 2.0, -2.0], rtol=1e-6
  )


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"head": "none"}, "head is 'none'; allowed are connected, local"),
    ({"metric": "mAP"}, "metric is 'mAP'; allowed are VOC07 AP"),
    ({"side": 3}, "image size 128 with 3 cells a side; expected 192"),
  ],
)
def test_what_cannot_be_says_what_can(changes, message):
  with pytest.raises(ValueError, match=message):
    yolov1.make_task(**{**TASK, **changes}).init(jax.random.key(0), 128)
