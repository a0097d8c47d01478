"""What is in launch/: linted, tried without a cluster, or with a faked one."""

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support import ROOT

LAUNCH = ROOT / "launch"
CONFIG = "--config=experiments/classifier.py:quick"
TABLE = """
import sys
sys.path.insert(0, {tests!r})
from support import toy_config
from yolo9000.tables.plan import row

def get_config():
  rows = (row("a", 1.0), row("b", 2.0, {{"evaluation.image_size": 96}}))
  return toy_config(rows=rows)
"""
SRUN = """#!/usr/bin/env bash
# Two tasks on this machine, as SLURM starts them.
[[ ${CODE:-} ]] && exit "$CODE"
shift
export SLURM_STEP_NODELIST=localhost SLURM_NTASKS=2 SLURM_STEP_NUM_NODES=1
for task in 0 1; do
  SLURM_PROCID=$task SLURM_LOCALID=$task "$@" &
  pids+=($!)
done
highest=0
for pid in "${pids[@]}"; do
  code=0
  wait "$pid" || code=$?
  ((code > highest)) && highest=$code
done
exit "$highest"
"""
SCONTROL = """#!/bin/sh
echo "$@" > "$QUEUED"
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
  """A folder with an experiment and faked commands of SLURM."""
  folder = tmp_path_factory.mktemp("launch")
  tests = str(Path(__file__).parents[1])
  (folder / "table.py").write_text(TABLE.format(tests=tests))
  (folder / "bin").mkdir()
  for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
    (folder / "bin" / name).write_text(text)
    (folder / "bin" / name).chmod(0o755)
  return folder


def output(*words, **variables):
  done = subprocess.run(
    words,
    cwd=ROOT,
    env={**os.environ, **variables},
    capture_output=True,
    text=True,
    timeout=1000,
  )
  assert done.returncode == 0, done.stderr
  return done.stdout.splitlines()


def scripts():
  return [*sorted(LAUNCH.glob("*.sh")), LAUNCH / "slurm.sbatch"]


def test_scripts_have_no_lint():
  shellcheck = Path(sys.executable).parent / "shellcheck"
  ours = [*scripts(), ROOT / ".ci" / "run", ROOT / ".ci" / "wheel"]
  done = subprocess.run([shellcheck, *ours], capture_output=True)
  assert done.returncode == 0, done.stdout.decode()


def test_a_dry_run_of_several_processes_says_what_they_would_do():
  words = ["launch/local.py", "--processes=2", "--devices=4", "--dry-run"]
  lines = output(sys.executable, *words, CONFIG, CUDA_VISIBLE_DEVICES="3,5")
  assert len(lines) == 2
  for number, (line, gpu) in enumerate(zip(lines, "35", strict=True)):
    assert f"CUDA_VISIBLE_DEVICES={gpu} " in line and "DEVICES=4" in line
    assert "worker.sh --distributed=manual --coordinator=127" in line
    assert line.endswith(f"--num_processes=2 --process_id={number} {CONFIG}")
  first, second = output(
    *(sys.executable, words[0], "--jobs=2", "--dry-run"),
    CUDA_VISIBLE_DEVICES="",
  )
  assert first == second and first.endswith("worker.sh --distributed=off")


def test_a_dry_run_on_slurm():
  (line,) = output("bash", "launch/slurm.sbatch", CONFIG, "--dry-run")
  assert shlex.split(line)[-3:] == [
    *("launch/worker.sh", "--distributed=auto", CONFIG)
  ]


def test_a_dry_run_on_a_tpu():
  names = dict(NAME="n", ZONE="z", TYPE="v6e-8", SPOT="1", MOUNT="mount /data")
  lines = output("launch/tpu_vm.sh", CONFIG, "--dry-run", **names)
  words = [shlex.split(line) for line in lines]
  create, _, copy, unpack, start = words
  assert create[:6] == "gcloud compute tpus queued-resources create n".split()
  assert {"--accelerator-type=v6e-8", "--spot", "--zone=z"} <= set(create)
  assert "--runtime-version=v2-alpha-tpuv6e" in create
  for line in (copy, unpack, start):
    assert "--worker=all" in line and "--zone=z" in line
  assert "-C yolo9000 && " in unpack[-1]
  assert unpack[-1].endswith(" && mount /data")
  assert start[-1] == (
    f"--command=EXTRA=tpu yolo9000/launch/worker.sh --distributed=auto {CONFIG}"
  )


def test_a_dry_run_of_a_worker_is_mains():
  words = ["launch/worker.sh", "--distributed=off", CONFIG, "--dry-run"]
  first, *rest = output(*words, PYTHON=sys.executable)
  assert first.split()[1:] == ["-m", "yolo9000.main", *words[1:]]
  assert "Rows, each a chain of stages:" in rest


@pytest.mark.parametrize("kind", ["tpu", "gpu"])
def test_the_jobset_starts_main_on_every_host(kind):
  text = (LAUNCH / "jobset.yaml").read_text()
  documents = list(yaml.safe_load_all(text))
  (made,) = [
    d for d in documents if d["metadata"]["labels"]["accelerator"] == kind
  ]
  (hosts,) = made["spec"]["replicatedJobs"]
  job = hosts["template"]["spec"]
  assert job["completions"] == job["parallelism"]
  assert job["completionMode"] == "Indexed" and job["backoffLimit"] == 0
  codes, gone = job["podFailurePolicy"]["rules"]
  assert codes["onExitCodes"]["values"] == [75, 134]
  assert gone["onPodConditions"][0]["type"] == "DisruptionTarget"
  (rule,) = made["spec"]["failurePolicy"]["rules"]
  assert rule["onJobFailureReasons"] == ["PodFailurePolicy"]
  (main,) = job["template"]["spec"]["containers"]
  values = {one["name"]: one["value"] for one in main["env"]}
  values["ARGUMENTS"] = f"{CONFIG} --dry-run"
  values["PYTHON"], values["JOB_COMPLETION_INDEX"] = sys.executable, "1"
  first, *_ = output(*main["command"], *main["args"], **values)
  assert first.split()[-2:] == [CONFIG, "--dry-run"]
  if kind == "gpu":
    name, host = made["metadata"]["name"], hosts["name"]
    assert f"--coordinator={name}-{host}-0-0.{name}:55527" in first
    assert f"--num_processes={job['completions']} --process_id=1" in first


def slurm(place, *words, **variables):
  """What slurm.sbatch does in the fourth job of an array, of two processes."""
  faked = {
    "PATH": f"{place}/bin:{os.environ['PATH']}",
    "PYTHON": sys.executable,
    "QUEUED": str(place / "queued"),
    "SLURM_JOB_ID": str(os.getpid()),
    "SLURM_ARRAY_JOB_ID": "7",
    "SLURM_ARRAY_TASK_ID": "3",
    "SLURM_SUBMIT_DIR": str(ROOT),
  }
  return subprocess.run(
    ["bash", LAUNCH / "slurm.sbatch", *words],
    env={**os.environ, **faked, **variables},
    capture_output=True,
    text=True,
    timeout=1200,
  )


def test_two_processes_that_slurm_starts_make_one_table(place):
  """JAX finds them by itself; each stage is run once and told by one."""
  workdir = place / "table"
  done = slurm(place, f"--config={place}/table.py", f"--workdir={workdir}")
  assert done.returncode == 0, done.stderr[-3000:]
  begun = re.findall(r"stage \d+ of \d+: (\w+-\w{10})\b", done.stderr)
  assert sorted(begun) == sorted(p.name for p in (workdir / "stages").iterdir())
  with (workdir / "table.csv").open() as file:
    rows = list(csv.DictReader(file))
  for row in rows:
    result = json.loads((workdir / row["row"] / "results.json").read_text())
    assert row["VOC07 AP"] == f"{100 * result['VOC07 AP']:.1f}"
    assert result["hardware"].startswith("2 x cpu")
  assert len(begun) == len(rows) == 2
  assert not (place / "queued").exists()


@pytest.mark.parametrize(
  ("code", "restarts", "queued"),
  [(75, 0, True), (137, 19, True), (75, 20, False), (2, 0, False)],
)
def test_slurm_queues_a_job_again_that_was_preempted(
  place, code, restarts, queued
):
  """This one of the array, and not after an error or too often."""
  path = place / "queued"
  path.unlink(missing_ok=True)
  done = slurm(place, CODE=str(code), SLURM_RESTART_COUNT=str(restarts))
  assert done.returncode == (0 if queued else code), done.stderr
  assert path.exists() == queued
  if queued:
    assert path.read_text().split() == ["requeue", "7_3"]
