import jax.numpy as jnp
import numpy as np
import pytest

from yolo9000 import boxes as box


def test_iou_of_a_2x2_and_a_2x3_box_that_share_1x1_is_one_ninth():
  # Areas 4 and 6, shared 1: 1 / (4 + 6 - 1).
  a, b = np.array([0.0, 0, 2, 2]), np.array([1.0, 1, 3, 4])
  np.testing.assert_allclose(box.iou(a, b), 1 / 9)
  np.testing.assert_allclose(box.iou(jnp.array(a), jnp.array(b)), 1 / 9)


@pytest.mark.parametrize(
  ("a", "b", "expected"),
  [
    ([0, 0, 1, 1], [0, 0, 1, 1], 1),  # itself
    ([0, 0, 1, 1], [1, 0, 2, 1], 0),  # touch
    ([0, 0, 1, 1], [2, 2, 3, 3], 0),  # apart
    ([0, 0, 0, 0], [0, 0, 0, 0], 0),  # no area: the program gets nan
    ([0, 0, 4, 4], [1, 1, 3, 3], 0.25),  # inside
  ],
)
def test_iou_literals(a, b, expected):
  got = box.iou(np.array(a, np.float32), np.array(b, np.float32))
  assert got == pytest.approx(expected)


def test_iou_is_symmetric_and_between_0_and_1():
  rng = np.random.default_rng(0)
  a, b = (np.sort(rng.random((2, 50, 2)), axis=0) for _ in "ab")
  a, b = (np.concatenate(list(x), axis=-1) for x in (a, b))
  there, back = box.iou(a[:, None], b[None]), box.iou(b[:, None], a[None])
  np.testing.assert_allclose(there, back.T)
  assert there.min() >= 0 and there.max() <= 1
  np.testing.assert_allclose(box.iou(a, a), 1, rtol=1e-6)


def test_formats_round_trip():
  boxes = np.array([[0.1, 0.2, 0.5, 0.9]], np.float32)
  centred = box.xyxy_to_cxcywh(boxes)
  np.testing.assert_allclose(centred, [[0.3, 0.55, 0.4, 0.7]], rtol=1e-6)
  np.testing.assert_allclose(box.cxcywh_to_xyxy(centred), boxes, rtol=1e-6)


def test_shape_iou_is_the_iou_of_boxes_on_one_centre():
  rng = np.random.default_rng(1)
  a, b = rng.random((2, 20, 2))
  zero = np.zeros((20, 2))
  expected = box.iou(
    box.cxcywh_to_xyxy(np.concatenate([zero, a], 1)),
    box.cxcywh_to_xyxy(np.concatenate([zero, b], 1)),
  )
  np.testing.assert_allclose(box.shape_iou(a, b), expected)


def test_clip_and_area():
  boxes = np.array([[-0.5, 0.2, 0.5, 1.4], [0.6, 0.6, 0.4, 0.8]])
  np.testing.assert_allclose(box.clip(boxes)[0], [0, 0.2, 0.5, 1])
  np.testing.assert_allclose(box.area(box.clip(boxes)), [0.4, 0])
