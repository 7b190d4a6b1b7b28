"""Tables on stdout, progress on stderr, counts with their nouns."""

import logging
import os
import sys

import pytest
from rich.table import Table

from facekp.core import console
from facekp.core.console import LINES_APART, LOG_WIDTH, SILENT, ProgressDisplay, count, progress, show


class Clock:
    """Stands in for `time`: each look at it takes a given number of seconds."""

    def __init__(self, step):
        self.now, self.step = 0.0, step

    def monotonic(self):
        self.now += self.step
        return self.now


@pytest.fixture
def clock(monkeypatch):
    def started(step):
        monkeypatch.setattr(console, "time", Clock(step))

    return started


def test_a_table_in_a_log_file_keeps_its_width(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    table = Table("name", "value")
    table.add_row("a" * 60, "b" * 30)
    show(table)
    lines = capsys.readouterr().out.splitlines()
    assert any("a" * 60 in line and "b" * 30 in line for line in lines)
    assert max(map(len, lines)) <= LOG_WIDTH


def test_short_work_shows_nothing(capsys, clock):
    clock((SILENT - 0.1) / 10)
    assert list(progress(range(10), "reading")) == list(range(10))
    assert capsys.readouterr() == ("", "")


def test_long_work_writes_a_line_every_ten_seconds_off_a_terminal(capsys, clock):
    clock(1.0)
    list(progress(range(40), "reading"))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "reading: 5 of 40 (12%), about 35 s left"
    assert lines[1] == "reading: 15 of 40 (38%), about 25 s left"
    assert len(lines) == 1 + (40 - SILENT) // LINES_APART


def test_work_of_unknown_length_counts_what_is_done(capsys, clock):
    clock(6.0)
    list(progress(iter(range(2)), "reading"))
    assert capsys.readouterr().err.splitlines()[0] == "reading: 1 done in 6 s"


def test_minutes_left_are_whole(capsys, clock):
    clock(60.0)
    list(progress(range(9), "reading"))
    assert capsys.readouterr().err.splitlines()[0] == "reading: 1 of 9 (11%), about 8 min left"


def test_a_terminal_gets_a_bar_with_log_lines_above_it(capsys, clock, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    handler = logging.StreamHandler(sys.stderr)
    terminal = handler.stream
    logging.getLogger().addHandler(handler)
    clock(6.0)
    try:
        with ProgressDisplay("reading", 4) as display:
            display.update(1)
            assert handler.stream is not terminal
            logging.getLogger(__name__).warning("a broken photo")
            display.update(4)
        assert handler.stream is terminal
    finally:
        logging.getLogger().removeHandler(handler)
    shown = capsys.readouterr().err
    assert "reading" in shown
    assert "100%" in shown
    assert "a broken photo\n" in shown.replace("\r", "")


def test_numbers_agree_with_their_nouns():
    assert count(1, "photo or frame", "photos or frames") == "1 photo or frame"
    assert count(12, "photo or frame", "photos or frames") == "12 photos or frames"


def test_texts_are_shown_as_they_are(capsys):
    table = Table("name", title="of [bold]all[/bold]")
    table.add_row("eye[/right] :smile: [csv,wandb]")
    show(table)
    out = capsys.readouterr().out
    assert "of [bold]all[/bold]" in out
    assert "eye[/right] :smile: [csv,wandb]" in out


def test_a_table_whose_reader_has_ended_is_dropped(monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        show(Table("name"))
        print("more", flush=True)


@pytest.mark.parametrize("bar", [True, False])
def test_work_goes_on_after_its_terminal_was_closed(clock, monkeypatch, bar):
    terminal, end = os.openpty()
    clock(LINES_APART)
    with open(end, "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        monkeypatch.setattr(stderr, "isatty", lambda: bar)
        numbers = progress(range(3), "reading")
        assert [next(numbers), next(numbers)] == [0, 1]  # the second one shows that the first is done
        os.close(terminal)
        rest = list(numbers)
        os.dup2(os.open(os.devnull, os.O_WRONLY), end)  # so that `stderr` can be closed
    assert rest == [2]
