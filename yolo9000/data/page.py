"""The doctor's report as one HTML file, with pictures inside it."""

from __future__ import annotations

import base64
import html
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from yolo9000.data import doctor, drawing
from yolo9000.data.disk import DataError, shown
from yolo9000.data.flaws import KINDS
from yolo9000.data.records import Dataset, Record

SAMPLES = 24
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto;
  max-width: 70rem; padding: 0 1rem; color: #222; background: #fff; }
table { border-collapse: collapse; margin: 1rem 0; }
td, th { border-bottom: 1px solid #ddd; padding: .2rem .8rem .2rem 0;
  text-align: left; vertical-align: top; }
td.n { text-align: right; font-variant-numeric: tabular-nums; }
.bar { background: #4a7bb7; height: .8em; display: inline-block; }
.samples { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 0; max-width: 20rem; }
figure img { max-width: 100%; }
figcaption { font-size: 12px; overflow-wrap: anywhere; color: #555; }
"""


def page(
  title: str,
  findings: doctor.Findings,
  *,
  text: Sequence[str],
  clean: Sequence[str],
  seed: int,
) -> str:
  """The report: counts, flaws, and a random choice of pictures with boxes.

  Args:
    title: of the page.
    findings: from `doctor.examine`.
    text: the report's lines as they were printed.
    clean: what to say of the lists of clean records.
    seed: of the choice of pictures.
  """
  counts = doctor.class_counts(findings.datasets)
  kinds = Counter(flaw.kind for flaw in findings.flaws)
  return "\n".join(
    [
      "<!doctype html><html lang=en><meta charset=utf-8>",
      "<meta name=viewport content='width=device-width'>",
      f"<title>{_text(title)}</title><style>{STYLE}</style>",
      f"<h1>{_text(title)}</h1>",
      *(f"<p>{_text(line)}</p>" for line in clean),
      f"<h2>{len(findings.flaws)} flaws</h2>",
      *_flaw_tables(findings, kinds),
      f"<h2>{len(counts)} classes</h2>",
      _bars({name: sum(by.values()) for name, by in counts.items()}),
      "<h2>Longer sides of the pictures, in pixels</h2>",
      _bars(doctor.size_histogram(findings.sizes)),
      "<h2>Samples</h2><div class=samples>",
      *_samples(findings.datasets, seed),
      "</div><h2>As printed</h2><pre>",
      *(_text(line) for line in text),
      "</pre></html>",
    ]
  )


def _text(text: str) -> str:
  return html.escape(text.encode("utf-8", "backslashreplace").decode())


def _bars(counts: Mapping[str, int]) -> str:
  most = max([*counts.values(), 1])
  rows = (
    f"<tr><td>{_text(name)}<td class=n>{count}<td>"
    f"<span class=bar style='width:{20 * count / most:.2f}rem'></span>"
    for name, count in list(counts.items())[:200]
  )
  return f"<table>{''.join(rows)}</table>"


def _flaw_tables(findings: doctor.Findings, kinds: Counter) -> Iterator[str]:
  for kind, count in kinds.most_common():
    yield f"<h3>{kind}: {count}</h3><p>{_text(KINDS[kind])}</p><table>"
    flaws = [flaw for flaw in findings.flaws if flaw.kind == kind]
    for flaw in flaws[:100]:
      line = str(flaw.line) if flaw.line else ""
      yield (
        f"<tr><td>{_text(shown(flaw.path))}<td class=n>{line}"
        f"<td>{_text(flaw.message)}"
      )
    yield "</table>"
    if count > 100:
      yield f"<p>and {count - 100} more, in flaws.txt</p>"


def _samples(datasets: Mapping[str, Dataset], seed: int) -> Iterator[str]:
  rng = np.random.default_rng(seed)
  every = [(d, r) for d in datasets.values() for r in d.records]
  for n in rng.permutation(len(every))[:SAMPLES]:
    dataset, record = every[n]
    try:
      image = dataset.read_image(record)
    except DataError:  # it is among the flaws
      continue
    yield _sample(image, record, dataset.class_names)


def _sample(image: Any, record: Record, names: Sequence[str]) -> str:
  scale = 320 / max(image.shape[:2])
  size = tuple(max(1, round(side * scale)) for side in image.shape[1::-1])
  small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
  texts = [str(names[label]) for label in record.labels.tolist()]
  drawn = drawing.draw(small, record.boxes_px * scale, record.labels, texts)
  _, data = cv2.imencode(".jpg", cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))
  source = base64.b64encode(data.tobytes()).decode()
  label = names[record.image_label] if record.image_label >= 0 else ""
  caption = f"{label} {shown(record.path)}".strip()
  return (
    f"<figure><img alt='' src='data:image/jpeg;base64,{source}'>"
    f"<figcaption>{_text(caption)}</figcaption></figure>"
  )
