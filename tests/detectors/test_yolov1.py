"""YOLO, the first: its network, what it says, that it learns."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from yolo9000.boxes.suppression import Suppression
from yolo9000.darknet.cfg import read_cfg
from yolo9000.data import batches
from yolo9000.detectors import yolov1
from yolo9000.networks.norm import Norm
from yolo9000.networks.rows import Conv, Detection, MaxPool
from yolo9000.types import Step
from yolo9000.wordtree import Classes

VOC = Classes(tuple(f"class {n}" for n in range(20)))


def test_the_network_is_the_programs(shared):
  network = read_cfg(shared / "darknet" / "cfg" / "yolov1.cfg")
  how = yolov1.Network(head="local", batch_norm=True, dropout=0.5, num_boxes=3)
  rows = yolov1.network_rows(yolov1.Options(network=how), VOC)
  assert network.layers == rows


detections = jax.jit(yolov1.detections, static_argnames=("grid", "how"))


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("square_root", [False, True])
def test_detections_by_hand(exclusive, square_root):
  """Two by two cells, two classes, one box in the cell at the lower left."""
  grid = Detection(2, 2, 1, square_root=square_root, exclusive=exclusive)
  classes = np.zeros((4, 2))
  classes[2] = [1.0, 0.0]
  confidences = np.array([0, 0, 0.5, 0])
  numbers = np.zeros((4, 4))
  numbers[2] = [0.5, 0.5, 0.25, 0.5]
  parts = [classes.ravel(), confidences, numbers.ravel()]
  found = detections(
    jnp.asarray(np.concatenate(parts), jnp.float32),
    grid=grid,
    how=Suppression(0.5, 0.3, max_candidates=8, max_detections=1),
  )
  width, height = (0.0625, 0.25) if square_root else (0.25, 0.5)
  expected = [0.25 - width / 2, 0.75 - height / 2]
  expected += [0.25 + width / 2, 0.75 + height / 2]
  np.testing.assert_allclose(found.boxes[0], expected, atol=1e-6)
  assert found.labels[0] == 0
  probability = np.e / (np.e + 1) if exclusive else 1.0
  np.testing.assert_allclose(found.scores[0], 0.5 * probability, rtol=1e-5)


TWO = Classes(("a", "b"))
OPTIONS = yolov1.Options(
  network=yolov1.Network(batch_norm=True, side=2, width=1 / 32),
  norm=Norm(momentum=0.9),
  loss=yolov1.Loss(clip_gradient=1.0),
  detect=Suppression(0.5, 0.0, max_candidates=16, max_detections=4),
)


@pytest.mark.parametrize(("head", "steps"), [("connected", 12), ("local", 30)])
def test_it_learns_two_boxes_on_each_of_four_pictures(
  libraries_promote, head, steps
):
  """The whole network, and below the other head a short one."""
  options = OPTIONS._replace(network=OPTIONS.network._replace(head=head))
  rows = yolov1.network_rows(options, TWO)
  if head == "local":
    short = (Conv(8, 7, stride=4), MaxPool(4, 4), Conv(16, 3), MaxPool(4, 4))
    rows = (*short, *rows[-4:])
  task = yolov1.make_task(options, TWO, rows=rows)
  variables = jax.jit(partial(task.init, size=(128, 128)))(jax.random.key(0))
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
  def step(params, state, where):
    def loss(params):
      found = task.loss({**variables, "params": params}, batch, where)
      return found[0], found[1][1]

    (value, parts), grads = jax.value_and_grad(loss, has_aux=True)(params)
    updates, state = tx.update(grads, state)
    return optax.apply_updates(params, updates), state, value, parts

  params, values = variables["params"], []
  state = jax.jit(tx.init)(params)
  for number in range(steps):
    where = Step(jnp.asarray(4 * (number + 1)), jax.random.key(number))
    before = (params, state, where)
    params, state, value, parts = step(*before)
    values.append(float(value))
    np.testing.assert_allclose(value, sum(parts.values()), rtol=1e-5)
  assert np.mean(values[-4:]) < 0.7 * np.mean(values[:2])
  # Dropout: the same in the same step, another in the next.
  later = where._replace(key=jax.random.key(steps))
  assert step(*before)[2] == value != step(*before[:2], later)[2]
  found = jax.jit(task.predict)(variables, batch.image)
  assert found.boxes.shape == (4, 4, 4)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"head": "none"}, "head is 'none'; allowed are connected, local"),
    ({"dropout": 1.0}, "dropout is 1.0; expected a number in"),
    ({"dtype": "int8"}, "dtype is 'int8'; allowed are float32, bfloat16"),
    ({"num_boxes": 0}, "task.network.num_boxes is 0"),
    ({"side": 0}, "task.network.side is 0"),
    ({"side": 3}, "size 128x128 with 3 cells a side; expected 192x192"),
  ],
)
def test_what_cannot_be_says_what_can(changes, message):
  options = OPTIONS._replace(network=OPTIONS.network._replace(**changes))
  with pytest.raises(ValueError, match=message):
    yolov1.make_task(options, TWO).init(jax.random.key(0), (128, 128))
