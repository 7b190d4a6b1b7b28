"""Which files the arguments of `facekp predict` mean: files, folders, patterns, the webcam."""

from __future__ import annotations

import glob
import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from facekp.core.console import count
from facekp.core.errors import UserError
from facekp.data.images import photo_endings

log = logging.getLogger(__name__)

WEBCAM = "webcam"

VIDEOS = {".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"}  # endings searched for in folders

POINTS, PICTURES = "points.json", "pictures"  # mark an output folder, whose pictures are not read again

NO_ENDING = "no ending"


def list_files(arguments: Sequence[str], exclude: Path | None = None) -> list[str]:
    """The files that command-line arguments mean, each once, in the order of the arguments.

    In folders, photos and videos are searched recursively by their endings; links are followed, but not in circles, and
    count even if they are broken. Files with other endings are passed over, and the log says how many. Hidden files
    (``.name``) and pictures in output folders are passed over silently.

    Args:
        arguments: each is a file; a folder; a pattern (``*``, ``?``, ``[a-z]``, ``**``), unless a file has this very
            name; or ``webcam``.
        exclude: a folder to skip, such as the output folder.

    Raises:
        UserError: there are no arguments, or one matches no file.
    """
    if not arguments:
        raise UserError("no photo given; name files, folders, patterns or webcam, e.g. facekp predict photo.jpg")
    others: Counter[str] = Counter()
    files: dict[str, str] = {}  # by the real path
    for argument in arguments:
        for name in _matches(argument, exclude, others):
            files.setdefault(WEBCAM if name == WEBCAM else os.path.realpath(name), name)
    if others:
        log.info("%s passed over in folders: %s", count(others.total(), "file"), _listed(others))
    return list(files.values())


def _matches(argument: str, exclude: Path | None, others: Counter[str]) -> list[str]:
    """The files that one argument means; the endings of those passed over are added to ``others``."""
    if argument == WEBCAM or os.path.isfile(argument):
        return [argument]
    if os.path.isdir(argument):
        passed_over: Counter[str] = Counter()
        files = _files_in(argument, exclude, passed_over)
        if not files:
            seen = f" (only {_listed(passed_over)})" if passed_over else ""
            raise UserError(f"{argument}: no photo or video in this folder or its subfolders{seen}; name another one")
        others.update(passed_over)
        return files
    matches = sorted(glob.glob(argument, recursive=True))
    if not matches:
        raise UserError(f"{argument}: no such file or folder, and as a pattern it matches no file; correct the path")
    folders = [match for match in matches if os.path.isdir(match)]
    inside = [name for folder in folders for name in _files_in(folder, exclude, others)]
    return list(dict.fromkeys([match for match in matches if match not in folders] + inside))


def _files_in(folder: str, exclude: Path | None, others: Counter[str]) -> list[str]:
    """Photos and videos in a folder and its subfolders, sorted."""
    endings, files = VIDEOS | photo_endings(), []
    for path in _walk(Path(folder), exclude):
        ending = path.suffix.lower()
        if ending in endings:
            files.append(path)
        else:
            others[ending or NO_ENDING] += 1
    return [str(path) for path in sorted(files)]


def _walk(folder: Path, exclude: Path | None) -> Iterator[Path]:
    """The files in a folder and its subfolders, without hidden ones and without output folders' pictures."""
    excluded = exclude.resolve() if exclude else None
    seen: set[str] = set()  # a link may lead back to a folder above it
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=_warn_of_folder):
        here, real = Path(parent), os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".")
            and (here / name).resolve() != excluded
            and not (name == PICTURES and POINTS in names)
        ]
        paths = (here / name for name in names if not name.startswith("."))
        yield from (path for path in paths if path.is_file() or not path.exists())  # a broken link fails when read


def _warn_of_folder(error: OSError) -> None:
    log.warning("%s: can't be searched (%s)", error.filename, error.strerror or error)


def _listed(endings: Counter[str]) -> str:
    """Endings with their numbers, the most frequent first."""
    ordered = sorted(endings.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{number} {ending}" for ending, number in ordered)
