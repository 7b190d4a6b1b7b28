"""Pictures of a run: faces with labels and predictions, heatmaps of one face, learning curves, error curves.

Arrays and tables come in, Matplotlib figures go out; they need neither a display nor a global backend.
"""

from __future__ import annotations

import warnings
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from facekp.data.table import FaceTable
from facekp.functional.channels import channels_first
from facekp.functional.metrics import MAIN, Metric, metrics_shown
from facekp.models.calibration import GOAL
from facekp.models.keypoint_model import KeypointModel
from facekp.runs.folder import RunFolder

LABEL, PREDICTION = "#19b44b", "#ff3b30"
BLUE, GREY = "#1f6feb", "#57606a"
DPI = 110
TITLE_LETTERS = 30  # of a line above a face or a heatmap; a longer name would run into the next one
MAX_ERROR = 10.0  # pixels at which the axis of an error curve ends


def draw_run(
    folder: RunFolder, model: KeypointModel, table: FaceTable, points: np.ndarray, metrics: dict[str, Any], faces: int
) -> None:
    """Write all pictures of a run.

    Args:
        folder: of the run; its metrics.csv gives the learning curves.
        model: model of the best checkpoint.
        table: N validation rows.
        points: (N, K, 2) predictions for them.
        metrics: content of metrics.json.
        faces: how many are shown; 0: no pictures at all.
    """
    if not faces:
        return
    shown = spread_out(table.source, faces)
    pictures = {}
    if len(shown):
        pictures["faces"] = draw_faces(table.take(shown), points[shown])
        pictures["heatmaps"] = draw_heatmaps(model, table.take(shown[:1]))
    for metric in metrics_shown("report"):
        if isinstance(metrics.get(metric.name), dict) and metrics.get("labelled_values") != 0:
            name = "error_curve" if metric.name == "curve" else metric.name.replace("/", "_")
            pictures[name] = draw_metric_curve(metric, metrics)
    curves = folder.read_curves()
    if len(curves):
        pictures["curves"] = draw_learning_curves(curves, table.keypoints.source_names, metrics)
    folder.pictures.mkdir(exist_ok=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")  # of a name; it is shown as a box
        for name, figure in pictures.items():
            figure.savefig(folder.pictures / f"{name}.png", dpi=DPI)


def spread_out(source: np.ndarray, faces: int) -> np.ndarray:
    """Rows spread evenly over the table, about equally many of each source.

    Args:
        source: int (N,).
        faces: number of rows.

    Example:
        >>> spread_out(np.array([0, 0, 0, 0, 1, 1]), 4)
        array([0, 3, 4, 5])
    """
    if not len(source):
        return np.empty(0, dtype=np.int64)
    by_source = [np.flatnonzero(source == s) for s in np.unique(source)]
    each = -(-faces // len(by_source))
    chosen = [rows[np.linspace(0, len(rows) - 1, min(each, len(rows))).round().astype(int)] for rows in by_source]
    return np.concatenate(chosen)[:faces]


def pixels(figure: Figure) -> np.ndarray:
    """A figure as an image, uint8 (h, w, 4)."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba())


def draw_faces(table: FaceTable, points: np.ndarray) -> Figure:
    """A grid of faces: labels as green rings, predictions as red dots joined by the lines of the scheme.

    Args:
        table: N rows.
        points: (N, K, 2) predictions in pixels.
    """
    columns = even_columns(len(table), 6)
    rows = -(-len(table) // columns)
    figure, axes = picture_grid(rows, columns, width=2.2 * columns, height=2.35 * rows + 0.4)
    for i, ax in enumerate(axes[: len(table)]):
        _draw_face(ax, table, i, points[i])
    caption = "green ring: label, red dot: prediction; above each face: source and RMSE in pixels"
    figure.suptitle(caption if columns > 2 else caption.replace("; ", "\n"), fontsize=9)
    return figure


def even_columns(faces: int, max_columns: int) -> int:
    """How many of some faces a row has: all rows are equally long if possible, and none has more than ``max_columns``.

    Example:
        >>> even_columns(8, 6), even_columns(7, 6), even_columns(5, 6)
        (4, 4, 5)
    """
    widest = min(faces, max_columns)
    even = [columns for columns in range(widest, max_columns // 2, -1) if faces % columns == 0]
    return even[0] if even else -(-faces // -(-faces // widest))


def picture_grid(rows: int, columns: int, width: float, height: float) -> tuple[Figure, np.ndarray]:
    """A figure of that size in inches, and its axes (rows * columns,), which have no frame."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for ax in axes:
        ax.axis("off")
        ax.set(xticks=[], yticks=[])  # matplotlib would lay out invisible ticks, which takes half of the time
    return figure, axes


def plain(name: str) -> str:
    r"""A name as Matplotlib shows it, which would take text between dollar signs for a formula.

    Example:
        >>> print(plain("$a_1$"))
        \$a_1\$
    """
    return name.replace("$", r"\$")


def _draw_face(ax: Axes, table: FaceTable, i: int, points: np.ndarray) -> None:
    scheme, truth = table.keypoints, table.points[i]
    source = scheme.source_names[table.source[i]]
    of_source = scheme.labels_of(source)
    ax.imshow(table.images[i], cmap="gray", vmin=0, vmax=255)
    for line in scheme.lines:
        member = [scheme.names.index(name) for name in line]
        if of_source[member].all():
            ax.plot(*points[member].T, color=PREDICTION, linewidth=0.8, alpha=0.7)
    ax.plot(*points[of_source].T, ".", color=PREDICTION, markersize=4)
    ax.plot(*truth.T, "o", markerfacecolor="none", markeredgecolor=LABEL, markersize=6)
    squared = (points - truth)[~np.isnan(truth)] ** 2
    score = f"  {np.sqrt(squared.mean()):.2f}" if len(squared) else ", no label"
    ax.set_title(fill(plain(source) + score, TITLE_LETTERS), fontsize=8)


def draw_heatmaps(model: KeypointModel, table: FaceTable) -> Figure:
    """The heatmaps of the first row over its image, one for each point, from the channels of the row's source."""
    device = next(model.parameters()).device
    with torch.inference_mode():
        images = channels_first(torch.from_numpy(np.array(table.images[:1]))).to(device)
        heatmaps = model.heatmaps(images)[0, model.channels[int(table.source[0])]].cpu().numpy()
    names = table.keypoints.names
    columns = even_columns(len(names), 5)
    rows = -(-len(names) // columns)
    figure, axes = picture_grid(rows, columns, width=2.2 * columns, height=2.4 * rows + 0.3)
    figure.suptitle("heatmap of each point: the brighter, the more likely", fontsize=9)
    height, width = table.size
    box = (-0.5, width - 0.5, height - 0.5, -0.5)
    for ax, name, heatmap in zip(axes, names, heatmaps, strict=False):
        ax.imshow(table.images[0], cmap="gray", vmin=0, vmax=255)
        # The face shows where the heatmap is low.
        level = np.clip(np.nan_to_num(heatmap) / max(float(heatmap.max()), 1e-9), 0, 1)
        ax.imshow(heatmap, cmap="inferno", alpha=0.85 * level, extent=box, interpolation="nearest")
        ax.set_title(fill(plain(name.replace("_", " ")), TITLE_LETTERS), fontsize=7)
    return figure


def draw_learning_curves(curves: pd.DataFrame, sources: list[str], metrics: dict[str, Any]) -> Figure:
    """Losses and validation RMSE over epochs, with the mean face as a line.

    Args:
        curves: content of metrics.csv.
        sources: their RMSE is drawn as well.
        metrics: content of metrics.json, for the baseline.
    """
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    lines = {"train/loss": (left, "training"), "val/loss": (left, "validation"), "val/rmse": (right, "all")}
    lines |= {f"val/rmse/{source}": (right, plain(source)) for source in sources if len(sources) > 1}
    for column, (ax, label) in lines.items():
        if column in curves:
            known = curves.dropna(subset=column)  # not every epoch is validated
            ax.plot(known["epoch"], known[column], marker="o", markersize=3, linewidth=1.5, label=label)
    baseline = metrics["mean_face"].get(MAIN)
    if baseline is not None:  # a point that no training row labels has none
        right.axhline(baseline, color="gray", linestyle="--", linewidth=1, label="mean face")
    left.set(xlabel="epoch", ylabel="loss")
    right.set(xlabel="epoch", ylabel="validation RMSE, pixels", yscale="log")
    for set_formatter in (right.yaxis.set_major_formatter, right.yaxis.set_minor_formatter):
        set_formatter(ScalarFormatter())
    for ax in (left, right):
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        if ax.lines:
            ax.legend(fontsize=7)
        ax.grid(alpha=0.3, which="both")
    return figure


def draw_metric_curve(metric: Metric, metrics: dict[str, Any]) -> Figure:
    """A metric that is a curve, such as the fraction of points closer than a distance, and that of the mean face.

    Args:
        metric: its value in metrics.json is a curve.
        metrics: content of metrics.json.
    """
    figure = Figure(figsize=(4.5, 3.4), layout="constrained")
    ax = figure.subplots()
    for label, values in (("network", metrics), ("mean face", metrics["mean_face"])):
        if metric.name in values:
            ax.plot(*values[metric.name].values(), label=label)
    x, _ = metrics[metric.name]
    ax.set(xlabel=x, ylabel=metric.title(metric.name))
    if x == "pixels":
        ax.set(xlabel="error of a point, pixels", xlim=(0, MAX_ERROR))
    if metric.unit == "fraction":
        ax.set(ylim=(0, 1))
    ax.locator_params(axis="x", nbins=6)
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8)
    return figure


def draw_reliability(reliability: dict[str, Any]) -> Figure:
    """Measured over expected error of ten groups of points; the band shows the accepted deviation, `GOAL`.

    Args:
        reliability: of `facekp.models.calibration.Calibration`.
    """
    expected, measured = np.array(reliability["expected"]), np.array(reliability["measured"])
    figure = Figure(figsize=(4.6, 4.2), layout="constrained")
    ax = figure.subplots()
    end = 1.1 * max(expected.max(), measured.max())
    line = np.array([0.0, end])
    ax.fill_between(line, (1 - GOAL) * line, (1 + GOAL) * line, color=BLUE, alpha=0.12, label=f"within {GOAL:.0%}")
    ax.plot(line, line, color=GREY, linewidth=1)
    ax.plot(expected, measured, "o-", color=BLUE, label=f"tenths of {reliability['points']} points")
    ax.set(xlabel="expected error, px", ylabel="measured error, px", xlim=(0, end), ylim=(0, end))
    ax.legend(loc="upper left")
    return figure
