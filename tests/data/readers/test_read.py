"""Reading a table: the host for large images, test images of the competition alone, no Hydra."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from facekp.core.errors import UserError
from facekp.data.competition import write_test
from facekp.data.readers import read
from facekp.data.readers.read import read_table, read_test
from facekp.data.table import HostImages
from tests.data.label_readers import read_labels
from tests.data.photo_folder import FACE, HEADER, read_folder, write_one_photo
from tests.data.samples import data_settings


def test_images_above_the_limit_stay_on_the_host(scheme):
    few = ("data=synthetic", "data.rows=3")
    table = read_table(data_settings(*few, f"data.device_bytes={3 * 96 * 96}"), scheme)
    large = read_table(data_settings(*few, f"data.device_bytes={3 * 96 * 96 - 1}"), scheme)
    assert isinstance(table.images, np.ndarray)
    assert isinstance(large.images, HostImages)
    np.testing.assert_array_equal(large.images[:], table.images)


def test_reading_is_logged_in_one_line(scheme, caplog):
    with caplog.at_level("INFO"):
        table = read_table(data_settings("data=synthetic", "data.rows=9"), scheme)
    assert f"data=synthetic: 9 faces (2 dense, 7 sparse), {table.mask.sum()} labelled points" in caplog.messages


def test_test_images_come_from_the_competition_only(scheme, faces, tmp_path):
    write_test(tmp_path, faces, faces.mask)
    table, lookup = read_test(data_settings(f"data.dir={tmp_path}", "data.cache=null"), scheme)
    np.testing.assert_array_equal(table.images, faces.images)
    assert len(lookup) == 2 * faces.mask.sum()
    with pytest.raises(UserError, match="data=synthetic: has no test images; use data=kaggle"):
        read_test(data_settings("data=synthetic"), scheme)


def test_images_as_fractions_are_refused(scheme, faces, tmp_path):
    write_test(tmp_path, replace(faces, images=faces.images // 255), faces.mask)
    with pytest.raises(UserError, match=r"^data=kaggle: no grey level is above 1; give levels 0\.\.255: multiply"):
        read_test(data_settings(f"data.dir={tmp_path}", "data.cache=null"), scheme)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda images: (images / 255).astype(np.float32), "the images are float32; give levels 0..255 as uint8"),
        (lambda images: (images / 255).astype(np.uint8), "no grey level is above 1"),
        (lambda images: np.repeat(images[:, None], 3, axis=1), r"the images have the shape \(80, 3, 96, 96\); give"),
    ],
)
def test_a_reader_s_images_are_levels_up_to_255(scheme, faces, monkeypatch, change, message):
    settings = data_settings("data=synthetic", "data.rows=3")
    monkeypatch.setattr(
        read, "READERS", {"synthetic": lambda settings, keypoints: replace(faces, images=change(faces.images))}
    )
    with pytest.raises(UserError, match=f"data=synthetic: {message}"):
        read_table(settings, scheme)


def test_reading_a_table_does_not_load_hydra():
    code = "import sys, facekp.data.readers.read; print('hydra' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_reader_in_colour_needs_the_setting(scheme, faces, monkeypatch):
    colour = replace(faces, images=np.repeat(faces.images[..., None], 3, axis=-1))
    monkeypatch.setattr(read, "READERS", {"synthetic": lambda settings, keypoints: colour})
    with pytest.raises(UserError, match=r"data\.channels=1: the images of data=synthetic are colour; use"):
        read_table(data_settings("data=synthetic", "data.rows=3"), scheme)


def test_several_label_files_are_read_together(tmp_path):
    write_one_photo(tmp_path)
    (tmp_path / "second.csv").write_text(f"{HEADER},attribute_pose\n{FACE},large\n{FACE},normal\n")
    both = f"data.labels=[{tmp_path}/labels.csv,{tmp_path}/second.csv]"
    table = read_folder(tmp_path, both)
    assert table.row.tolist() == [1, 2, 3]
    assert {name: values.tolist() for name, values in table.attributes.items()} == {
        "file": ["labels", "second", "second"],
        "pose": ["", "large", "normal"],
    }
    assert read_folder(tmp_path, both, "data.only={file: second, pose: large}").row.tolist() == [2]
    assert read_folder(tmp_path, both, "data.rows=1", "data.rows_from=first").attributes["file"].tolist() == ["labels"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "labels.csv").write_text((tmp_path / "labels.csv").read_text())
    alike = f"data.labels=[{tmp_path}/labels.csv,{tmp_path}/other/labels.csv]"
    assert read_folder(tmp_path, alike).attributes["file"].tolist() == ["labels.csv", "other/labels.csv"]


def test_a_label_file_that_is_named_twice_or_missing_is_refused(tmp_path):
    write_one_photo(tmp_path)
    with pytest.raises(UserError, match=r"data.labels: .*/labels.csv is named twice; name each file once"):
        read_folder(tmp_path, f"data.labels=[{tmp_path}/labels.csv,{tmp_path}/labels.csv]")
    with pytest.raises(UserError, match=r"data.labels=.*/missing.csv: can't be read"):
        read_folder(tmp_path, f"data.labels=[{tmp_path}/labels.csv,{tmp_path}/missing.csv]")
    with pytest.raises(UserError, match=r"data.labels=\[\]: must be .* or must have at least one entry"):
        read_folder(tmp_path, "data.labels=[]")


def test_several_folders_of_label_files_are_read_together(tmp_path):
    write_one_photo(tmp_path)
    for folder in ("mine", "theirs"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.txt").write_text("30 20\n10 20\n20 30\n28 40\n12 40\n")
    paths = (f"data.images={tmp_path}/photos", f"data.labels=[{tmp_path}/mine,{tmp_path}/theirs]")
    assert read_labels("txt", *paths).attributes["file"].tolist() == ["mine", "theirs"]
