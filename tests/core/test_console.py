"""Tables on stdout."""

from rich.table import Table

from facekp.core.console import LOG_WIDTH, show


def test_a_table_in_a_log_file_keeps_its_width(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    table = Table("name", "value")
    table.add_row("a" * 60, "b" * 30)
    show(table)
    lines = capsys.readouterr().out.splitlines()
    assert any("a" * 60 in line and "b" * 30 in line for line in lines)
    assert max(map(len, lines)) <= LOG_WIDTH
