"""Outputs: no command writes over what exists unless it is asked to, and a mistake leaves no folder."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from facekp.core import outputs
from facekp.core.errors import UserError
from facekp.core.outputs import exclusive, output_file, output_folder


def test_a_named_folder_is_made_and_stays_once_something_is_written(tmp_path):
    with output_folder(str(tmp_path / "a" / "b")) as folder:
        (folder / "x").write_text("")
    assert folder == tmp_path / "a" / "b"
    assert [path.name for path in folder.iterdir()] == ["x"]


def test_a_mistake_leaves_no_folder_that_was_made_for_it(tmp_path):
    (tmp_path / "mine").mkdir()
    for out in ("a/b", "mine", "mine/c"):
        with pytest.raises(RuntimeError), output_folder(str(tmp_path / out)):
            raise RuntimeError
    assert [path.name for path in tmp_path.rglob("*")] == ["mine"]


def test_a_folder_that_holds_files_is_refused_unless_they_may_be_overwritten(tmp_path):
    (tmp_path / "theirs.txt").write_text("")
    with pytest.raises(UserError, match=r"holds theirs\.txt already; .*overwrite=true"), output_folder(str(tmp_path)):
        pass
    with output_folder(str(tmp_path), overwrite=True):
        pass
    with output_folder(str(tmp_path), ignored=["theirs.txt"]):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["theirs.txt"]


def test_a_default_folder_is_always_a_new_one(tmp_path):
    names = []
    for _ in range(3):
        with output_folder(None, default=f"{tmp_path}/%%/run") as folder:
            (folder / "x").write_text("")
        names.append(folder.relative_to(tmp_path).as_posix())
    assert names == ["%/run", "%/run-2", "%/run-3"]


def test_two_processes_never_hold_one_folder(tmp_path):
    with output_folder(str(tmp_path / "a")):
        with pytest.raises(UserError, match="another process is writing"), output_folder(str(tmp_path / "a")):
            pass
        with output_folder(None, default=str(tmp_path / "a")) as other:
            assert other.name == "a-2"
        code = "import sys, facekp.core.outputs as o; o.exclusive(o.Path(sys.argv[1]), 'resume').__enter__()"
        done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], capture_output=True, check=False)
        assert b"resume=" in done.stderr
        assert b"another process is writing" in done.stderr
    with exclusive(tmp_path):
        pass


def test_a_file_is_not_replaced_unless_it_may_be(tmp_path):
    taken = tmp_path / "a.csv"
    with output_file(str(taken)) as path:
        path.write_text("")
    assert path == taken
    with pytest.raises(UserError, match=r"^twin=.*a\.csv: exists already; .*overwrite=true"):
        claim(taken, key="twin")
    claim(taken, overwrite=True)
    with output_file(None, default=str(taken)) as path:
        assert path.name == "a-2.csv"
    with pytest.raises(UserError, match="is a folder; name a file"):
        claim(tmp_path, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def claim(path, **given):
    with output_file(str(path), **given):
        pass


def test_two_processes_never_write_one_file(tmp_path):
    with output_file(str(tmp_path / "new" / "a.csv")) as path:
        with pytest.raises(UserError, match=r"a\.csv: another process is writing to it; wait, or choose another name"):
            claim(path, overwrite=True)
        with output_file(None, default=str(path)) as other:
            assert other.name == "a-2.csv"
    assert list(tmp_path.iterdir()) == []  # nothing was written


def test_a_link_and_its_file_are_one_file(tmp_path):
    (tmp_path / "real.csv").write_text("")
    (tmp_path / "link.csv").symlink_to("real.csv")
    with output_file(str(tmp_path / "link.csv"), overwrite=True), pytest.raises(UserError, match="another process"):
        claim(tmp_path / "real.csv", overwrite=True)


def test_a_pipe_or_a_device_is_never_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for out in (tmp_path / "pipe", os.devnull):
        with pytest.raises(UserError, match=f"out={out}: is a pipe or a device"):
            claim(out, overwrite=True)


def test_the_lock_of_a_killed_process_does_not_count_and_fits_any_name(tmp_path):
    with output_file(str(tmp_path / ("x" * 255))):
        (lock,) = tmp_path.iterdir()
        left = lock.name
    (tmp_path / left).write_text("")
    with output_folder(str(tmp_path)):
        pass


def test_a_file_that_another_process_has_just_written_is_kept(tmp_path, monkeypatch):
    """It appears after the first look, and before the lock is held."""
    path = tmp_path / "a.csv"
    acquire = outputs._acquire

    def late(*given):
        path.write_text("theirs")
        return acquire(*given)

    monkeypatch.setattr(outputs, "_acquire", late)
    with pytest.raises(UserError, match="exists already"):
        claim(path)
    assert path.read_text() == "theirs"


def test_what_can_t_be_a_folder_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    for out in ("file", "file/below"):
        with pytest.raises(UserError, match=f"out={tmp_path}/{out}: "), output_folder(str(tmp_path / out)):
            pass


def test_a_link_to_a_folder_that_is_gone_is_named(tmp_path):
    (tmp_path / "disk").symlink_to(tmp_path / "unmounted")
    message = f"{tmp_path}/disk is a link to {tmp_path}/unmounted, which does not exist"
    with pytest.raises(UserError, match=message), output_folder(str(tmp_path / "disk" / "run")):
        pass


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system that makes no folders")
def test_where_no_folder_can_be_made_the_command_ends():
    with pytest.raises(UserError, match="out=/proc/facekp: cannot be written"), output_folder("/proc/facekp"):
        pass


def test_what_a_killed_process_was_writing_does_not_count(tmp_path):
    part = tmp_path / "r" / ".config.yaml.0123456789ab.part"
    part.parent.mkdir()
    part.write_text("")
    with output_folder(str(tmp_path / "r")) as folder:
        assert folder == tmp_path / "r"


def test_a_folder_that_somebody_removed_or_replaced_meanwhile_is_left_alone(tmp_path):
    with output_folder(str(tmp_path / "a")) as folder:
        shutil.rmtree(folder)
    assert not folder.exists()
    with output_folder(str(tmp_path / "a")) as folder:
        folder.rename(tmp_path / "b")
        folder.mkdir()
        (folder / ".lock").write_text("another process")
    assert (folder / ".lock").is_file()


def test_the_message_has_the_key_of_the_folder(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    message = rf"^hydra\.sweep\.dir={tmp_path}: holds notes\.txt already; choose another folder$"
    with pytest.raises(UserError, match=message), output_folder(str(tmp_path), key="hydra.sweep.dir"):
        pass


@pytest.mark.parametrize("name", ["x" * 256, "x" * 256 + "/a"])
def test_a_name_that_is_too_long_is_reported(tmp_path, name):
    with pytest.raises(UserError, match=r"\(File name too long\); choose a shorter name"):
        claim(tmp_path / name)
    with pytest.raises(UserError, match=r"\(File name too long\)"), output_folder(str(tmp_path / name)):
        pass
