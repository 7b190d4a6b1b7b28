"""The measured figures: pages agree with their record, and its commands exist."""

import importlib.util
import json
import sys

import pytest

from tests.conftest import REPOSITORY
from tests.documented_commands import problems

spec = importlib.util.spec_from_file_location("figures", REPOSITORY / "tools" / "figures.py")
figures = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = figures  # dataclasses look their module up
spec.loader.exec_module(figures)
RECORD = json.loads(figures.RECORD.read_text())


@pytest.mark.parametrize("page", figures.pages(), ids=lambda page: page.stem)
def test_a_page_holds_what_was_recorded(page):
    text = page.read_text()
    assert figures.render(text, RECORD) == text


def test_every_recorded_figure_is_shown():
    shown = {key for page in figures.pages() for _, key, _, _ in figures.MARKED.findall(page.read_text())}
    assert {key.split(".")[0] for key in shown} == {*RECORD, "record"}


@pytest.mark.parametrize("name", sorted(figures.FIGURES))
def test_the_commands_of_a_figure_name_keys_that_exist(name):
    for command in figures.FIGURES[name].commands:
        assert list(problems(command.format(out="outputs/figures"))) == []


def test_every_measurement_is_recorded_with_its_present_commands():
    for name, figure in figures.FIGURES.items():
        commands = [command.format(out=f"outputs/figures/{name}") for command in figure.commands]
        assert RECORD[name]["commands"] == commands
        assert not RECORD[name]["revision"].endswith("-dirty")


def test_a_number_stays_in_its_sentence_and_a_table_gets_its_lines():
    record = {"a": {"texts": {"n": "1.2", "t": "| x |"}, "date": "", "revision": "", "data": "", "commands": []}}
    page = "It is <!-- figure: a.n -->9<!-- /figure --> px.\n\n<!-- figure: a.t --><!-- /figure -->\n"
    rendered = figures.render(page, record)
    assert "It is <!-- figure: a.n -->1.2<!-- /figure --> px." in rendered
    assert "<!-- figure: a.t -->\n\n| x |\n\n<!-- /figure -->" in rendered
    assert figures.render(rendered, record) == rendered
