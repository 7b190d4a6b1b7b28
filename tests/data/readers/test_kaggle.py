"""data=kaggle: missing files, and the download that must be asked for."""

import sys
import types

import pytest

from facekp.core.errors import UserError
from facekp.data.competition import write_training
from facekp.data.readers.read import read_table, read_test
from tests.data.samples import data_settings


def settings_of(*overrides):
    return data_settings("data.cache=null", *overrides)


def test_missing_files_name_the_three_solutions(scheme, tmp_path):
    with pytest.raises(UserError) as error:
        read_table(settings_of(f"data.dir={tmp_path}"), scheme)
    for solution in ("data.download=true", "FACEKP_DATA", "data=synthetic"):
        assert solution in str(error.value)


def test_a_file_in_place_of_the_folder_is_refused_with_the_folder(scheme, tmp_path, faces):
    write_training(tmp_path / "training.csv", faces)
    with pytest.raises(
        UserError, match=f"training.csv: is a file; give the folder that holds it, data.dir={tmp_path}$"
    ):
        read_table(settings_of(f"data.dir={tmp_path}/training.csv"), scheme)


def test_a_folder_above_the_files_or_none_is_named(scheme, tmp_path, faces):
    (tmp_path / "below").mkdir()
    write_training(tmp_path / "below" / "training.csv", faces)
    with pytest.raises(UserError, match=f"it is in a folder below: set data.dir={tmp_path}/below"):
        read_table(settings_of(f"data.dir={tmp_path}"), scheme)
    with pytest.raises(UserError, match=r"nowhere: training\.csv not found, as there is no such folder"):
        read_table(settings_of(f"data.dir={tmp_path}/nowhere"), scheme)


def test_a_submission_without_test_images_is_not_advised_to_draw_faces(scheme, tmp_path, faces):
    write_training(tmp_path / "training.csv", faces)
    with pytest.raises(UserError, match=r"test.csv not found.* A submission needs test.csv and IdLookupTable") as error:
        read_test(settings_of(f"data.dir={tmp_path}"), scheme)
    assert "synthetic" not in str(error.value)
    assert "\n" not in str(error.value)


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
