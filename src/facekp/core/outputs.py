"""Where a command may write: nothing that exists is replaced or mixed with new files, unless ``overwrite=true``.

- A folder named by ``out=`` is made, or must be empty. A default folder is new: its name gets a suffix if it exists.
- A file named by ``out=`` must not exist. A default file gets a suffix: ``submission-2.csv``.
- ``overwrite=true`` replaces files of the same name. Other files stay as they are.
- A mistake leaves no folder behind.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from facekp.core.errors import UserError
from facekp.core.files import PART, cannot_write

LOCK = ".lock"  # in a folder, while a command writes it


@contextmanager
def output_folder(
    out: str | None, default: str = "", overwrite: bool = False, ignored: Collection[str] = (), key: str = "out"
) -> Iterator[Path]:
    """Claim a folder for this process, and keep others out until the block ends.

    Args:
        out: the folder that the user named; None: a new one.
        default: name of the new one, with the codes of `time.strftime`.
        overwrite: write into a folder that holds files, too.
        ignored: names of files that may be in the folder anyway.
        key: that names the folder, for the message.

    Yields:
        the folder. It is removed again if the block raises before anything was written.

    Raises:
        UserError: the folder holds files, can't be made, or another process is writing to it.
    """
    folder, made = _make(Path(out), key) if out is not None else _make_new(Path(time.strftime(default)), key)
    try:
        with exclusive(folder, key):
            if not overwrite:
                _check_empty(folder, {*ignored, LOCK}, key)
            yield folder
    finally:
        with suppress(OSError):  # not empty, or already removed by another process
            for path in made:
                path.rmdir()


@contextmanager
def exclusive(folder: Path, key: str = "out") -> Iterator[None]:
    """Hold a folder's lock, which the operating system releases if the process is killed.

    Args:
        folder: must exist.
        key: that names it, for the message.

    Raises:
        UserError: another process holds the lock.
    """
    lock = _acquire(folder, key)
    before = os.stat(folder)
    try:
        yield
    finally:
        with suppress(OSError):
            if os.path.samestat(before, os.stat(folder)):  # else another process may hold a new folder of the name
                (folder / LOCK).unlink(missing_ok=True)
        lock.release()


def _acquire(folder: Path, key: str) -> FileLock:
    """The folder's lock, which is held; errors as `exclusive`."""
    while True:
        lock = FileLock(folder / LOCK)
        try:
            lock.acquire(blocking=False)
        except Timeout as error:
            message = f"{key}={folder}: another process is writing to it; wait, or choose another folder"
            raise UserError(message) from error
        except OSError as error:
            raise cannot_write(Path(f"{key}={folder}"), error) from error
        if (folder / LOCK).exists():
            return lock
        lock.release()  # of a file that the process before has just removed


def output_file(out: str | None, default: str = "", overwrite: bool = False, key: str = "out") -> Path:
    """The file that a command may write.

    Args:
        out: the file that the user named; None: a new one.
        default: name of the new one.
        overwrite: replace a file that exists.
        key: that names it, for the message.

    Raises:
        UserError: the file exists, or is a folder.
    """
    if out is None:
        return next(path for path in _numbered(Path(default)) if not path.exists())
    path = Path(out)
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:  # a name that is too long
        raise cannot_write(Path(f"{key}={path}"), error) from error
    if path.is_dir():
        raise UserError(f"{key}={path}: is a folder; name a file in it")
    if path.exists() and not overwrite:
        raise UserError(f"{key}={path}: exists already; choose another name, or add overwrite=true to replace it")
    return path


def _numbered(path: Path) -> Iterator[Path]:
    """The path itself, then with the suffixes -2, -3 and so on before the ending."""
    yield path
    yield from (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in itertools.count(2))


def _make_new(default: Path, key: str) -> tuple[Path, list[Path]]:
    """Make a folder that did not exist; as `_make`."""
    for folder in _numbered(default):
        _, made = _make(folder, key)
        if made:
            return folder, made
    raise AssertionError("there is always a next number")


def _make(folder: Path, key: str) -> tuple[Path, list[Path]]:
    """Make a folder and its parents.

    Returns:
        the folder; the folders that this call made, innermost first: none if the folder exists already.
    """
    try:
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        for path in reversed(missing[1:]):
            path.mkdir(exist_ok=True)
        folder.mkdir()  # of two processes that start together one makes it
        return folder, missing
    except FileExistsError:
        if folder.is_dir():
            return folder, []
        raise UserError(f"{key}={folder}: is a file; name a folder") from None
    except FileNotFoundError:  # a process that failed has just removed a parent that it had made
        return _make(folder, key)
    except OSError as error:
        raise cannot_write(Path(f"{key}={folder}"), error) from error


def _check_empty(folder: Path, ignored: Collection[str], key: str) -> None:
    """
    Raises:
        UserError: the folder holds files; those that a killed process was writing do not count.
    """
    names = (path.name for path in folder.iterdir())
    held = sorted(name for name in names if name not in ignored and not PART.fullmatch(name))
    if held:
        advice = ", or add overwrite=true to write into it" if key == "out" else ""
        raise UserError(f"{key}={folder}: holds {held[0]} already; choose another folder{advice}")
