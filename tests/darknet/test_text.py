"""The program's lists: .names, .map and .data."""

import pytest

from yolo9000.darknet.text import (
  read_data,
  read_map,
  read_names,
  write_data,
  write_map,
  write_names,
)
from yolo9000.files import FileError


def test_names_maps_and_data(tmp_path):
  names = ("dog", "traffic light", "naïve")
  write_names(tmp_path / "a.names", names)
  assert read_names(tmp_path / "a.names") == names
  write_map(tmp_path / "a.map", (3, 0, 3))
  assert read_map(tmp_path / "a.map", num_nodes=4) == (3, 0, 3)
  options = {"classes": "80", "names": "data/coco.names"}
  write_data(tmp_path / "a.data", options)
  assert read_data(tmp_path / "a.data") == options
  text = "classes= 80\n#x=1\n\nnames = data/coco.names\r\n"
  (tmp_path / "b.data").write_bytes(text.encode())
  assert read_data(tmp_path / "b.data") == options
  with pytest.raises(FileError, match=r"a.map:1: '3'; .* 0 to 2"):
    read_map(tmp_path / "a.map", num_nodes=3)
  (tmp_path / "a.names").write_text("\n\n")
  with pytest.raises(FileError, match=r"a.names: is empty"):
    read_names(tmp_path / "a.names")
  with pytest.raises(FileError, match="cannot be read: No such file"):
    read_names(tmp_path / "b.names")
  for name in ("", " a", "a\nb"):
    with pytest.raises(ValueError, match="expected one line without blanks"):
      write_names(tmp_path / "a.names", (name,))
  (tmp_path / "b.data").write_text("a=1\nx\n")
  with pytest.raises(FileError, match=r"b.data:2: 'x'; expected key"):
    read_data(tmp_path / "b.data")


def test_the_programs_own_lists(shared, tmp_path):
  folder = shared / "darknet"
  assert len(read_names(folder / "9k.names")) == 9418
  assert read_names(folder / "voc.names")[14] == "person"
  for name, count in (("coco9k.map", 80), ("inet9k.map", 200)):
    nodes = read_map(folder / name, num_nodes=9418)
    write_map(tmp_path / name, nodes)
    assert len(nodes) == count
    assert (tmp_path / name).read_text() == (folder / name).read_text()
  for path in folder.glob("cfg/*.data"):
    assert read_data(path)["names"].startswith("data/")
