"""Plotly figures as plain dictionaries of ``data`` and ``layout``: runs come in, what plotly.js draws goes out.

A figure may also have ``choices``: for ``x`` or ``y`` the titles to choose from, each with the values of every trace.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from facekp.models.calibration import GOAL
from facekp.reporting.html.collect import Run
from facekp.reporting.html.compare import Difference

Figure = dict[str, Any]

COLOURS = ("#1f6feb", "#d1242f", "#1a7f37", "#bf8700", "#8250df", "#0b7a75", "#c2408b", "#6e4b2a", "#57606a", "#e36209")

DASHES = ("solid", "dash", "dot")  # after the colours are used up

GREY = "#8c959f"

SHOWN = 8  # curves of the best runs that are drawn at first; the legend brings the others

LONGEST = 600  # points of a curve; longer ones are thinned out evenly

CURVES = {"val/rmse": "validation RMSE, px", "train/loss": "training loss", "val/loss": "validation loss"}

EPOCHS, MINUTES = "epochs", "minutes of training"


def numbers(values: Any, digits: int = 4) -> list[float | None]:
    """Rounded, as JSON has them: None for what is no finite number."""
    return [round(float(value), digits) if math.isfinite(value) else None for value in np.asarray(values, dtype=float)]


def layout(x: str, y: str, height: int = 430, **more: Any) -> dict[str, Any]:
    """The look that all figures share."""
    axis = {"gridcolor": "#e6e9ed", "zeroline": False, "linecolor": "#c4cad1", "showline": True, "automargin": True}
    return {
        "height": height,
        "margin": {"l": 60, "r": 20, "t": 16, "b": 50},
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": "#1f2328"},
        "hoverlabel": {"namelength": -1},
        "xaxis": {**axis, "title": {"text": x}, **more.pop("xaxis", {})},
        "yaxis": {**axis, "title": {"text": y}, **more.pop("yaxis", {})},
        **more,
    }


def line_of(place: int) -> dict[str, Any]:
    """Colour and dash of the run at that place of the ranking, the same in every figure."""
    return {"color": COLOURS[place % len(COLOURS)], "dash": DASHES[place // len(COLOURS) % len(DASHES)], "width": 2}


def visible(place: int) -> bool | str:
    return True if place < SHOWN else "legendonly"


def behind_best(names: Sequence[str], found: Mapping[int, Difference]) -> Figure | None:
    """How far each run is behind the best, with its paired interval; None where none shares images with the best.

    Args:
        names: of the runs, the best first.
        found: by a run's place, the best's RMSE minus its own.
    """
    if not found:
        return None
    drawn = sorted(found)
    shown = [shortened(names[place]) for place in (0, *drawn)]
    value = np.array([-found[place].value for place in drawn])
    high = np.array([-found[place].low for place in drawn])
    low = np.array([-found[place].high for place in drawn])
    dots = {
        "type": "scatter",
        "mode": "markers",
        "x": [0, *numbers(value)],
        "y": list(range(len(shown))),
        "text": shown,
        "marker": {"size": 9, "color": [line_of(place)["color"] for place in (0, *drawn)]},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [0, *numbers(high - value)],
            "arrayminus": [0, *numbers(value - low)],
            "color": GREY,
            "thickness": 1.5,
        },
        "hovertemplate": "%{text}<br>%{x:+.3f} px<extra></extra>",
    }
    ticks = {
        "tickvals": list(range(len(shown))),
        "ticktext": shown,
        "range": [len(shown) - 0.4, -0.6],
    }
    title = "RMSE behind the best run, px (bar: 95 % interval of the paired test; one that holds 0 isn't told apart)"
    look = layout(title, "", 90 + 24 * len(shown), xaxis={"zeroline": True, "zerolinecolor": GREY}, yaxis=ticks)
    return {"data": [dots], "layout": look}


def shortened(name: str, letters: int = 60) -> str:
    """A name as a figure shows it: a long one without its middle; nothing that plotly would take for markup."""
    short = name if len(name) <= letters else f"{name[: letters // 2 - 1]} … {name[-(letters // 2 - 2) :]}"
    return html.escape(short, quote=False)


def curves(runs: Sequence[Run]) -> Figure | None:
    """Validation RMSE and losses against epochs or minutes; None where no run has a curve."""
    drawn = [(place, run) for place, run in enumerate(runs) if "val/rmse" in run.curve and len(run.curve)]
    if not drawn:
        return None
    sources = [f"val/rmse/{source}" for source in drawn[0][1].raw.get("keypoints", {}).get("sources", {})]
    offered = {**CURVES, **{key: f"validation RMSE of {key.rsplit('/', 1)[-1]} rows, px" for key in sources}}
    tables = [run.curve.iloc[:: -(-len(run.curve) // LONGEST)] for _, run in drawn]
    x = {EPOCHS: [numbers(table["epoch"] + 1) for table in tables]}
    if any("minutes" in table for table in tables):
        x[MINUTES] = [_column(table, "minutes") for table in tables]
    y = {title: [_column(table, key) for table in tables] for key, title in offered.items()}
    y = {title: values for title, values in y.items() if any(values)}
    title = CURVES["val/rmse"]
    data = [
        {
            "type": "scatter",
            "mode": "lines+markers" if len(table) < 80 else "lines",
            "name": shortened(run.name),
            "x": x[EPOCHS][i],
            "y": y[title][i],
            "line": line_of(place),
            "marker": {"size": 4},
            "connectgaps": True,
            "visible": visible(place),
            "hovertemplate": "%{y:.3f}<extra>%{fullData.name}</extra>",
        }
        for i, ((place, run), table) in enumerate(zip(drawn, tables, strict=True))
    ]
    look = layout(EPOCHS, title, 460, showlegend=True, hovermode="closest", yaxis={"type": "log"})
    return {"data": data, "layout": look, "choices": {"x": x, "y": y}}


def _column(table: Any, key: str) -> list[float | None]:
    return numbers(table[key]) if key in table else []


def error_curves(runs: Sequence[Run]) -> Figure | None:
    """Share of labelled points closer than a threshold, the best run's mean face beside the runs."""
    drawn = [(place, run) for place, run in enumerate(runs) if "curve" in run.figures]
    if not drawn:
        return None
    data = [
        {**_error_curve(run.figures["curve"], shortened(run.name)), "line": line_of(place), "visible": visible(place)}
        for place, run in drawn
    ]
    face = drawn[0][1].figures["mean_face"].get("curve")
    if face:
        data.append({**_error_curve(face, "mean face"), "line": {"color": GREY, "dash": "dashdot", "width": 2}})
    share = {"range": [0, 100]}
    look = layout(
        "error of a point, px", "points closer, %", 430, showlegend=True, xaxis={"range": [0, 8]}, yaxis=share
    )
    return {"data": data, "layout": look}


def _error_curve(curve: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": [0, *curve["pixels"]],
        "y": [0, *numbers(np.multiply(curve["share"], 100), 2)],
        "hovertemplate": "%{y:.1f} % closer than %{x:.1f} px<extra>%{fullData.name}</extra>",
    }


def reliability(runs: Sequence[Run]) -> Figure | None:
    """Measured against expected error of the tenths of the points; None where no run is calibrated."""
    drawn = [(place, run.reliability) for place, run in enumerate(runs) if run.reliability is not None]
    if not drawn:
        return None
    end = 1.1 * max(max(*one["expected"], *one["measured"]) for _, one in drawn)
    edges = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [0, end],
            "y": [0, end * (1 + share)],
            "line": {"color": GREY, "width": 1, "dash": "solid" if share == 0 else "dot"},
            "name": "as expected" if share == 0 else f"{share:+.0%}",
            "hoverinfo": "skip",
        }
        for share in (0, GOAL, -GOAL)
    ]
    data = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": shortened(runs[place].name),
            "x": numbers(one["expected"]),
            "y": numbers(one["measured"]),
            "line": line_of(place),
            "visible": visible(place),
            "hovertemplate": "expected %{x:.2f} px, measured %{y:.2f} px<extra>%{fullData.name}</extra>",
        }
        for place, one in drawn
    ]
    span = {"range": [0, end]}
    look = layout("expected error, px", "measured error, px", 430, showlegend=True, xaxis=span, yaxis=span)
    return {"data": [*edges, *data], "layout": look}


def scale(marks: Mapping[str, Mapping[str, float]], unit: str) -> Figure:
    """Named marks on one line a source: where a score stands between floor and baselines.

    Args:
        marks: for each line (a source) values by the mark's name.
        unit: title of the axis.
    """
    kinds = list(dict.fromkeys(kind for line in marks.values() for kind in line))
    data = [
        {
            "type": "scatter",
            "mode": "markers+text",
            "name": kind,
            "x": [marks[line][kind] for line in marks if kind in marks[line]],
            "y": [line for line in marks if kind in marks[line]],
            "text": [f"{marks[line][kind]:.2f}" for line in marks if kind in marks[line]],
            "textposition": ("top center", "bottom center")[i % 2],
            "marker": {"size": 15, "symbol": "line-ns", "line": {"width": 4, "color": COLOURS[i % len(COLOURS)]}},
            "hovertemplate": "%{y}: %{x:.3f} px<extra>%{fullData.name}</extra>",
        }
        for i, kind in enumerate(kinds)
    ]
    return {
        "data": data,
        "layout": layout(
            unit,
            "",
            150 + 70 * len(marks),
            showlegend=True,
            legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"},
            xaxis={"rangemode": "tozero"},
            yaxis={"range": [len(marks) - 0.4, -0.6], "type": "category"},
        ),
    }
