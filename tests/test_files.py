"""Text: one reader, whatever wrote the file and whatever reads it."""

import re

import pytest

from yolo9000 import files
from yolo9000.darknet import text
from yolo9000.data import sources
from yolo9000.data.formats import reading
from yolo9000.files import FileError
from yolo9000.wordtree import build, names
from yolo9000.wordtree import files as tree_files
from yolo9000.wordtree.__main__ import main
from yolo9000.wordtree.tree import WordTree

TREE = WordTree(("animal", "dog", "cät"), (-1, 0, 0))
# Each reader with a text and what it makes of it.
READERS = {
  "names": (text.read_names, "dog\ncät\n", ("dog", "cät")),
  "class names": (reading.read_names, "dog\ncät\n", ("dog", "cät")),
  "map": (lambda p: text.read_map(p, num_nodes=3), "0\n2\n", (0, 2)),
  "data": (
    text.read_data,
    "classes=1\nnames=ä\n",
    {"classes": "1", "names": "ä"},
  ),
  "cfg": (
    lambda p: [s.options for s in text.read_sections(p)],
    "[net]\nwidth=32\n# ä\n[softmax]\ntree=ä\n",
    [{"width": "32"}, {"tree": "ä"}],
  ),
  "tree": (tree_files.read_tree, "animal -1\ndog 0\ncät 0\n", TREE),
  "table": (
    build.read_csv,
    "child,parent\nanimal,\ndog,animal\ncät,animal\n",
    {"animal": None, "dog": "animal", "cät": "animal"},
  ),
  "check": (
    lambda p: build.check(p)[1],
    "animal -1\ndog 0\ncät 0\n",
    [],
  ),
  "hypernyms": (
    build.read_hypernyms,
    "animal dog\nanimal cät\n",
    {"dog": ("animal",), "cät": ("animal",)},
  ),
  "hierarchy": (
    lambda p: build.read_open_images(p).ids,
    '{"LabelName": "all",\n "Subcategory": [{"LabelName": "cät"},\n'
    '{"LabelName": "b"}]}',
    ("cät", "b"),
  ),
  "words": (
    lambda p: names.read(p, TREE),
    "dog\tdog, hound\ncät\tcät\n",
    {"dog": ("dog", "hound"), "cät": ("cät",)},
  ),
  "map of classes": (
    lambda p: sources.read_map(str(p), ["cät"], ["dog"]),
    "cät,dog\n",
    {"cät": "dog"},
  ),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_text_in_every_encoding(tmp_path, name, encoding, end):
  read, content, expected = READERS[name]
  path = tmp_path / "a.txt"
  path.write_bytes(content.replace("\n", end).encode(encoding))
  assert read(path) == expected
  path.write_bytes(content.rstrip("\n").replace("\n", end).encode(encoding))
  assert read(path) == expected


@pytest.mark.parametrize("name", sorted(READERS.keys() - {"map"}))
@pytest.mark.parametrize("encoding", ["cp1252", "utf-16-le"])
def test_other_encodings_are_named(tmp_path, name, encoding):
  read, content, _ = READERS[name]
  path = tmp_path / "a.txt"
  path.write_bytes(content.encode(encoding))
  with pytest.raises(
    FileError, match=r"a.txt:\d: byte \d+ .0x.+looks like"
  ) as e:
    read(path)
  looks = {"cp1252": "Windows-1252 or Latin-1", "utf-16-le": "UTF-16 LE"}
  assert f"looks like {looks[encoding]}" in str(e.value)


@pytest.mark.parametrize(
  ("content", "encoding", "looks"),
  [
    ("hund\nkätzchen\n", "cp1252", "Windows-1252 or Latin-1"),
    ("苹果\n香蕉\n", "gbk", "GB2312 or GBK"),
    ("яблоко\nбанан\n", "cp1251", "Windows-1251"),
    ("cat\ndog\n", "utf-16-be", "UTF-16 BE without a byte order mark"),
  ],
)
def test_the_likely_encoding(content, encoding, looks):
  with pytest.raises(FileError, match=f"looks like {looks}; save it as UTF-8"):
    files.decode(content.encode(encoding), "a.txt")


def test_lines_and_bytes_are_counted_in_the_file():
  with pytest.raises(
    FileError, match=r"a:3: byte 10 .0xe9. is not UTF-8, as its"
  ):
    files.decode(b"\xef\xbb\xbfab\r\nc\r\n\xe9t\xe9\r\n", "a")
  with pytest.raises(FileError, match="not UTF-16-LE, as its byte order mark"):
    files.decode(b"\xff\xfea\0b", "a")
  with pytest.raises(FileError, match="a:1: byte 0 .*; expected a text file"):
    files.decode(bytes(range(128, 256)) + b"a\0", "a")
  assert files.decode("a\u2028b\x0bc\x85".encode(), "a") == "a\u2028b\x0bc\x85"
  assert files.decode(b"", "a") == files.decode(b"\xff\xfe", "a") == ""


@pytest.mark.parametrize(
  "head", ["child,parent", "Child,Parent", "name,parent_id", "id;parent", ""]
)
def test_heads_and_separators_of_a_table(tmp_path, head, capsys):
  separator = ";" if ";" in head else ","
  rows = [head] if head else []
  rows += ["animal,".replace(",", separator), "", "dog , animal", " ,"]
  path = tmp_path / "t.csv"
  path.write_text("\n".join(rows).replace(",", separator) + "\n")
  assert build.read_csv(path) == {"animal": None, "dog": "animal"}
  # A node that is called so is no head.
  path.write_text("parents,\nmother,parents\n")
  assert build.read_csv(path) == {"parents": None, "mother": "parents"}
  path.write_text("mother,parents\nfather,parents\n")
  assert list(build.read_csv(path)) == ["parents", "mother", "father"]


@pytest.mark.parametrize(
  ("line", "message"),
  [
    ("n02 tench, Tinca tinca", "labels.txt:2: label 1 .n02 tench, .*a synset"),
    ("n09", "labels.txt:2: label 1 .n09. has no hypernyms"),
    ("n01", "labels.txt:2: label 1 .n01. is there twice"),
    ("", "labels.txt:2: is blank"),
  ],
)
def test_labels_of_wordnet_name_file_and_line(tmp_path, line, message, capsys):
  (tmp_path / "isa.txt").write_text("n00 n01\nn00 n02\n")
  labels = tmp_path / "labels.txt"
  labels.write_text(f"n01\n{line}\nn02\n")
  words = ["build", "wordnet", str(tmp_path / "isa.txt"), "w.tree"]
  assert main([*words, f"--labels={labels}"]) == 2
  assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize(
  ("table", "message"),
  [
    ("class,superclass\nanimal,\ndog,animal\n", None),
    ("label,hypernym\nanimal,\ndog,animal\n", None),
    (
      "parent,child\nanimal,dog\nplant,tree\n",
      "1: the columns are parent,child",
    ),
    (",\n,\n", "has no node"),
  ],
)
def test_heads_of_a_trees_table(tmp_path, table, message):
  path = tmp_path / "t.CSV"
  path.write_text(table)
  if message is None:
    assert build.read_csv(path) == {"animal": None, "dog": "animal"}
    assert build.check(path)[1] == []
  else:
    with pytest.raises(ValueError, match=message):
      build.read_csv(path)


def test_odd_trees_are_no_crash(tmp_path, capsys):
  path = tmp_path / "h.tree"
  path.write_text("animal --1\ndog 0\n")
  assert main(["check", str(path)]) == 1
  assert (
    "h.tree:1: 'animal --1'; expected: id, number" in capsys.readouterr().out
  )
  path.write_text('{"LabelName": "a", "subcategory": []}')
  with pytest.raises(ValueError, match="'subcategory' is not read; is it Subc"):
    build.read_open_images(path)
