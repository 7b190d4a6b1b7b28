"""What `tools/gpu_check.py` has measured so far: figures and failures, in a file that is written after each of them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from facekp.core.files import write_json


@dataclass
class Record:
    """Figures of one call.

    Attributes:
        path: JSON file.
        minutes: that all sections together may take.
        about: the device, versions and so on.
        figures: ``section``, ``name``, ``value``, ``unit`` and ``note`` of each.
        failures: ``section`` and ``error`` of each section that failed.
        started: seconds of the monotonic clock.
    """

    path: Path
    minutes: float
    about: dict[str, Any] = field(default_factory=dict)
    figures: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def seconds_left(self) -> float:
        """Until the sections must have ended."""
        return 60 * self.minutes - (time.monotonic() - self.started)

    def add(self, section: str, name: str, value: float | str | None, unit: str = "", note: str = "") -> None:
        """Keep a figure, write the file, and print the figure."""
        self.figures.append({"section": section, "name": name, "value": value, "unit": unit, "note": note})
        self.write()
        print(f"{section}: {name}: {_text(value)} {unit}{f' ({note})' if note else ''}", flush=True)

    def fail(self, section: str, error: BaseException | str) -> None:
        """Keep a failure as one line, write the file, and print the line."""
        text = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
        line = " ".join(text.split())[:300]
        self.failures.append({"section": section, "error": line})
        self.write()
        print(f"{section}: FAILED: {line}", flush=True)

    def write(self) -> None:
        """Write the file."""
        date, used = datetime.now(UTC).isoformat(timespec="seconds"), (time.monotonic() - self.started) / 60
        about = {**self.about, "date": date, "minutes": round(used, 2)}
        write_json(self.path, {"about": about, "figures": self.figures, "failures": self.failures})

    def table(self) -> Table:
        """All figures and failures."""
        table = Table(title=f"{self.about.get('device', 'unknown device')}, {self.about.get('revision')}")
        for heading in ("section", "what", "value", "unit", "note"):
            table.add_column(heading, justify="right" if heading == "value" else "left")
        for figure in self.figures:
            cells = (figure[key] for key in ("section", "name", "unit", "note"))
            section, name, unit, note = cells
            table.add_row(section, name, _text(figure["value"]), unit, note)
        for failure in self.failures:
            table.add_row(failure["section"], "failed", "", "", failure["error"])
        return table


def _text(value: float | str | None) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"
    return "" if value is None else str(value)
