"""The command that trains on a converted label file."""

import pytest

from facekp.data.label_report import converted_command
from tests.data.writers.samples import label_file, with_faces, write


@pytest.mark.parametrize("form", ["imglab", "yolo"])
def test_boxes_that_a_writer_added_are_not_cropped_by(tmp_path, form):
    file = with_faces(label_file(tmp_path), box=None)
    command = converted_command(file, tmp_path / "out", write(tmp_path, form, file))
    assert command.count("data.boxes=points") == 1


def test_the_boxes_of_a_file_are_kept(tmp_path):
    file = with_faces(label_file(tmp_path), box=(0, 0, 60, 60))
    command = converted_command(file, tmp_path / "out", write(tmp_path, "imglab", file))
    assert "data.boxes" not in command
