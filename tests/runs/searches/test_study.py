"""The study of a search: where it is kept, and what is said if it can't be opened."""

import sys

import pytest

from facekp.core.errors import UserError
from facekp.runs.searches.study import FOLDER, claim_study, open_study
from facekp.runs.sweep_folder import SweepFolder
from tests.runs.conftest import search_settings


def test_it_is_kept_in_the_sweep_s_folder_and_opened_again(tmp_path):
    folder = SweepFolder(tmp_path)
    open_study(folder, search_settings()).ask().report(1.5, 1)
    assert folder.journal.is_file()
    (trial,) = open_study(folder, search_settings()).get_trials()
    assert trial.intermediate_values == {1: 1.5}


def test_a_renamed_folder_keeps_its_study(tmp_path):
    (tmp_path / "first").mkdir()
    study = open_study(SweepFolder(tmp_path / "first"), search_settings())
    study.tell(study.ask(), 1.5)
    (tmp_path / "first").rename(tmp_path / "second")
    study = open_study(SweepFolder(tmp_path / "second"), search_settings())
    assert study.study_name == "first"
    assert [trial.value for trial in study.get_trials()] == [1.5]


def test_a_renamed_folder_keeps_its_study_in_a_database(tmp_path):
    settings = search_settings(storage=f"sqlite:///{tmp_path}/all.db")
    (tmp_path / "first").mkdir()
    claim_study(open_study(SweepFolder(tmp_path / "first"), settings), SweepFolder(tmp_path / "first"))
    (tmp_path / "first").rename(tmp_path / "second")
    study = open_study(SweepFolder(tmp_path / "second"), settings)
    claim_study(study, SweepFolder(tmp_path / "second"))
    assert study.study_name == "first"


def test_a_study_without_a_mark_belongs_to_the_sweep_that_has_its_folders(tmp_path):
    folder = SweepFolder(tmp_path / "search")
    folder.path.mkdir()
    study = open_study(folder, search_settings(storage=f"sqlite:///{tmp_path}/all.db"))
    trial = study.ask()
    trial.set_user_attr(FOLDER, "lr-1")
    study.tell(trial, 1.5)
    with pytest.raises(UserError, match="its study 'search' is another sweep's"):
        claim_study(study, folder)
    folder.job("lr-1").path.mkdir()
    claim_study(study, folder)


def test_of_sweeps_that_claim_a_study_at_the_same_moment_at_most_one_gets_it(tmp_path, monkeypatch):
    settings = search_settings(storage=f"sqlite:///{tmp_path}/all.db")
    first, second = (SweepFolder(tmp_path / group / "search") for group in "xy")
    for folder in (first, second):
        folder.path.mkdir(parents=True)
    study = open_study(first, settings)
    written = type(study).set_user_attr

    def after_the_other(study, key, value):
        monkeypatch.undo()
        claim_study(open_study(second, settings), second)  # it is not claimed yet
        written(study, key, value)

    monkeypatch.setattr(type(study), "set_user_attr", after_the_other)
    with pytest.raises(UserError, match=r"^hparams_search\.storage: its study 'search' is another sweep's; choose"):
        claim_study(study, first)
    assert not list(first.path.iterdir())
    claim_study(open_study(second, settings), second)  # the other one can still be resumed


def test_a_damaged_record_of_the_study_is_named(tmp_path):
    (tmp_path / "study.yaml").write_text("{name: 1}")
    with pytest.raises(UserError, match=r"study\.yaml can't be read"):
        open_study(SweepFolder(tmp_path), search_settings(storage="sqlite://"))


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
