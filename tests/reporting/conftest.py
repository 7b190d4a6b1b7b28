"""Runs that the tests of the report share."""

import pytest

from tests.conftest import config_of
from tests.report_page import write_example_sweep


@pytest.fixture(scope="session")
def example_config():
    return config_of("data=synthetic", "data.rows=80", "data.seed=1")


@pytest.fixture(scope="session")
def example_runs(tmp_path_factory, faces):
    return write_example_sweep(tmp_path_factory.mktemp("sweep"), faces)
