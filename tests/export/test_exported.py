"""Exported files detect what predict does, in every engine that reads them."""

import importlib.util
import json
import subprocess
import sys

import jax
import numpy as np
import onnx
import onnxruntime
import pytest
from support import SHORT

from yolo9000.boxes.proposals import Amounts
from yolo9000.detectors import (
  cascade_rcnn,
  classifier,
  dsod,
  dssd,
  faster_rcnn,
  fssd,
  m2det,
  mask_rcnn,
  refinedet,
  retinanet,
  rfbnet,
  rfcn,
  ssd,
  yolo9000,
  yolov1,
  yolov2,
  yolov3,
)
from yolo9000.export import engines, shipped, stablehlo
from yolo9000.export import onnx as writer
from yolo9000.files import FileError
from yolo9000.training.trained import Trained
from yolo9000.wordtree import Classes, WordTree

FLAT = Classes(("a", "b", "c"), None)
TREE = WordTree(("x", "y", "x1", "x2", "y1", "y2"), (-1, -1, 0, 0, 1, 1))
NODES = Classes(TREE.ids, TREE)
PRIORS = ((1.0, 2.0), (3.0, 3.0))


def make_yolov2(detect=None, **network):
  network = yolov2.Network(width=0.25, priors=PRIORS, **network)
  options = yolov2.Options(network, detect=yolov2.Detect(**(detect or {})))
  return yolov2.make_task(options, FLAT), FLAT, (64, 96)


def make_yolo9000(**detect):
  network = yolov2.Network(
    width=0.1, priors=PRIORS, passthrough="bare", classes="tree"
  )
  options = yolo9000.Options(network, detect=yolo9000.Detect(**detect))
  return yolo9000.make_task(options, NODES), NODES, (64, 96)


def make_yolov3(**network):
  network = {"form": "tiny", "priors": yolov3.COCO_TINY, "width": 0.1} | network
  detect = yolov2.Detect(max_candidates=100)
  options = yolov3.Options(yolov3.Network(**network), detect=detect)
  return yolov3.make_task(options, FLAT), FLAT, (64, 96)


def make_yolov1(head):
  options = yolov1.Options(yolov1.Network(width=0.1, head=head, side=2))
  return yolov1.make_task(options, FLAT), FLAT, (128, 128)


def make_retinanet():
  network = retinanet.Network(SHORT, width=0.1, deviation=0.04)
  how = retinanet.Suppression(0.5, 0.05, max_candidates=50, max_detections=40)
  options = retinanet.Options(network, detect=how)
  return retinanet.make_task(options, FLAT), FLAT, (64, 96)


def two_stages(detector, **network):
  """Faster R-CNN, or what extends it, with few proposals."""
  options = detector.Options()
  small = {"backbone": SHORT, "width": 1 / 16, "deviation": 0.05, "bins": 3}
  options = options._replace(
    network=options.network._replace(**{**small, **network}),
    test_proposals=Amounts(40, 20),
    detect=ssd.Suppression(0.5, 0.05, max_candidates=50, max_detections=40),
  )
  return detector.make_task(options, FLAT), FLAT, (64, 96)


def small_boxes(detector, side=64, **network):
  """One of SSD's family, with boxes for pictures of 64 pixels or so."""
  options = detector.Options()
  shapes = options.default_boxes._replace(
    size=side, sides=(10, 20, 30, 50), ratios=((2,),) * 4, steps=()
  )
  options = options._replace(
    network=options.network._replace(width=1 / 16, **network),
    default_boxes=shapes,
    detect=ssd.Suppression(0.5, 0.05, max_candidates=20, max_detections=10),
  )
  return detector.make_task(options, FLAT), FLAT, (side, side)


def make_classifier(classes):
  kind = "softmax" if classes.tree is None else "tree"
  network = classifier.Network(width=0.1, classes=kind)
  options = classifier.Options(network)
  return classifier.make_task(options, classes), classes, (64, 64)


CASES = {
  "classifier": lambda: make_classifier(FLAT),
  "classifier of a tree": lambda: make_classifier(NODES),
  "yolov1": lambda: make_yolov1("connected"),
  "yolov1 local": lambda: make_yolov1("local"),
  "retinanet": make_retinanet,
  "faster_rcnn": lambda: two_stages(faster_rcnn),
  "faster_rcnn vgg": lambda: two_stages(faster_rcnn, backbone=faster_rcnn.VGG),
  "rfcn": lambda: two_stages(rfcn),
  "cascade_rcnn": lambda: two_stages(cascade_rcnn),
  "mask_rcnn": lambda: two_stages(mask_rcnn),
  "refinedet": lambda: small_boxes(refinedet),
  "dssd": lambda: small_boxes(
    dssd,
    backbone=SHORT,
    extras=((2, 2), (2, 2)),
    kernels=(3, 3, 3, 3),
  ),
  "ssd": lambda: small_boxes(ssd, extras=ssd.EXTRAS_300[:2]),
  "fssd": lambda: small_boxes(
    fssd, levels=((512, 3, 1, 1), *((256, 3, 2, 1),) * 3)
  ),
  "rfbnet": lambda: small_boxes(rfbnet, extras=()),
  "dsod": lambda: small_boxes(dsod, blocks=(2, 2, 2, 2), levels=(64, 32)),
  "m2det": lambda: small_boxes(m2det, side=96, modules=2, scales=4, filters=64),
  "yolov2": make_yolov2,
  "yolov2 program": lambda: make_yolov2(
    passthrough="program", program_reorg=True
  ),
  "yolov2 few": lambda: make_yolov2({"max_detections": 3}, location="offset"),
  "yolov2 none": lambda: make_yolov2({"score_threshold": 0.9999}),
  "yolov2 all": lambda: make_yolov2({"score_threshold": 0.0}),
  "yolov2 candidates": lambda: make_yolov2(
    {"score_threshold": 0.01, "max_candidates": 20, "max_detections": 20}
  ),
  "yolov2 agnostic": lambda: make_yolov2(
    {"class_agnostic": True, "classes": ("a", "b")}, classes="logistic"
  ),
  "yolov3 tiny": lambda: make_yolov3(),
  "yolo9000 paths": lambda: make_yolo9000(),
  "yolo9000 cells": lambda: make_yolo9000(max_cells=2, score_threshold=0.1),
  "yolo9000 conditional": lambda: make_yolo9000(walk="conditional"),
  "yolo9000 nodes": lambda: make_yolo9000(walk="none", classes=("x1", "y")),
}


def random_like(variables):
  """Other numbers, so that batch norm's statistics and biases count."""
  rng = np.random.default_rng(0)

  def of(path, x):
    name = jax.tree_util.keystr(path)
    if "'var'" in name or "'scale'" in name:
      return rng.uniform(0.5, 1.5, x.shape).astype(np.float32)
    if "'mean'" in name or "'bias'" in name:
      return rng.normal(0, 0.5, x.shape).astype(np.float32)
    return np.asarray(x)

  return jax.tree_util.tree_map_with_path(of, variables)


def make_trained(task, classes, size):
  """A Trained with random numbers, batch statistics among them."""
  variables = jax.jit(task.init, static_argnums=1)(jax.random.key(0), size)
  return Trained(
    make_task=lambda detect: task,
    detect={},
    variables=random_like(jax.device_get(variables)),
    classes=classes,
    size=size,
    resize="stretch",
    network=None,
    norm_epsilon=1e-5,
    seen=12,
  )


def pictures(size, count):
  """Random pixels, and one picture of broad stripes."""
  rng = np.random.default_rng(count)
  images = rng.integers(0, 256, (count, *size, 3), dtype=np.uint8)
  images[0] = (np.indices(size).sum(0) // 16 % 2 * 200)[..., None]
  return images


def assert_same(found, expected):
  """Detections as sets: those of almost equal scores may change places."""
  expected = jax.device_get(expected)
  assert ("masks" in found) == (expected.masks is not None)
  for n, mask in enumerate(expected.mask):
    count = int(found["count"][n])
    assert count == mask.sum()
    rows = [
      (boxes[n][:count], scores[n][:count], labels[n][:count])
      for boxes, scores, labels in (
        (found["boxes"], found["scores"], found["labels"]),
        (expected.boxes, expected.scores, expected.labels),
      )
    ]
    missing = list(range(count))
    for row, (box, score, label) in enumerate(zip(*rows[0], strict=True)):
      match = [
        m
        for m in missing
        if rows[1][2][m] == label
        and abs(rows[1][1][m] - score) < 1e-4
        and np.allclose(rows[1][0][m], box, rtol=1e-4, atol=1e-4)
      ]
      assert match, (box, score, label)
      if "masks" in found:
        drawn = found["masks"][n][row], expected.masks[n][match[0]]
        np.testing.assert_allclose(*drawn, rtol=1e-3, atol=1e-4)
      missing.remove(match[0])


def check(run, task, variables, sizes):
  predict = jax.jit(task.predict)
  counts = []
  for size in sizes:
    for count in (1, 3):
      images = pictures(size, count)
      found = run(images)
      assert_same(found, predict(variables, images))
      counts += found["count"].tolist()
  return counts


def other_sizes(size, name):
  several = ("yolov2", "yolov3", "yolo9000", "classifier")
  return [size, (96, 64)] if name.startswith(several) else [size]


def onnx_runner(model):
  session = onnxruntime.InferenceSession(model.SerializeToString())

  def run(images):
    names = [output.name for output in session.get_outputs()]
    values = session.run(names, {shipped.INPUT: images})
    return dict(zip(names, values, strict=True))

  return run


@pytest.mark.parametrize("name", CASES)
def test_onnx_runtime_detects_what_predict_does(name):
  task, classes, size = CASES[name]()
  trained = make_trained(task, classes, size)
  model = writer.make(shipped.ship(trained))
  onnx.checker.check_model(model, full_check=True)
  assert (model.ir_version, model.opset_import[0].version) == (8, 18)
  kinds = [node.op_type for node in model.graph.node]
  assert "BatchNormalization" not in kinds  # it is in the convolutions
  sizes = other_sizes(size, name)
  counts = check(onnx_runner(model), task, trained.variables, sizes)
  assert (max(counts) == 0) == (name == "yolov2 none")


@pytest.mark.parametrize("name", CASES)
def test_stablehlo_detects_what_predict_does(name, tmp_path):
  task, classes, size = CASES[name]()
  trained = make_trained(task, classes, size)
  (path,) = stablehlo.write(trained, tmp_path / "a.b")
  exported = engines.read(path)
  assert path.name == "a.b.stablehlo" and exported.classes == classes
  check(exported.run, task, trained.variables, other_sizes(size, name))
  # JAX alone reads it as well.
  alone = jax.export.deserialize(bytearray(path.read_bytes()))
  assert alone.platforms == ("cpu", "cuda", "tpu")


OPENVINO = """
import sys
import numpy as np
import openvino
folder = sys.argv[1]
exact = {"INFERENCE_PRECISION_HINT": "f32"}
run = openvino.Core().compile_model(folder + "/a.onnx", "CPU", exact)
found = run(np.load(folder + "/images.npy"))
names = ("boxes", "scores", "labels", "count")
np.savez(folder + "/found.npz", **{name: found[name] for name in names})
"""


@pytest.mark.skipif(
  importlib.util.find_spec("openvino") is None, reason="needs openvino"
)
@pytest.mark.parametrize(
  "name", ["yolov1 local", "yolov2 program", "yolo9000 cells"]
)
def test_openvino_reads_it(name, tmp_path):
  task, classes, size = CASES[name]()
  trained = make_trained(task, classes, size)
  (path,) = writer.write(trained, tmp_path / "a")

  def run(images):
    np.save(tmp_path / "images.npy", images)
    # In a process of its own, because importing openvino forks.
    subprocess.run([sys.executable, "-c", OPENVINO, str(tmp_path)], check=True)
    with np.load(tmp_path / "found.npz") as found:
      return dict(found)

  check(run, task, trained.variables, [size])


def test_bfloat16_is_computed_as_float32(libraries_promote):
  task, classes, size = make_yolov2(dtype="bfloat16")
  trained = make_trained(task, classes, size)
  model = writer.make(shipped.ship(trained))
  kinds = {one.data_type for one in model.graph.initializer}
  assert onnx.TensorProto.BFLOAT16 not in kinds
  # The slope .1 of the leaky units is rounded in the traced program, so this
  # is not equal to the network in float32.
  exact, _, _ = make_yolov2()
  images = pictures(size, 3)
  found = onnx_runner(model)(images)
  expected = jax.jit(exact.predict)(trained.variables, images)
  np.testing.assert_allclose(
    found["scores"][:, 0], expected.scores[:, 0], atol=0.02
  )


def test_the_description_is_inside(tmp_path):
  task, classes, size = make_yolo9000()
  trained = make_trained(task, classes, size)
  trained = trained._replace(
    detect={"score_threshold": 0.5, "max_detections": 100}
  )
  for ending, write in (
    (".onnx", writer.write),
    (".stablehlo", stablehlo.write),
  ):
    (path,) = write(trained, tmp_path / f"x{ending}", score_threshold=0.25)
    assert path == tmp_path / f"x{ending}"
    found = engines.read(path)
    assert found.classes == NODES and found.size == (64, 96)
    assert found.resize == "stretch" and found.steps == (32, 32)
    assert found.detect == {"score_threshold": 0.25, "max_detections": 100}
    with pytest.raises(ValueError, match="takes a multiple of 32 for the side"):
      found.check_size((64, 100))
  texts = onnx.load(tmp_path / "x.onnx").metadata_props
  texts = {one.key: json.loads(one.value) for one in texts}
  assert set(texts) == {
    *("form", "names", "tree", "size", "steps", "resize", "detect", "seen"),
    *("learns_from", "masks", "commit"),
  }
  assert texts["tree"]["parents"] == list(TREE.parents)


def test_foreign_and_damaged_files(tmp_path):
  with pytest.raises(FileError, match="ends with .onnx, .stablehlo"):
    engines.read(tmp_path / "a.pt")
  for ending in (".onnx", ".stablehlo"):
    path = tmp_path / f"a{ending}"
    with pytest.raises(FileError, match="cannot be read"):
      engines.read(path)
    path.write_bytes(b"no network" * 20)
    with pytest.raises(FileError, match=f"a{ending}: "):
      engines.read(path)
  model = writer.make(shipped.ship(make_trained(*make_yolov2())))
  del model.metadata_props[:]
  model.metadata_props.add(key="names", value="{0: 'cat'}")
  (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
  with pytest.raises(FileError, match="not written by this package"):
    engines.read(tmp_path / "a.onnx")


def test_stricter_options_of_a_file():
  task, classes, size = make_yolov2({"score_threshold": 0.01})
  own = {"score_threshold": 0.01, "max_detections": 100, "iou_threshold": 0.45}
  trained = make_trained(task, classes, size)._replace(detect=own)
  exported = engines.of_trained(trained, size, {})
  images = pictures(size, 3)
  every = exported.predict(own)(images)
  some = exported.predict({"score_threshold": 0.5, "max_detections": 2})(images)
  assert every.mask.sum() > some.mask.sum() > 0
  expected = every.mask & (every.scores > 0.5)
  for n in range(3):
    assert (
      np.flatnonzero(some.mask[n]) == np.flatnonzero(expected[n])[:2]
    ).all()
  for name, value in (
    *(("score_threshold", 0.005), ("max_detections", 200)),
    *(("iou_threshold", 0.5), ("walk", "none")),
  ):
    with pytest.raises(ValueError, match=f"was exported with {name}"):
      exported.predict({name: value})
