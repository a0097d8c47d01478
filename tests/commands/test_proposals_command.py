"""python -m yolo9000.proposals"""

import json

import numpy as np
import pytest
from support import ROOT, run_module

from experiments import base
from yolo9000 import proposals
from yolo9000.data.disk import DataError
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats import shapes
from yolo9000.data.formats.reading import Source
from yolo9000.data.selective_search import Search
from yolo9000.tables import plan


def blocks(image, scale):
  """A stand-in for the first regions: squares of 64 pixels."""
  rows, cols = np.indices(image.shape[:2]) // 64
  return rows * 100 + cols


def test_it_writes_a_file_for_each_data_set_once(tmp_path, monkeypatch):
  monkeypatch.setattr(proposals, "felzenszwalb", lambda: blocks)
  config = plan.with_changes(
    base.detector(),
    {
      "data.train.main.split": "train[:3]",
      "data.test.split": "test[:2]",
      # Not read: it may not be there yet.
      "data.test.proposals": str(tmp_path / "test.npz"),
    }.items(),
  )
  text = proposals.report(config, tmp_path, Search(), 1)
  assert "main, shapes train[:3]" in text and "recall .5" in text
  told = json.loads((tmp_path / "main.json").read_text())
  assert 0 <= told["average_recall"] <= told["recall_50"] <= 1
  assert told["fingerprint"] == str(
    np.load(tmp_path / "main.npz")["fingerprint"]
  )
  assert np.load(tmp_path / "test.npz")["counts"].tolist() > [10, 10]
  monkeypatch.setattr(proposals, "felzenszwalb", None)  # nothing is computed
  assert proposals.report(config, tmp_path, Search(), 1) == text
  with pytest.raises(DataError, match="another --out"):
    proposals.report(config, tmp_path, Search(most=50), 1)


def test_the_command_says_what_is_missing(tmp_path):
  """Without the extra a line names it; with it, the flag."""
  try:
    import skimage  # noqa: F401
  except ImportError:
    expected = "selective search needs skimage"
  else:
    expected = "data.root is empty"
  done = run_module(
    "yolo9000.proposals",
    f"--config={ROOT}/experiments/voc.py",
    cwd=tmp_path,
  )
  assert done.returncode == 2
  assert done.stderr.startswith(f"python -m yolo9000.proposals: {expected}")
  assert done.stderr.count("\n") == 1


def test_processes_find_what_one_finds():
  drawn = shapes.read(Source("shapes", "", "train[:5]"), Flaws(strict=True))
  found = list(proposals.find_all(drawn.records, len, 2))
  assert found == list(proposals.find_all(drawn.records, len, 1))
