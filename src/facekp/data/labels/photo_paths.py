"""Finds files by paths and addresses that another computer wrote: their longest ends that are files in a folder."""

from __future__ import annotations

import os
import posixpath
from pathlib import Path, PurePosixPath

from facekp.core.errors import UserError
from facekp.data.labels.photo_names import InFolder, is_file

MAX_PARTS = 50  # of a path, from its end, that are searched; all ends of a path of 100,000 would fill the memory


def ends_of(address: str) -> list[str]:
    r"""The ends of a path of any system, the longest first. None leads out of a folder.

    Example:
        >>> ends_of("..\\photos\\a.jpg"), ends_of("/d/a.jpg")
        (['photos/a.jpg', 'a.jpg'], ['d/a.jpg', 'a.jpg'])
    """
    parts = [part for part in PurePosixPath(normal_path(address)).parts if part.strip("/") and part != ".."]
    parts = parts[-MAX_PARTS:]
    return ["/".join(parts[start:]) for start in range(len(parts))]


def normal_path(address: str) -> str:
    r"""One spelling of a path of any system.

    Example:
        >>> normal_path("C:\\d\\v.mp4"), normal_path("./v.mp4")
        ('C:/d/v.mp4', 'v.mp4')
    """
    return posixpath.normpath(address.replace("\\", "/")) if address else ""


def path_of_url(address: str) -> str:
    """The path in a URL, without host and query; another address without its query.

    Example:
        >>> path_of_url("https://x.org/p/a.jpg?v=1")
        'p/a.jpg'
    """
    address = address.partition("?")[0]
    return address.partition("://")[2].partition("/")[2] or address


def in_folder(address: str, folder: Path) -> str:
    """The longest end of a path that is a file in a folder; the file's name if none is."""
    ends = ends_of(address)
    return next((end for end in ends if is_file(folder, end)), (ends or [""])[-1])


class PhotoPaths:
    """Finds the photos that paths in label files name, also where photos and label files were moved.

    Args:
        folder: of the photos.
        anywhere: whether photos may be outside the folder.
    """

    def __init__(self, folder: Path, anywhere: bool) -> None:
        self.folder, self.anywhere, self.inside = folder, anywhere, InFolder(folder)
        self.files = FilesOfAddresses(folder, "use subfolders in data.images, as in these paths")

    def find(self, path: str, base: Path, where: str) -> str:
        """The name of a photo, relative to the folder: the path itself, or its longest end that is a file there.

        Args:
            path: of any system.
            base: folder that it is relative to.
            where: position of the path, for messages.

        Raises:
            UserError: another path has the same photo.
        """
        full = os.path.abspath(os.path.join(base, path.replace("\\", "/")))
        if self.anywhere and os.path.isfile(full):
            return full
        name = self.inside.relative(full)
        found = self.files.find(full if name is None or not is_file(self.folder, name) else name, where)
        return found if name is None or is_file(self.folder, found) else name


class FilesOfAddresses:
    """Finds the files in a folder that paths of another computer name, as by `in_folder`.

    Args:
        folder: of the files.
        fix: what to do if two paths have one file, for the message.
    """

    def __init__(self, folder: Path, fix: str) -> None:
        self.folder, self.fix = folder, fix
        self.addresses: dict[str, str] = {}  # by the file's name

    def find(self, address: str, where: str) -> str:
        """The name of a file, relative to the folder.

        Args:
            address: its path.
            where: position of the path, for the message.

        Raises:
            UserError: another path has the same file.
        """
        name = in_folder(address, self.folder)
        first = self.addresses.setdefault(name, address)
        if normal_path(first) != normal_path(address) and is_file(self.folder, name):
            raise UserError(f"{where}: {address} and {first} are both {name} in {self.folder}; {self.fix}")
        return name
