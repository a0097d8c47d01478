"""YOLO9000 as a task: a tree of classes, boxes and image labels together."""

import functools
import shutil
from pathlib import Path

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import joint_config

from experiments import base
from yolo9000.data import batches
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats import shapes
from yolo9000.data.formats.reading import Source
from yolo9000.files import read_json_lines
from yolo9000.tables import run
from yolo9000.training import build, loop, validation
from yolo9000.training.trained import from_run
from yolo9000.types import Step
from yolo9000.wordtree import WordTree
from yolo9000.wordtree import files as tree_files

pytestmark = pytest.mark.usefixtures("libraries_promote")

NODES, PARENTS = shapes.NODES, shapes.PARENTS


def batch(size=64, labels=(-1, 3, -1, 9)):
  """Four pictures, two of them with a label alone."""
  rng = np.random.default_rng(0)
  made = batches.empty_batch(4, size=size, max_objects=3)
  low = rng.uniform(0, 0.5, (4, 3, 2))
  has_boxes = np.array(labels)[:, None] < 0
  made = made._replace(
    image=rng.integers(0, 256, made.image.shape).astype(np.uint8),
    boxes=np.concatenate([low, low + 0.4], -1).astype(np.float32),
    labels=rng.integers(0, 25, (4, 3)).astype(np.int32),
    mask=np.ones((4, 3), bool) & has_boxes,
    image_label=np.array(labels, np.int32),
  )
  return jax.tree.map(jnp.asarray, made)


def start(task):
  init = jax.jit(task.init, static_argnums=1)
  return init(jax.random.key(0), (64, 64))


def loss_of(task, variables, images, seen=1000):
  return compiled(task.loss)(variables, images, at(seen))


compiled = functools.cache(jax.jit)


def at(seen):
  return Step(jnp.asarray(seen), jax.random.key(0))


def test_each_picture_pays_for_the_labels_it_has():
  task = build.make_task(joint_config())
  variables = start(task)
  images = batch()
  total, (_, parts) = loss_of(task, variables, images)
  assert {"image_label", "image_objectness", "image_background"} < parts.keys()
  np.testing.assert_allclose(total, sum(parts.values()), rtol=1e-6)
  # Boxes of pictures with a label alone, and labels of others, change nothing.
  other = images._replace(
    boxes=jnp.where(images.image_label[:, None, None] < 0, images.boxes, 0.3),
    mask=jnp.ones((4, 3), bool),
  )
  np.testing.assert_allclose(loss_of(task, variables, other)[0], total)
  # With no label alone there is nothing of it, and with nothing else no box's.
  _, (_, boxes) = loss_of(task, variables, batch(labels=(-1,) * 4))
  assert all(boxes[n] == 0 for n in boxes if n.startswith("image_"))
  _, (_, labels) = loss_of(task, variables, batch(labels=(1, 2, 3, 4)))
  assert all(labels[n] == 0 for n in labels if not n.startswith("image_"))
  assert labels["image_label"] > 0


def test_labels_wait_for_the_warm_up():
  task = build.make_task(joint_config(task__joint__warm_up_images=100))
  variables = start(task)
  _, (_, early) = loss_of(task, variables, batch(), seen=99)
  _, (_, late) = loss_of(task, variables, batch(), seen=100)
  assert early["image_label"] == 0 < late["image_label"]
  assert early["coord"] == late["coord"]


def test_padding_pays_nothing():
  task = build.make_task(joint_config())
  variables = start(task)
  nothing = batch()._replace(valid=jnp.zeros(4, bool))
  assert loss_of(task, variables, nothing)[0] == 0


@pytest.mark.parametrize(
  ("slot_rule", "classes"),
  [("objectness", "tree"), ("score", "tree"), ("objectness", "softmax")],
)
def test_classes_of_few_cells_teach_what_those_of_all_teach(slot_rule, classes):
  """Loss and gradient, of boxes and of labels alone, with other weights."""
  changes = dict(
    task__joint__slot_rule=slot_rule, task__network__classes=classes
  )
  results = []
  for few in (False, True):
    task = build.make_task(joint_config(task__joint__few_cells=few, **changes))
    variables = start(task)

    def loss(params, task=task, variables=variables):
      return task.loss({**variables, "params": params}, batch(), at(1000))[0]

    results.append(jax.jit(jax.value_and_grad(loss))(variables["params"]))
  (dense, dense_grads), (sparse, sparse_grads) = results
  np.testing.assert_allclose(sparse, dense, rtol=1e-5)
  for name, layer in dense_grads.items():
    for key, grads in layer.items():
      scale = np.abs(grads).max() + 1e-6
      np.testing.assert_allclose(
        sparse_grads[name][key] / scale, grads / scale, atol=1e-4
      )


def crops(folder, count):
  """Pictures with one object and its class as the folder's name."""
  drawn = shapes.read(Source("shapes", "", "train[:60]"), Flaws(strict=True))
  written = 0
  for record in drawn.records:
    image = cv2.cvtColor(drawn.read_image(record), cv2.COLOR_RGB2BGR)
    left, top, right, bottom = record.boxes_px[0].astype(int)
    name = shapes.CLASS_NAMES[record.labels[0]]
    (folder / name).mkdir(parents=True, exist_ok=True)
    path = folder / name / f"{written}.png"
    cv2.imwrite(str(path), image[top:bottom, left:right])
    written += 1
    if written == count:
      return


def with_labels(folder, **changes):
  """Boxes with coarse classes, and labels alone with fine ones, 1 to 1."""
  made = joint_config(data__train__main__map=base.TO_OUTLINES, **changes)
  with made.unlocked():
    made.data.train.labels = base.source(
      "folders", root=str(folder), weight=1.0
    )
  return made


def test_joint_training_learns_both(tmp_path):
  crops(tmp_path / "pictures", 12)
  made = with_labels(
    tmp_path / "pictures", run__total_steps=60, run__log_every=15
  )
  metrics = loop.train(made, tmp_path / "run").metrics
  lines = [
    x
    for x in read_json_lines(tmp_path / "run" / "metrics.jsonl")
    if "parts" in x
  ]
  for part in ("label", "image_label"):
    of_part = [line["parts"][part] for line in lines]
    # Means of 15 steps: after the first six the label alone was 10 % lower.
    assert of_part[-1] < 0.9 * of_part[0], part
  # The pictures to test on have fine boxes, which count for the coarse nodes.
  truths = {name: c["truths"] for name, c in metrics["per_class"].items()}
  fine = [f"{hue} disc" for hue in shapes.HUES]
  assert truths["disc"] == sum(truths[name] for name in fine) > 0


@pytest.mark.parametrize("slot_rule", ["probability", "score"])
@pytest.mark.parametrize("flat", [False, True])
def test_other_rules_and_a_flat_softmax_trace(slot_rule, flat):
  task = build.make_task(
    joint_config(
      task__joint__slot_rule=slot_rule,
      task__network__classes="softmax" if flat else "tree",
    )
  )
  init = functools.partial(task.init, size=(64, 64))
  variables = jax.eval_shape(init, jax.random.key(0))
  _, (_, parts) = jax.eval_shape(task.loss, variables, batch(), at(0))
  assert "image_label" in parts


def test_a_run_keeps_its_tree_and_reads_the_file_once(tmp_path, monkeypatch):
  """And the file may be all that names the classes."""
  path, names = tmp_path / "a.tree", tuple(n.replace(" ", "_") for n in NODES)
  tree_files.write_tree(path, WordTree(names, PARENTS))
  made = joint_config(tree=str(path), class_names=())
  pairs = tuple((n, n.replace(" ", "_")) for n in shapes.CLASS_NAMES)
  with made.unlocked():
    made.data.train.main.map = made.data.test.map = pairs
    made.run.total_steps = 1
  asked, read = [], Path.read_bytes
  with monkeypatch.context() as patch:
    patch.setattr(Path, "read_bytes", lambda p: asked.append(p) or read(p))
    run.run_alone(made, tmp_path / "run")
  assert asked.count(path) == 1
  tree_files.write_tree(path, WordTree(names, (-1,) * len(names)))
  with pytest.raises(ValueError, match="is not .*, the tree that this run"):
    classes = build.read_classes(made.data)
    build.keep_tree(made.data, classes, tmp_path / "run")
  path.unlink()
  (tmp_path / "run").rename(tmp_path / "moved")
  found = from_run(tmp_path / "moved")
  assert found.classes.names == names and found.tree.parents == PARENTS


def test_ratio_zero_leaves_a_data_set_out(tmp_path):
  crops(tmp_path / "pictures", 4)
  made = with_labels(tmp_path / "pictures", data__train__main__weight=0.0)
  classes = build.read_classes(made.data)
  assert list(build.training_data(made, classes, "both")) == ["labels"]
  with made.unlocked():
    made.data.train.labels.weight = 0.0
  with pytest.raises(ValueError, match=r"data.train \(.*\) has weight 0"):
    build.training_data(made, classes, "both")


def test_a_label_that_is_not_in_the_tree_lists_both_sides(tmp_path):
  crops(tmp_path / "pictures", 4)
  (tmp_path / "pictures" / "eel").mkdir()
  folder = next((tmp_path / "pictures").glob("* *"))
  shutil.copy(next(folder.glob("*.png")), tmp_path / "pictures" / "eel")
  made = with_labels(tmp_path / "pictures")
  with pytest.raises(ValueError, match="in the data set or its map: eel"):
    build.training_data(made, build.read_classes(made.data), "both")


def test_an_unknown_key_of_a_data_set_lists_the_known():
  made = joint_config()
  task = build.make_task(made)
  with made.unlocked():
    made.data.train.main.jiter = 0.1
  with pytest.raises(ValueError, match="main has unknown .'jiter'.; allowed"):
    validation.check_config(made, task)
  with made.unlocked():
    made.data.test.mapp = ""
    del made.data.train.main["jiter"]
  with pytest.raises(ValueError, match="data.test has unknown .'mapp'."):
    validation.check_config(made, task)
  with made.unlocked():
    made.data.train.main.jitter = 0.4
  assert build.augmentation(made, "main").jitter == 0.4
  assert made.data.augment.jitter != 0.4


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"tree": ()}, "classes is 'tree', but data.tree is none"),
    (
      {
        "task__network__classes": "softmax",
        "task__joint__slot_rule": "score",
        "task__joint__few_cells": True,
      },
      "'score' needs all classes of every cell",
    ),
    ({"task__detect__max_cells": -1}, "max_cells is -1; it must be at least 0"),
    (
      {"evaluation__classes": ("eel",)},
      "evaluation.classes is .*; unknown are .'eel'.",
    ),
    ({"task__detect__walk": "down"}, "walk is 'down'; allowed are none, paths"),
    (
      {"task__detect__walk": "paths", "task__network__classes": "softmax"},
      "'none' alone where the network's classes are no tree",
    ),
    (
      {"task__detect__walk": "paths", "task__detect__classes": ("disc",)},
      "a walk ends at any node",
    ),
    ({"task__detect__tree_threshold": 1.0}, "tree_threshold is 1.0; expected"),
    (
      {"evaluation__classes": ("disc", "disc")},
      "expected classes, each once",
    ),
    (
      {"task__detect__class_agnostic": True},
      "in a tree is always a top node; expected False",
    ),
    ({"schedule__name": "steps", "schedule__at": (5.0,)}, "expected parts of"),
    ({"tree": PARENTS[:-1]}, "25 ids and 24 parents make no tree"),
    ({"tree": (1,) + PARENTS[1:]}, "node 0 .disc. has parent 1"),
    ({"tree": "none.tree"}, "none.tree: cannot be read"),
    (
      {"task__joint__slot_rule": "best"},
      "'best' must be one of probability, score",
    ),
    (
      {"task__joint__objectness_rule": "2018"},
      "objectness_rule '2018' of paper, 2017",
    ),
    (
      {"task__network__classes": "logistic"},
      "'logistic' has no probability of one label",
    ),
  ],
)
def test_what_cannot_be_says_what_can(tmp_path, changes, message):
  with pytest.raises(ValueError, match=message):
    loop.train(joint_config(**changes), tmp_path)


def test_a_tree_of_other_nodes_lists_both_sides(tmp_path):
  path = tmp_path / "a.tree"
  tree_files.write_tree(path, WordTree(("disc", "eel"), (-1, -1)))
  with pytest.raises(ValueError, match="in the tree alone: .'eel'.,"):
    build.make_task(joint_config(tree=str(path)))
