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
from yolo9000.data.proposals import Proposals, write
from yolo9000.data.records import Dataset
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


def searched(records, broken=()):
  """A data set whose pictures with these numbers cannot be read."""
  names = [records[number].path for number in broken]

  def read(record):
    if record.path in names:
      raise DataError(f"{record.path}: is cut off")
    return np.zeros((record.height, record.width, 3), np.uint8)

  return Dataset(list(records), ("a",), read, [])


def test_a_search_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
  drawn = shapes.read(Source("shapes", "", "train[:7]"), Flaws(strict=True))
  monkeypatch.setattr(proposals, "PART", 2)
  monkeypatch.setattr(proposals, "felzenszwalb", lambda: blocks)
  path, how, seen = tmp_path / "main.npz", Search(), []
  whole = searched(drawn.records)

  def search(dataset, broken_share=0.0):
    seen.clear()
    read = dataset.read_image
    dataset = dataset._replace(
      read_image=lambda record: seen.append(record.path) or read(record)
    )
    proposals.search(
      *(path, dataset, how), processes=1, broken_share=broken_share
    )
    return np.load(path)["counts"].tolist()

  with pytest.raises(DataError, match="is cut off"):
    search(searched(drawn.records, broken=[5]))
  assert not path.exists() and len(seen) == 6
  counts = search(whole)
  assert len(seen) == 3 and not path.with_suffix(".parts").exists()
  path.unlink()
  assert search(whole) == counts and len(seen) == 7
  # As many as may be broken have none; no more may.
  path.unlink()
  counts[5] = 0
  assert search(searched(drawn.records, broken=[5]), broken_share=0.2) == counts
  path.unlink()
  with pytest.raises(DataError, match="is cut off"):
    search(searched(drawn.records, broken=[3, 5]), broken_share=0.2)


def test_what_cannot_be_used_is_found_before_the_search(tmp_path):
  drawn = shapes.read(Source("shapes", "", "train[:3]"), Flaws(strict=True))
  sets = {"main": drawn, "test": drawn._replace(records=drawn.records[:2])}
  proposals.check(tmp_path, sets, Search())
  one = Proposals([np.float32([[0, 0, 4, 4]])] * 3, str(Search()))
  write(tmp_path / "test.npz", one, drawn.records)
  with pytest.raises(DataError, match=r"test\.npz.*remove it, or give another"):
    proposals.check(tmp_path, sets, Search())
  np.save(tmp_path / "test.npz", np.zeros(3))
  (tmp_path / "test.npz.npy").rename(tmp_path / "test.npz")
  with pytest.raises(DataError, match=r"test\.npz: is no \.npz file"):
    proposals.check(tmp_path, sets, Search())
  write(tmp_path / "test.npz", one, drawn.records)
  arrays = dict(np.load(tmp_path / "test.npz"))
  arrays["counts"] = arrays["counts"].astype(np.float64)
  np.savez(tmp_path / "test.npz", **arrays)
  with pytest.raises(DataError, match="counts is float64"):
    proposals.check(tmp_path, sets | {"test": drawn}, Search())
  (tmp_path / "test.npz").unlink()
  sizeless = drawn.records[0]._replace(width=0, height=0)
  with pytest.raises(DataError, match="has no known size"):
    proposals.check(
      tmp_path, {"main": drawn._replace(records=[sizeless])}, Search()
    )


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
