"""Pictures of a run: faces with true and predicted points, heatmaps of one face, learning curves, error curve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from facekp.data.table import FaceTable
from facekp.models.calibration import GOAL
from facekp.models.keypoint_model import KeypointModel


def draw_reliability(figures: dict[str, Any]) -> Figure:
    """Measured against expected error of the tenths; the band is what `GOAL` allows."""
    expected, measured = np.array(figures["expected"]), np.array(figures["measured"])
    figure = Figure(figsize=(4.6, 4.2), layout="constrained")
    axes = figure.add_subplot()
    end = 1.1 * max(expected.max(), measured.max())
    line = np.array([0.0, end])
    axes.fill_between(
        line, (1 - GOAL) * line, (1 + GOAL) * line, color="#1f6feb", alpha=0.12, label=f"within {GOAL:.0%}"
    )
    axes.plot(line, line, color="#57606a", linewidth=1)
    axes.plot(expected, measured, "o-", color="#1f6feb", label=f"tenths of {figures['points']} points")
    axes.set(xlabel="expected error, px", ylabel="measured error, px", xlim=(0, end), ylim=(0, end))
    axes.legend(loc="upper left")
    return figure


matplotlib.use("Agg")

TRUE, FOUND = "#19b44b", "#ff3b30"


def draw_run(
    folder: Path, model: KeypointModel, table: FaceTable, points: np.ndarray, figures: dict[str, Any], faces: int
) -> None:
    """Write all pictures of a run.

    Args:
        folder: of the run; metrics.csv is read from it.
        model: the best checkpoint's.
        table: N validation rows.
        points: (N, K, 2) predictions for them.
        figures: the run's metrics.
        faces: how many are shown; 0: no picture at all.
    """
    if not faces:
        return
    out = folder / "pictures"
    out.mkdir(exist_ok=True)
    shown = spread_out(table.source, faces)
    draw_faces(table.take(shown), points[shown]).savefig(out / "faces.png", dpi=110)
    draw_heatmaps(model, table.take(shown[:1])).savefig(out / "heatmaps.png", dpi=110)
    draw_error_curve(figures).savefig(out / "error_curve.png", dpi=110)
    if (folder / "metrics.csv").is_file():
        metrics = pd.read_csv(folder / "metrics.csv")
        draw_curves(metrics, table.keypoints.source_names, figures).savefig(out / "curves.png", dpi=110)


def spread_out(source: np.ndarray, faces: int) -> np.ndarray:
    """Rows evenly from the whole table, as many of each source as there are."""
    rows = [np.flatnonzero(source == s) for s in np.unique(source)]
    each = -(-faces // len(rows))
    chosen = [own[np.linspace(0, len(own) - 1, min(each, len(own))).round().astype(int)] for own in rows]
    return np.concatenate(chosen)[:faces]


def pixels(figure: Figure) -> np.ndarray:
    """A figure as an image, uint8 (h, w, 4)."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba())


def draw_faces(table: FaceTable, points: np.ndarray) -> Figure:
    """A grid of faces, true points as green rings, predicted ones as red dots joined by the scheme's lines."""
    columns = min(6, len(table))
    rows = -(-len(table) // columns)
    figure = Figure(figsize=(2.2 * columns, 2.35 * rows + 0.4), layout="constrained")
    axes = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for ax in axes:
        ax.axis("off")
    for i, ax in enumerate(axes[: len(table)]):
        _draw_face(ax, table, i, points[i])
    figure.suptitle("ring: labelled   dot: predicted   title: RMSE in pixels", fontsize=9)
    return figure


def _draw_face(ax: Axes, table: FaceTable, i: int, points: np.ndarray) -> None:
    scheme, truth = table.keypoints, table.points[i]
    source = scheme.source_names[table.source[i]]
    asked = scheme.labels_of(source)
    ax.imshow(table.images[i], cmap="gray", vmin=0, vmax=255)
    for line in scheme.lines:
        member = [scheme.names.index(name) for name in line]
        if asked[member].all():
            ax.plot(*points[member].T, color=FOUND, linewidth=0.8, alpha=0.7)
    ax.plot(*points[asked].T, ".", color=FOUND, markersize=4)
    ax.plot(*truth.T, "o", markerfacecolor="none", markeredgecolor=TRUE, markersize=6)
    ax.set_title(f"{source}  {np.sqrt(np.nanmean((points - truth) ** 2)):.2f}", fontsize=8)


def draw_heatmaps(model: KeypointModel, table: FaceTable) -> Figure:
    """Every heatmap of the first row, over its image, read by its own source."""
    device = next(model.parameters()).device
    with torch.inference_mode():
        images = torch.from_numpy(np.array(table.images[:1])).unsqueeze(1).to(device)
        heatmaps = model.heatmaps(images)[0, model.channels[int(table.source[0])]].cpu().numpy()
    names = table.keypoints.names
    columns = min(5, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(2.2 * columns, 2.4 * rows), layout="constrained")
    axes = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    height, width = table.size
    for ax in axes:
        ax.axis("off")
    for ax, name, heatmap in zip(axes, names, heatmaps, strict=False):
        ax.imshow(table.images[0], cmap="gray", vmin=0, vmax=255)
        box = (-0.5, width - 0.5, height - 0.5, -0.5)
        ax.imshow(heatmap, cmap="inferno", alpha=0.65, extent=box, interpolation="nearest")
        ax.set_title(name.replace("_", " "), fontsize=7)
    return figure


def draw_curves(metrics: pd.DataFrame, sources: list[str], figures: dict[str, Any]) -> Figure:
    """Loss and validation RMSE by epoch, the mean face as a line.

    Args:
        metrics: metrics.csv.
        sources: whose RMSE is drawn beside the pooled one.
        figures: of the run, for the baseline.
    """
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, ax in (("train/loss", left), ("val/loss", left), ("val/rmse", right)):
        if name in metrics:
            ax.plot(metrics["epoch"] + 1, metrics[name], marker="o", markersize=3, label=name)
    for name in (f"val/rmse/{source}" for source in sources):
        if name in metrics:
            right.plot(metrics["epoch"] + 1, metrics[name], linewidth=1, label=name)
    right.axhline(figures["mean_face"]["rmse"], color="gray", linestyle="--", linewidth=1, label="mean face")
    left.set(xlabel="epoch", ylabel="loss")
    right.set(xlabel="epoch", ylabel="RMSE, pixels", yscale="log")
    for axis in (right.yaxis.set_major_formatter, right.yaxis.set_minor_formatter):
        axis(ScalarFormatter())
    for ax in (left, right):
        ax.legend(fontsize=7)
        ax.grid(alpha=0.3, which="both")
    return figure


def draw_error_curve(figures: dict[str, Any]) -> Figure:
    """The share of labelled points closer than a threshold, for the network and the mean face."""
    figure = Figure(figsize=(4.5, 3.4), layout="constrained")
    ax = figure.subplots()
    for label, source in (("network", figures), ("mean face", figures["mean_face"])):
        ax.plot(source["curve"]["pixels"], source["curve"]["share"], label=label)
    ax.set(xlabel="error of a point, pixels", ylabel="share of points below", xlim=(0, 10), ylim=(0, 1))
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8)
    return figure
