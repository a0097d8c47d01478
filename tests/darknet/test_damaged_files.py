"""Files with any bytes in them: a message or a result, never more."""

import random
import tracemalloc

import cv2
import numpy as np
import pytest

from yolo9000.darknet.cfg import read_cfg
from yolo9000.darknet.text import read_data, read_map, read_names
from yolo9000.darknet.weights import read_weights
from yolo9000.data.disk import DataError
from yolo9000.data.images import decode_picture
from yolo9000.files import FileError
from yolo9000.wordtree.files import read_tree

CFG = """\
# a detector
[net]
width = 64
height= 96
channels=3

[convolutional]
batch_normalize=1
filters=4
size=3
pad=1
activation=leaky

[maxpool]
size=32
stride=32

[convolutional]
filters=14
activation=linear

[region]
anchors = 1.5,2, .5,.75
classes=2
num=2
softmax=1
thresh=.6
"""
TREE = "animal -1\nplant -1\ndog 0\ncat 0\nrose 1\nterrier 2\n"


def write(tmp_path, text, name):
  path = tmp_path / name
  path.write_bytes(text if isinstance(text, bytes) else text.encode())
  return path


def mutated(rng, data):
  """The bytes with a few cut out, doubled, changed or put in."""
  data = bytearray(data)
  for _ in range(rng.randint(1, 4)):
    start = rng.randrange(len(data) + 1)
    end = min(len(data), start + rng.choice((1, 1, 4, 40, 4000)))
    noise = rng.choice(
      (
        *(b"", b"=", b"[", b"\n", b"-1", b",", b"9" * 30, b"1e9", b"\x00"),
        *(rng.randbytes(3), bytes(data[start:end]) * 2),
      )
    )
    data[start:end] = noise
  return bytes(data)


@pytest.fixture
def traced_memory():
  """Bytes that were in use at most, by a function; tracing ends in any case."""
  tracemalloc.start()
  yield lambda: tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()


def test_mutated_and_random_files_give_a_message_or_a_result(
  tmp_path, traced_memory
):
  """Each reader, 100 files: never another exception, nor memory without end."""
  rng = random.Random(0)
  network = read_cfg(write(tmp_path, CFG, "good.cfg"))
  count = 3 * 9 * 4 + 4 * 4 + 14 + 14 * 4
  weights = np.arange(count, dtype="<f4").tobytes()
  header = b"\0\0\0\0\2\0\0\0\0\0\0\0" + bytes(8)
  noise = np.random.default_rng(0).integers(0, 256, (40, 30, 3))
  jpeg, bmp = (
    cv2.imencode(kind, noise.astype(np.uint8))[1].tobytes()
    for kind in (".jpg", ".bmp")
  )
  more = "[net]\nwidth=8\nheight=8\nchannels=3\n[local]\nfilters=2\nsize=3\n"
  more += "pad=1\n[route]\nlayers=-1,0\n[connected]\noutput=6\n[softmax]\n"
  more += f"tree={write(tmp_path, TREE, 'b.tree')}\n"
  readers = {
    "a.cfg": (CFG.encode(), read_cfg),
    "b.cfg": (more.encode(), read_cfg),
    "a.tree": (TREE.encode(), read_tree),
    "a.names": (b"dog\ncat\n", read_names),
    "a.map": (b"3\n1\n2\n", lambda p: read_map(p, num_nodes=4)),
    "a.data": (b"classes=3\nnames = x\n", read_data),
    "a.weights": (
      header + weights,
      lambda p: read_weights(p, network, partial=rng.random() < 0.5),
    ),
    "a.jpg": (jpeg, lambda p: decode_picture(str(p))),
    "a.bmp": (bmp, lambda p: decode_picture(str(p))),
  }
  for name, (good, reader) in readers.items():
    outcomes = set()
    for number in range(100):
      size = rng.randrange(2000)
      data = mutated(rng, good) if number % 3 else rng.randbytes(size)
      path = write(tmp_path, data, name)
      try:
        reader(path)
        outcomes.add("read")
      except (FileError, DataError) as error:
        assert str(error).startswith(str(path))
        outcomes.add("refused")
    assert outcomes == {"read", "refused"}, name
  assert traced_memory() < 50e6


def test_a_text_file_is_no_picture(tmp_path):
  path = write(tmp_path, CFG, "photo.jpg")
  with pytest.raises(DataError, match="not a picture that can be read"):
    decode_picture(str(path))
