"""Small files of plain values: read back as they were, refused in bounded time where they can't be facekp's."""

import json
import os
import time

import pytest
import yaml

from facekp.core.plain_files import MAX_BYTES, DamagedFile, read_json, read_text, read_yaml

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def test_plain_values_are_read_back(tmp_path):
    values = {"a": [1, 2.5, None, "ü"], "b": {"c": True}}
    (tmp_path / "a.json").write_text(json.dumps(values))
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(values))
    assert read_json(tmp_path / "a.json") == read_yaml(tmp_path / "a.yaml") == values


def test_aliases_are_read_as_long_as_they_are_few(tmp_path):
    (tmp_path / "a.yaml").write_text("a: &x [1]\nb: *x\n")
    assert read_yaml(tmp_path / "a.yaml") == {"a": [1], "b": [1]}


YAML_DAMAGE = {
    "an alias bomb": (BOMB, "more than 200000 values"),
    "a list that holds itself": ("a: &a [*a]", "levels deep"),
    "nested lists": ("[" * 900 + "]" * 900, "levels deep"),
    "nested blocks": ("- " * 2000 + "a", "levels deep"),
    "levels by aliases": (
        "a0: &a0 [1]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 200)),
        "levels deep",
    ),
    "a list without an end": ("lr: [1,", "not valid YAML"),
    "a date that does not exist": ("a: 2020-13-45", "not valid YAML"),
    "an object of Python": ("a: !!python/object/apply:os.system [ls]", "not valid YAML"),
    "a control character": ("a: \x07", "not valid YAML"),
}


@pytest.mark.parametrize("case", YAML_DAMAGE)
def test_damaged_yaml_is_refused_within_a_second(tmp_path, case):
    text, message = YAML_DAMAGE[case]
    (tmp_path / "a.yaml").write_text(text)
    started = time.process_time()
    with pytest.raises(DamagedFile, match=message) as error:
        read_yaml(tmp_path / "a.yaml")
    assert time.process_time() - started < 1
    assert "\n" not in str(error.value)


JSON_DAMAGE = {
    "empty": ("", "not valid JSON"),
    "cut": ('{"a": [1, 2', "not valid JSON"),
    "nested lists": ("[" * 100_000, "levels deep"),
    "nested mappings": ('{"a":' * 60 + "1" + "}" * 60, "levels deep"),
    "a number of many digits": ("1" * 10_000, "not valid JSON"),
    "many values": (json.dumps([0] * 200_001), "more than 200000 values"),
}


@pytest.mark.parametrize("case", JSON_DAMAGE)
def test_damaged_json_is_refused(tmp_path, case):
    text, message = JSON_DAMAGE[case]
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DamagedFile, match=message):
        read_json(tmp_path / "a.json")


def test_large_files_other_encodings_and_pipes_are_refused(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"a: \xff\xfe")
    with pytest.raises(DamagedFile, match="not a text in UTF-8"):
        read_text(path)
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(DamagedFile, match="4 MB, more than the 4 MB"):
        read_text(path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DamagedFile, match="not a regular file"):  # reading it would wait for ever
        read_text(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError):
        read_text(tmp_path / "no")
