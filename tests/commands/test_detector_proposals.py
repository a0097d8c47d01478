"""Proposals of a detector that looks at them: a data set's own, or searched."""

import numpy as np
import pytest
from support import jittered

from yolo9000 import detector as module
from yolo9000 import evaluate
from yolo9000.data import proposals
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats import shapes
from yolo9000.data.formats.reading import Source
from yolo9000.data.selective_search import Search
from yolo9000.types import Detections

MOST = 6


class Repeats(module.Detector):
  """Says that each proposal is an object."""

  def __init__(self):
    self.class_names, self.resize = ("a",), "stretch"
    self.size, self._search = (64, 64), Search(most=MOST)

    def predict(images, boxes):
      count = boxes.shape[:2]
      seen = (boxes[..., 2:] > boxes[..., :2]).all(-1)
      return Detections(
        boxes, np.ones(count, np.float32), np.zeros(count, np.int32), seen
      )

    self._predict = predict


@pytest.fixture
def drawn(tmp_path):
  """Three pictures with proposals in a file."""
  dataset = shapes.read(Source("shapes", "", "test[:3]"), Flaws(strict=True))
  found = proposals.Proposals(jittered(dataset.records), "by hand")
  proposals.write(tmp_path / "a.npz", found, dataset.records)
  return proposals.attach(dataset, str(tmp_path / "a.npz"), most=MOST)


def test_an_evaluation_takes_those_of_the_data_set(drawn, monkeypatch):
  monkeypatch.setattr(module, "propose", None)  # nothing is searched
  model = evaluate.Model(Repeats(), None, False, False, {})
  found = evaluate._detect(model, drawn, 2, 1)
  for one, record in zip(found, drawn.records, strict=True):
    np.testing.assert_allclose(one.boxes, record.proposals, atol=1e-5)
    assert len(one.boxes) == MOST


def test_a_picture_without_is_searched(monkeypatch):
  box = np.float32([[8, 4, 16, 20]])
  monkeypatch.setattr(module, "propose", lambda *_: box)
  monkeypatch.setattr(module, "felzenszwalb", lambda: None)
  found = Repeats()(np.zeros((32, 32, 3), np.uint8))
  np.testing.assert_allclose(found.boxes_px, box)
