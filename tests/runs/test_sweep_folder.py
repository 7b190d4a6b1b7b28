"""The folder of a sweep: its settings are read back, and its jobs found."""

import pytest

from facekp.core.errors import UserError
from facekp.runs.sweep_folder import SweepFolder
from tests.runs.conftest import begin_job, search_settings


def test_settings_are_read_back(tmp_path):
    folder = SweepFolder(tmp_path / "sweep")
    folder.write_settings(["lr=1,2"], None)
    assert folder.read_overrides() == ["lr=1,2"]
    assert folder.read_search() is None
    folder.write_settings(["lr=1,2"], search_settings(trials=7))
    assert folder.read_search() == search_settings(trials=7)


def test_jobs_are_the_folders_that_have_a_status(tmp_path):
    for name in ("lr-2", "lr-1"):
        begin_job(tmp_path / name)
    (tmp_path / "other").mkdir()
    (tmp_path / "file").touch()
    folder = SweepFolder(tmp_path)
    assert folder.jobs() == [folder.job("lr-1"), folder.job("lr-2")]


def test_a_search_s_settings_that_were_changed_by_hand_are_checked(tmp_path):
    (tmp_path / "sweep.yaml").write_text("overrides: []\nsearch: {name: optuna, trials: 0}\n")
    with pytest.raises(UserError, match=r"hparams_search\.trials=0: must be at least 1"):
        SweepFolder(tmp_path).read_search()
