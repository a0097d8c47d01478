"""Parts of the pages that tables and runs write."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Sequence
from typing import Any

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; padding: 0 1em;
  max-width: 75em; color: #222; }
table { border-collapse: collapse; margin: .6em 0; }
th, td { padding: .2em .7em; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child { text-align: left; }
figure { display: inline-block; margin: .3em; vertical-align: top; }
figcaption { font-size: 13px; }
img { max-width: 100%; }
h1, p, li { overflow-wrap: anywhere; }
pre { background: #f4f4f4; padding: .6em; white-space: pre-wrap;
  overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
.hint { display: none; color: #666; font-size: 13px; margin: .6em 0 0; }
@media (max-width: 50em) {
  .hint { display: block; }
  .wide img { max-width: none; width: 44em; }
  figure { margin: .3em 0; max-width: 100%; }
}
"""
SCROLLS = '<p class="hint">scrolls sideways &rarr;</p>'


def text(value: Any) -> str:
  """A value as text of a page, whatever it holds."""
  return html.escape(str(value))


def table(rows: Sequence[Sequence[Any]], colour: bool = False) -> str:
  """The first row is the head; coloured cells are percentages."""
  head, *body = rows
  lines = ["<tr>" + "".join(f"<th>{text(c)}</th>" for c in head) + "</tr>"]
  for row in body:
    cells = []
    for number, cell in enumerate(row):
      style = ""
      if colour and number and isinstance(cell, float):
        style = f' style="background: hsl(140 60% {100 - 0.45 * cell:.0f}%)"'
        cell = f"{cell:.1f}"
      cells.append(f"<td{style}>{text(cell)}</td>")
    lines.append("<tr>" + "".join(cells) + "</tr>")
  inner = f"<table>{chr(10).join(lines)}</table>"
  hint = SCROLLS if len(head) > 4 else ""
  return f'{hint}<div class="wide">{inner}</div>'


def image(data: bytes, kind: str, caption: str) -> str:
  """A picture inside the page."""
  source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
  words = text(caption)
  return (
    f'<figure><img alt="{words}" src="{source}">'
    f"<figcaption>{words}</figcaption></figure>"
  )


def drawn(draw: Callable[[io.BytesIO], str]) -> str:
  """What a function draws into a file and calls so."""
  file = io.BytesIO()
  caption = draw(file)
  chart = image(file.getvalue(), "png", caption)
  return f'{SCROLLS}<div class="wide">{chart}</div>'


def page(title: str, parts: Sequence[str]) -> str:
  """A page of these parts, for any width."""
  return (
    f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    f'<meta name="viewport" content="width=device-width">'
    f"<title>{text(title)}</title><style>{STYLE}</style></head><body>\n"
    + "\n".join(parts)
    + "\n</body></html>\n"
  )
