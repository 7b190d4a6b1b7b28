"""facekp.core.console."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table


def show(table: Table) -> None:
    """Print a table to stdout, wide enough for a log file too."""
    console = Console()
    (console if console.is_terminal else Console(width=110)).print(table)
