"""Atomic writing: a file has its old or its new content."""

import json

import pandas as pd
import pytest
import yaml

from facekp.core.errors import UserError
from facekp.core.files import atomic, write_csv, write_json, write_text, write_yaml


def test_the_file_is_replaced_only_when_the_block_ends(tmp_path):
    path = tmp_path / "a" / "b.txt"
    write_text(path, "old")
    with atomic(path) as draft:
        draft.write_text("new")
        assert draft.parent == path.parent
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [file.name for file in path.parent.iterdir()] == ["b.txt"]


@pytest.mark.parametrize("stop", [RuntimeError, KeyboardInterrupt])
def test_an_error_in_the_block_keeps_the_old_file_and_leaves_no_draft(tmp_path, stop):
    path = tmp_path / "b.txt"
    path.write_text("old")

    def write_half():
        with atomic(path) as draft:
            draft.write_text("half")
            raise stop

    with pytest.raises(stop):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_path_that_cannot_be_written_is_a_mistake_with_a_hint(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/x\.json: cannot be written \(File exists\); choose another path"):
        write_json(tmp_path / "file" / "x.json", {})


def test_json_yaml_and_csv_are_read_back_as_they_were(tmp_path):
    values = {"b": [1, 2.5, None], "a": {"c": "é"}}
    write_json(tmp_path / "x.json", values)
    write_yaml(tmp_path / "x.yaml", values)
    frame = pd.DataFrame({"x": [0.1, 2.0], "name": ["a,b", "c"]})
    write_csv(tmp_path / "x.csv", frame)
    assert json.loads((tmp_path / "x.json").read_text()) == values
    assert list(yaml.safe_load((tmp_path / "x.yaml").read_text()).items()) == list(values.items())
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "x.csv"), frame)
