"""--help lists what a command does, its groups with their choices, and its keys with default and meaning."""

import os
import re
import subprocess
import sys

import pytest

from facekp.__main__ import COMMANDS
from facekp.config.catalog import Catalog
from facekp.config.help import render_help
from facekp.config.location import CONF_DIR
from facekp.train import main as train
from tests.conftest import facekp


def test_the_chosen_choice_is_marked_and_its_keys_are_shown():
    text = render_help(Catalog("train", [CONF_DIR]), "facekp train", {"scheduler": "onecycle"})
    assert text.startswith("usage: facekp train [key=value ...]")
    assert "*onecycle" in text
    assert "constant, cosine, *onecycle" in text
    assert "scheduler.warmup=0.1" in text
    assert "lr=1e-3" in text


def test_only_a_command_with_a_sweep_lists_its_option():
    texts = [render_help(Catalog(name, [CONF_DIR]), name) for name in ("train", "submit")]
    assert ["--multirun" in text for text in texts] == [True, False]


def test_no_line_is_wider_than_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = render_help(Catalog("train", [CONF_DIR]), "facekp train")
    terms = re.compile(r"  [\w.]+=")  # a key with a long default has a line of its own
    assert [line for line in text.splitlines() if len(line) > 80 and not terms.match(line)] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_without_hydra_s_words(command, tmp_path):
    shown = facekp(command, "--help", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("usage: ")
    assert command in shown.stdout.splitlines()[0]
    assert "powered by Hydra" not in shown.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_usage_names_plain_arguments():
    assert "facekp predict photo.jpg ... [key=value ...]" in render_help(
        Catalog("predict", [CONF_DIR]), "facekp predict"
    )


def test_output_that_is_not_read_to_its_end_is_no_error(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)  # as head does once it has its lines
    command = [sys.executable, "-m", "facekp.pack", "--help"]
    done = subprocess.run(command, cwd=tmp_path, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_command_does_without_the_matplotlib_backend_of_the_notebook_that_started_it(run_here, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")  # refused where it is not installed
    assert run_here("train", train, "--version")[0] == 0
    assert "MPLBACKEND" not in os.environ
