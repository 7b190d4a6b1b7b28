"""Printing tables to the terminal or into a log file."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

LOG_WIDTH = 110  # columns, where stdout is not a terminal


def show(table: Table) -> None:
    """Print a table to stdout, as wide as the terminal; `LOG_WIDTH` columns wide if stdout is a file or a pipe."""
    console = Console()
    (console if console.is_terminal else Console(width=LOG_WIDTH)).print(table)
