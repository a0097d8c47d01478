"""The paper's Table 2 at full scale, on a small tree of the same shape."""

import json
import shutil

import cv2
import pytest
from support import ROOT, check_starts, load_experiment

from yolo9000.data.flaws import Flaws
from yolo9000.data.formats import shapes, voc
from yolo9000.data.formats.reading import Source
from yolo9000.tables import cost, plan, sweep

pytestmark = pytest.mark.usefixtures("libraries_promote")
CHAINS = {
  "YOLO": "classifier yolo",
  "batch norm": "classifier yolo",
  "hi-res classifier": "classifier hires yolo",
  "anchor boxes": "classifier hires detector",
  "new network": "classifier hires detector",
  "priors and location": "classifier hires detector",
  "passthrough": "classifier hires detector",
  "multi-scale": "classifier hires detector",
  "hi-res detector": "classifier hires detector evaluation",
}


def get_config(folder):
  experiment = load_experiment(ROOT / "experiments" / "ablation.py")
  return experiment.get_config(f"voc,folder={folder}")


@pytest.fixture
def devkit(tmp_path):
  """Two pictures of each split of VOC, and of each of three synsets."""
  drawn = shapes.read(Source("shapes", "", "boxes[:4]"), Flaws(strict=True))
  for year, splits in (("2007", ("trainval", "test")), ("2012", ("trainval",))):
    root = tmp_path / "VOCdevkit" / f"VOC{year}"
    for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
      (root / folder).mkdir(parents=True)
    for number, split in enumerate(splits):
      names = [f"{year}_{number}{n}" for n in range(2)]
      listed = root / "ImageSets" / "Main" / f"{split}.txt"
      listed.write_text("".join(name + "\n" for name in names))
      for name, record in zip(names, drawn.records[2 * number :], strict=False):
        image = drawn.read_image(record)[..., ::-1]
        cv2.imwrite(str(root / "JPEGImages" / f"{name}.jpg"), image)
        objects = "".join(
          f"<object><name>{voc.CLASS_NAMES[label]}</name><difficult>0"
          f"</difficult><bndbox><xmin>{left + 1:.0f}</xmin><ymin>{top + 1:.0f}"
          f"</ymin><xmax>{right:.0f}</xmax><ymax>{bottom:.0f}</ymax></bndbox>"
          f"</object>"
          for label, (left, top, right, bottom) in zip(
            record.labels, record.boxes_px, strict=True
          )
        )
        (root / "Annotations" / f"{name}.xml").write_text(
          f"<annotation><filename>{name}.jpg</filename><size><width>256"
          f"</width><height>256</height><depth>3</depth></size>{objects}"
          f"</annotation>"
        )
  picture = next((tmp_path / "VOCdevkit").rglob("*.jpg"))
  for split in ("train", "val"):
    for synset in ("n01440764", "n01443537", "n01484850"):
      folder = tmp_path / "imagenet" / split / synset
      folder.mkdir(parents=True)
      for number in range(2):
        shutil.copy(picture, folder / f"{number}.jpg")
  return tmp_path


def small(config):
  """Two steps of every stage, narrow and on small pictures."""
  for name in config.stages:
    stage = config[name]
    stage.task.network.update(width=1 / 64, dtype="float32")
    stage.data.update(num_processes=0)
    stage.run.update(batch_size=2, image_sizes=(64,), resize_every=1)
    stage.run.total_steps = min(2, stage.run.total_steps)
    stage.evaluation.update(image_size=64, batch_size=2)
  config.yolo.task.network.side = 1
  smaller = {"image_sizes": (64, 96), "image_size": 96}

  def less(name, value):
    last = name.split(".")[-1]
    if last == "total_steps":
      return name, min(2, value)
    return name, smaller.get(last, value)

  config.rows = tuple(
    (name, paper, tuple(less(*change) for change in changes), on)
    for name, paper, changes, on in config.rows
  )
  return config


def test_every_row_is_its_chain_and_the_last_one_runs(devkit, tmp_path):
  """The last row has every switch; all rows run in commands/test_main.py."""
  config = small(get_config(devkit)).lock()
  workdir, made = tmp_path / "w", plan.make(config)
  for row in made.rows:
    chain = [made.stages[key].name for key in row.stages]
    assert " ".join(chain) == CHAINS[row.name]
  one = plan.with_changes(config, [("only_row", "hi-res detector")])
  assert sweep.run_rows(one, workdir) == 0
  results = workdir / "hi-res_detector" / "results.json"
  assert json.loads(results.read_text())["VOC07 AP"] is not None
  assert check_starts(made, plan.chosen(made, one), workdir) == 2
  assert (workdir / "report.html").stat().st_size > 100_000


def test_the_dry_run_tells_the_papers_schedule(tmp_path, monkeypatch):
  """What a picture costs is counted elsewhere."""
  monkeypatch.setattr(cost, "of_picture", lambda config: cost.Cost(1e11, 1e10))
  config = get_config(tmp_path).lock()
  made = plan.make(config)
  text = cost.describe(made, plan.chosen(made, config), tmp_path)
  lines = text.splitlines()
  (multi_scale,) = [line for line in lines if "sizes 320..608" in line]
  for words in (
    *("160 epochs of 16,551", "rate 0.001", "divided by 10 at epoch 60"),
    *("divided by 10 at epoch 90", "decay 0.0005", "momentum 0.9"),
    "sizes 320..608 every 10 steps",
  ):
    assert words in multi_scale
  classifiers = [line for line in lines if "160 epochs of 1,281,167" in line]
  assert len(classifiers) == 3
  assert all("rate 0.1, polynomial of power 4" in one for one in classifiers)
  assert sum("10 epochs of 1,281,167" in line for line in lines) == 2
  assert "at size 544" in text and "H100" in lines[-1]


@pytest.mark.parametrize("name", ["voc", "coco"])
def test_detectors_are_scored_with_their_weak_boxes(name):
  """What is above .5 is for people; AP needs the rest of the curve."""
  experiment = load_experiment(ROOT / "experiments" / "detectors.py")
  for row in experiment.get_config(f"{name},folder=F,proposals=P").rows:
    changes = dict(row[2])
    if "task" in changes:  # R-CNN's second training has that of its first
      detect = changes["task"]["detect"]
      assert detect["score_threshold"] <= 0.05, row[0]


@pytest.mark.parametrize("setting", ["", "photos,", "voc,folder=F,"])
def test_detectors_of_proposals_are_where_these_are(setting):
  experiment = load_experiment(ROOT / "experiments" / "detectors.py")
  one = experiment.get_config(f"{setting}proposals=P")
  without = experiment.get_config(setting.removesuffix(","))
  names = [row[0] for row in one.rows]
  new = {"R-CNN softmax", "R-CNN", "Fast R-CNN"}
  assert set(names) - {row[0] for row in without.rows} == new
  assert names.index("R-CNN") == names.index("R-CNN softmax") + 1
  changes = {row[0]: dict(row[2]) for row in one.rows}
  for name in new - {"R-CNN"}:
    assert changes[name]["data.test.proposals"].endswith("/P/test.npz")


@pytest.mark.parametrize(
  ("experiment", "argument"),
  [
    ("ablation", "quick,voc,folder=F"),
    ("coco", "full,folder=F,quick"),
    ("voc12", "quick,full,folder=F"),
    ("sizes", "quick,voc,folder=F"),
    ("detectors", "quick,coco,folder=F"),
    ("detectors", "photos,quick"),
    ("detectors", "photos,folder=F"),
    ("detectors", "folder=F"),
    ("detectors", "coco,folder=F,alternating"),
  ],
)
def test_arguments_that_exclude_each_other(experiment, argument):
  module = load_experiment(ROOT / "experiments" / f"{experiment}.py")
  with pytest.raises(ValueError, match="expected"):
    module.get_config(argument)
