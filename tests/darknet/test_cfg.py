"""A .cfg: what is read, what is written, what is refused."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import pytest

from yolo9000.darknet.cfg import read_cfg, write_cfg
from yolo9000.darknet.text import read_sections, write_sections
from yolo9000.files import FileError
from yolo9000.networks import rows
from yolo9000.networks.chain import Chain
from yolo9000.networks.rows import Network
from yolo9000.networks.shapes import output_shapes

CFG = """\
# a detector
[net]
batch=1
width = 64
height= 96
channels=3

[convolutional]
batch_normalize=1
filters=4
size=3
stride=1
pad=1
activation=leaky

[maxpool]
size=32
stride=32

[convolutional]
filters=14
size=1
activation=linear

[region]
anchors = 1.5,2, .5,.75
classes=2
num=2
softmax=1
thresh=.6
"""
REGION = CFG[CFG.index("[region]") :]
YOLO = "[yolo]\nmask=1\nanchors=10,13,16,30\nclasses=2\nnum=2\n"


def write(tmp_path, text):
  path = tmp_path / "net.cfg"
  path.write_bytes(text if isinstance(text, bytes) else text.encode())
  return path


def expected():
  return Network(
    (
      rows.Conv(4, 3),
      rows.MaxPool(32, 32),
      rows.Conv(14, 1, batch_norm=False, activation="linear"),
      rows.Region(((1.5, 2.0), (0.5, 0.75)), 2),
    ),
    (96, 64, 3),
  )


@pytest.mark.parametrize(
  "change",
  [
    lambda text: text,
    lambda text: text.replace("\n", "\r\n"),
    lambda text: text.replace("filters=4\n", "filters=4\nfilters=7\n"),
    lambda text: text.replace("width = 64", "width=64#pixels"),
    lambda text: text.replace("[net]", "[network]").replace("[max", " [max"),
    lambda text: text.replace("[maxpool]", "[max]") + "; end",
    lambda text: text.replace("=1.5", "=\t1.5").replace("stride=1\n", ""),
  ],
  ids=["plain", "CRLF", "first counts", "comment", "blank", "alias", "default"],
)
def test_cfg_by_hand(tmp_path, change):
  assert read_cfg(write(tmp_path, change(CFG))) == expected()


def test_the_programs_defaults(tmp_path):
  text = "[net]\nwidth=8\nheight=8\nchannels=3\n[conv]\n[max]\n[drop"
  path = write(tmp_path, text.replace("[drop", "[dropout]\n"))
  assert read_cfg(path).layers == (
    rows.Conv(1, 1, batch_norm=False, activation="logistic"),
    rows.MaxPool(1, 1),
    rows.Dropout(0.5),
  )


def test_a_level_by_hand(tmp_path):
  """Its own priors are some of all; without a mask they are all."""
  priors = ((10.0, 13.0), (16.0, 30.0))
  for mask, own, filters in (("mask=1\n", (1,), 7), ("", (0, 1), 14)):
    text = CFG.replace(REGION, YOLO.replace("mask=1\n", mask))
    path = write(tmp_path, text.replace("filters=14", f"filters={filters}"))
    assert read_cfg(path).layers[-1] == rows.Yolo(priors, own, 2)


@pytest.mark.parametrize(
  ("old", "new", "line", "message"),
  [
    ("[maxpool]", "[crnn]", 16, r"section \[crnn\] is not known; allowed are"),
    ("[maxpool]", "[maxpool", 16, r"'\[maxpool'; expected a section"),
    ("thresh=", "tresh=", 30, "tresh=.6; unknown key; did you mean thresh?"),
    ("thresh=.6", "thresh=", 30, "'thresh='; expected key=value"),
    ("thresh=.6", "thresh", 30, "'thresh'; expected key=value"),
    ("filters=4", "filters=many", 10, "expected a number instead of 'many'"),
    ("filters=4", "filters=4.5", 10, "expected a whole number, 1 or more"),
    ("filters=4", "filters=-4", 10, "expected a whole number, 1 or more"),
    ("filters=4", "filters=1e999", 10, "expected a finite number"),
    ("filters=4", "groups=2", 10, "only 1 is supported"),
    ("leaky", "mish", 14, "allowed are leaky, linear, logistic, relu"),
    ("width = 64", "", 2, r"\[net\] has no width; it must be given"),
    ("filters=14", "filters=15", 25, r"needs 2 \* \(5 \+ 2\) = 14 .* gets 15"),
    ("num=2", "num=3", 26, "expected 6 numbers for num=3"),
    ("num=2", "num=2\ncoords=5", 29, "only 4 is supported"),
    ("1.5,2, .5,.75", "48,64, 16,24", 25, "look like pixels; .*1.5, 2"),
    ("1.5,2,", "1.5,,2,", 26, "expected a number instead of ''"),
    ("softmax=1", "tree=no.tree", 29, "it is at none of .*no.tree"),
    ("size=32", "padding=9\nsize=4", 16, "some windows would be empty"),
    ("[maxpool]", "[local]\nsize=5\npad=1\n[max]", 18, "only size=3"),
    ("[maxpool]", "[softmax]\n[max]", 16, "needs a vector, gets a picture"),
    ("[maxpool]", "[softmax]\nspatial=1\n[max]", 17, "only 0 is supported"),
    ("[maxpool]", "[region]\nnum=9999\n[max]", 17, "expected 1000 or less"),
    ("filters=4", "dontload=1", 10, "only 0 is supported"),
    ("softmax=1", "tree=" + "x" * 300, 29, "it is at none of"),
    ("thresh=.6", "[dropout]", 30, "can only be the last row"),
    ("[maxpool]", "[route]\nlayers=-9\n[max]", 16, "there is no layer -9"),
    ("[maxpool]", "[route]\nlayers=0,.5\n[max]", 17, "whole numbers"),
    ("[maxpool]", "[shortcut]\nfrom=-4\n[max]", 16, "there is no layer -4"),
    ("[maxpool]", "[shortcut]\nfrom=0,0\n[max]", 17, "expected one number"),
    ("[maxpool]", "[shortcut]\nfrom=0\nbeta=.5\n[max]", 18, "only 1 is"),
    (
      "[maxpool]",
      "[max]\nstride=2\n[shortcut]\nfrom=0\n[max]",
      18,
      "only equal",
    ),
    ("[maxpool]", "[upsample]\nstride=-2\n[max]", 17, "whole number, 1 or"),
    (REGION, YOLO.replace("1", "2", 1), 25, "own priors are .2,.; .* 0 to 1"),
    (REGION, YOLO, 25, r"needs 1 \* \(5 \+ 2\) = 7 channels, gets 14"),
    (REGION, YOLO.replace("1", ".5", 1), 26, "expected whole numbers"),
    (REGION, YOLO.replace("13", "0"), 25, "must be positive"),
    (REGION, YOLO.replace("num", "max"), 27, "expected 2 numbers for num=1"),
    ("[maxpool]", "[reorg]\nstride=7\n[max]", 16, "no multiple of 7"),
    ("[maxpool]", "[reorg]\nreverse=1\n[max]", 17, "only 0 is supported"),
    ("[maxpool]", "[dropout]\nprobability=1\n[max]", 17, "below 1"),
    ("# a detector", "width=3", 1, r"before the first section, \[net\]"),
  ],
)
def test_a_bad_cfg_names_file_line_and_value(tmp_path, old, new, line, message):
  assert old in CFG
  path = write(tmp_path, CFG.replace(old, new, 1))
  with pytest.raises(FileError, match=message) as error:
    read_cfg(path)
  told = re.match(rf"{re.escape(str(path))}:(\d+): ", str(error.value))
  assert told and int(told[1]) == line


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("", r"first section is none; expected \[net\]"),
    ("[conv]\n", r"first section is \[convolutional\] on line 1"),
    ("[net]\nwidth=1\nheight=1\nchannels=3\n", "has no layers"),
    (b"\xff\xfe[net]", "is not UTF-16-LE, as its byte order mark says"),
  ],
)
def test_what_is_no_cfg(tmp_path, text, message):
  with pytest.raises(FileError, match=message):
    read_cfg(write(tmp_path, text))


@pytest.mark.parametrize(
  ("text", "shapes"),
  [
    ("[avgpool]\n[avgpool]", [(3,), (3,)]),
    ("[connected]\noutput=8\n[reorg]\n[avgpool]", [(8,), (1, 1, 8), (8,)]),
    ("[connected]\noutput=8\n[maxpool]\n[conv]", [(8,), (1, 1, 8), (1, 1, 1)]),
    (
      "[connected]\noutput=6\n[connected]\noutput=2\n[route]\nlayers=-1,0",
      [(6,), (2,), (8,)],
    ),
    (
      "[conv]\nfilters=7\n[avgpool]\n[region]\nclasses=2",
      [(6, 6, 7), (7,), (1, 1, 7)],
    ),
    ("[maxpool]\nsize=5\nstride=1", [(6, 6, 3)]),
    ("[conv]\n[upsample]\nstride=3", [(6, 6, 1), (18, 18, 1)]),
    (
      "[conv]\nfilters=2\n[conv]\nfilters=2\n[shortcut]\nfrom=-2",
      [(6, 6, 2)] * 3,
    ),
    ("[maxpool]\nsize=13\nstride=1", [(6, 6, 3)]),
    ("[maxpool]\nsize=3\nstride=2\npadding=0", [(2, 2, 3)]),
    ("[conv]\nsize=2\npad=1", [(7, 7, 1)]),
    ("[local]\nsize=3\npad=1\nstride=2", [(3, 3, 1)]),
    ("[local]\nsize=3", [(4, 4, 1)]),
    ("[softmax]", None),
  ],
)
def test_whatever_is_read_runs_with_the_shapes_that_it_says(
  tmp_path, text, shapes
):
  text = f"[net]\nwidth=6\nheight=6\nchannels=3\n{text}\n"
  path = write(tmp_path, text)
  if shapes is None:
    with pytest.raises(FileError, match="needs a vector"):
      read_cfg(path)
    return
  network = read_cfg(path)
  assert output_shapes(*network) == shapes
  for count in range(1, len(shapes) + 1):
    net = Chain(network.layers[:count])
    init = partial(net.init_with_output, train=False)
    image = jax.ShapeDtypeStruct((2, 6, 6, 3), jnp.float32)
    found, _ = jax.eval_shape(init, jax.random.key(0), image)
    assert found.shape == (2, *shapes[count - 1])


def test_shapes_that_do_not_fit_name_the_layer(tmp_path):
  text = CFG.replace("[region]", "[route]\nlayers=0,1\n\n[region]")
  path = write(tmp_path, text)
  with pytest.raises(
    FileError, match=r":25: layer 3 \(Route\): .*differ in height"
  ):
    read_cfg(path)


def cfg_files(shared):
  folder = shared / "darknet"
  return sorted([*folder.glob("cfg/*.cfg"), *folder.glob("cfg-2017/**/*.cfg")])


def test_the_programs_own_cfg_files(shared, tmp_path):
  """All are read, and come back from what we write, but two of 2016."""
  num_layers, refused = {}, []
  for path in cfg_files(shared):
    try:
      network = read_cfg(path)
    except FileError as error:
      refused.append(f"{path.name}: {error}")
      continue
    out = tmp_path / "out.cfg"
    write_cfg(out, network)
    assert read_cfg(out) == network, path
    again = tmp_path / "again.cfg"
    write_cfg(again, read_cfg(out))
    text = again.read_text().replace("again.tree", "out.tree")
    assert text == out.read_text()
    sections = read_sections(path)
    write_sections(out, sections)
    assert [s[::2] for s in read_sections(out)] == [s[::2] for s in sections]
    num_layers[f"{path.parent.name}/{path.name}"] = len(network.layers)
  assert len(num_layers) == 25
  assert num_layers["cfg/yolov2.cfg"] == 32
  assert [line.split(":")[0] for line in refused] == [
    *("xyolo.test.cfg", "yolo-small.cfg"),
  ]
  assert "[batchnorm] is not known" in refused[0]
  assert "[crop] is not known" in refused[1]
