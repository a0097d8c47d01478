"""The command line: python -m yolo9000.main --config=experiments/ablation.py

Trains what the config describes, or every row of it if it has rows; with
--dry-run it says what that would be.
"""

from __future__ import annotations

import logging
import sys
import traceback
from pathlib import Path

import absl.logging
from absl import app, flags
from ml_collections import config_flags

from yolo9000.tables import cost, plan, run, sweep
from yolo9000.training import compilation, loop, processes

logger = logging.getLogger("yolo9000")

CONFIG = config_flags.DEFINE_config_file(
  "config", None, "Experiment file; values by --config.x.y=z.", lock_config=True
)
WORKDIR = flags.DEFINE_string(
  "workdir",
  None,
  "Where results go. Default: runs/ and the experiment's name. The same "
  "command again goes on where it stopped.",
)

DRY_RUN = flags.DEFINE_bool(
  "dry-run", False, "Print stages, schedules and costs, and run nothing."
)
DISTRIBUTED = flags.DEFINE_enum(
  "distributed",
  "auto",
  processes.MODES,
  "Whether this is one of several processes that train as one: as JAX finds it "
  "(Cloud TPU, GKE, SLURM, Open MPI), off, or as the next three say.",
)
COORDINATOR = flags.DEFINE_string(
  "coordinator", None, "host:port of the first process."
)
NUM_PROCESSES = flags.DEFINE_integer(
  "num_processes", None, "How many there are."
)
PROCESS_ID = flags.DEFINE_integer("process_id", None, "This one's, from 0.")

TRY_AGAIN = 75  # exit code when nothing is wrong: start me again


def main(argv: list[str]) -> None:
  """Runs the config.

  Exits with 1 if a row failed, 2 for values that cannot be used, TRY_AGAIN
  after SIGTERM to any process of the run, or when another one died. JAX may end
  a process first, by SIGABRT, when another one died.
  """
  if len(argv) > 1:
    raise app.UsageError(f"not a flag: {' '.join(argv[1:])}; begin it with --")
  absl.logging.set_verbosity(absl.logging.WARNING)  # orbax tells every file
  config = CONFIG.value
  workdir = Path(WORKDIR.value or Path("runs") / config.name)
  compilation.enable_cache()
  try:
    if DRY_RUN.value:
      made = plan.make(config)
      print(cost.describe(made, plan.chosen(made, config), workdir))
      return
    processes.start(
      DISTRIBUTED.value,
      coordinator=COORDINATOR.value,
      num_processes=NUM_PROCESSES.value,
      process_id=PROCESS_ID.value,
    )
    if not processes.first():
      logger.setLevel(logging.WARNING)
    if config.rows:
      sys.exit(1 if sweep.run_rows(config, workdir) else 0)
    results = run.run_alone(config, workdir)
    if processes.first():
      figures = (float, int, type(None))
      print({k: v for k, v in results.items() if isinstance(v, figures)})
  except loop.Preempted as stopped:
    if processes.first():
      logger.warning("%s", stopped)
    sys.exit(TRY_AGAIN)
  except (ValueError, AttributeError, TypeError, FileNotFoundError) as error:
    if DRY_RUN.value:
      logger.error("%s: %s", type(error).__name__, error)
      sys.exit(2)
    run.report_failure(workdir, error)
    processes.leave(2)
  except Exception as error:
    if processes.alone():
      raise
    if processes.is_loss(error):
      logger.error("another process is gone: %s", error)
      processes.leave(TRY_AGAIN)
    traceback.print_exc()
    processes.leave(1)


if __name__ == "__main__":
  flags.mark_flag_as_required("config")
  logger.setLevel(logging.INFO)
  app.run(main)
