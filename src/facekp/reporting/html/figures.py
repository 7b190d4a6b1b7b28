"""Plotly figures as plain dictionaries of ``data`` and ``layout``: runs come in, what plotly.js draws goes out.

page.js adds the colours of the page, light or dark. Further keys of a figure:
    choices: for ``x`` and ``y`` the titles to choose from, each with the values of every trace.
    steps: the distance of ticks by the title of the axis; plotly chooses it where none is given.
    narrow: values of the layout on narrow screens, by dotted key.
"""

from __future__ import annotations

import html
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from facekp.functional.metrics import MAIN, Metric, keys_of, metrics_shown
from facekp.models.calibration import GOAL
from facekp.reporting.html.collect import Run
from facekp.reporting.html.compare import Difference

Figure = dict[str, Any]

# Each has a contrast of at least 3 to the light and to the dark page.
COLOURS = ("#1f6feb", "#d1242f", "#1a7f37", "#bf8700", "#8250df", "#0b7a75", "#c2408b", "#9a6b3f", "#6e7781", "#e36209")
DASHES = ("solid", "dash", "dot")  # once all colours are used
GREY = "#8c959f"
VISIBLE_TRACES = 8  # at first; a click in the legend shows the others
FEW_EPOCHS = 10  # up to here each has a tick; plotly would also put some between them
MAX_EPOCHS = 600  # epochs that a learning curve shows; longer ones are thinned out evenly
MAX_ERROR = 8.0  # pixels at which the axis of the cumulative error ends
EPOCHS, MINUTES = "epochs", "minutes of training"
MAIN_CURVE = "validation RMSE, px"


def numbers(values: Any, digits: int = 4) -> list[float | None]:
    """Rounded values as JSON has them: None for NaN and infinity.

    Example:
        >>> numbers([1.23456, float("nan")])
        [1.2346, None]
    """
    return [round(float(value), digits) if math.isfinite(value) else None for value in np.asarray(values, dtype=float)]


def layout(x: str, y: str, height: int = 430, **more: Any) -> dict[str, Any]:
    """The layout that all figures have in common.

    Args:
        x, y: titles of the axes.
        height: in pixels.
        more: further keys of plotly's layout; those of ``xaxis`` and ``yaxis`` are added to the common ones.
    """
    axis = {"zeroline": False, "showline": True, "automargin": True}
    return {
        "height": height,
        "margin": {"l": 60, "r": 20, "t": 36, "b": 50},
        "font": {"family": "system-ui, sans-serif", "size": 13},
        "hoverlabel": {"namelength": -1},
        "xaxis": {**axis, "title": {"text": x}, **more.pop("xaxis", {})},
        "yaxis": {**axis, "title": {"text": y}, **more.pop("yaxis", {})},
        **more,
    }


def line_of(rank: int) -> dict[str, Any]:
    """Colour and dash of the run of that rank, the same in every figure."""
    return {"color": COLOURS[rank % len(COLOURS)], "dash": DASHES[rank // len(COLOURS) % len(DASHES)], "width": 2}


def visible(position: int) -> bool | str:
    """Whether the run in that position is visible at first, counted among the runs of the figure."""
    return True if position < VISIBLE_TRACES else "legendonly"


def shortened(name: str, letters: int = 40) -> str:
    """A name for a figure: long ones without their middle, and nothing that plotly would read as markup.

    Example:
        >>> shortened("a<b>"), shortened("optimizer-sgd_lr-1e-3", 12)
        ('a&lt;b&gt;', 'optim … 1e-3')
    """
    short = name if len(name) <= letters else f"{name[: letters // 2 - 1]} … {name[-(letters // 2 - 2) :]}"
    return html.escape(short, quote=False)


def labels(names: Sequence[str], letters: int = 40) -> list[str]:
    """Names of runs for a figure, as `shortened`; those that would be equal begin with the rank of the run.

    Args:
        names: of all runs, the best first.
        letters: of a name.

    Example:
        >>> labels(["lr-1_a_and_b", "lr-1_x_and_b", "c"], 9)
        ['1: lr- … _b', '2: lr- … _b', 'c']
    """
    short = [shortened(name, letters) for name in names]
    uses = Counter(short)
    return [name if uses[name] == 1 else f"{rank}: {name}" for rank, name in enumerate(short, start=1)]


def behind_best(names: Sequence[str], pairs: Mapping[int, Difference]) -> Figure | None:
    """How much worse each run is than the best, with the interval of the paired test; None without such pairs.

    Args:
        names: of the runs, the best first.
        pairs: by the rank of a run, the RMSE of the best run minus that of this run.
    """
    if not pairs:
        return None
    ranks = sorted(pairs)
    shown = (0, *ranks)
    long, short = ([of_all[rank] for rank in shown] for of_all in (labels(names), labels(names, 18)))
    value = np.array([-pairs[rank].value for rank in ranks])
    high = np.array([-pairs[rank].low for rank in ranks])
    low = np.array([-pairs[rank].high for rank in ranks])
    dots = {
        "type": "scatter",
        "mode": "markers",
        "x": [0, *numbers(value)],
        "y": list(range(len(long))),
        "text": long,
        "marker": {"size": 9, "color": [line_of(rank)["color"] for rank in shown]},
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
    ticks = {"tickvals": list(range(len(long))), "ticktext": long, "range": [len(long) - 0.4, -0.6]}
    zero = {"zeroline": True, "zerolinecolor": GREY}
    look = layout("px behind the best run", "", 110 + 24 * len(long), xaxis=zero, yaxis=ticks)
    return {"data": [dots], "layout": look, "narrow": {"yaxis.ticktext": short}}


def learning_curves(runs: Sequence[Run]) -> Figure | None:
    """Validation metrics and losses over epochs or minutes; None where no run has a curve."""
    drawn = [(rank, run) for rank, run in enumerate(runs) if "val/rmse" in run.curves and len(run.curves)]
    if not drawn:
        return None
    tables = [_thinned(run.curves) for _, run in drawn]
    x = {EPOCHS: [numbers(table["epoch"]) for table in tables]}
    if any("minutes" in table for table in tables):
        x[MINUTES] = [_column(table, "minutes") for table in tables]
    titles, names = _curve_titles([run for _, run in drawn]), labels([run.short_name for run in runs])
    y = {title: [_column(table, key) for table in tables] for key, title in titles.items()}
    y = {title: values for title, values in y.items() if any(values)}
    data = [
        {
            "type": "scatter",
            "mode": "lines+markers" if len(table) < 80 else "lines",
            "name": names[rank],
            "x": x[EPOCHS][i],
            "y": y[MAIN_CURVE][i],
            "line": line_of(rank),
            "marker": {"size": 4},
            "connectgaps": True,
            "visible": visible(i),
            "hovertemplate": "%{y:.3f}<extra>%{fullData.name}</extra>",
        }
        for i, ((rank, _), table) in enumerate(zip(drawn, tables, strict=True))
    ]
    steps = {EPOCHS: 1} if max(table["epoch"].max() for table in tables) <= FEW_EPOCHS else {}
    ticks = {"dtick": steps.get(EPOCHS)}
    look = layout(EPOCHS, MAIN_CURVE, 460, showlegend=True, hovermode="closest", xaxis=ticks, yaxis={"type": "log"})
    return {"data": data, "layout": look, "choices": {"x": x, "y": y}, "steps": steps}


def _thinned(curves: pd.DataFrame) -> pd.DataFrame:
    """At most `MAX_EPOCHS` rows, spread evenly, the first and the last among them."""
    return curves.iloc[np.linspace(0, len(curves) - 1, min(len(curves), MAX_EPOCHS)).round().astype(int)]


def _curve_titles(runs: Sequence[Run]) -> dict[str, str]:
    """Columns of metrics.csv that can be chosen, and the titles of their axes: RMSE, losses, sources, other metrics."""
    sources = dict.fromkeys(source for run in runs for source in run.config["keypoints"].get("sources") or {})
    titles = {"val/rmse": MAIN_CURVE, "train/loss": "training loss", "val/loss": "validation loss"}
    titles |= {f"val/rmse/{source}": f"validation RMSE, {source}, px" for source in sources}
    columns = list(dict.fromkeys(str(column) for run in runs for column in run.curves))
    for metric in metrics_shown("epoch"):
        if metric.name != MAIN:
            keys = keys_of(metric, (column.removeprefix("val/") for column in columns if column.startswith("val/")))
            titles |= {f"val/{key}": f"validation {metric.title(key)}" for key in keys}
    return titles


def _column(table: pd.DataFrame, key: str) -> list[float | None]:
    return numbers(table[key]) if key in table else []


def metric_curves(runs: Sequence[Run]) -> dict[str, Figure]:
    """A figure for each metric that is a curve, by the metric's name; the best run's mean face beside the runs."""
    drawn = {metric.name: _metric_curve(runs, metric) for metric in metrics_shown("report")}
    return {name: figure for name, figure in drawn.items() if figure is not None}


def _metric_curve(runs: Sequence[Run], metric: Metric) -> Figure | None:
    drawn = [(rank, run) for rank, run in enumerate(runs) if isinstance(run.metrics.get(metric.name), dict)]
    if not drawn:
        return None
    names = labels([run.short_name for run in runs])
    data = [
        {
            **_curve_trace(run.metrics[metric.name], names[rank], metric),
            "line": line_of(rank),
            "visible": visible(i),
        }
        for i, (rank, run) in enumerate(drawn)
    ]
    baseline = drawn[0][1].metrics["mean_face"].get(metric.name)
    if isinstance(baseline, dict):
        grey = {"color": GREY, "dash": "dashdot", "width": 2}
        data.append({**_curve_trace(baseline, "mean face", metric), "line": grey})
    unit, *_ = drawn[0][1].metrics[metric.name]  # the first column is the x axis
    x = {"title": "error of a point, px", "range": [0, MAX_ERROR]} if unit == "pixels" else {"title": unit}
    y = {"tickformat": ".0%", "rangemode": "tozero"} if metric.unit == "fraction" else {}
    title = metric.label if metric.unit == "fraction" else metric.title(metric.name)
    return {"data": data, "layout": layout(str(x.pop("title")), title, 430, showlegend=True, xaxis=x, yaxis=y)}


def _curve_trace(curve: Mapping[str, Sequence[float]], name: str, metric: Metric) -> dict[str, Any]:
    x, y = list(curve.values())
    text = "%{y:.1%}" if metric.unit == "fraction" else f"%{{y:.{metric.digits}f}} {metric.unit}"
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": numbers(x),
        "y": numbers(y),
        "hovertemplate": f"{text} at %{{x:.2~f}}<extra>%{{fullData.name}}</extra>",
    }


def corruptions(runs: Sequence[Run]) -> Figure | None:
    """RMSE without the worst 1 % of each corruption and strength; None where no run was evaluated on them."""
    drawn = [(rank, run.corruptions) for rank, run in enumerate(runs) if len(run.corruptions)]
    if not drawn:
        return None
    names = labels([run.short_name for run in runs])
    data = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": names[rank],
            "x": list(map(condition_name, of_run["corruption"], of_run["strength"])),
            "y": numbers(of_run["rmse/trimmed"]),
            "line": line_of(rank),
            "visible": visible(i),
            "hovertemplate": "%{x}: %{y:.2f} px<extra>%{fullData.name}</extra>",
        }
        for i, (rank, of_run) in enumerate(drawn)
    ]
    x = {"type": "category", "tickangle": -60}
    look = layout("", "RMSE without the worst 1 %, px", 480, showlegend=True, xaxis=x, yaxis={"rangemode": "tozero"})
    return {"data": data, "layout": look}


def condition_name(corruption: str, strength: float) -> str:
    """A corruption with its strength; images as they are have none.

    Example:
        >>> condition_name("noise", 20.0), condition_name("none", 0.0)
        ('noise 20', 'none')
    """
    return f"{html.escape(corruption, quote=False)} {strength:g}" if strength else html.escape(corruption, quote=False)


def reliability(runs: Sequence[Run], corrupted: bool = False) -> Figure | None:
    """Measured over expected error of ten groups of points; None where no run is calibrated.

    Args:
        runs: best first.
        corrupted: of corrupted images.
    """
    tenths_of = [run.corrupted_reliability if corrupted else run.reliability for run in runs]
    drawn = [(rank, tenths) for rank, tenths in enumerate(tenths_of) if tenths is not None]
    if not drawn:
        return None
    names = labels([run.short_name for run in runs])
    end = 1.1 * max(max(*tenths["expected"], *tenths["measured"]) for _, tenths in drawn)
    limits = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [0, end],
            "y": [0, end * (1 + deviation)],
            "line": {"color": GREY, "width": 1, "dash": "solid" if deviation == 0 else "dot"},
            "name": "as expected" if deviation == 0 else f"{deviation:+.0%} error",
            "hoverinfo": "skip",
        }
        for deviation in (0, GOAL, -GOAL)
    ]
    data = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": names[rank],
            "x": numbers(tenths["expected"]),
            "y": numbers(tenths["measured"]),
            "line": line_of(rank),
            "visible": visible(i),
            "hovertemplate": "expected %{x:.2f} px, measured %{y:.2f} px<extra>%{fullData.name}</extra>",
        }
        for i, (rank, tenths) in enumerate(drawn)
    ]
    span = {"range": [0, end]}
    look = layout("expected error, px", "measured error, px", 430, showlegend=True, xaxis=span, yaxis=span)
    return {"data": [*limits, *data], "layout": look}


def scale(marks: Mapping[str, Mapping[str, float]], unit: str) -> Figure:
    """Named marks on one line per source, to show where a score lies between label noise and baselines.

    Args:
        marks: for each line (a source) values by the name of the mark.
        unit: title of the axis.
    """
    marks = {html.escape(line, quote=False): of_line for line, of_line in marks.items()}
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
    look = layout(
        unit,
        "",
        150 + 70 * len(marks),
        showlegend=True,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        xaxis={"rangemode": "tozero"},
        yaxis={"range": [len(marks) - 0.4, -0.6], "type": "category"},
    )
    return {"data": data, "layout": look}
