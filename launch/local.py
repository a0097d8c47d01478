"""Runs main in several processes on this machine.

  python launch/local.py --processes=2 --config=experiments/ablation.py
  python launch/local.py --jobs=2 --config=experiments/ablation.py

The first trains every stage in two processes together, as on two hosts; the
second runs two jobs that share the table's stages between them. Everything that
is not listed here goes to main. GPUs listed in CUDA_VISIBLE_DEVICES are dealt
out to the processes.

A job is started again when it was preempted, or a process of it died. SIGTERM
and Ctrl-C let every process save its state and end, a second one kills them.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

WORKER = Path(__file__).parent / "worker.sh"
TRY_AGAIN = 75  # main's exit code when nothing is wrong: start me again
GRACE = 120.0  # seconds for the rest of a job to end after the first


def parse(words: list[str]) -> tuple[argparse.Namespace, list[str]]:
  """Our own arguments, and main's."""
  parser = argparse.ArgumentParser(
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )
  parser.add_argument(
    "--processes", type=int, default=1, help="that train as one"
  )
  parser.add_argument(
    "--jobs", type=int, default=1, help="that share the rows of a table"
  )
  parser.add_argument(
    "--devices", type=int, help="virtual devices of each process, on the CPU"
  )
  parser.add_argument(
    "--restarts", type=int, default=3, help="of each job, at most"
  )
  parser.add_argument(
    "--dry-run", action="store_true", help="print what would be started"
  )
  own, others = parser.parse_known_args(words)
  if own.processes < 1 or own.jobs < 1:
    parser.error("--processes and --jobs must be at least 1")
  return own, others


def free_port() -> int:
  """A port that nobody listens on."""
  with socket.socket() as one:
    one.bind(("127.0.0.1", 0))
    return one.getsockname()[1]


def commands(
  own: argparse.Namespace, others: list[str], job: int
) -> list[tuple[dict[str, str], list[str]]]:
  """Environment and command of each process of a job."""
  result = []
  count = own.processes
  port = free_port() if count > 1 else 0
  gpus = [g for g in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if g]
  each = len(gpus) // (count * own.jobs)
  if gpus and not each:
    sys.exit(
      f"CUDA_VISIBLE_DEVICES lists {len(gpus)} GPUs, but {count * own.jobs} "
      f"processes would need one each"
    )
  for number in range(count):
    environment = {"PYTHON": sys.executable}
    if own.devices:
      environment["JAX_NUM_CPU_DEVICES"] = str(own.devices)
    if each:
      first = (job * count + number) * each
      chosen = ",".join(gpus[first : first + each])
      environment["CUDA_VISIBLE_DEVICES"] = chosen
    if count == 1:
      joined = ["--distributed=off"]
    else:
      joined = [
        "--distributed=manual",
        f"--coordinator=127.0.0.1:{port}",
        f"--num_processes={count}",
        f"--process_id={number}",
      ]
    result.append((environment, [str(WORKER), *joined, *others]))
  return result


class Job:
  """The processes of one job, started again as often as is allowed."""

  def __init__(self, own: argparse.Namespace, others: list[str], number: int):
    """Starts them."""
    self._own, self._others, self._number = own, others, number
    self._restarts = own.restarts
    self._start()

  def _start(self) -> None:
    made = commands(self._own, self._others, self._number)
    self._ended: float | None = None  # when the first process did
    self.processes = [
      subprocess.Popen(
        command,
        env={**os.environ, **environment},
        start_new_session=True,  # Ctrl-C is for us, who pass on SIGTERM
      )
      for environment, command in made
    ]

  def send(self, number: int) -> None:
    """A signal to all that run."""
    for one in self.processes:
      if one.poll() is None:
        one.send_signal(number)

  def poll(self, stopping: bool) -> int | None:
    """The exit code if the job has ended for good."""
    codes = [one.poll() for one in self.processes]
    if None in codes:
      if any(code is not None for code in codes):
        self._ended = self._ended or time.monotonic()
        if time.monotonic() > self._ended + GRACE:
          self.send(signal.SIGKILL)
      return None
    failed = [code for code in codes if code]
    if not failed:
      return 0
    wrong = [code for code in failed if code > 0 and code != TRY_AGAIN]
    told = ", ".join(map(str, codes))
    if wrong:
      return wrong[0]
    if stopping:
      return TRY_AGAIN
    if not self._restarts:
      print(f"job {self._number} ended with {told} too often", file=sys.stderr)
      return TRY_AGAIN
    self._restarts -= 1
    print(f"job {self._number} ended with {told}; again", file=sys.stderr)
    self._start()
    return None


def main(words: list[str]) -> int:
  """Runs all jobs; the exit code is that of the first that failed."""
  own, others = parse(words)
  if own.dry_run:
    for job in range(own.jobs):
      for environment, command in commands(own, others, job):
        values = [f"{name}={value}" for name, value in environment.items()]
        print(shlex.join([*values, *command]))
    return 0
  signals: list[int] = []
  for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda got, _: signals.append(got))
  jobs = [Job(own, others, number) for number in range(own.jobs)]
  codes: list[int | None] = [None] * len(jobs)
  told: float | None = None  # when they were asked to stop
  while None in codes:
    if signals and told is None:
      told = time.monotonic()
      for job in jobs:
        job.send(signal.SIGTERM)
    if len(signals) > 1 or (told and time.monotonic() > told + GRACE):
      for job in jobs:
        job.send(signal.SIGKILL)
    for number, job in enumerate(jobs):
      if codes[number] is None:
        codes[number] = job.poll(told is not None)
    time.sleep(0.1)
  return next((code for code in codes if code), 0)


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
