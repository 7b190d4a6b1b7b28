"""Settings of the report: what is allowed, and what a mistake says."""

import pytest

from facekp.core.errors import UserError
from tests.report_page import report_settings


def test_the_composed_config_is_valid(tmp_path):
    settings = report_settings(tmp_path / "report.html")
    assert (settings.what, settings.resamples, settings.data.name) == ("runs", 200, "kaggle")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("what=x", "what=x: choose one of runs, data"),
        ("faces=101", "faces=101: must be at most 100"),
        ("resamples=99", "resamples=99: must be at least 100"),
        ("data.folds=1", "data.folds=1: must be at least 2"),
        ("+face=3", "face: unknown key; did you mean faces?"),
    ],
)
def test_a_mistake_is_refused_in_one_line(tmp_path, override, message):
    with pytest.raises(UserError) as error:
        report_settings(tmp_path / "report.html", override)
    assert str(error.value) == message


def test_the_page_is_written_to_a_path_that_needs_no_quotes(tmp_path):
    with pytest.raises(UserError, match="out="):
        report_settings(tmp_path / "my report.html")
