"""Every experiment loads and traces; every switch changes what it says."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from support import ROOT, load_experiment

from yolo9000.data.batches import empty_batch
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats import shapes
from yolo9000.data.formats.reading import Source
from yolo9000.tables import plan
from yolo9000.training import build
from yolo9000.types import Step
from yolo9000.wordtree import WordTree
from yolo9000.wordtree import files as tree_files

EXPERIMENTS = [
  path
  for path in sorted((ROOT / "experiments").glob("*.py"))
  if path.stem not in ("__init__", "base")
]


def configs():
  for path in EXPERIMENTS:
    module = load_experiment(path)
    more = ("alternating,voc",) if path.stem == "detectors" else ()
    for argument in ("", *getattr(module, "ARGUMENTS", ()), *more):
      yield pytest.param(path, argument, id=f"{path.stem}:{argument}")


# Arguments that need a folder, below shared.
FOLDERS = {
  "animals": "data/joint_tiny_imagenet_animals",
  "full": "darknet",
}
TREE = WordTree(("a", "b", "c"), (-1, 0, 0))


@pytest.mark.parametrize(("path", "argument"), list(configs()))
def test_every_experiment_traces_its_init_loss_and_predict(
  path, argument, request, tmp_path
):
  if argument == "own":
    tree_files.write_tree(tmp_path / "classes.tree", TREE)
    argument = f"own={tmp_path}"
  elif argument == "imagenet":
    for name in "ab":
      (tmp_path / "train" / name).mkdir(parents=True)
    argument = f"imagenet={tmp_path}"
  elif argument in FOLDERS and path.stem == "yolo9000":
    folder = request.getfixturevalue("shared") / FOLDERS[argument]
    argument = f"{argument}={folder}"
  elif {*argument.split(",")} & {"voc", "full", "coco"}:
    argument += f",folder={tmp_path}"
  module = load_experiment(path)
  config = module.get_config(argument) if argument else module.get_config()
  assert isinstance(config, ConfigDict)
  assert "python -m" in module.__doc__
  assert "AP" in module.__doc__ or "top-1" in module.__doc__
  if "task" in config and not config.data.class_names and not config.data.tree:
    config.data.tree = str(tmp_path / "a.tree")
    tree_files.write_tree(config.data.tree, TREE)
  made = plan.make(config.lock())
  assert not any(row.error for row in made.rows)
  for stage in made.stages.values():
    trace(stage.config)


traced = set()  # what several experiments have is traced once


def trace(row):
  size, most = row.run.image_sizes[-1], row.data.max_objects
  classes = build.read_classes(row.data)
  text = json.dumps(
    [plan.as_json(row.task), plan.as_json(row.optimizer), size, most]
  )
  key = (text, classes)
  build.make_score(row, classes)
  if key in traced:
    return
  traced.add(key)
  task, tx = build.make_task(row, classes), build.make_optimizer(row)
  task.check_size((size, size))
  masks = row.data.get("mask_size", 0)
  batch = empty_batch(2, size=size, max_objects=most, mask_size=masks)
  step = Step(jax.ShapeDtypeStruct((), "int32"), jax.random.key(0))
  with jax.numpy_dtype_promotion("standard"):  # Flax promotes bfloat16
    variables = jax.eval_shape(
      lambda key: task.init(key, (size, size)), jax.random.key(0)
    )
    jax.eval_shape(tx.init, variables["params"])
    loss, _ = jax.eval_shape(task.loss, variables, batch, step)
    found = jax.eval_shape(task.predict, variables, batch.image)
  assert loss.shape == ()
  assert found.boxes.shape[0] == 2 and found.boxes.shape[2] == 4


def consequences(config):
  """What a row's stages compute: parameters, loss, pictures, evaluation."""
  return {
    (name, what): value
    for name, stage in plan.stage_configs(config, 0).items()
    for what, value in of_stage(name, json.dumps(plan.as_json(stage))).items()
  }


@functools.cache
def of_stage(name, text):
  stage = ConfigDict(json.loads(text))
  task = build.make_task(stage)
  size = 192 if name == "yolo" else 64
  init = jax.jit(task.init, static_argnums=1)
  variables = init(jax.random.key(0), (size, size))
  data = shapes.read(Source("shapes", "", "test[:2]"), Flaws(strict=True))
  batch = empty_batch(2, size=size, max_objects=7)
  label = np.array([1, 2], np.int32)
  boxes = np.tile(np.float32([0.1, 0.2, 0.5, 0.7]), (2, 7, 1))
  images = [data.read_image(r)[:size, :size] for r in data.records]
  batch = batch._replace(
    image=np.stack(images),
    boxes=boxes,
    mask=np.arange(7)[None].repeat(2, 0) < 1,
    image_label=label if name in ("classifier", "hires") else -label,
  )
  step = Step(np.int32(1), jax.random.key(0))
  loss, _ = jax.jit(task.loss)(variables, batch, step)
  run = stage.run
  return {
    "parameters": str(jax.tree.map(jnp.shape, variables)),
    "loss": float(loss),
    "pictures": (run.image_sizes, run.total_steps),
    "evaluation": stage.evaluation.image_size,
  }


# What each row of Table 2 changes, of stages that it has and the one above had.
SWITCHES = {
  "batch norm": [
    *(("classifier", "parameters"), ("classifier", "loss")),
    *(("yolo", "parameters"), ("yolo", "loss")),
  ],
  "hi-res classifier": [("hires", "a new stage")],
  "anchor boxes": [("detector", "a new stage"), ("yolo", "left out")],
  "new network": [
    (stage, what)
    for stage in ("classifier", "hires", "detector")
    for what in ("parameters", "loss")
  ],
  "priors and location": [("detector", "parameters"), ("detector", "loss")],
  "passthrough": [("detector", "parameters"), ("detector", "loss")],
  "multi-scale": [("detector", "pictures")],
  "hi-res detector": [("detector", "evaluation")],
}


def test_every_ablation_switch_changes_what_it_says(libraries_promote):
  """Parameters, loss, pictures or evaluation, and nothing else."""
  config = load_experiment(ROOT / "experiments" / "ablation.py").get_config()
  before = None
  for name, row in plan.row_configs(config.lock()).items():
    found = consequences(row)
    if before is not None:
      changed = [
        key for key in found if key in before and found[key] != before[key]
      ]
      for stage in dict.fromkeys(key[0] for key in {**before, **found}):
        if (stage, "loss") not in before:
          changed.append((stage, "a new stage"))
        if (stage, "loss") not in found:
          changed.append((stage, "left out"))
      assert sorted(changed) == sorted(SWITCHES[name]), name
    before = found


def test_location_alone_changes_the_loss_and_the_boxes(libraries_promote):
  """It comes with the priors in Table 2, so the rows cannot show it."""
  config = load_experiment(ROOT / "experiments" / "ablation.py").get_config()
  row = plan.row_configs(config.lock())["anchor boxes"]
  direct = plan.with_changes(
    row, [("detector.task.network.location", "direct")]
  )
  changed = [
    k for k, v in consequences(row).items() if v != consequences(direct)[k]
  ]
  assert changed == [("detector", "loss")]
