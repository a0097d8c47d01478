"""A tree drawn as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure


def draw(path: Path, lines: Sequence[str]) -> None:
  """A tree, given as lines that are indented by two blanks a level."""
  figure = Figure(figsize=(8, 0.6 + 0.22 * len(lines)), layout="tight")
  axis = figure.subplots()
  above: list[int] = []  # line of the last node at each level
  for row, line in enumerate(lines):
    level = (len(line) - len(line.lstrip())) // 2
    above = [*above[:level], row]
    if level:
      bend = level - 0.8
      axis.plot(
        [bend, bend, level - 0.1],
        [-above[level - 1] - 0.35, -row, -row],
        color="0.6",
        linewidth=0.8,
      )
    axis.text(level, -row, line.strip(), verticalalignment="center", fontsize=9)
  deepest = max((len(x) - len(x.lstrip())) // 2 for x in lines)
  axis.set(xlim=(-0.2, deepest + 3), ylim=(-len(lines), 1))
  axis.axis("off")
  figure.savefig(path)
