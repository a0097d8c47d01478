"""What a table consists of: rows, their chains of stages, each stage once.

A row is a chain of trainings, each from the weights of the one before it: a
classifier at low resolution, at high resolution, a detector. A stage is known
by a hash of all that it depends on, so rows that share one share its folder.
"""

from __future__ import annotations

import functools
import hashlib
import json
import operator
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

SECTIONS = ("data", "task", "optimizer", "schedule", "run", "evaluation")
# What changes no result, only when and how it comes.
SPEED = (
  *("data.num_threads", "data.num_processes", "run.spmd"),
  *("run.profile", "run.tensorboard"),
  *("run.log_every", "run.checkpoint_every", "run.epoch_images"),
  "evaluation.batch_size",
)
# A run may also be moved, with its data, and be extended.
MOVED = ("data.root", "run.extend")
ROW = "row "  # run.start_from = "row NAME": from that row's weights
BASE = "base"  # on=: a row that differs from the config itself


def row(
  name: str,
  paper: Any = None,
  changes: Mapping[str, Any] | None = None,
  *,
  on: str | None = None,
) -> tuple[str, Any, tuple[tuple[str, Any], ...], str | None]:
  """A row of a table, as it stands in config.rows.

  Args:
    name: of the row.
    paper: its number, of the table's first column; or a dict of figures by
      their names; or None.
    changes: the options in which it differs, by dotted names.
    on: the row that it differs from; None for the one above, BASE for the
      config itself.
  """
  return (name, paper, tuple((changes or {}).items()), on)


class Stage(NamedTuple):
  """One training, or one evaluation of a training.

  Attributes:
    key: its name and the hash of all that it depends on; its folder.
    name: as in config.stages; "run" if the config is one stage.
    config: of its SECTIONS.
    parent: key of the stage whose weights it starts from, or evaluates.
    trains: false for an evaluation.
  """

  key: str
  name: str
  config: Any
  parent: str | None
  trains: bool


class Row(NamedTuple):
  """A row of the table with one seed.

  Attributes:
    name, paper: as in config.rows. The paper's figure is a number, of the
      table's first column, or a dict of figures by their names, or None.
    seed: of all its stages.
    stages: their keys, in order; the last one's results are the row's.
    error: why it cannot be run, or "".
  """

  name: str
  paper: Any
  seed: int
  stages: tuple[str, ...]
  error: str = ""

  @property
  def title(self) -> str:
    """The row's name, and its seed unless that is 0."""
    return self.name + (f" seed {self.seed}" if self.seed else "")


class Plan(NamedTuple):
  """Rows, and all their stages by key, each after its parent."""

  rows: tuple[Row, ...]
  stages: Mapping[str, Stage]


TABLE_ARGUMENTS = ("row=", "stage=", "seed=", "seeds=")


def arguments(text: str, allowed: Sequence[str]) -> dict[str, str]:
  """An experiment's arguments, as in voc,row=passthrough,seed=1.

  Args:
    text: after the colon of --config=FILE:text.
    allowed: names, those with a value end with =.

  Raises:
    ValueError: for one that is not allowed, or is there twice.
  """
  found: dict[str, str] = {}
  for one in filter(None, text.split(",")):
    name, equals, value = one.partition("=")
    if name + equals not in allowed or name in found or (equals and not value):
      raise ValueError(
        f"argument {one!r} is unknown or there twice; there are, separated by "
        f"commas, {', '.join(allowed)}"
      )
    found[name] = value
  return found


def select(config: Any, chosen: Mapping[str, str]) -> None:
  """Sets what row=, stage=, seed= and seeds= choose of a table.

  Raises:
    ValueError: for a value that cannot be.
  """
  for name in {"seed", "seeds"} & set(chosen):
    least = 1 if name == "seeds" else 0
    if not chosen[name].isdigit() or int(chosen[name]) < least:
      raise ValueError(
        f"{name}={chosen[name]} must be a whole number from {least} on"
      )
  if "seed" in chosen and "seeds" in chosen:
    raise ValueError("seed= is one seed, seeds= how many; expected one of them")
  if "seed" in chosen:
    config.seeds = (int(chosen["seed"]),)
  if "seeds" in chosen:
    config.seeds = tuple(range(int(chosen["seeds"])))
  names = [name for name, *_ in config.rows]
  for name, allowed in (("row", names), ("stage", config.get("stages", ()))):
    if name not in chosen:
      continue
    if chosen[name] not in allowed:
      raise ValueError(
        f"{name}={chosen[name]} is unknown; there are {', '.join(allowed)}"
      )
    config[f"only_{name}"] = chosen[name]


def with_changes(config: Any, changes: Iterable[tuple[str, Any]]) -> Any:
  """A copy with values set by dotted names: (("task.width", .5), ..).

  Raises:
    AttributeError: for a name that the config does not have.
    TypeError: for a value of another type.
  """
  config = ConfigDict(config.to_dict()).lock()
  for name, value in changes:
    parts = name.split(".")
    holder = section = config
    for part in parts:
      if part not in section:
        raise AttributeError(
          f"{name}: there is no {part!r}; there are {', '.join(section)}"
        )
      holder, section = section, section[part]
    holder[parts[-1]] = value
  return config


def row_configs(config: Any) -> dict[str, Any]:
  """The full config of every row by the row's name.

  A row has its own changes and those of the row it differs from, which has
  those of its own; changes win over what the command line sets.
  """
  return {
    name: with_changes(config, changes_of(config, name))
    for name, *_ in rows_of(config)
  }


def overruled(config: Any, typed: Mapping[str, Any]) -> list[str]:
  """Sentences on what is typed and rows that are to run set otherwise.

  Args:
    config: of the table, with what was typed.
    typed: values of the command line by their dotted names.
  """
  found: dict[str, list[str]] = {}
  for row, full in row_configs(config).items():
    runs = config.get("only_row", "") in ("", row)
    for name, value in typed.items() if runs else ():
      try:
        own = functools.reduce(operator.getitem, name.split("."), full)
        why = f"where a row sets {own!r}"
      except KeyError:  # of another detector
        own, why = None, "where a row has no such option"
      if own != value:
        said = f"--config.{name} has no effect {why}: "
        found.setdefault(said, []).append(row)
  return [said + ", ".join(rows) for said, rows in found.items()]


def changes_of(config: Any, row: str) -> tuple[tuple[str, Any], ...]:
  """A row's changes and those of the rows that it stands on.

  Raises:
    ValueError: for a row that there is not.
  """
  changes: dict[str, tuple[tuple[str, Any], ...]] = {BASE: ()}
  for (name, _, own, _), below in zip(
    rows_of(config), differs_from(config).values(), strict=True
  ):
    if below not in changes:
      raise ValueError(
        f"row {name!r} is on {below!r}; above it are {', '.join(changes)}"
      )
    changes[name] = (*changes[below], *own)
  if row not in changes:
    raise ValueError(f"there is no row {row!r}")
  return changes[row]


def differs_from(config: Any) -> dict[str, str]:
  """The row that each row differs from, or BASE."""
  above, found = BASE, {}
  for name, _, _, on in rows_of(config):
    found[name] = on or above
    above = name
  return found


def rows_of(config: Any) -> Sequence[tuple[str, Any, Any, str | None]]:
  """config.rows; a config without any is one."""
  return config.rows or (row(config.name),)


def seeds_of(config: Any) -> Sequence[int]:
  """Of the table; config.run.seed if it has no more."""
  return config.seeds if "seeds" in config else (config.run.seed,)


def last_stage(config: Any) -> Any:
  """What the rows are measured by; a config without stages is one."""
  return config[config.stages[-1]] if "stages" in config else config


def as_json(config: Any) -> dict[str, Any]:
  """A config as it is written to disk and compared with what is there."""
  return json.loads(json.dumps(config.to_dict()))


def differences(old: Any, new: Any, name: str = "") -> list[str]:
  """What differs between two configs as JSON, a sentence each."""
  if isinstance(old, dict) and isinstance(new, dict):
    return [
      line
      for key in sorted({*old, *new})
      for line in differences(old.get(key), new.get(key), f"{name}.{key}")
    ]
  return [] if old == new else [f"{name[1:]}: {old!r} there, {new!r} now"]


def folder(workdir: Path, key: str) -> Path:
  """Where a stage is."""
  return workdir / "stages" / key


def stage_configs(config: Any, seed: int) -> dict[str, Any]:
  """A row's stages by name: those of config.stages that have steps.

  A stage that says itself what it starts from needs none before it.
  """
  names = config.stages if "stages" in config else ("",)
  found: dict[str, Any] = {}
  for name in names:
    whole = config[name] if name else config
    stage: Any = ConfigDict({p: whole[p].to_dict() for p in SECTIONS})
    stage.run.seed = seed
    if not stage.run.total_steps and name:
      continue
    if stage.run.start_from:
      found.clear()
    found[name or "run"] = stage.lock()
  return found


def _key(name: str, config: Any, parent: str | None, *, evaluated: bool) -> str:
  """The hash of all that a stage depends on, or of its training alone."""
  content = as_json(config)
  for dotted in (*SPEED, "run.extend"):  # a table's stages have none
    section, entry = dotted.split(".")
    content[section].pop(entry, None)
  if not evaluated:
    without_evaluation(content)
  text = json.dumps([content, parent], sort_keys=True)
  return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def without_evaluation(content: dict[str, Any]) -> dict[str, Any]:
  """Takes out what changes no training; returns what was taken."""
  return {
    "evaluation": content.pop("evaluation"),
    "detect": content["task"].pop("detect", None),
  }


def make(config: Any) -> Plan:
  """The plan of a config with rows.

  If a row's last training differs from another row's in `evaluation` and
  `task.detect` alone, that one's weights are evaluated.

  Raises:
    AttributeError, TypeError: see `with_changes`.
  """
  rows: list[Row] = []
  stages: dict[str, Stage] = {}
  trained: dict[str, str] = {}
  configs = row_configs(config)
  for seed in seeds_of(config):
    ends: dict[str, str] = {}  # of rows: their last training
    for name, paper, *_ in rows_of(config):
      try:
        chain = _chain(configs[name], seed, ends, stages, trained)
      except ValueError as error:
        rows.append(Row(name, paper, seed, (), str(error)))
        continue
      ends[name] = [key for key in chain if stages[key].trains][-1]
      rows.append(Row(name, paper, seed, tuple(chain)))
  return Plan(tuple(rows), stages)


def _chain(
  config: Any,
  seed: int,
  ends: Mapping[str, str],
  stages: dict[str, Stage],
  trained: dict[str, str],
) -> list[str]:
  """Keys of a row's stages; adds those that are new.

  If rows share a training, the first row's evaluation settings are used.
  `trained` has the keys of trainings by the hash of the training alone.
  """
  chain: list[str] = []
  parent: str | None = None
  for name, stage in stage_configs(config, seed).items():
    start = stage.run.start_from
    if start.startswith(ROW):
      if start.removeprefix(ROW) not in ends:
        raise ValueError(
          f"run.start_from is {start!r}; rows above it are "
          f"{', '.join(ends) or 'none'}"
        )
      parent = ends[start.removeprefix(ROW)]
    training = _key(name, stage, parent, evaluated=False)
    key = trained.setdefault(
      training, _key(name, stage, parent, evaluated=True)
    )
    stages.setdefault(key, Stage(key, name, stage, parent, True))
    chain.append(key)
    parent = key
  if not chain:
    raise ValueError("every stage has 0 steps; expected one with more")
  end = stages[chain[-1]]
  ours, theirs = as_json(stage), as_json(end.config)
  if without_evaluation(ours) != without_evaluation(theirs):
    key = _key("evaluation", stage, end.key, evaluated=True)
    stages.setdefault(key, Stage(key, "evaluation", stage, end.key, False))
    chain.append(key)
  return chain


def chosen(plan: Plan, config: Any) -> list[Stage]:
  """The stages of config.only_row, or of each row up to config.only_stage.

  "" is for all. With what they stand on, parents first.
  """
  only_row = config.only_row if "only_row" in config else ""
  only_stage = config.only_stage if "only_stage" in config else ""
  keys: set[str | None] = set()
  for row in plan.rows:
    names = [plan.stages[key].name for key in row.stages]
    if only_row not in ("", row.name) or only_stage not in ("", *names):
      continue
    end = names.index(only_stage) + 1 if only_stage else len(names)
    keys.update(row.stages[:end])
  for key, stage in reversed(list(plan.stages.items())):
    if key in keys:
      keys.add(stage.parent)
  return [stage for key, stage in plan.stages.items() if key in keys]
