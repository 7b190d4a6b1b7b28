"""Finds a file of the competition, plain or inside a zip file, and opens it as a stream of bytes."""

from __future__ import annotations

import hashlib
import io
import lzma
import struct
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO
from zipfile import BadZipFile, ZipFile

from facekp.core.errors import UserError
from facekp.core.untrusted import check_regular

DAMAGED = (BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, NotImplementedError, OSError)
MAX_ARCHIVE_BYTES = 2**33  # bytes; the competition's zip file has 0.08 GB
MAX_INNER_FILES = 4  # zip files inside a zip file that are searched; reading in them means decompressing them
BUFFER = 1 << 20  # bytes that are read at once
ARCHIVE = "facial-keypoints-detection.zip"  # the download that holds all files of the competition


class MissingFile(UserError):
    """A file of the competition is neither in the folder nor in a zip file there."""

    def __init__(self, directory: Path, name: str) -> None:
        fault = (
            f"{name} not found, neither plain nor in a zip file"
            if directory.is_dir()
            else f"{name} not found, as there is no such folder"
        )
        below = next(iter(sorted(directory.glob(f"*/{name}"))), None)
        hint = "" if below is None else f"; it is in a folder below: set data.dir={below.parent}"
        super().__init__(f"{directory}: {fault}{hint}")
        self.directory, self.name = directory, name


@dataclass(frozen=True)
class ZipMember:
    """A file in a zip file, or in a zip file within a zip file.

    Attributes:
        archive: the outer zip file.
        members: the names to open one after another; the last one is the file.
    """

    archive: Path
    members: tuple[str, ...]

    def __str__(self) -> str:
        return ":".join((str(self.archive), *self.members))


File = Path | ZipMember


def competition_files(directory: Path) -> list[Path]:
    """The paths in a folder that may hold the competition's files."""
    return [*(directory / name for name in ("training.csv", "test.csv", "IdLookupTable.csv")), *directory.glob("*.zip")]


def find_file(directory: Path, name: str) -> File:
    """Find a file in a folder: plain, in its own zip file, in the competition's, or in any other zip file.

    Raises:
        MissingFile: it is nowhere.
        UserError: it was not found, and a zip file that may hold it can't be read.
    """
    if directory.is_file():
        raise UserError(f"data.dir={directory}: is a file; give the folder that holds it, data.dir={directory.parent}")
    if (directory / name).is_file():
        return directory / name
    broken = None
    likely = (Path(name).stem + ".zip", name + ".zip", ARCHIVE)
    rank = {archive: i for i, archive in enumerate(likely)}
    for archive in sorted(directory.glob("*.zip"), key=lambda path: (rank.get(path.name, len(rank)), path.name)):
        try:
            check_regular(archive, MAX_ARCHIVE_BYTES)
            with ZipFile(archive) as opened:
                members = _find_member(opened, name)
        except (UserError, *DAMAGED, RuntimeError) as error:
            broken = broken or UserError(f"{archive}: can't be read as a zip file ({error}); download it again")
            continue
        if members:
            return ZipMember(archive, members)
    raise broken or MissingFile(directory, name)


def _find_member(archive: ZipFile, name: str, nested: bool = True) -> tuple[str, ...] | None:
    """The names that lead to ``name`` in an archive; archives inside it are searched one level deep."""
    entries = [entry for entry in archive.namelist() if not entry.startswith("__MACOSX/")]
    for entry in entries:
        if PurePosixPath(entry).name == name:
            return (entry,)
    inner_names = (Path(name).stem + ".zip", name + ".zip")
    inner_files = [entry for entry in entries if PurePosixPath(entry).name in inner_names] if nested else []
    for entry in inner_files[:MAX_INNER_FILES]:
        with archive.open(entry) as stream, ZipFile(stream) as inner:
            if members := _find_member(inner, name, nested=False):
                return (entry, *members)
    return None


@contextmanager
def open_file(file: File) -> Iterator[io.BufferedReader]:
    """The file's bytes, buffered.

    Raises:
        UserError: the file is damaged; also where this shows only while reading.
    """
    try:
        with ExitStack() as stack:
            yield io.BufferedReader(_open_raw(file, stack), BUFFER)  # type: ignore[arg-type]
    except DAMAGED as error:
        raise UserError(f"{file}: can't be read ({error}); download it again") from error


def _open_raw(file: File, stack: ExitStack) -> IO[bytes]:
    if isinstance(file, Path):
        return stack.enter_context(file.open("rb", buffering=0))
    stream: IO[bytes] = stack.enter_context(file.archive.open("rb"))
    for member in file.members:
        try:
            stream = stack.enter_context(stack.enter_context(ZipFile(stream)).open(member))
        except RuntimeError as error:  # encrypted, or a compression that Python lacks
            raise UserError(f"{file}: can't be read ({error}); unpack it by hand") from error
    return stream


def content_key(file: File) -> list[str]:
    """What identifies a file's content in a cache key: its name and the SHA-256 of its bytes (of the zip file's)."""
    archive, members = (file.archive, file.members) if isinstance(file, ZipMember) else (file, (file.name,))
    with open_file(archive) as stream:  # SHA-256: 0.14 s for 210 MB; MD5 and BLAKE2b 0.3 s (EPYC with SHA instructions)
        return [*members, hashlib.file_digest(stream.raw, "sha256").hexdigest()]  # type: ignore[arg-type]
