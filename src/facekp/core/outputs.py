"""Where a command may write: nothing that exists is replaced or mixed with new files, unless ``overwrite=true``.

- A folder named by ``out=`` is made, or must be empty. A default folder is new: its name gets a suffix if it exists.
- A file named by ``out=`` must not exist, and no other command may be writing it. A default file gets a suffix:
  ``submission-2.csv``.
- ``overwrite=true`` replaces files of the same name. Other files stay as they are.
- A mistake leaves no folder behind.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from facekp.core.errors import UserError
from facekp.core.files import PART, cannot_write, missing_folders

LOCK = ".lock"  # in a folder, while a command writes it
FILE_LOCK = re.compile(r"\.[0-9a-f]{12}\.lock")  # beside a file, while a command writes it


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
        _remove_empty(made)


@contextmanager
def exclusive(path: Path, key: str = "out") -> Iterator[None]:
    """Hold the lock of a folder or file, which the operating system releases if the process is killed.

    Args:
        path: a folder, which must exist, or a file in a folder that exists.
        key: that names it, for the message.

    Raises:
        UserError: another process holds the lock.
    """
    lock = _acquire(path, key)
    file = Path(lock.lock_file)
    before = os.stat(file.parent)
    try:
        yield
    finally:
        with suppress(OSError):
            if os.path.samestat(before, os.stat(file.parent)):  # else another process may hold a new folder of the name
                file.unlink(missing_ok=True)
        lock.release()


def _acquire(path: Path, key: str) -> FileLock:
    """The lock, which is held; errors as `exclusive`."""
    file = path / LOCK if path.is_dir() else _lock_of(path)
    while True:
        lock = FileLock(file)
        try:
            lock.acquire(blocking=False)
        except Timeout as error:
            kind = "folder" if path.is_dir() else "name"
            message = f"{key}={path}: another process is writing to it; wait, or choose another {kind}"
            raise UserError(message) from error
        except OSError as error:
            raise cannot_write(Path(f"{key}={path}"), error) from error
        if file.exists():
            return lock
        lock.release()  # of a file that the process before has just removed


def _lock_of(file: Path) -> Path:
    """The lock of a file: beside the file itself where the path is a link, and with a name that is not too long."""
    file = file.resolve()
    digest = hashlib.blake2b(os.fsencode(file.name), digest_size=6).hexdigest()
    return file.with_name(f".{digest}{LOCK}")


@contextmanager
def output_file(
    out: str | None, default: str = "", overwrite: bool = False, key: str = "out", inputs: Collection[str | Path] = ()
) -> Iterator[Path]:
    """Claim a file for this process, and keep others from writing it until the block ends.

    Args:
        out: the file that the user named; None: a new one.
        default: name of the new one.
        overwrite: replace a file that exists.
        key: that names it, for the message.
        inputs: files that the command reads, which are never replaced.

    Yields:
        the file. Folders that were made for it are removed again if nothing is written to them.

    Raises:
        UserError: the file exists, is no regular file or is an input, or another process is writing to it.
    """
    if out is None:
        with _new_file(Path(default), key) as path:
            yield path
        return
    path = Path(out)
    if os.path.realpath(path) in map(os.path.realpath, inputs):
        raise UserError(f"{key}={path}: is an input of the command; choose another name")
    _check_replaceable(path, overwrite, key)
    _, made = _make(path.parent, key)
    try:
        with exclusive(path, key):
            _check_replaceable(path, overwrite, key)  # again, as a process that has just ended may have written it
            yield path
    finally:
        _remove_empty(made)


@contextmanager
def _new_file(default: Path, key: str) -> Iterator[Path]:
    """Claim the first of the numbered names that neither exists nor is claimed by another process."""
    for path in _numbered(default):
        with ExitStack() as claim:
            try:
                claim.enter_context(exclusive(path, key))
            except UserError as error:
                if not isinstance(error.__cause__, Timeout):
                    raise
                continue
            if not path.exists():
                yield path
                return


def _check_replaceable(path: Path, overwrite: bool, key: str) -> None:
    """Refuse a path that can't be written to.

    Raises:
        UserError: the path is a folder, pipe or device, can't be a file's, or is a file that may not be replaced.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:  # a name that is too long
        raise cannot_write(Path(f"{key}={path}"), error) from error
    if path.is_dir():
        raise UserError(f"{key}={path}: is a folder; name a file in it")
    if path.exists() and not path.is_file():  # it would be replaced, for all programs of the machine
        raise UserError(f"{key}={path}: is a pipe or a device, such as /dev/null; name a file")
    if path.exists() and not overwrite:
        raise UserError(f"{key}={path}: exists already; choose another name, or add overwrite=true to replace it")


def _remove_empty(folders: Sequence[Path]) -> None:
    """Remove folders, innermost first, up to one that is not empty."""
    with suppress(OSError):  # not empty, or already removed by another process
        for path in folders:
            path.rmdir()


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


def _make(folder: Path, key: str, tries: int = 20) -> tuple[Path, list[Path]]:
    """Make a folder and its parents.

    Returns:
        the folder; the folders that this call made, innermost first: none if the folder exists already.
    """
    try:
        missing = missing_folders(folder)
        for path in reversed(missing[1:]):
            path.mkdir(exist_ok=True)
        folder.mkdir()  # of two processes that start together one makes it
        return folder, missing
    except FileExistsError:
        if folder.is_dir():
            return folder, []
        for link in (folder, *folder.parents):
            if link.is_symlink() and not link.exists():
                raise UserError(
                    f"{key}={folder}: {link} is a link to {os.readlink(link)}, which does not exist; make that "
                    "folder, or choose another path"
                ) from None
        raise UserError(f"{key}={folder}: is a file; name a folder") from None
    except FileNotFoundError as error:  # a process that failed has just removed a parent that it had made
        if tries == 0:  # or nothing can be made there, as in /proc
            raise cannot_write(Path(f"{key}={folder}"), error) from error
        return _make(folder, key, tries - 1)
    except OSError as error:
        raise cannot_write(Path(f"{key}={folder}"), error) from error


def _is_left(name: str) -> bool:
    """Whether a file is one that a killed process was writing, or its lock."""
    return PART.fullmatch(name) is not None or FILE_LOCK.fullmatch(name) is not None


def _check_empty(folder: Path, ignored: Collection[str], key: str) -> None:
    """Refuse a folder that holds other files than ``ignored``.

    Raises:
        UserError: the folder holds files; those that a killed process was writing do not count.
    """
    names = (path.name for path in folder.iterdir())
    held = sorted(name for name in names if name not in ignored and not _is_left(name))
    if held:
        advice = ", or add overwrite=true to write into it" if key == "out" else ""
        raise UserError(f"{key}={folder}: holds {held[0]} already; choose another folder{advice}")
