"""The tables of the published networks, against the papers and the program."""

from functools import partial

import jax
import jax.numpy as jnp
import pytest

from yolo9000.boxes import priors
from yolo9000.darknet.cfg import read_cfg
from yolo9000.detectors import classifier, yolov2
from yolo9000.networks.chain import Chain
from yolo9000.networks.rows import Conv, Route
from yolo9000.networks.shapes import operations
from yolo9000.wordtree import Classes


def names(count):
  return Classes(tuple(f"class {n}" for n in range(count)))


def imagenet(backbone):
  network = classifier.Network(backbone=backbone)
  return classifier.network_rows(classifier.Options(network), names(1000))


def detector(classes=20, **network):
  how = yolov2.Network(**{"priors": priors.VOC, **network})
  return yolov2.network_rows(yolov2.Options(how), names(classes))


def shapes_of(layers, image):
  """Variables and output, without computing them."""
  init = partial(Chain(layers).init_with_output, train=False)
  image = jax.ShapeDtypeStruct(image, jnp.float32)
  return jax.eval_shape(init, jax.random.key(0), image)


@pytest.mark.parametrize(
  ("layers", "floats"),
  [
    (imagenet("darknet19"), 20_856_776),
    (detector(), 67_158_109),
    (detector(classes=80), 67_465_609),
    (detector(passthrough="program"), 50_676_061),
    (detector(passthrough="program", classes=80), 50_983_561),
  ],
  ids=["darknet19", "voc 2017", "coco 2017", "voc", "coco"],
)
def test_they_have_as_many_numbers_as_the_programs_files(layers, floats):
  """The sizes of the released .weights files, less their headers.

  These hold parameters and batch statistics.
  """
  _, variables = shapes_of(layers, (1, 64, 64, 3))
  assert sum(x.size for x in jax.tree.leaves(variables)) == floats


def test_darknet19_is_table_6():
  rows = imagenet("darknet19")
  written = [
    f"{r.filters} {r.size}x{r.size}"
    if isinstance(r, Conv)
    else type(r).__name__
    for r in rows
  ]
  assert written == (
    "32 3x3,MaxPool,64 3x3,MaxPool,128 3x3,64 1x1,128 3x3,MaxPool,256 3x3,"
    "128 1x1,256 3x3,MaxPool,512 3x3,256 1x1,512 3x3,256 1x1,512 3x3,MaxPool,"
    "1024 3x3,512 1x1,1024 3x3,512 1x1,1024 3x3,1000 1x1,AveragePool,Softmax"
  ).split(",")


@pytest.mark.parametrize("passthrough", ["none", "paper", "program", "bare"])
@pytest.mark.parametrize("size", [(96, 96), (64, 160)])
def test_output_is_a_grid_of_32_pixel_cells(passthrough, size):
  layers = detector(classes=1, passthrough=passthrough, width=1 / 16)
  output, _ = shapes_of(layers, (2, *size, 3))
  assert output.shape == (2, size[0] // 32, size[1] // 32, 30)


def test_width_leaves_the_outputs_alone():
  filters = [r.filters for r in detector(width=0.25) if isinstance(r, Conv)]
  assert filters[0] == 8 and filters[-2] == 256 and filters[-1] == 125


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (
      {"passthrough": "v3"},
      "'v3'; allowed with backbone 'darknet19' are none, paper, program, bare",
    ),
    (
      {"backbone": "extraction"},
      "'paper'; allowed with backbone 'extraction' are none",
    ),
    (
      {"backbone": "vgg", "passthrough": "none"},
      "backbone is 'vgg'; allowed are darknet19, extraction",
    ),
    ({"width": 0.0}, "width is 0.0; it must be above 0"),
    ({"location": "middle"}, "'middle'; allowed are direct, offset"),
    ({"classes": "tree"}, "'tree'; allowed are 'softmax' and 'logistic'"),
  ],
)
def test_what_cannot_be_says_what_can(changes, message):
  options = yolov2.Options(
    yolov2.Network(priors=priors.VOC)._replace(**changes)
  )
  with pytest.raises(ValueError, match=message):
    yolov2.network_rows(options, names(20))


@pytest.mark.parametrize(
  ("backbone", "billions"), [("darknet19", 5.58), ("extraction", 8.52)]
)
def test_classifiers_have_the_papers_number_of_operations(backbone, billions):
  """At 224; the paper's section 3 and the text after Table 2."""
  count = operations(imagenet(backbone), (224, 224, 3))
  assert round(count / 1e9, 2) == billions


def test_they_are_the_programs_files(shared):
  """No second definition: a cfg and our tables give the same rows."""

  def of(name):
    return read_cfg(shared / "darknet" / name).layers

  cfg = of("cfg/yolov2-voc.cfg")
  ours = detector(passthrough="program", program_reorg=True)
  resolved = [
    Route(tuple(n if n >= -1 else n + i for n in row.layers))
    if isinstance(row, Route)
    else row
    for i, row in enumerate(cfg)
  ]
  assert tuple(resolved[:25]) == ours[:25] and len(cfg) == len(ours)
  assert [type(r) for r in cfg] == [type(r) for r in ours]
  assert cfg[26] == ours[26] and cfg[27] == ours[27] and cfg[29:] == ours[29:]
  assert of("cfg/darknet19.cfg") == imagenet("darknet19")
