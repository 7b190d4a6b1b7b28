"""``data=sleap``: SLEAP's .slp files, read by sleap-io (``pip install 'facekp[sleap]'``).

Each instance that a person labelled is a face; predicted instances are left out. A frame is a photo of ``images`` if
the project was made of photos. Frames of a video in that folder, and frames in a package (.pkg.slp), are written there,
as ``day1/mouse/frame_000012.png`` for ``day1/mouse.mp4``. Coordinates are as here: (0, 0) is the first pixel's centre.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.core.untrusted import check_regular
from facekp.data.labels.embedded_photos import write_photo
from facekp.data.labels.faults import collect_faces
from facekp.data.labels.photo_names import is_file
from facekp.data.labels.photo_paths import FilesOfAddresses, ends_of, in_folder, normal_path
from facekp.data.labels.point_names import PointLabel, index_by_name, place_points
from facekp.data.readers.base import READERS, LabelledFace, PhotoDataSettings, names_points, recognises

MAX_FILE_BYTES = 2**33  # bytes; a package holds the frames
SAME_FILE = (  # what to do if two paths have one file
    "if they are the same file, give both videos one path in SLEAP, otherwise put the files into subfolders, as in "
    "these paths"
)


class SleapSettings(PhotoDataSettings):
    """``data=sleap``; ``images`` is the folder of the photos or videos, to which frames are written."""


class Entry(NamedTuple):
    """An instance in a frame, and its position for messages."""

    frame: Any
    instance: Any
    where: str


@READERS.register("sleap")
def read_sleap(settings: SleapSettings, keypoints: Keypoints) -> list[LabelledFace]:
    """Read a face from each labelled instance; ``row`` counts them from 1.

    Raises:
        UserError: the first fault of the file, or sleap-io is not installed.
    """
    path = settings.label_file
    folder = Path(settings.images).expanduser()
    labels = _load(path)
    index = index_by_name(_names(labels), keypoints, str(path))
    files = FilesOfAddresses(folder, SAME_FILE)
    frame_folders = _frame_folders(labels, path, folder)

    def parse(numbered: tuple[int, Entry]) -> LabelledFace | None:
        row, (frame, instance, where) = numbered
        points = place_points(_labels(instance, where), index, keypoints)
        if np.isnan(points).all():
            return None
        name = _photo(frame, frame_folders[labels.videos.index(frame.video)], path, files, where)
        track = {} if instance.track is None else {"track": str(instance.track.name)}
        return LabelledFace(name, points, None, 0, row, where, attributes=track)

    return collect_faces(enumerate(_entries(labels, path), start=1), parse, path, settings.skip_broken)


@names_points("sleap")
def point_names(path: Path) -> list[str]:
    """The nodes of the skeleton."""
    return _names(_load(path))


def _load(path: Path) -> Any:
    try:
        import sleap_io
    except ImportError as error:
        raise UserError("data=sleap: needs sleap-io; pip install 'facekp[sleap]'") from error
    try:
        check_regular(path, MAX_FILE_BYTES)
        return sleap_io.load_slp(str(path), open_videos=False)  # the file may name any path or address
    except UserError:
        raise
    except Exception as error:  # whatever the library raises for broken bytes
        reason = " ".join(str(error).split())[:160]
        raise UserError(
            f"data.labels={path}: can't be read as SLEAP's .slp ({reason}); save it in SLEAP again"
        ) from error


def _names(labels: Any) -> list[str]:
    """The nodes of all skeletons; instances of one scheme usually share one."""
    return list(dict.fromkeys(str(name) for skeleton in labels.skeletons for name in skeleton.node_names))


def _entries(labels: Any, path: Path) -> Iterator[Entry]:
    for frame in labels:
        for number, instance in enumerate(frame.user_instances, start=1):
            video = labels.videos.index(frame.video) + 1
            yield Entry(frame, instance, f"{path}: video {video}, frame {frame.frame_idx}, instance {number}")


def _labels(instance: Any, where: str) -> Iterator[PointLabel]:
    for name, (x, y) in zip(instance.skeleton.node_names, instance.numpy(), strict=True):
        if not np.isnan([x, y]).any():
            yield PointLabel(str(name), float(x), float(y), where)


def _frame_folders(labels: Any, path: Path, folder: Path) -> list[str]:
    """For each video the folder of its frames, relative to ``folder``; different videos have different ones.

    Of a video that is not there, it is the one to which frames were written before.
    """
    owners: dict[str, str] = {}  # name of a folder: the address of the video
    names = []
    for number, video in enumerate(labels.videos, start=1):
        if isinstance(video.filename, list):  # photos
            names.append("")
            continue
        address = normal_path(str(video.filename))
        if Path(str(video.filename)) == path:
            address, stem = f"video {number}", path.name.removesuffix(".slp").removesuffix(".pkg")
        else:
            file = in_folder(address, folder)
            stem = _without_ending(file)
            if not is_file(folder, file):
                ends = (end for end in map(_without_ending, ends_of(address)) if end and os.path.isdir(folder / end))
                stem = next(ends, stem)
        name, suffix = stem, number
        while owners.setdefault(name, address) != address:
            name, suffix = f"{stem}_{suffix}", suffix + 1
        names.append(name)
    return names


def _without_ending(name: str) -> str:
    return str(PurePosixPath(name).with_suffix("")) if name else "video"


def _photo(frame: Any, frames: str, path: Path, files: FilesOfAddresses, where: str) -> str:
    """The photo of a frame, relative to the folder, in which it is written unless it is there.

    Args:
        frame: of the labels.
        frames: folder for the frames of its video.
        path: of the label file.
        files: the photos and videos.
        where: the instance, for messages.

    Raises:
        UserError: neither the photo nor its video is in the folder, or it is the file of another address, too.
    """
    video, number = frame.video, int(frame.frame_idx)
    if isinstance(video.filename, list):  # photos
        if not 0 <= number < len(video.filename):
            raise UserError(f"{where}: the video has {len(video.filename)} photos; correct it in SLEAP")
        return files.find(str(video.filename[number]), where)
    is_package = Path(video.filename) == path
    source = path if is_package else files.folder / files.find(str(video.filename), where)
    name = f"{frames}/frame_{number:06d}.png"
    write_photo(files.folder / name, source, lambda: _pixels(video, number, None if is_package else source, where))
    return name


def _pixels(video: Any, number: int, file: Path | None, where: str) -> np.ndarray:
    """A frame of a video's file, or, if ``file`` is None, of the package."""
    import sleap_io

    try:
        if file is None:
            video.open()
            return np.asarray(video[number])
        if not file.is_file():
            raise UserError(f"{where}: {file} does not exist; give the folder of the videos as data.images")
        return np.asarray(sleap_io.load_video(str(file))[number])
    except UserError:
        raise
    except Exception as error:  # whatever a decoder raises
        raise UserError(f"{where}: the frame can't be read ({' '.join(str(error).split())[:160]})") from error


@recognises("sleap")
def is_sleap(path: Path, text: str) -> bool:
    """Whether the file's name ends as SLEAP's."""
    return path.suffix == ".slp"
