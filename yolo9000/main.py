"""The command line: python -m yolo9000.main --config=experiments/ablation.py

Trains what the config describes, or every row of it if it has rows; with
--dry-run it says what that would be.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import absl.logging
from absl import app, flags
from ml_collections import config_flags

from yolo9000 import compilation, cost, plan, sweep, train

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

TRY_AGAIN = 75  # exit code after SIGTERM: nothing is wrong, start me again


def main(argv: list[str]) -> None:
  """Runs the config.

  Exits with 1 if a row failed, 2 for values that cannot be used, TRY_AGAIN
  after SIGTERM.
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
    if config.rows:
      sys.exit(1 if sweep.run_rows(config, workdir) else 0)
    results = sweep.run_alone(config, workdir)
    figures = (float, int, type(None))
    print({k: v for k, v in results.items() if isinstance(v, figures)})
  except train.Preempted as stopped:
    logger.warning("%s", stopped)
    sys.exit(TRY_AGAIN)
  except (ValueError, AttributeError, TypeError, FileNotFoundError) as error:
    if DRY_RUN.value:
      logger.error("%s: %s", type(error).__name__, error)
    else:
      sweep.report_failure(workdir, error)
    sys.exit(2)


if __name__ == "__main__":
  flags.mark_flag_as_required("config")
  logger.setLevel(logging.INFO)
  app.run(main)
