"""One self-contained HTML file: sections of plain values come in, a page that needs no network goes out.

Python decides everything that is shown and passes it on as one JSON object; page.js draws it with the plotly.js that
is part of the page. The page's own security policy forbids every request, so it looks the same wherever it is opened.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plotly.offline import get_plotlyjs

from facekp.core.files import atomic, json_value

HERE = Path(__file__).parent
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"

Block = dict[str, Any]
Section = dict[str, Any]


def section(title: str, note: str, *blocks: Block | None) -> Section:
    """A section of the page.

    Args:
        title: heading.
        note: explanation below it; may be empty.
        blocks: the content; None is left out, and a section without content is not shown.
    """
    return {"title": title, "note": note, "blocks": [block for block in blocks if block is not None]}


def text(*lines: str, alert: bool = False) -> Block | None:
    """Paragraphs, highlighted if they are an alert; None without lines."""
    return {"kind": "text", "lines": list(lines), "style": "alert" if alert else ""} if lines else None


def note(line: str) -> Block:
    """An explanation of the block above."""
    return {"kind": "text", "lines": [line], "style": "note"}


def column(key: str, label: str, digits: int | None = None, shade: bool = False, hint: str = "") -> dict[str, Any]:
    """A column of a table.

    Args:
        key: of the column's cells in the rows.
        label: title.
        digits: decimals of a number; None for text.
        shade: colour the cells, the darker the higher the value.
        hint: shown while the pointer rests on the title.
    """
    return {"key": key, "label": label, "digits": digits, "shade": shade, "hint": hint}


def table(name: str, columns: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> Block | None:
    """A table that is sorted by a click on a column; None without rows.

    Empty cells, and rows with ``apart``, stay at the end. The ``title`` of a row is shown while the pointer rests on
    its first cell.
    """
    if not rows:
        return None
    return {"kind": "table", "name": name, "columns": list(columns), "rows": [dict(row) for row in rows]}


def figure(name: str, drawn: Mapping[str, Any] | None, pick: int = 0) -> Block | None:
    """A figure.

    Args:
        name: id of its element.
        drawn: of `facekp.reporting.html.figures`; None: no figure.
        pick: above 0, buttons show all traces, the first ``pick``, or none.
    """
    return None if drawn is None else {"kind": "figure", "name": name, "figure": dict(drawn), "pick": pick}


def faces(name: str, choices: Sequence[Mapping[str, Any]]) -> Block | None:
    """Faces with their points; a menu selects one of several choices (`facekp.reporting.html.faces.extremes`)."""
    return {"kind": "faces", "name": name, "choices": list(choices)} if choices else None


def write_page(path: Path, title: str, sections: Sequence[Section], images: Mapping[str, str]) -> None:
    """Write the page atomically.

    Args:
        path: HTML file to write.
        title: heading of the page.
        sections: of `section`.
        images: data URLs by name.
    """
    content = {"title": title, "sections": [part for part in sections if part["blocks"]], "images": dict(images)}
    data = json.dumps(json_value(content), allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<link rel="icon" href="data:,">',
        f"<title>{html.escape(title)}</title>",
        f"<style>\n{(HERE / 'page.css').read_text(encoding='utf-8')}</style>",
        f"<script>{get_plotlyjs()}</script>",
        "</head>\n<body>\n<noscript>This page needs JavaScript, which is disabled in this browser.</noscript>",
        f'<script type="application/json" id="content">{data}</script>',
        f"<script>\n{(HERE / 'page.js').read_text(encoding='utf-8')}</script>\n</body>\n</html>\n",
    ]
    with atomic(path) as draft:
        draft.write_text("\n".join(parts), encoding="utf-8")


def is_page(path: Path) -> bool:
    """Whether a file is a page of `write_page`, which may be replaced by a newer one."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return POLICY.encode() in file.read(1000)
