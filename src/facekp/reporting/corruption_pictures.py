"""Pictures of corrupted images: one face under each corruption, and the RMSE by strength."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from facekp.models.robustness import CLEAN, TRIMMED, CorruptedFaces
from facekp.reporting.console_tables import strength_text
from facekp.reporting.pictures import BLUE, DPI, GREY, LABEL, PREDICTION, picture_grid
from facekp.runs.folder import RunFolder

COLUMNS = 4  # of the curves


def write_corruption_pictures(folder: RunFolder, corrupted: CorruptedFaces, corruptions: pd.DataFrame) -> None:
    """Write both pictures; the face is the one with the most labels.

    Args:
        folder: of the evaluation.
        corrupted: predictions for N faces under each condition.
        corruptions: of `facekp.models.robustness.corruptions_frame`.
    """
    faces = len(corrupted.table) // len(corrupted.conditions)
    face = int(corrupted.table.mask.reshape(len(corrupted.conditions), faces, -1).sum(axis=(0, 2)).argmax())
    folder.pictures.mkdir(exist_ok=True)
    draw_corrupted_face(corrupted, face).savefig(folder.pictures / "corrupted_face.png", dpi=DPI)
    draw_corruption_curves(corruptions).savefig(folder.pictures / "corruptions.png", dpi=DPI)


def draw_corrupted_face(corrupted: CorruptedFaces, face: int) -> Figure:
    """A face under each condition, a column for each corruption: labels as green rings, predictions as red dots.

    Args:
        corrupted: predictions for N faces under each condition.
        face: its position among the N faces.
    """
    kinds = list(dict.fromkeys(condition.corruption for condition in corrupted.conditions))
    strengths = {kind: [c for c, each in enumerate(corrupted.conditions) if each.corruption == kind] for kind in kinds}
    rows, columns = max(map(len, strengths.values())), len(kinds)
    figure, axes = picture_grid(rows, columns, 1.5 * columns, 1.7 * rows)
    faces = len(corrupted.table) // len(corrupted.conditions)
    for kind, column in zip(kinds, axes.reshape(rows, columns).T, strict=True):
        for c, ax in zip(strengths[kind], column, strict=False):
            _draw_face(ax, corrupted, c * faces + face)
            ax.set_title(f"{kind} {strength_text(*corrupted.conditions[c])}", fontsize=8)
    return figure


def _draw_face(ax: Axes, corrupted: CorruptedFaces, i: int) -> None:
    truth = corrupted.table.points[i]
    shown = corrupted.prediction.points[i][~np.isnan(truth[:, 0])]
    ax.imshow(corrupted.table.images[i], cmap="gray", vmin=0, vmax=255)
    ax.plot(*truth.T, "o", markerfacecolor="none", markeredgecolor=LABEL, markersize=5)
    ax.plot(*shown.T, ".", color=PREDICTION, markersize=3)


def draw_corruption_curves(corruptions: pd.DataFrame) -> Figure:
    """The RMSE without the worst 1 % by strength, in a part for each corruption; dashed: the images as they are.

    Args:
        corruptions: of `facekp.models.robustness.corruptions_frame`.
    """
    clean = corruptions[corruptions["corruption"] == CLEAN.corruption][TRIMMED].iloc[0]
    groups = [group for group in corruptions.groupby("corruption", sort=False) if group[0] != CLEAN.corruption]
    columns = min(len(groups), COLUMNS)
    rows = math.ceil(len(groups) / columns)
    figure = Figure(figsize=(2.6 * columns, 2.3 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for ax in axes[len(groups) :]:
        ax.axis("off")
    for ax, (kind, group) in zip(axes, groups, strict=False):
        position = np.arange(len(group))
        ax.plot(position, group[TRIMMED], "o-", color=BLUE)
        ax.axhline(clean, color=GREY, linestyle="--", linewidth=1)
        labels = [strength_text(str(kind), strength) for strength in group["strength"]]
        ax.set_xticks(position, labels, fontsize=8)
        ax.set_title(str(kind), fontsize=9)
        ax.set_ylim(bottom=0)
        ax.grid(alpha=0.3)
    figure.supylabel("RMSE without the worst 1 %, px", fontsize=9)
    return figure
