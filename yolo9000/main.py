"""The command line: python -m yolo9000.main --config=experiments/ablation.py

Trains what the config describes, or every row of it if it has rows; with
--dry-run it says what that would be.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import absl.logging
from absl import flags
from ml_collections import config_flags

from yolo9000 import command_line
from yolo9000.data.disk import DataError
from yolo9000.tables import cost, plan, results, run, summary, sweep
from yolo9000.tables.completed import complete
from yolo9000.training import compilation, loop, processes, validation

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
MEMORY = flags.DEFINE_bool(
  "memory", False, "With --dry-run: each step's memory too, by compiling it."
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

MODULE = "yolo9000.main"
TRY_AGAIN = 75  # exit code when nothing is wrong: start me again


def main(argv: list[str]) -> None:
  """Runs the config.

  Exits with 1 if a row failed, 2 for values that cannot be used, TRY_AGAIN
  after SIGTERM or Ctrl-C to any process of the run, or when another one died.
  JAX may end a process first, by SIGABRT, when another one died.
  """
  del argv
  absl.logging.set_verbosity(absl.logging.WARNING)  # orbax tells every file
  config = CONFIG.value
  workdir = Path(WORKDIR.value or Path("runs") / config.name)
  compilation.set_up()
  problem = None
  try:
    if not DRY_RUN.value:
      processes.start(
        DISTRIBUTED.value,
        coordinator=COORDINATOR.value,
        num_processes=NUM_PROCESSES.value,
        process_id=PROCESS_ID.value,
      )
    config = complete(config)
    check(config, workdir)
  except (ValueError, AttributeError, TypeError, OSError) as error:
    print(f"{command_line.typed(MODULE)}: {error}", file=sys.stderr)
    if not DRY_RUN.value or not isinstance(error, DataError):
      processes.leave(command_line.USAGE)
    problem = error
  try:
    if DRY_RUN.value:  # what it costs is known without the data, too
      made = plan.make(config)
      stages = plan.chosen(made, config)
      print(cost.describe(made, stages, workdir, memory=MEMORY.value))
      sys.exit(command_line.USAGE if problem else 0)
    if not processes.first():
      logger.setLevel(logging.WARNING)
    if config.rows:
      sys.exit(1 if sweep.run_rows(config, workdir) else 0)
    found = run.run_alone(config, workdir)
    if processes.first():
      summary.write_page(config, found, workdir)
      print(summary.summary(found, config, workdir))
  except loop.Preempted as stopped:
    if processes.first():
      logger.warning("%s", stopped)
    sys.exit(TRY_AGAIN)
  except KeyboardInterrupt:
    print("stopped at once; the last checkpoint is kept", file=sys.stderr)
    processes.leave(TRY_AGAIN)
  except run.Refused as error:
    print(f"{command_line.typed(MODULE)}: {error}", file=sys.stderr)
    processes.leave(command_line.USAGE)
  except (ValueError, AttributeError, TypeError, OSError) as error:
    if (workdir / "config.json").exists():  # it had begun
      run.report_failure(workdir, error)
    else:
      print(f"{command_line.typed(MODULE)}: {error}", file=sys.stderr)
    processes.leave(command_line.USAGE)
  except Exception as error:
    if processes.alone():
      raise
    if processes.is_loss(error):
      logger.error("another process is gone: %s", error)
      processes.leave(TRY_AGAIN)
    traceback.print_exc()
    processes.leave(1)


def check(config: Any, workdir: Path) -> None:
  """Finds what cannot be before anything is built, read or written.

  Of a table, stages that cannot be are told and the others run; but if none
  can, nothing does.

  Raises:
    ValueError: naming the value and what is allowed.
    OSError: if the folder cannot be written.
  """
  folder = workdir.absolute()
  while not folder.exists():
    folder = folder.parent
  if not folder.is_dir() or not os.access(folder, os.W_OK):
    raise PermissionError(
      f"{folder} cannot be written, and --workdir is {workdir}; expected a "
      f"folder that can"
    )
  if not config.rows:
    validation.validate(config)
    return
  results.frame(config)
  typed = config_flags.get_override_values(flags.FLAGS["config"])
  for said in plan.overruled(config, typed):
    logger.warning(said)
  made = plan.make(config)
  wrong, stages = {}, plan.chosen(made, config)
  if any(stage.config.run.extend for stage in stages):
    raise ValueError("run.extend is for a config without rows")
  to_do = [s for s in stages if not sweep.is_done(s, workdir)]
  for stage in to_do:
    try:
      checked = stage.config
      if stage.parent and not checked.run.start_from:
        start = (("run.start_from", f"{plan.ROW}of {stage.parent}"),)
        checked = plan.with_changes(checked, start)
      validation.validate(checked)
    except ValueError as error:
      wrong[stage.key] = error
  if wrong and (DRY_RUN.value or len(wrong) == len(to_do)):
    texts = dict.fromkeys(map(str, wrong.values()))
    of_data = all(isinstance(error, DataError) for error in wrong.values())
    raise (DataError if of_data else ValueError)("\n".join(texts))
  for key, error in wrong.items():
    logger.error("stage %s cannot be run, others can: %s", key, error)


if __name__ == "__main__":
  flags.mark_flag_as_required("config")
  logger.setLevel(logging.INFO)
  command_line.run(MODULE, __doc__, main)
