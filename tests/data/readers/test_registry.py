"""Choosing data: names, missing files, the opt-in download."""

import sys
import types

import pytest

from facekp.core.errors import UserError
from facekp.data.readers.competition import write_training
from facekp.data.readers.registry import read_table
from tests.conftest import config_of


def settings(*overrides):
    return config_of("data.cache=null", *overrides)["data"]


def test_missing_files_name_the_three_ways_on(scheme, tmp_path):
    with pytest.raises(UserError) as error:
        read_table(settings(f"data.dir={tmp_path}"), scheme)
    for way in ("data.download=true", "FACEKP_DATA", "data=synthetic"):
        assert way in str(error.value)


def test_facekp_data_names_the_folder(monkeypatch):
    monkeypatch.setenv("FACEKP_DATA", "/somewhere")
    assert settings()["dir"] == "/somewhere"
    monkeypatch.delenv("FACEKP_DATA")
    assert settings()["dir"] == "data/kaggle"


def fake_kaggle(monkeypatch, download):
    module = types.ModuleType("kaggle")
    module.api = types.SimpleNamespace(authenticate=lambda: None, competition_download_files=download)
    monkeypatch.setitem(sys.modules, "kaggle", module)


def test_download_happens_only_when_asked_for(scheme, tmp_path, monkeypatch, faces):
    called = []

    def download(competition, path):
        called.append(competition)
        write_training(tmp_path / "training.csv", faces)

    fake_kaggle(monkeypatch, download)
    with pytest.raises(UserError):
        read_table(settings(f"data.dir={tmp_path}"), scheme)
    assert called == []
    table = read_table(settings(f"data.dir={tmp_path}", "data.download=true"), scheme)
    assert called == ["facial-keypoints-detection"]
    assert len(table) == 80


def test_a_failed_download_is_one_line(scheme, tmp_path, monkeypatch):
    def download(competition, path):
        raise OSError("401 Unauthorized")

    fake_kaggle(monkeypatch, download)
    with pytest.raises(UserError, match=r"401 Unauthorized.*credentials"):
        read_table(settings(f"data.dir={tmp_path}", "data.download=true"), scheme)


def test_an_unknown_reader_is_told_the_choices(scheme):
    with pytest.raises(UserError, match="kaggle, synthetic"):
        read_table({**settings(), "name": "imagenet"}, scheme)
