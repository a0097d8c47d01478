"""The doctor's report as one HTML file, with pictures inside it."""

from __future__ import annotations

import base64
import html
import io
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import cv2
import numpy as np
from matplotlib.figure import Figure

from yolo9000.data import doctor, drawing
from yolo9000.data.disk import DataError, shown
from yolo9000.data.flaws import KINDS, Flaw
from yolo9000.data.records import Dataset, Record

SAMPLES = 24
FLAWED = 3  # pictures shown of each kind of flaw
LISTED = 100  # flaws of a kind in its table
MOST_POINTS = 5000  # boxes in the plot
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto;
  max-width: 70rem; padding: 0 1rem; color: #222; background: #fff;
  overflow-wrap: anywhere; }
table { border-collapse: collapse; margin: 1rem 0; max-width: 100%; }
td, th { border-bottom: 1px solid #ddd; padding: .2rem .8rem .2rem 0;
  text-align: left; vertical-align: top; }
td.n, th { overflow-wrap: normal; }
td.n { text-align: right; font-variant-numeric: tabular-nums; }
@media (max-width: 40em) { td, th { padding-right: .35rem; font-size: 13px; } }
.bars { width: 100%; table-layout: fixed; }
.bars td:last-child { width: 55%; }
.bars td.n { width: 4.5rem; }
.bar { height: .8em; display: inline-block; }
.samples { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 0; max-width: min(20rem, 100%); }
img { max-width: 100%; }
figcaption { font-size: 12px; color: #555; }
pre { white-space: pre-wrap; background: #f4f4f4; padding: .6rem; }
"""


def page(
  title: str,
  findings: doctor.Findings,
  boxes: doctor.Boxes | None,
  *,
  root: str,
  text: Sequence[str],
  clean: Sequence[str],
  seed: int,
) -> str:
  """The report: flaws, priors, counts, and a random choice of pictures.

  Args:
    title: of the page.
    findings: from `doctor.examine`.
    boxes: statistics of the boxes, if there are any.
    root: of the data set; paths are shown relative to it.
    text: the report's lines as they were printed.
    clean: what to say of the lists of clean records.
    seed: of the choice of pictures.
  """
  counts = doctor.class_counts(findings.datasets)
  used = {name: by for name, by in counts.items() if any(by.values())}
  empty = [name for name in counts if name not in used]
  splits = list(findings.datasets)
  parts = [
    "<!doctype html><html lang=en><meta charset=utf-8>",
    "<meta name=viewport content='width=device-width'>",
    f"<title>{_text(title)}</title><style>{STYLE}</style>",
    f"<h1>{_text(title)}</h1>",
    *(f"<p>{_text(line)}</p>" for line in clean),
    f"<h2>{len(findings.flaws)} flaws</h2>",
    *_flaws(findings, root),
    *_boxes(findings, boxes),
    f"<h2>{len(used)} classes with objects or image labels</h2>",
    _legend(splits),
    _bars(used, splits),
    *_without_objects(empty),
    "<h2>Longer sides of the pictures, in pixels</h2>",
    _bars(
      {n: {"": c} for n, c in doctor.size_histogram(findings.sizes).items()},
      [""],
    ),
    "<h2>Samples</h2><div class=samples>",
    *_samples(findings.datasets, root, seed),
    "</div><h2>As printed</h2><pre>",
    *(_text(line) for line in text),
    "</pre></html>",
  ]
  return "\n".join(parts)


def _text(text: str) -> str:
  return html.escape(text.encode("utf-8", "backslashreplace").decode())


def _below(path: str, root: str) -> str:
  """A path relative to the root, if it lies there."""
  if "://" in path or not root:
    return shown(path)
  relative = os.path.relpath(path, root)
  return shown(path if relative.startswith("..") else relative)


def _colour(number: int) -> str:
  red, green, blue, _ = (round(255 * part) for part in drawing.colour(number))
  return f"rgb({red} {green} {blue})"


def _legend(splits: Sequence[str]) -> str:
  if len(splits) < 2:
    return ""
  marks = (
    f"<span class=bar style='width:.8em;background:{_colour(n)}'></span> "
    f"{_text(split or 'all')}"
    for n, split in enumerate(splits)
  )
  return f"<p>{' &nbsp; '.join(marks)}</p>"


def _bars(
  counts: Mapping[str, Mapping[str, int]], splits: Sequence[str]
) -> str:
  """A bar for each name, with a part for each split."""
  totals = {name: sum(by.values()) for name, by in counts.items()}
  most = max([*totals.values(), 1])
  rows = []
  for name, by in list(counts.items())[:200]:
    bars = "".join(
      f"<span class=bar title='{_text(split)}: {by.get(split, 0)}' style='"
      f"width:{100 * by.get(split, 0) / most:.2f}%;background:{_colour(n)}'>"
      f"</span>"
      for n, split in enumerate(splits)
    )
    each = " + ".join(str(by.get(split, 0)) for split in splits)
    number = f"<span title='{each}'>{totals[name]}</span>"
    rows.append(f"<tr><td>{_text(name)}<td class=n>{number}<td>{bars}")
  more = len(counts) - len(rows)
  rest = f"<p>and {more} more</p>" if more > 0 else ""
  return f"<table class=bars>{''.join(rows)}</table>{rest}"


def _without_objects(names: Sequence[str]) -> list[str]:
  if not names:
    return []
  return [
    f"<details><summary>{len(names)} classes without any</summary>"
    f"<p>{_text(', '.join(names))}</p></details>"
  ]


def _flaws(findings: doctor.Findings, root: str) -> Iterator[str]:
  """Each kind: what it means, where it is, and some pictures that have it."""
  prefix = f"{root.rstrip('/')}/"
  found = [
    flaw._replace(message=flaw.message.replace(prefix, ""))
    if len(prefix) > 2
    else flaw
    for flaw in findings.flaws
  ]
  kinds = Counter(flaw.kind for flaw in found)
  pictures = {
    record.path: (dataset, record)
    for dataset in findings.datasets.values()
    for record in dataset.records
  }
  stems: dict[str, list[str]] = {}
  for path in pictures:
    stems.setdefault(os.path.splitext(os.path.basename(path))[0], []).append(
      path
    )
  for kind, count in kinds.most_common():
    yield f"<h3>{kind}: {count}</h3><p>{_text(KINDS[kind])}</p>"
    flaws = [flaw for flaw in found if flaw.kind == kind]
    tried = (_drawn(flaw, pictures, stems) for flaw in flaws[:20])
    if drawn := list(islice(filter(None, tried), FLAWED)):
      yield f"<div class=samples>{''.join(drawn)}</div>"
    yield "<table>"
    for flaw in flaws[:LISTED]:
      line = f":{flaw.line}" if flaw.line else ""
      where = _text(_below(flaw.path, root) + line)
      yield f"<tr><td>{where}<br>{_text(flaw.message)}"
    yield "</table>"
    if count > LISTED:
      yield f"<p>and {count - LISTED} more, in flaws.txt</p>"


def _drawn(
  flaw: Flaw,
  pictures: Mapping[str, tuple[Dataset, Record]],
  stems: Mapping[str, Sequence[str]],
) -> str:
  """The picture that a flaw is of, with its boxes and the flawed one.

  A flaw of an annotation is of the picture of that name, if there is one.
  """
  name = os.path.splitext(os.path.basename(flaw.path))[0]
  same = stems.get(name, [])
  path = flaw.path if flaw.path in pictures else same[0] if same else ""
  if path not in pictures or (path != flaw.path and len(same) != 1):
    return ""
  dataset, record = pictures[path]
  try:
    image = dataset.read_image(record)
  except DataError:
    return ""
  caption = f"{os.path.basename(path)}: {flaw.message}"
  return _sample(image, record, dataset.class_names, caption, flaw.box_px)


def _boxes(
  findings: doctor.Findings, boxes: doctor.Boxes | None
) -> Iterator[str]:
  """Sizes and shapes of the boxes, and the priors that fit them."""
  if boxes is None:
    return
  yield "<h2>Boxes</h2>"
  yield "<table><tr><th><th>least<th>10 %<th>median<th>90 %<th>greatest"
  for name, values in boxes.quantiles.items():
    cells = "".join(f"<td class=n>{value:.3g}" for value in values)
    yield f"<tr><td>{_text(name)}{cells}"
  yield "</table>"
  fitted = tuple(map(tuple, boxes.priors.shapes.round(2).tolist()))
  yield (
    f"<p>Priors that fit, in cells, for <code>task.network.priors</code> "
    f"(average IoU {100 * boxes.priors.average_iou:.1f}; YOLOv2's own for VOC "
    f"{100 * boxes.published_iou:.1f}):</p><pre>{_text(repr(fitted))}</pre>"
  )
  yield _box_plot(findings.datasets)


def _box_plot(datasets: Mapping[str, Dataset]) -> str:
  """Width against height of the boxes, as parts of their pictures."""
  figure = Figure(figsize=(5, 5), layout="tight")
  axis = figure.subplots()
  for number, (split, dataset) in enumerate(datasets.items()):
    boxes = [record.boxes for record in dataset.records if len(record.labels)]
    if not boxes:
      continue
    rows = np.random.default_rng(0).permutation(np.concatenate(boxes))
    width, height = (rows[:MOST_POINTS, 2:] - rows[:MOST_POINTS, :2]).T
    axis.scatter(
      width,
      height,
      s=4,
      alpha=0.4,
      color=drawing.colour(number),
      label=split or "all",
    )
  axis.plot([0, 1], [0, 1], color="#ccc", lw=1, zorder=0)
  axis.set(
    xlabel="width, part of the picture",
    ylabel="height, part of the picture",
    xlim=(0, 1.02),
    ylim=(0, 1.02),
  )
  axis.legend()
  file = io.BytesIO()
  figure.savefig(file, dpi=80)
  return _image(file.getvalue(), "png", "size and shape of the boxes")


def _samples(
  datasets: Mapping[str, Dataset], root: str, seed: int
) -> Iterator[str]:
  rng = np.random.default_rng(seed)
  every = [(d, r) for d in datasets.values() for r in d.records]
  for n in rng.permutation(len(every))[:SAMPLES]:
    dataset, record = every[n]
    try:
      image = dataset.read_image(record)
    except DataError:  # it is among the flaws
      continue
    names = dataset.class_names
    label = names[record.image_label] if record.image_label >= 0 else ""
    caption = f"{label} {_below(record.path, root)}".strip()
    yield _sample(image, record, names, caption)


def _sample(
  image: Any,
  record: Record,
  names: Sequence[str],
  caption: str,
  flawed_px: Sequence[float] = (),
) -> str:
  """A picture with its boxes; a flawed one in dashes of red."""
  scale = 320 / max(image.shape[:2])
  size = tuple(max(1, round(side * scale)) for side in image.shape[1::-1])
  small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
  texts = [str(names[label]) for label in record.labels.tolist()]
  drawn = drawing.draw(small, record.boxes_px * scale, record.labels, texts)
  if len(flawed_px):
    edges = np.array(flawed_px, float) * scale
    drawn = drawing.mark(drawn, np.nan_to_num(edges).clip(-1e4, 1e4))
  _, data = cv2.imencode(".jpg", cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))
  return _image(data.tobytes(), "jpeg", caption)


def _image(data: bytes, kind: str, caption: str) -> str:
  source = base64.b64encode(data).decode()
  return (
    f"<figure><img alt='' src='data:image/{kind};base64,{source}'>"
    f"<figcaption>{_text(caption)}</figcaption></figure>"
  )
