"""data=kaggle: missing files, and the download that must be asked for."""

import sys
import types

import pytest

from facekp.core.errors import UserError
from facekp.data.competition import write_training
from facekp.data.readers.read import read_table
from tests.data.samples import data_settings


def settings_of(*overrides):
    return data_settings("data.cache=null", *overrides)


def test_missing_files_name_the_three_solutions(scheme, tmp_path):
    with pytest.raises(UserError) as error:
        read_table(settings_of(f"data.dir={tmp_path}"), scheme)
    for solution in ("data.download=true", "FACEKP_DATA", "data=synthetic"):
        assert solution in str(error.value)


def test_facekp_data_names_the_folder(monkeypatch):
    monkeypatch.setenv("FACEKP_DATA", "/somewhere")
    assert settings_of().dir == "/somewhere"
    monkeypatch.delenv("FACEKP_DATA")
    assert settings_of().dir == "data/kaggle"


def fake_kaggle(monkeypatch, download):
    module = types.ModuleType("kaggle")
    module.api = types.SimpleNamespace(authenticate=lambda: None, competition_download_files=download)
    monkeypatch.setitem(sys.modules, "kaggle", module)


def test_download_happens_only_when_requested(scheme, tmp_path, monkeypatch, faces):
    called = []

    def download(competition, path):
        called.append(competition)
        write_training(tmp_path / "training.csv", faces)

    fake_kaggle(monkeypatch, download)
    with pytest.raises(UserError):
        read_table(settings_of(f"data.dir={tmp_path}"), scheme)
    assert called == []
    table = read_table(settings_of(f"data.dir={tmp_path}", "data.download=true"), scheme)
    assert called == ["facial-keypoints-detection"]
    assert len(table) == 80


def test_a_failed_download_is_one_line(scheme, tmp_path, monkeypatch):
    def download(competition, path):
        raise OSError("401 Unauthorized")

    fake_kaggle(monkeypatch, download)
    with pytest.raises(UserError, match=r"401 Unauthorized.*credentials"):
        read_table(settings_of(f"data.dir={tmp_path}", "data.download=true"), scheme)
