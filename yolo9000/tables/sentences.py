"""What a table says in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from yolo9000 import scoring
from yolo9000.scoring import trees
from yolo9000.tables import plan
from yolo9000.tables.results import (
  KINDS,
  Filled,
  Frame,
  below,
  figures_of,
  frame,
  gain_of_paper,
  groups_of,
  in_pairs,
)

EACH_BY_ITSELF = (
  "Each step is judged by itself: of so many tests, one in twenty finds "
  "something where nothing is."
)
SIGNIFICANT = 0.05  # probability of such a difference by chance
MINUTES = (
  "Training minutes are of all stages of a row, also of those that it shares "
  "with others, without evaluation and compilation."
)


def step_in_words(
  before: Filled, after: Filled, figure: str, frame: Frame
) -> str:
  """What a row adds to the one it differs from, and whether by chance.

  The seeds of both are compared in pairs, by Student's t-test. Of one set of
  weights, and of one seed, chance cannot be judged.
  """
  old, new = in_pairs(before, after, figure)
  gains = np.subtract(new, old)
  text = f"{after.name}"
  if frame.kind == "alternatives":
    text += f", beside {before.name}"
  if not old:
    return f"{text}: not known."
  text += f": {gains.mean():+.1f}"
  theirs = gain_of_paper(before, after, figure)
  told = [] if theirs is None else [f"paper {theirs:+.1f}"]
  if set(frame.recorded) >= {before.name, after.name}:
    pairs = frame.recorded[before.name], frame.recorded[after.name]
    gain = np.mean(pairs[1]) - np.mean(pairs[0])
    told.append(f"recorded {gain:+.1f}, the mean of {len(pairs[0])} seeds")
  if told:
    text += f" ({'; '.join(told)})"
  if len(old) == 1:
    return f"{text}."
  text += ", by seed " + " ".join(f"{gain:+.1f}" for gain in gains)
  if np.ptp(gains) < 1e-9:
    return text + "."
  from scipy import stats  # takes half a second, and one seed needs none

  chance = float(stats.ttest_rel(new, old).pvalue)
  if chance < SIGNIFICANT:
    return text + f"; significant, p = {chance:.2g}."
  return text + (
    f"; cannot be told from chance with {len(old)} seeds, p = {chance:.2g}."
  )


def steps_in_words(config: Any, filled: Sequence[Filled]) -> list[str]:
  """A sentence for each row that differs from another; none for sizes."""
  figure, how = figures_of(filled)[0], frame(config)
  if how.kind == "sizes":
    return []
  return [
    step_in_words(before, after, figure, how)
    for before, after in zip(below(config, filled), filled, strict=True)
    if before is not None
  ]


def notes(config: Any, filled: Sequence[Filled]) -> list[str]:
  """What must be known to read the table."""
  last = plan.last_stage(config)
  of_boxes = ""
  if last.evaluation.metric in scoring.BOX_METRICS:
    how = last.task.to_dict().get("detect", {})
    told = ", ".join(f"{k} {v}" for k, v in how.items() if v not in ((), ""))
    of_boxes = (
      f" AP is the mean over classes; VOC's at IoU .5. Detections: {told}."
    )
  how = frame(config)
  data = f"{last.data.test.format} {last.data.test.split}"
  setting = f" This is {how.setting}." if how.setting else ""
  if setting and config.paper:
    setting += (
      f" Its numbers cannot be compared with those of the paper, which are of "
      f"{config.paper}; what rows add to each other can."
    )
  if config.paper:
    data += f"; paper: {config.paper}"
  return [
    f"{KINDS[how.kind]}{setting} Data: {data}. In percent, "
    f"{_seeds_in_words(filled, how)}{of_boxes}",
    MINUTES,
    *(
      f"{row.name}, {group}: {extremes}."
      for row in filled
      for found in list(row.results.values())[:1]
      for group, names in groups_of(config).items()
      if (extremes := trees.extremes(found["per_class"], names, count=5))
    ),
    *(f"{row.name} failed: {row.error}" for row in filled if row.error),
    *(
      f"Commit {code}, {device}."
      for code, device in sorted(
        {
          (r["commit"], r["hardware"])
          for f in filled
          for r in f.results.values()
        }
      )
    ),
  ]


def _seeds_in_words(filled: Sequence[Filled], how: Frame) -> str:
  """Of how many seeds the numbers are, and what that means."""
  if max((len(row.results) for row in filled), default=0) > 1:
    return "mean and standard deviation over seeds."
  if how.kind == "sizes":
    return "of one set of weights."
  several = [values for values in how.recorded.values() if len(values) > 1]
  if not several:
    return "of one seed, so that a small difference may be chance."
  most = max(np.std(values, ddof=1) for values in several)
  return (
    f"of one seed; over seeds the recorded deviation is up to {most:.1f}, and "
    f"differences of that order may be chance."
  )
