"""Figures as Rich tables on the terminal."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from facekp.core.keypoints import Keypoints


def metrics_table(figures: dict[str, Any], keypoints: Keypoints, title: str) -> Table:
    """RMSE overall, by source and by keypoint, beside the mean face's.

    Args:
        figures: of `facekp.models.scoring.score`.
        keypoints: order of the rows.
        title: what was scored.
    """
    table = Table(title=title)
    for heading in ("", "network", "mean face"):
        table.add_column(heading, justify="left" if not heading else "right")
    baseline = figures["mean_face"]
    sources = keypoints.source_names if len(keypoints.sources) > 1 else []
    sections = (["rmse"], sources, keypoints.names)
    for section in sections:
        for name in section:
            key = "rmse" if name == "rmse" else f"rmse/{name}"
            label = "all" if name == "rmse" else name
            if key in figures:
                table.add_row(label, f"{figures[key]:.3f}", f"{baseline[key]:.3f}")
        table.add_section()
    if "nme" in figures:
        first, second = keypoints.normaliser or ("", "")
        table.add_row(f"NME (share of {first} to {second})", f"{figures['nme']:.4f}", f"{baseline['nme']:.4f}")
    return table
