"""The loop: resume to the bit, devices, and what may go wrong."""

import gc
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import tiny_config

from yolo9000.data.disk import DataError
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats import shapes
from yolo9000.data.formats.reading import Source
from yolo9000.detectors import yolov1
from yolo9000.files import read_json_lines
from yolo9000.tables import plan, run
from yolo9000.training import build, checkpoint, checks, loop
from yolo9000.training import devices as parallel
from yolo9000.training.start import flat
from yolo9000.training.trained import from_run

pytestmark = pytest.mark.usefixtures("libraries_promote")


@pytest.mark.parametrize(
  ("done", "every", "total", "expected"),
  [
    (1, 10, 100, False),
    (10, 10, 100, True),
    (11, 10, 100, False),
    (100, 10, 100, True),
    (100, 30, 100, True),  # the end is always due
    (90, 30, 100, True),
    (50, 0, 100, False),  # 0: at the end alone
    (100, 0, 100, True),
  ],
)
def test_due(done, every, total, expected):
  assert loop.due(done, every, total) is expected


def losses_of(workdir):
  return [
    x["loss"] for x in read_json_lines(workdir / "metrics.jsonl") if "loss" in x
  ]


RUN = """
import os, signal, sys, time
import jax
jax.config.update("jax_compilation_cache_dir", {cache!r})
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
sys.path.insert(0, {tests!r})
from pathlib import Path
from support import tiny_config
from yolo9000.training import loop
workdir, add = Path({workdir!r}), loop.Log.add

def add_or_die(log, parts):  # at step 7, with the checkpoint of step 5 written
  add(log, parts)
  if {kill} and log._bar.n == 7:
    while not (workdir / "checkpoints" / "latest" / "5").is_dir():
      time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)

loop.Log.add = add_or_die
loop.train(tiny_config(
  run__total_steps=10, run__checkpoint_every=5, run__spmd="shard_map",
  run__image_sizes=(64, 96), run__resize_every=2, **{changes!r},
), workdir)
"""


def run_ten_steps(workdir, changes, kill=False):
  code = RUN.format(
    changes=changes,
    workdir=str(workdir),
    cache=str(workdir.parents[1] / "cache"),
    tests=str(Path(__file__).parents[1]),
    kill=kill,
  )
  done = subprocess.run([sys.executable, "-c", code], capture_output=True)
  expected = -signal.SIGKILL if kill else 0
  assert done.returncode == expected, done.stderr.decode()


def final_arrays(workdir):
  """Every array of the last checkpoint, without knowing what they are."""
  import orbax.checkpoint as ocp

  path = workdir / "checkpoints" / "latest" / "10" / "default"
  with ocp.PyTreeCheckpointer() as reader:
    restored = reader.restore(path)
  return jax.tree_util.tree_flatten_with_path(restored)[0]


# By pmap, and two processes of two devices: see test_processes.py.
@pytest.mark.filterwarnings("ignore:Sharding info not provided")
@pytest.mark.parametrize("held", [(), ("layer_0[0-4]",)], ids=["all", "held"])
def test_ten_steps_are_five_a_kill_and_five_to_the_bit(tmp_path, held):
  """Parameters, optimizer, batch statistics, average, order of the data."""
  whole, killed = tmp_path / "whole", tmp_path / "killed"
  changes = {}
  if held:
    arrays = flat(
      build.make_task(tiny_config()).init(jax.random.key(1), (64, 64))
    )
    np.savez(tmp_path / "start.npz", **arrays)
    changes = dict(
      optimizer__held=held, run__start_from=str(tmp_path / "start.npz")
    )
  run_ten_steps(whole, changes)
  run_ten_steps(killed, changes, kill=True)
  assert not (killed / "checkpoints" / "latest" / "10").is_dir()
  run_ten_steps(killed, changes)
  expected, got = final_arrays(whole), final_arrays(killed)
  assert len(expected) > 100
  for (path, a), (_, b) in zip(expected, got, strict=True):
    np.testing.assert_array_equal(a, b, err_msg=str(path))
  assert losses_of(whole) == losses_of(killed) and len(losses_of(whole)) == 10


def states_after(config, steps, devices):
  """States after some steps on the first devices, and their losses."""
  task, tx = build.make_task(config), build.make_optimizer(config)
  mesh = jax.sharding.Mesh(np.array(jax.devices()[:devices]), (parallel.AXIS,))
  local_step = partial(
    loop.train_step,
    task=task,
    tx=tx,
    average=0.9,
    subdivisions=config.run.subdivisions,
    seed=config.run.seed,
  )
  step, place = parallel.make_step(local_step, spmd=config.run.spmd, mesh=mesh)
  state = parallel.replicate(loop.init_state(config, task, tx), mesh)
  classes = build.read_classes(config.data)
  data = build.training_data(config, classes, task.learns_from)
  batches, _ = build.training_batches(config, data, 0)
  losses = []
  for _ in range(steps):
    state, parts = step(state, place(next(batches)))
    jax.block_until_ready(state)
    losses.append(float(parts["loss"]))
  return state, losses


def shard_map_config(**changes):
  return tiny_config(
    run__spmd="shard_map",
    optimizer__average=0.9,
    optimizer__name="sgd",
    **{"schedule__rate": 1e-3, **changes},
  )


def test_pmap_and_shard_map_are_equal_to_the_bit():
  """And every device holds the same state, which nothing else checks."""
  one, _ = states_after(shard_map_config(), 5, 2)
  two, _ = states_after(
    tiny_config(
      run__spmd="pmap",
      optimizer__average=0.9,
      optimizer__name="sgd",
      schedule__rate=1e-3,
    ),
    5,
    2,
  )
  for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
    np.testing.assert_array_equal(a, b)
    shards = [np.asarray(s.data) for s in a.addressable_shards]
    assert len(shards) == 2
    np.testing.assert_array_equal(*shards)


@pytest.mark.parametrize("spmd", ["pmap", "shard_map"])
def test_the_step_is_compiled_once_per_resolution(tmp_path, spmd):
  """The thread's compilation is the one that the loop then runs."""
  from jax._src import monitoring

  compiled = []

  def listen(name, _, **kwargs):
    if name == "/jax/core/compile/backend_compile_duration":
      compiled.append(kwargs.get("fun_name"))

  monitoring.register_event_duration_secs_listener(listen)
  try:
    loop.train(
      tiny_config(
        run__spmd=spmd,
        run__total_steps=8,
        run__image_sizes=(64, 96),
        run__resize_every=1,
      ),
      tmp_path,
    )
  finally:
    monitoring.unregister_event_duration_listener(listen)
  name = {"pmap": "jit(_fun)", "shard_map": "jit(train_step)"}[spmd]
  assert compiled.count(name) == 2, compiled


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
  config = tiny_config(
    optimizer__name="sgd", schedule__rate=1e30, schedule__burn_in_steps=0
  )
  with pytest.raises(checks.NonFiniteLoss) as error:
    loop.train(config, tmp_path)
  text = str(error.value)
  assert "step 1: the loss is not finite" in text and "'coord': " in text
  assert "shapes/tiny/" in text
  with np.load(tmp_path / "nonfinite_step_1.npz") as batch:
    assert batch["image"].shape == (4, 64, 64, 3)
    assert {"boxes", "labels", "mask", "index"} <= set(batch)


def test_sigterm_saves_and_the_next_start_goes_on(tmp_path):
  config = tiny_config(run__total_steps=400, run__log_every=10)
  handler = signal.getsignal(signal.SIGTERM)

  def terminate():
    while len(losses_of(tmp_path)) < 2:
      time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGTERM)

  threading.Thread(target=terminate, daemon=True).start()
  with pytest.raises(loop.Preempted, match=r"saved at step \d+ of 400"):
    loop.train(config, tmp_path)
  assert signal.getsignal(signal.SIGTERM) is handler
  saved = loop.Checkpoints(tmp_path).latest_step
  assert 20 <= saved < 400
  loop.train(
    tiny_config(run__total_steps=saved + 3, run__log_every=1), tmp_path
  )
  lines = read_json_lines(tmp_path / "metrics.jsonl")
  steps = [line["step"] for line in lines if "loss" in line]
  assert steps[-3:] == [saved + 1, saved + 2, saved + 3]


FULL_DISK = """
import resource, signal, sys
import jax
from yolo9000.training.checkpoint import Checkpoints
checkpoints = Checkpoints(sys.argv[1])
state = {"weights": jax.random.normal(jax.random.key(0), (512, 512))}
checkpoints.save(5, state)
checkpoints.wait()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, hard))
checkpoints.save(10, state)
checkpoints.wait()
print("saved")
"""


def test_a_full_disk_is_an_error_and_leaves_the_checkpoint_before(tmp_path):
  """The disk is full: no file may grow beyond 20 kB during the second save."""
  done = subprocess.run(
    [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True
  )
  assert done.returncode != 0 and b"saved" not in done.stdout
  checkpoints = loop.Checkpoints(tmp_path)
  assert checkpoints.latest_step == 5
  like = {"weights": jnp.zeros((512, 512))}
  expected = jax.random.normal(jax.random.key(0), (512, 512))
  np.testing.assert_array_equal(
    checkpoints.restore_latest(like)["weights"], expected
  )
  checkpoints.close()


def test_a_finished_run_that_lost_its_results_is_evaluated_again(tmp_path):
  config = tiny_config()
  first = loop.train(config, tmp_path).metrics
  assert loop.train(config, tmp_path).metrics == first


def test_the_best_state_is_kept(tmp_path):
  config = tiny_config(run__evaluate_every=2)
  loop.train(config, tmp_path)
  lines = read_json_lines(tmp_path / "metrics.jsonl")
  best = max((x for x in lines if "metric" in x), key=lambda x: x["metric"])
  assert checkpoint.read(tmp_path, "best")["step"] == best["step"]


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (
      {"run.image_sizes": (100,)},
      "100 must be a positive multiple of 32, such",
    ),
    ({"evaluation.image_size": 70}, "70 must be a positive multiple of 32"),
    (
      {"task.network.priors": ((1.0, 2.0, 3.0),)},
      r"must be a list of \(width, height\)",
    ),
    (
      {"task.network.priors": ((1.0, 2.0), (3.0,))},
      r"must be a list of \(width, height",
    ),
    ({"task.network.priors": ((1.0, -2.0),)}, "must be positive"),
    ({"task.model": "yolov9"}, "'yolov9'; allowed are classifier, yolov1"),
    (
      {"task.network.passthrough": "yes"},
      "'yes'; allowed with backbone 'five' are none",
    ),
    ({"task.network.classes": "mse"}, "'mse'; allowed are 'softmax' and 'log"),
    (
      {"task.network.dtype": "float16"},
      "'float16'; allowed are float32, bfloat16",
    ),
    ({"task.network.width": 0.0}, "width is 0.0; it must be above 0"),
    ({"run.spmd": "pjit"}, "'pjit'; allowed are pmap, shard_map"),
    ({"run.batch_size": 3}, "3 must be a positive multiple of the 2 dev"),
    ({"run.batch_size": 10}, "batch_size 10 .* training pictures, 8"),
    ({"data.resize": "crop"}, "'crop'; allowed are stretch, letterbox"),
    (
      {"data.augment.geometry": "zoom"},
      "'zoom'; allowed are crop, letterbox, zoom",
    ),
    (
      {"data.augment.jitter": 0.6},
      "jitter is 0.6; it must be at least 0 and below .5",
    ),
    (
      {"data.augment.min_side": 0.0},
      "min_side is 0.0; it must be between 0 and 1",
    ),
    ({"data.augment.exposure": 0.0}, "must be above 0; 1 changes nothing"),
    ({"run.image_sizes": ()}, "must hold at least one size"),
    ({"run.resize_every": 0}, "must be at least 1"),
    ({"task.norm.axis": "devices"}, "'devices'; allowed are '' .* and 'data'"),
    (
      {"evaluation.batch_size": 3},
      "3 must be a positive multiple of the 2 devices",
    ),
    ({"data.broken_share": 2.0}, "broken_share 2.0 must be from 0 to 1"),
    ({"data.train.main.weight": 0.0}, "data.train .main. has weight 0"),
    ({"data.train.main.weight": -1.0}, "must be 1 numbers above 0"),
    ({"evaluation.metric": "mAP"}, "'mAP'; allowed are VOC07 AP, COCO AP"),
    ({"task.detect.iou_threshold": 1.5}, "iou_threshold is 1.5; expected a"),
    ({"task.detect.max_detections": 0}, "max_detections is 0; expected a"),
    ({"task.detect.classes": ("cat",)}, r"unknown are \['cat'\]"),
    ({"evaluation.classes": ("cat",)}, r"unknown are \['cat'\]"),
    ({"data.test.format": "coca"}, "'coca' is unknown; there are coco, csv"),
  ],
)
def test_values_that_cannot_be_say_what_can(tmp_path, changes, message):
  """Before anything is trained."""
  config = plan.with_changes(tiny_config(), changes.items())
  with pytest.raises(ValueError, match=message):
    loop.train(config, tmp_path)
  assert losses_of(tmp_path) == []


def own_pictures(folder, count, label="circle"):
  """A CSV data set of drawn discs under another name, and of anything else."""
  drawn = shapes.read(Source("shapes", "", "train[:50]"), Flaws(strict=True))
  rows = ["image,label,xmin,ymin,xmax,ymax"]
  for n, record in enumerate(drawn.records[:count]):
    image = cv2.cvtColor(drawn.read_image(record), cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(folder / f"{n}.png"), image)
    for number, box in zip(record.labels, record.boxes_px, strict=True):
      hue, name = shapes.CLASS_NAMES[number].split()
      name = label if name == "disc" else name
      rows.append(f"{n}.png,{hue} {name},{','.join(map(str, box))}")
  (folder / "train.csv").write_text("\n".join(rows))


def test_several_data_sets_with_a_map_and_cocos_figures(tmp_path):
  own_pictures(tmp_path, 12)
  pairs = tuple(
    (name.replace("disc", "circle"), name) for name in shapes.CLASS_NAMES
  )
  config = tiny_config(evaluation__metric="COCO AP", data__broken_share=0.1)
  with config.unlocked():
    config.data.train.own = dict(
      **dict(format="csv", root=str(tmp_path), split="train.csv"),
      **dict(class_names=(), map=pairs, weight=3.0, outside=False),
    )
  (tmp_path / "5.png").write_text("broken")  # found by the reader
  with pytest.raises(DataError, match="5.png: not a picture"):
    loop.train(config, tmp_path / "run")
  own_pictures(tmp_path, 12)
  metrics = loop.train(config, tmp_path / "run").metrics
  assert metrics["metric"] == (metrics["COCO AP"] or 0)
  assert {"VOC07 AP", "COCO AP small", "COCO AR 100"} < metrics.keys()
  config.data.train.own.map = ()
  with pytest.raises(DataError, match="(?s)own .csv .*do not match.*circle"):
    loop.train(config, tmp_path / "other")


def test_a_detector_is_not_trained_on_image_labels(tmp_path):
  own_pictures(tmp_path, 12)
  (tmp_path / "train.csv").write_text("image,label\n0.png,red disc\n")
  config = tiny_config()
  with config.unlocked():
    config.data.train.main.update(
      format="csv", root=str(tmp_path), split="train.csv"
    )
  with pytest.raises(ValueError, match="0.png has the image label 'red disc'"):
    loop.train(config, tmp_path / "run")


def test_objects_that_all_vanish_stop_the_run(tmp_path, caplog):
  """Every box is smaller than min_side, so nothing can be learned."""
  config = tiny_config(data__augment__min_side=0.99, run__total_steps=101)
  with pytest.raises(checks.NoObjects, match=r"objects annotated .* 0 reach"):
    loop.train(config, tmp_path)
  assert (
    "annotated on the pictures of the first 5 batches 0 reach" in caplog.text
  )
  assert "data.augment.min_side" in caplog.text
  assert len(losses_of(tmp_path)) == 99


def test_dropout_is_a_function_of_the_runs_seed():
  """Two seeds drop other numbers of the same pictures; one seed the same."""
  config = tiny_config(task__network__width=1 / 32)
  task = yolov1.make_task(
    yolov1.Options(network=yolov1.Network(width=1 / 64, side=1)),
    build.read_classes(config.data),
  )
  variables = jax.jit(task.init, static_argnums=1)(jax.random.key(0), (64, 64))
  data = build.training_data(config, build.read_classes(config.data), "boxes")
  batches, _ = build.training_batches(config, data, 0)
  batch, losses = next(batches), []
  batches.close()
  mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), (parallel.AXIS,))
  tx = build.make_optimizer(config)
  for seed in (0, 0, 1):
    local_step = partial(
      loop.train_step,
      task=task,
      tx=tx,
      average=0.0,
      subdivisions=1,
      seed=seed,
    )
    step, place = parallel.make_step(local_step, spmd="shard_map", mesh=mesh)
    state = loop.State(
      jnp.zeros((), jnp.int32), variables, tx.init(variables["params"]), ()
    )
    state = parallel.replicate(jax.tree.map(jnp.copy, state), mesh)
    losses.append(float(step(state, place(batch))[1]["loss"]))
  assert losses[0] == losses[1] != losses[2]


# What orbax had begun to read is told where nobody listens any more.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_damaged_checkpoint_is_one_line(tmp_path):
  """It names the folder and what to do, also for a detector that is loaded."""
  config = tiny_config(run__total_steps=2, run__checkpoint_every=1)
  run.run_alone(config, tmp_path)
  latest = tmp_path / "checkpoints" / "latest"
  files = [path for path in (latest / "2").rglob("d/*") if path.is_file()]
  os.truncate(max(files, key=lambda path: path.stat().st_size), 5000)
  again = partial(loop.train, config, tmp_path)
  for use in (again, partial(from_run, tmp_path)):
    with pytest.raises(checkpoint.CheckpointError) as error:
      use()
    text = str(error.value)
    assert text.startswith(f"{latest / '2'} is damaged") and "\n" not in text
    assert "step 1 is there too" in text
  gc.collect()
  shutil.rmtree(latest / "2")
  assert loop.train(config, tmp_path).metrics["truths"] > 0


def test_some_steps_are_profiled(tmp_path):
  config = tiny_config(run__total_steps=9, run__profile=2)
  loop.train(config, tmp_path)
  assert list((tmp_path / "profile").rglob("*.xplane.pb"))
