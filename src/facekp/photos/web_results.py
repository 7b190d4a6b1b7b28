"""The results of `facekp app` as HTML: pictures, a table and a link are text, so that no file is written for them."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence

import cv2
import numpy as np
import pandas as pd

from facekp.core.csv_cells import neutral_frame

MAX_SIDE = 1600  # pixels of the picture on the page; larger photos are shown smaller
JPEG_QUALITY = 92

CSS = """
.gradio-container {width: 100% !important; max-width: 1200px !important; margin: 0 auto}
#photo {height: 152px !important; min-height: 152px}
#status {min-height: 3em}
#photo a, #photo .download {pointer-events: none; text-decoration: none; color: inherit}  /* the upload is deleted */
.facekp-picture, .facekp-table {border: 1px solid var(--border-color-primary); border-radius: 8px}
.facekp-picture {height: min(560px, 75vh); display: grid; place-items: center; overflow: hidden;
                 background: var(--background-fill-secondary); color: var(--body-text-color-subdued)}
.facekp-picture img {width: 100%; height: 100%; min-height: 0; object-fit: contain}
.facekp-title {margin: 12px 0 6px; font-weight: 600; color: var(--body-text-color)}
.facekp-maps {display: grid; grid-template-columns: repeat(5, minmax(0, 1fr)); gap: 8px}
.facekp-maps figure {margin: 0; font-size: 13px; line-height: 1.3; color: var(--body-text-color)}
.facekp-maps img, .facekp-maps i {display: block; width: 100%; aspect-ratio: 1; border-radius: 6px;
                                  background: var(--background-fill-secondary)}
.facekp-maps figcaption {min-height: 2.6em; overflow-wrap: anywhere}
.facekp-table {height: 420px; overflow: auto}
.facekp-table table {width: 100%; border-collapse: collapse; font-size: 14px; color: var(--body-text-color);
                     font-variant-numeric: tabular-nums}
.facekp-table th {position: sticky; top: 0; background: var(--background-fill-secondary)}
.facekp-table th, .facekp-table td {padding: 4px 10px; text-align: right; white-space: nowrap; border: none;
                                    border-bottom: 1px solid var(--border-color-primary)}
.facekp-table th:nth-child(2), .facekp-table td:nth-child(2) {text-align: left}
.facekp-csv {display: block; padding: 10px; border-radius: 8px; text-align: center; font-weight: 600;
             text-decoration: none; color: var(--button-secondary-text-color) !important;
             background: var(--button-secondary-background-fill)}
.facekp-csv:not([href]) {opacity: 0.5}
.facekp-live-box {position: relative; max-width: 640px; aspect-ratio: 4 / 3; margin: 0 auto; border-radius: 8px;
                  overflow: hidden; background: var(--background-fill-secondary); transform: scaleX(-1)}
.facekp-live-box video, .facekp-live-box canvas {position: absolute; inset: 0; width: 100%; height: 100%;
                                                 object-fit: contain}
.facekp-live-bar {display: flex; flex-wrap: wrap; gap: 8px 12px; align-items: center; justify-content: center;
                  margin-top: 8px; color: var(--body-text-color)}
.facekp-live-bar button {padding: 8px 14px; border: none; border-radius: 8px; font-weight: 600; cursor: pointer;
                         color: var(--button-secondary-text-color); background: var(--button-secondary-background-fill)}
@media (max-width: 640px) {
  .gradio-container {padding: 8px !important}
  .facekp-picture {height: 380px}
  .facekp-maps {grid-template-columns: repeat(3, minmax(0, 1fr))}
  .facekp-table th, .facekp-table td {padding: 4px 6px; font-size: 12.5px}
}
"""


def picture_html(picture: np.ndarray | None) -> str:
    """The photo with its faces, uint8 (H, W, 3) RGB; without one a box of the same size, so that nothing moves."""
    if picture is None:
        return '<div class="facekp-picture">The photo with its faces appears here.</div>'
    height, width = picture.shape[:2]
    scale = MAX_SIDE / max(height, width)
    if scale < 1:
        size = max(round(scale * width), 1), max(round(scale * height), 1)
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return f'<div class="facekp-picture"><img alt="the photo with its faces" src="{_data_url(picture)}"></div>'


def heatmaps_html(title: str, names: Sequence[str], heatmaps: Sequence[np.ndarray], confidence: Sequence[float]) -> str:
    """A picture for each keypoint with its confidence; empty ones where there is no face.

    Args:
        title: heading of the section.
        names: names of the K keypoints.
        heatmaps: K pictures, uint8 (h, w, 3) RGB, or none.
        confidence: K numbers, or none.
    """
    readable = [html.escape(name.replace("_", " ")) for name in names]
    if heatmaps:
        parts = [
            f'<figure><img alt="" src="{_data_url(heatmap)}"><figcaption>{name}  {value:.2f}</figcaption></figure>'
            for name, heatmap, value in zip(readable, heatmaps, confidence, strict=True)
        ]
    else:
        parts = [f"<figure><i></i><figcaption>{name}</figcaption></figure>" for name in readable]
    return f'<div class="facekp-title">{html.escape(title)}</div><div class="facekp-maps">{"".join(parts)}</div>'


def table_html(table: pd.DataFrame) -> str:
    """A row for each keypoint of each face, in a box that scrolls."""
    head = "".join(f"<th>{html.escape(str(column).replace('_', ' '))}</th>" for column in table)
    rows = [
        "".join(f"<td>{html.escape(_cell(value))}</td>" for value in row)
        for row in table.itertuples(index=False, name=None)
    ]
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    title = '<div class="facekp-title">Keypoints, in pixels of the photo</div>'
    return f'{title}<div class="facekp-table"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def csv_html(table: pd.DataFrame) -> str:
    """A link that saves the table as points.csv; it leads nowhere without rows."""
    label = "Download the points (CSV)"
    if table.empty:
        return f'<a class="facekp-csv">{label}</a>'
    data = base64.b64encode(neutral_frame(table).to_csv(index=False).encode()).decode()
    return f'<a class="facekp-csv" download="points.csv" href="data:text/csv;base64,{data}">{label}</a>'


def _data_url(picture: np.ndarray) -> str:
    """A picture, uint8 (h, w, 3) RGB, as text."""
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode()
