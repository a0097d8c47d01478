"""Pictures for people, as PNG files."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from yolo9000.data.drawing import colour, drawable
from yolo9000.scoring.voc import VOC_IOU, Curve, voc07_ap
from yolo9000.types import Detections

SHOWN_SCORE = 0.3  # weaker detections would hide the picture
DIAGNOSED = ("recall", "overlap", "right class")  # see scoring.diagnosis


def picture_grid(
  path: Path,
  pictures: Sequence[np.ndarray],
  detections: Sequence[Detections],
  records: Sequence[Any],
  class_names: Sequence[str],
) -> None:
  """Detections (full lines, class and score) against truth (dashed, white)."""
  columns = min(4, len(pictures))
  rows = -(-len(pictures) // columns)
  figure = Figure(figsize=(4 * columns, 4 * rows), layout="tight")
  axes = list(figure.subplots(rows, columns, squeeze=False).flat)
  for axis in axes:
    axis.axis("off")
  for axis, picture, found, record in zip(
    axes, pictures, detections, records, strict=False
  ):
    axis.imshow(picture)
    for x, y, right, bottom in record.boxes_px:
      axis.add_patch(
        Rectangle(
          (x, y), right - x, bottom - y, fill=False, ls="--", lw=1, ec="white"
        )
      )
    edges = drawable(found.boxes * record.edges_px, picture.shape)
    for (x, y, right, bottom), label, score in zip(
      edges.tolist(),
      found.labels.tolist(),
      found.scores.tolist(),
      strict=True,
    ):
      if score < SHOWN_SCORE:
        continue
      axis.add_patch(
        Rectangle(
          (x, y), right - x, bottom - y, fill=False, lw=2, ec=colour(label)
        )
      )
      axis.text(
        x,
        y,
        f"{class_names[label]} {score:.2f}",
        fontsize=7,
        color="black",
        verticalalignment="bottom",
        clip_on=True,
        bbox={"facecolor": colour(label), "pad": 0.5, "linewidth": 0},
      )
  figure.suptitle(f"detections with a score above {SHOWN_SCORE}; dashed: truth")
  figure.savefig(path, dpi=80)


def precision_recall(
  path: Path, curves: dict[str, Curve], *, hit: float = VOC_IOU
) -> None:
  """One precision-recall curve per class, with its VOC07 AP; IoU of a hit."""
  figure = Figure(figsize=(8, 6), layout="tight")
  axis = figure.subplots()
  for label, (name, curve) in enumerate(curves.items()):
    axis.plot(
      curve.recall,
      curve.precision,
      color=colour(label),
      label=f"{name} {voc07_ap(curve):.3f}",
    )
  axis.set(
    xlabel="recall",
    ylabel="precision",
    xlim=(0, 1),
    ylim=(0, 1.02),
    title=f"precision and recall at IoU {hit:g}, VOC07 AP per class",
  )
  axis.legend(fontsize=7, ncols=2)
  figure.savefig(path, dpi=100)


def curves(path: Path, lines: Sequence[dict[str, Any]]) -> None:
  """Loss and parts, VOC07 AP and its diagnosis, by step.

  Args:
    path: where the picture goes.
    lines: of metrics.jsonl.
  """
  losses = [line for line in lines if "loss" in line]
  scores = [line for line in lines if "VOC07 AP" in line]
  figure = Figure(figsize=(8, 7), layout="tight")
  upper, lower = figure.subplots(2, 1, sharex=True)
  if losses:
    for name in ("loss", *losses[0]["parts"]):
      values = [{**line, **line["parts"]}[name] for line in losses]
      steps = [line["step"] for line in losses]
      upper.plot(steps, values, label=name, lw=2 if name == "loss" else 1)
    upper.set(ylabel="loss per picture", yscale="symlog")
    upper.legend(fontsize=8)
  steps = [line["step"] for line in scores]
  aps = [line["VOC07 AP"] or 0 for line in scores]
  lower.plot(steps, aps, marker="o", lw=2, label="VOC07 AP")
  for name in DIAGNOSED:
    found = [line.get("diagnosis", {}).get(name) for line in scores]
    if any(value is not None for value in found):
      values = [np.nan if value is None else value for value in found]
      lower.plot(steps, values, marker=".", lw=1, label=name)
  lower.set(xlabel="step", ylabel="on the test pictures", ylim=(0, 1.02))
  lower.grid(alpha=0.3)
  if scores:
    lower.legend(fontsize=8)
  figure.savefig(path, dpi=100)


def losses(
  path: Path | io.BytesIO, lines: Mapping[str, Sequence[tuple[int, float]]]
) -> None:
  """Loss against pictures seen, a line for each name."""
  figure = Figure(figsize=(8, 5), layout="tight")
  axis = figure.subplots()
  for number, (name, points) in enumerate(lines.items()):
    axis.plot(*np.array(points).reshape(-1, 2).T, label=name, c=colour(number))
  axis.set(xlabel="pictures seen", ylabel="loss per picture", yscale="symlog")
  axis.grid(alpha=0.3)
  if lines:
    axis.legend(fontsize=8)
  figure.savefig(path, dpi=100)


def trade_off(
  path: Path | io.BytesIO,
  ours: Mapping[str, tuple[float, float]],
  paper: Mapping[str, tuple[float, float]],
  *,
  labels: tuple[str, str],
  title: str,
) -> None:
  """Points (images per second, percent) by name, ours and the paper's."""
  figure = Figure(figsize=(8, 5), layout="tight")
  axis = figure.subplots()
  for points, label in zip((ours, paper), labels, strict=True):
    if points:
      line = np.array(sorted(points.values())).T
      axis.plot(*line, marker="o", label=label)
    for name, place in points.items():
      axis.annotate(name, place, fontsize=8)
  axis.set(xlabel="images per second", ylabel=f"{title}, %", xscale="log")
  axis.grid(alpha=0.3)
  axis.legend()
  figure.savefig(path, dpi=100)


def bar_chart(
  path: Path | io.BytesIO,
  names: Sequence[str],
  ours: Sequence[float | None],
  paper: Sequence[float | None],
  *,
  spreads: Sequence[float],
  labels: tuple[str, str],
  title: str,
) -> None:
  """Each row's figure and its spread beside the paper's, if that is given."""
  figure = Figure(figsize=(1.2 * len(names) + 2, 4.5), layout="tight")
  axis = figure.subplots()
  place = np.arange(len(names))
  shift = 0.2 if paper else 0.0
  sets = ((-shift, ours, labels[0]), (shift, paper, labels[1]))
  for offset, values, label in sets[: 2 if paper else 1]:
    heights = [0 if v is None else v for v in values]
    bars = axis.bar(
      place + offset,
      heights,
      0.38,
      label=label,
      yerr=spreads if values is ours and any(spreads) else None,
    )
    axis.bar_label(
      bars, ["-" if v is None else f"{v:.1f}" for v in values], fontsize=8
    )
  axis.set_xticks(place, [name.replace(" ", "\n") for name in names])
  axis.set(ylabel=title)
  axis.margins(y=0.15)
  axis.axhline(0, color="black", lw=0.8)
  axis.legend()
  figure.savefig(path, dpi=100)


def prior_curve(path: str | Path, values: Sequence[float]) -> None:
  """Average IoU in percent for 1, 2, .. priors: the paper's Figure 2."""
  figure = Figure(figsize=(6, 4), layout="tight")
  axis = figure.subplots()
  axis.plot(range(1, len(values) + 1), values, marker="o")
  axis.set(xlabel="number of priors", ylabel="average IoU, %")
  axis.grid(alpha=0.3)
  figure.savefig(path, dpi=100)
