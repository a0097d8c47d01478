"""Configs that train in seconds."""

import importlib.util
import json
import math
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from experiments import base
from yolo9000.boxes.suppression import Suppression
from yolo9000.data import batches, proposals
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats import shapes
from yolo9000.data.formats.reading import Source
from yolo9000.data.proposals import Proposals
from yolo9000.detectors import DETECTORS, defaults
from yolo9000.networks.backbone import BACKBONES
from yolo9000.networks.resnet import BLOCKS
from yolo9000.networks.rows import Conv, MaxPool
from yolo9000.tables import plan
from yolo9000.wordtree import Classes

ROOT = Path(__file__).parents[1]

# Most tests are of what is around a network; this one compiles in a third of
# Darknet-19's time. It reduces a picture by 32 as well, so that any head fits.
BACKBONES["five"] = (
  *(Conv(32, 3), MaxPool(), Conv(64, 3), MaxPool(), Conv(128, 3), MaxPool()),
  *(Conv(256, 3), MaxPool(), Conv(512, 3), MaxPool()),
)


# Likewise of the residual networks.
SHORT = "resnet14"
BLOCKS[SHORT] = (1, 1, 1, 1)

# And what does not look at a network at all has one that compiles in a second:
# toy.py, joined by this line.
DETECTORS["toy"] = "toy"


def counted(detector, options, num_classes):
  """Parameters and default boxes of a detector with `task.default_boxes`."""
  every = Suppression(0.45, 0.01, max_candidates=10**6, max_detections=10**9)
  classes = Classes(tuple(f"class {n}" for n in range(num_classes)))
  task = detector.make_task(options._replace(detect=every), classes)
  side = options.default_boxes.size
  variables = jax.eval_shape(
    partial(task.init, size=(side, side)), jax.random.key(0)
  )
  params = jax.tree.leaves(variables["params"])
  image = jax.ShapeDtypeStruct((1, side, side, 3), np.uint8)
  found = jax.eval_shape(task.predict, variables, image)
  # So many detections there can be: each box in each class.
  boxes = found.scores.shape[1] // num_classes
  return sum(math.prod(x.shape) for x in params), boxes


def load_experiment(path):
  spec = importlib.util.spec_from_file_location(Path(path).stem, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def dotted(changes):
  """From keywords such as task__network__width to names with dots."""
  return {name.replace("__", "."): value for name, value in changes.items()}


def tiny_config(*, class_names=shapes.CLASS_NAMES, tree="", **changes):
  """A narrow net, 64 pixels, 8 pictures; changes by names, see `dotted`."""
  config = base.detector(class_names, tree)
  config.update(name="tiny", paper="Table 2", rows=(), seeds=(0,))
  settings = {
    "data.train.main.map": (),
    "data.test.map": (),
    "data.train.main.split": "tiny",
    "data.test.split": "tiny",
    "data.augment.hue": 0.02,  # the twenty classes are told apart by it
    "data.augment.saturation": 1.2,
    "data.augment.exposure": 1.2,
    "task.network.backbone": "five",
    "task.network.passthrough": "none",
    "task.network.priors": (
      *((0.82, 1.38), (1.49, 0.84), (1.43, 2.55)),
      *((2.68, 1.49), (3.28, 3.43)),
    ),
    "task.network.width": 1 / 16,
    "optimizer.clip_norm": 0.0,
    "schedule.rate": 1.2e-2,
    "run.total_steps": 4,
    "run.batch_size": 4,
    "run.image_sizes": (64,),
    "run.log_every": 1,
    "run.checkpoint_every": 0,
    "evaluation.image_size": 64,
    "evaluation.batch_size": 4,
  }
  return plan.with_changes(config, {**settings, **dotted(changes)}.items())


def jittered(records, seed=0):
  """Proposals of pictures: near each truth, and elsewhere, as a search has."""
  rng = np.random.default_rng(seed)
  found = []
  for record in records:
    side = np.array([record.width, record.height] * 2, np.float32)
    sizes = np.tile(record.boxes_px[:, 2:] - record.boxes_px[:, :2], 2)
    near = [
      record.boxes_px + sizes * rng.normal(0, off, sizes.shape)
      for off in (0.03, 0.08, 0.15)
    ]
    low = rng.uniform(0, 0.7, (40, 2))
    other = np.concatenate([low, low + rng.uniform(0.1, 0.6, (40, 2))], 1)
    every = np.concatenate([*near, other * side])
    every = np.clip(every, 0, side)[rng.permutation(len(every))]
    big = (every[:, 2:] - every[:, :2] >= 4).all(1)
    found.append(every[big].astype(np.float32))
  return found


def random_batch(counts, *, size=64, most=5, num_classes=3):
  """Random pictures with so many truths each."""
  rng = np.random.default_rng(0)
  made = batches.empty_batch(len(counts), size=size, max_objects=most)
  low = rng.uniform(0, 0.5, (len(counts), most, 2))
  boxes = np.concatenate([low, low + 0.4], axis=2)
  labels = rng.integers(0, num_classes, (len(counts), most))
  mask = np.arange(most) < np.array(counts)[:, None]
  made = made._replace(
    image=rng.integers(0, 256, made.image.shape).astype(np.uint8),
    boxes=np.where(mask[..., None], boxes, 0).astype(np.float32),
    labels=np.where(mask, labels, 0).astype(np.int32),
    mask=mask,
    index=np.arange(len(counts), dtype=np.int32),
  )
  return jax.tree.map(jnp.asarray, made)


def with_proposals(config, folder):
  """A config of drawn pictures, whose proposals are `jittered` ones."""
  changes = {}
  for name, described in (
    ("train.main", config.data.train.main),
    ("test", config.data.test),
  ):
    source = Source("shapes", "", described.split)
    records = shapes.read(source, Flaws(strict=True)).records
    path = folder / f"{name}.npz"
    proposals.write(path, Proposals(jittered(records), "by hand"), records)
    changes[f"data.{name}.proposals"] = str(path)
  return plan.with_changes(config, changes.items())


def config_of(model, **changes):
  """As `tiny_config`, of any detector; its task is the default but changes."""
  config = ConfigDict(tiny_config().to_dict())
  config.task = defaults(model)
  return plan.with_changes(config, dotted(changes).items())


def toy_config(**changes):
  """As `tiny_config`, of the detector in toy.py."""
  config = ConfigDict(tiny_config().to_dict())
  config.task = dict(
    model="toy", network=dict(hidden=16), detect=dict(score_threshold=0.0)
  )
  return plan.with_changes(config, dotted(changes).items())


def joint_config(*, tree=shapes.PARENTS, class_names=shapes.NODES, **changes):
  """As `tiny_config`, of a detector that takes labels alone and a tree."""
  config = tiny_config(class_names=class_names, tree=tree)
  config = ConfigDict(config.to_dict())
  config.task.model = "yolo9000"
  config.task.network.classes = "tree"
  config.task.joint = dict(
    slot_rule="objectness",
    objectness_rule="paper",
    warm_up_images=0,
    few_cells=False,
  )
  config.task.detect.update(walk="none", tree_threshold=0.5, max_cells=0)
  return plan.with_changes(config, dotted(changes).items())


def run_module(*words, cwd, timeout=1500):
  return subprocess.run(
    [sys.executable, "-m", *words],
    cwd=cwd,
    capture_output=True,
    text=True,
    timeout=timeout,
  )


def check_starts(made, stages, workdir):
  """That stages took of the one before them all that they share with it."""
  checked = 0
  for stage in stages:
    if stage.trains and stage.parent:
      start = plan.folder(workdir, stage.key) / "start.txt"
      taken = start.read_text().count(": taken")
      # All of a classifier; of a detector what it shares with one.
      network = made.stages[stage.parent].config.task.network.backbone
      shared = {"extraction": 20, "darknet19": 18}[network]
      assert taken == shared + (stage.name == "hires"), stage.key
      checked += 1
  return checked


def in_browser(page, folder, width):
  """What a browser without a screen shows of a page at this width.

  The page is in a frame, because a window cannot be as narrow as a telephone.

  Returns:
    Its pictures' sizes on the page, the height of its head, whether anything
    sticks out to the right, and the pixels.
  """
  path = shutil.which("chromium") or shutil.which("google-chrome")
  if path is None:
    pytest.skip("there is no Chromium here")
  probe = """<script>addEventListener("load", () => {
    const images = [...document.images].map(i => i.naturalWidth * i.width);
    const head = document.querySelector("h1").getBoundingClientRect();
    document.title = JSON.stringify({images, head: head.height,
      sticks_out: document.documentElement.scrollWidth > innerWidth});
    parent.document.title = document.title;
  })</script>"""
  (folder / "inner.html").write_text(page + probe)
  frame = folder / "frame.html"
  frame.write_text(
    f"<title></title><body style='margin:0'><iframe src='inner.html' "
    f"style='width:{width}px;height:2900px;border:0'></iframe>"
  )
  switches = "--headless --no-sandbox --disable-gpu --disable-quic"
  switches += " --no-first-run --disable-background-networking"
  switches += " --disable-component-update --disable-sync"
  switches += " --allow-file-access-from-files --virtual-time-budget=20000"
  switches += f" --window-size={max(width, 500)},3000"
  switches += f" --user-data-dir={folder / 'profile'}"

  def browse(word):
    return subprocess.run(
      [path, *switches.split(), word, f"file://{frame}"],
      capture_output=True,
      text=True,
      timeout=1200,
      check=True,
    ).stdout

  title = re.search(r"<title>(.*?)</title>", browse("--dump-dom"))[1]
  shot = folder / "shot.png"
  browse(f"--screenshot={shot}")
  return json.loads(title), cv2.imread(str(shot))
