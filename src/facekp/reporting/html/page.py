"""One self-contained HTML file: sections of plain values come in, a page that needs no network goes out.

Python decides everything that is shown and hands it over as one JSON object; page.js draws it with the plotly.js that
stands in the page. The page forbids itself any request, so it shows the same wherever it is opened.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plotly.offline import get_plotlyjs

from facekp.core.files import atomic

HERE = Path(__file__).parent

Block = dict[str, Any]

POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"


def section(title: str, note: str, *blocks: Block | None) -> dict[str, Any]:
    """A part of the page; blocks that are None, there being nothing to show, are left out."""
    return {"title": title, "note": note, "blocks": [block for block in blocks if block is not None]}


def text(*lines: str) -> Block:
    """Paragraphs."""
    return {"kind": "text", "lines": list(lines)}


def column(key: str, label: str, digits: int | None = None, shade: bool = False, hint: str = "") -> dict[str, Any]:
    """A table's column.

    Args:
        key: of the cells in the rows.
        label: its head.
        digits: behind the point, for numbers; None: text.
        shade: darker cells for higher values.
        hint: shown over the head.
    """
    return {"key": key, "label": label, "digits": digits, "shade": shade, "hint": hint}


def table(name: str, columns: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> Block:
    """A table that a click on a head sorts; empty cells, and rows that are ``apart``, stay at its end."""
    return {"kind": "table", "name": name, "columns": list(columns), "rows": [dict(row) for row in rows]}


def figure(name: str, drawn: Mapping[str, Any] | None, pick: int = 0) -> Block | None:
    """A figure of `facekp.reporting.html.figures`; above 0, ``pick`` gives it buttons that show all traces, so many or none."""
    return None if drawn is None else {"kind": "figure", "name": name, "figure": dict(drawn), "pick": pick}


def faces(name: str, choices: Sequence[Mapping[str, Any]]) -> Block | None:
    """Faces with points, by a choice of runs (`facekp.reporting.html.faces.extremes`)."""
    return {"kind": "faces", "name": name, "choices": list(choices)} if choices else None


def write_page(path: Path, title: str, sections: Sequence[Mapping[str, Any]], images: Mapping[str, str]) -> None:
    """Write the page, whole or not at all.

    Args:
        path: of the file.
        title: its head.
        sections: of `section`.
        images: data URLs by name.
    """
    content = {"title": title, "sections": [one for one in sections if one["blocks"]], "images": dict(images)}
    data = json.dumps(_finite(content), allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<link rel="icon" href="data:,">',
        f"<title>{html.escape(title)}</title>",
        f"<style>\n{(HERE / 'page.css').read_text()}</style>",
        f"<script>{get_plotlyjs()}</script>",
        "</head>\n<body>\n<noscript>This page draws itself with JavaScript, which is switched off here.</noscript>",
        f'<script type="application/json" id="content">{data}</script>',
        f"<script>\n{(HERE / 'page.js').read_text()}</script>\n</body>\n</html>\n",
    ]
    with atomic(path) as draft:
        draft.write_text("\n".join(parts), encoding="utf-8")


def _finite(value: Any) -> Any:
    """Values as JSON has them: no NaN, no infinity."""
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and value - value != 0:
        return None
    return value
