"""Images that are appended part by part; many of them lie in a temporary file, so that memory stays bounded."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO

import numpy as np

from facekp.core.files import cannot_write

IN_MEMORY = 1 << 28  # bytes of images; more are written to a file


class GrowingImages:
    """Collects images of one size.

    Args:
        folder: for the temporary file, which the system removes with the last reference to the images; created if
            missing. None, or a folder that can't be written: the system's folder for temporary files.

    Example:
        >>> images = GrowingImages()
        >>> images.append(np.zeros((2, 96, 96), np.uint8))
        >>> images.append(np.ones((1, 96, 96), np.uint8))
        >>> images.finish().shape
        (3, 96, 96)
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._file: IO[bytes] | None = None
        self._parts: list[np.ndarray] = []
        self._bytes = 0

    def append(self, images: np.ndarray) -> None:
        """Add uint8 (n, H, W) or (n, H, W, 3).

        Raises:
            CannotWrite: the disk is full.
        """
        self._parts.append(images)
        self._bytes += images.nbytes
        if self._bytes > IN_MEMORY:
            self._write_parts()

    def finish(self) -> np.ndarray:
        """All images, uint8 (N, H, W) or (N, H, W, 3); memory-mapped where they lie in a file."""
        if self._file is None:
            return np.concatenate(self._parts)
        size = self._parts[0].shape[1:]
        self._file.flush()
        return np.memmap(self._file, np.uint8, mode="r").reshape(-1, *size)

    def _write_parts(self) -> None:
        self._file = self._file or self._temporary_file()
        try:
            for images in self._parts:
                self._file.write(np.ascontiguousarray(images).data)
        except OSError as error:
            raise cannot_write(Path(str(self._folder or tempfile.gettempdir())), error) from error
        self._parts = [images[:0]]  # no images, but their shape for `finish`

    def _temporary_file(self) -> IO[bytes]:
        if self._folder is not None:
            with suppress(OSError):
                self._folder.mkdir(parents=True, exist_ok=True)
                return tempfile.TemporaryFile(dir=self._folder)
        return tempfile.TemporaryFile()
