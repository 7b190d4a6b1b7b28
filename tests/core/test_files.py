"""Atomic writing: a file has its old or its new content."""

import errno
import json
import os
import resource
import subprocess
import sys
import time

import pandas as pd
import pytest
import torch
import yaml

from facekp.core.errors import CannotWrite, UserError
from facekp.core.files import (
    PART,
    atomic,
    remove_parts,
    write_csv,
    write_json,
    write_tensors,
    write_text,
    write_yaml,
)


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


@pytest.mark.parametrize("stop", [RuntimeError, KeyboardInterrupt])
def test_folders_that_were_made_for_a_file_are_removed_if_it_is_not_written(tmp_path, stop):
    with pytest.raises(stop), atomic(tmp_path / "new" / "deep" / "file.txt"):
        raise stop
    assert list(tmp_path.iterdir()) == []


def test_folders_that_others_made_or_use_stay_if_a_file_is_not_written(tmp_path):
    (tmp_path / "old").mkdir()
    with pytest.raises(RuntimeError), atomic(tmp_path / "old" / "file.txt"):
        raise RuntimeError
    with pytest.raises(CannotWrite), atomic(tmp_path / "used" / "file.txt") as draft:
        draft.with_name("other").mkdir()  # as another process may; then there is no draft to rename
    assert [path.name for path in sorted(tmp_path.rglob("*"))] == ["old", "used", "other"]


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


def test_the_content_is_on_the_disk_before_the_name_and_the_name_before_the_block_ends(tmp_path, monkeypatch):
    done = []
    flush, replace = os.fsync, os.replace

    def flushed(descriptor):
        done.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        flush(descriptor)

    def replaced(source, target):
        done.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "replace", replaced)
    write_text(tmp_path / "a.txt", "x")
    assert len(done) == 3
    assert PART.fullmatch(done[0])
    assert done[1:] == ["rename", tmp_path.name]
    with atomic(tmp_path / "b.txt", durable=False) as draft:
        draft.write_text("x")
    assert done[3:] == ["rename"]


def test_a_file_system_that_can_t_flush_folders_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(errno.EINVAL, "no")))
    write_text(tmp_path / "a.txt", "x")
    assert (tmp_path / "a.txt").read_text() == "x"


FULL = {
    errno.ENOSPC: r"cannot be written \(No space left on device\); make room on the disk, or choose another path",
    errno.EFBIG: r"cannot be written \(File too large\); raise the limit of file sizes \(ulimit -f\)",
    errno.EROFS: r"cannot be written \(Read-only file system\); choose another path",
}


@pytest.mark.parametrize("number", FULL)
def test_a_write_that_fails_keeps_the_old_file_and_names_the_reason(tmp_path, monkeypatch, number):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(CannotWrite, match=FULL[number]):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_was_removed_is_not_made_again(tmp_path):
    run = tmp_path / "run"
    with pytest.raises(CannotWrite, match=rf"x\.csv: cannot be written, as {run} was removed or renamed"):
        write_text(run / "checkpoints" / "x.csv", "", within=run)
    assert not run.exists()
    run.mkdir()
    write_text(run / "checkpoints" / "x.csv", "", within=run)
    assert (run / "checkpoints" / "x.csv").is_file()


def test_a_folder_that_was_replaced_by_a_copy_counts_as_removed(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()

    def write():
        with atomic(folder / "a.csv", within=folder) as part:
            part.write_text("1")
            folder.rename(tmp_path / "elsewhere")
            folder.mkdir()

    with pytest.raises(CannotWrite, match=r"a\.csv: cannot be written, as .*run was removed or renamed meanwhile"):
        write()


def test_names_may_be_as_long_as_the_file_system_allows(tmp_path):
    write_text(tmp_path / ("ü" * 127), "x")  # 254 bytes
    with pytest.raises(CannotWrite, match=r"\(File name too long\); choose a shorter name"):
        write_text(tmp_path / ("x" * 256), "x")
    assert [path.name for path in tmp_path.iterdir()] == ["ü" * 127]


def test_parts_of_killed_processes_are_removed_and_nothing_else(tmp_path):
    kept = ["a.part", ".a.part", ".a.0123456789ab.part.txt", ".lock"]
    for name in (*kept, ".a.ckpt.0123456789ab.part"):
        (tmp_path / name).write_text("")
    remove_parts(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*kept}
    remove_parts(tmp_path / "missing")


def test_tensors_are_read_back_and_a_limit_of_file_sizes_is_named(tmp_path):
    values = {"weights": torch.arange(50_000.0), "epoch": 3}
    path = tmp_path / "a.ckpt"
    write_tensors(path, values)
    read = torch.load(path, weights_only=True)
    assert torch.equal(read["weights"], values["weights"])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(CannotWrite, match=r"a\.ckpt: cannot be written \(File too large\)"):
            write_tensors(path, {**values, "epoch": 4})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert torch.load(path, weights_only=True)["epoch"] == 3
    assert list(tmp_path.iterdir()) == [path]


def test_texts_are_written_in_utf_8_whatever_the_locale(tmp_path):
    program = (
        "from pathlib import Path; from facekp.core.files import write_text; write_text(Path('a.txt'), 'M\\u00fcller')"
    )
    in_c = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=in_c, check=True)
    assert (tmp_path / "a.txt").read_bytes() == "Müller".encode()


def test_a_long_name_may_be_cut_within_a_letter(tmp_path):
    name = "x" + "ü" * 110  # 221 bytes; the 200th is the first half of a letter
    write_text(tmp_path / name, "x")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_parts_are_removed_once_they_are_old_enough(tmp_path):
    young, old = (tmp_path / f".{name}.0123456789ab.part" for name in ("young", "old"))
    for path in (young, old):
        path.write_text("")
    os.utime(old, (time.time() - 100, time.time() - 100))
    remove_parts(tmp_path, older=50)
    assert list(tmp_path.iterdir()) == [young]


def test_what_json_does_not_have_is_null_also_in_a_tuple(tmp_path):
    write_json(tmp_path / "a.json", {"a": (1.5, float("nan")), "b": {"c": float("inf")}})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [1.5, None], "b": {"c": None}}
