"""What a config leaves to its data: class names and priors."""

import cv2
import numpy as np
import pytest
from ml_collections import ConfigDict
from support import ROOT, load_experiment, run_module, tiny_config, toy_config

from experiments import base
from yolo9000.darknet.weights import Header, write_weights
from yolo9000.networks.chain import Chain
from yolo9000.networks.rows import Network, widen
from yolo9000.networks.tiny import TINY
from yolo9000.tables import plan, sweep
from yolo9000.tables.completed import complete

pytestmark = pytest.mark.usefixtures("libraries_promote")


@pytest.fixture
def boxes(tmp_path):
  """Six pictures of 64 pixels with a cat of 32 x 16 and a dog of 16 x 48."""
  lines = ["image,label,xmin,ymin,xmax,ymax"]
  for n in range(6):
    picture = np.random.default_rng(n).integers(0, 256, (64, 64, 3))
    cv2.imwrite(str(tmp_path / f"{n}.png"), picture.astype(np.uint8))
    lines += [
      f"{n}.png,cat,0,{n},32,{n + 16}",
      f"{n}.png,dog,40,{n},56,{n + 48}",
    ]
  (tmp_path / "boxes.csv").write_text("\n".join(lines))
  return tmp_path


def csv_config(folder, config, **changes):
  config = ConfigDict(config.to_dict())
  config.data.root = str(folder)
  config.data.train = dict(
    main=base.source("csv", split="boxes.csv", weight=1.0)
  )
  config.data.test = base.source("csv", split="boxes.csv")
  return plan.with_changes(config, changes.items())


def test_classes_and_priors_are_those_of_the_data(boxes):
  config = csv_config(
    boxes, tiny_config(), **{"data.class_names": (), "data.priors": 2}
  )
  made = complete(config)
  assert made.data.class_names == ("cat", "dog")
  assert made.task.network.priors == ((1.0, 0.5), (0.5, 1.5))
  assert complete(made) == made
  config = plan.with_changes(
    config, {"data.train.main.map": (("cat", "pet"), ("dog", ""))}.items()
  )
  made = complete(config)
  assert made.data.class_names == ("pet",)


def test_what_a_config_says_itself_stays(boxes):
  config = csv_config(boxes, tiny_config(class_names=("dog", "cat")))
  assert complete(config) is config
  made = complete(plan.with_changes(config, {"data.priors": 1}.items()))
  assert made.data.class_names == ("dog", "cat")
  assert len(made.task.network.priors) == 1
  ablation = load_experiment(ROOT / "experiments" / "ablation.py").get_config()
  assert complete(ablation) is ablation


def test_what_cannot_be_found(boxes):
  config = csv_config(boxes, tiny_config(), **{"data.priors": 3})
  with pytest.raises(
    ValueError, match="3 priors need at least one and at most"
  ):
    complete(config)
  config = csv_config(boxes, toy_config(), **{"data.priors": 2})
  with pytest.raises(ValueError, match="'toy' has no priors; expected 0"):
    complete(config)
  config = csv_config(boxes / "no", tiny_config(), **{"data.priors": 2})
  with pytest.raises(ValueError, match="no/: no such folder"):
    complete(config)


def narrow_photos(folder, start):
  """experiments/photos.py in small, from random weights."""
  config = load_experiment(ROOT / "experiments" / "photos.py").get_config()
  config = csv_config(folder, config)
  return plan.with_changes(
    config,
    {
      "data.priors": 2,
      "task.network.width": 1 / 16,
      "run.start_from": str(start),
      "run.total_steps": 2,
      "run.batch_size": 2,
      "run.image_sizes": (64,),
      "evaluation.image_size": 64,
    }.items(),
  )


def test_photos_from_a_start_and_from_scratch(boxes, tmp_path):
  """Both rows; the weights go on behind the layers that are taken."""
  import jax

  network = Network(
    (*widen(TINY, 1 / 16), *widen(TINY[-1:], 1 / 64)), (64, 64, 3)
  )
  net = Chain(network.layers)
  image = jax.numpy.zeros((1, 64, 64, 3))
  variables = jax.device_get(net.init(jax.random.key(0), image, train=False))
  write_weights(tmp_path / "w.weights", network, variables, Header())
  config = complete(narrow_photos(boxes, tmp_path / "w.weights"))
  assert sweep.run_rows(config.lock(), tmp_path / "run") == 0
  report = (tmp_path / "run" / "from_the_start" / "start.txt").read_text()
  assert report.count(": taken") == 7 and report.count("held still") == 5
  assert not (tmp_path / "run" / "from_scratch" / "start.txt").exists()


def test_the_priors_command_takes_the_datas_classes(boxes):
  done = run_module(
    "yolo9000.priors",
    f"--config={ROOT}/experiments/photos.py",
    f"--config.data.root={boxes}",
    "--config.data.train.main.format=csv",
    "--config.data.train.main.split=boxes.csv",
    "--config.data.priors=2",
    "--k=2",
    cwd=boxes,
  )
  assert done.returncode == 0, done.stderr
  assert "priors=((4.5, 2.25), (2.25, 6.75))" in done.stdout
