"""K-means on box shapes, and the paper's Table 1 and Figure 2."""

import numpy as np
import pytest

from yolo9000.boxes import priors
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats import shapes
from yolo9000.data.formats.reading import Source


def test_average_iou_by_hand():
  # 2x2 against 1x1 is 1/4, against 2x3 it is 4/6; 1x1 against itself is 1.
  boxes = np.array([[2.0, 2.0], [1.0, 1.0]])
  found = priors.average_iou(boxes, np.array([[1.0, 1.0], [2.0, 3.0]]))
  assert found == pytest.approx((4 / 6 + 1) / 2)


def test_kmeans_finds_planted_shapes():
  rng = np.random.default_rng(0)
  planted = np.array([[0.5, 1.5], [2.0, 2.0], [6.0, 3.0]])
  boxes = np.repeat(planted, 50, 0) * rng.uniform(0.9, 1.1, (150, 2))
  found = priors.kmeans(boxes, 3, seed=0)
  np.testing.assert_allclose(found.shapes, planted, rtol=0.05)
  assert found.average_iou == priors.average_iou(boxes, found.shapes) > 0.85


def test_one_prior_is_the_mean_shape():
  boxes = np.random.default_rng(1).uniform(1, 5, (30, 2))
  found = priors.kmeans(boxes, 1, seed=0)
  np.testing.assert_allclose(found.shapes[0], boxes.mean(0))


def test_the_curve_rises_and_the_same_seed_gives_the_same():
  records = shapes.read(
    Source("shapes", "", "train[:100]"), Flaws(strict=True)
  ).records
  boxes = priors.shapes_in_cells(records, image_size=416, resize="stretch")
  curve = priors.curve(boxes)
  values = [p.average_iou for p in curve]
  assert len(values) == 15
  assert np.all(np.diff(values) > -0.005) and values[-1] > values[0] + 0.2
  again = priors.curve(boxes, most=5)
  np.testing.assert_array_equal(again[4].shapes, curve[4].shapes)


def test_too_many_priors_is_an_error():
  with pytest.raises(ValueError, match="3 priors .* 2 different"):
    priors.kmeans(np.array([[1.0, 1.0], [2.0, 2.0], [2.0, 2.0]]), 3, seed=0)


def test_letterboxed_shapes_keep_their_aspect():
  records = shapes.read(
    Source("shapes", "", "tiny"), Flaws(strict=True)
  ).records
  wide = [r._replace(width=2 * r.width) for r in records]
  stretched = priors.shapes_in_cells(wide, image_size=416, resize="stretch")
  kept = priors.shapes_in_cells(wide, image_size=416, resize="letterbox")
  np.testing.assert_allclose(kept[:, 0], stretched[:, 0])
  np.testing.assert_allclose(kept[:, 1] * 2, stretched[:, 1])


def test_table_1_has_the_papers_order_on_shapes():
  """IoU beats SSE at five; five clusters are worth nine anchor boxes."""
  records = shapes.read(
    Source("shapes", "", "train[:300]"), Flaws(strict=True)
  ).records
  boxes = priors.shapes_in_cells(records, image_size=416, resize="stretch")
  sse, five, hand, nine = (row[2] for row in priors.table_1(boxes, cells=13))
  assert sse < five < nine and hand < nine
  assert [row[2] for row in priors.TABLE_1] == [58.7, 61.0, 60.9, 67.2]


def test_sse_clusters_are_the_means_of_what_is_nearest():
  boxes = np.array([[1.0, 1.0], [1.2, 1.0], [8.0, 9.0], [9.0, 8.0]])
  found = priors.kmeans(boxes, 2, seed=0, distance="sse")
  np.testing.assert_allclose(found.shapes, [[1.1, 1.0], [8.5, 8.5]])
  with pytest.raises(ValueError, match="'l1'; allowed are iou, sse"):
    priors.kmeans(boxes, 2, seed=0, distance="l1")


def test_hand_picked_anchor_boxes_are_three_sizes_in_three_shapes():
  anchors = np.array(priors.hand_picked(cells=13))
  areas = np.sqrt(anchors.prod(axis=1)) / 13 * 700
  np.testing.assert_allclose(areas, np.repeat([128, 256, 512], 3), rtol=0.01)
  ratios = anchors[:, 0] / anchors[:, 1]
  np.testing.assert_allclose(ratios, [0.5, 1, 2] * 3, rtol=0.01)
