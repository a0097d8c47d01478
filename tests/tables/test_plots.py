"""What the pictures of a run show."""

import numpy as np

from yolo9000.data import drawing
from yolo9000.data.records import Record
from yolo9000.tables import plots
from yolo9000.types import Detections


def test_curves_show_the_parts_of_the_loss_and_the_diagnosis(
  tmp_path, monkeypatch
):
  """A figure that is not known yet is a gap in its line."""
  figures = []
  monkeypatch.setattr(
    plots.Figure, "savefig", lambda self, *_, **__: figures.append(self)
  )
  first = {"recall": 0.0, "overlap": None, "right class": None}
  later = {"recall": 0.5, "overlap": 0.7, "right class": 1.0}
  lines = [
    {"step": 5, "loss": 3.0, "parts": {"coord": 1.0, "label": 2.0}},
    {"step": 5, "VOC07 AP": None, "diagnosis": first},
    {"step": 10, "VOC07 AP": 0.4, "diagnosis": later},
  ]
  plots.curves(tmp_path / "curves.png", lines)
  upper, lower = figures[0].axes
  assert [line.get_label() for line in upper.lines] == [
    "loss",
    "coord",
    "label",
  ]
  drawn = {line.get_label(): line.get_xydata() for line in lower.lines}
  assert drawn.keys() == {"VOC07 AP", "recall", "overlap", "right class"}
  assert drawn["VOC07 AP"].tolist() == [[5, 0], [10, 0.4]]
  assert drawn["overlap"][1].tolist() == [10, 0.7]
  assert drawn["overlap"][0, 1] != drawn["overlap"][0, 1]  # not a number


def test_boxes_of_any_size_are_drawn(tmp_path):
  """What a network of few steps says may be beyond all numbers."""
  picture = np.zeros((24, 32, 3), np.uint8)
  huge = np.float32([[-1e30, 0.2, np.inf, 0.8], [0.1, 0.1, 0.9, np.nan]])
  found = Detections(
    huge, np.float32([1, 1]), np.int32([0, 0]), np.ones(2, bool)
  )
  nothing = np.zeros(0, np.int32)
  record = Record(
    "", 32, 24, np.zeros((0, 4), np.float32), nothing, nothing.astype(bool)
  )
  path = tmp_path / "grid.png"
  plots.picture_grid(path, [picture], [found], [record], ["a"])
  assert path.stat().st_size > 1000
  drawn = drawing.draw(picture, huge * 32, np.array([0, 0]), ["", ""])
  assert drawn.shape == picture.shape and drawn.any()
