"""The study of a search: where it is kept, and what is said if it can't be opened."""

import sys

import pytest

from facekp.core.errors import UserError
from facekp.runs.study import open_study
from facekp.runs.sweep_folder import SweepFolder
from tests.runs.conftest import search_settings


def test_it_is_kept_in_the_sweep_s_folder_and_opened_again(tmp_path):
    folder = SweepFolder(tmp_path)
    open_study(folder, search_settings()).ask().report(1.5, 1)
    assert folder.journal.is_file()
    (trial,) = open_study(folder, search_settings()).get_trials()
    assert trial.intermediate_values == {1: 1.5}


def test_a_storage_that_can_t_be_opened_is_named(tmp_path):
    with pytest.raises(UserError, match=r"hparams_search\.storage=nosuch://x"):
        open_study(SweepFolder(tmp_path), search_settings(storage="nosuch://x"))
    (tmp_path / "study.log").write_text("{\n{\n")
    with pytest.raises(UserError, match=r"hparams_search\.storage=.*study.log"):
        open_study(SweepFolder(tmp_path), search_settings())


def test_without_optuna_the_package_to_install_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"pip install 'facekp\[optuna\]'"):
        open_study(SweepFolder(tmp_path), search_settings())
