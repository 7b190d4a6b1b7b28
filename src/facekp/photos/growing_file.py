"""A text file that grows by whole entries and can be closed after a failed write, for example on a full disk."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType


class GrowingFile:
    """A context manager that writes entries, and ends the file after the last one that was kept.

    The characters that end the file are written with every entry, and the next entry replaces them. So the file can
    still be ended when there is no room left.

    Args:
        path: the file to write.
        start: text before the first entry.
        end: text after the last entry.

    Attributes:
        length: bytes without the end. Setting it to an earlier value drops the entries after it.

    Raises:
        OSError: the file can't be written.
    """

    def __init__(self, path: Path, start: str = "", end: str = "") -> None:
        self.end = _encoded(end)
        self.length = 0
        self._file = path.open("wb", buffering=0)
        self.append(start)

    def __enter__(self) -> GrowingFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            self._write(self.end)
            self._file.truncate()

    def append(self, text: str) -> None:
        """Write an entry at the end of the file.

        Raises:
            OSError: it can't be written; the file is as before.
        """
        entry = _encoded(text)
        self._write(entry + self.end)
        self.length += len(entry)

    def _write(self, content: bytes) -> None:
        self._file.seek(self.length)
        rest = memoryview(content)
        while rest:  # the system may take a part only
            rest = rest[self._file.write(rest) :]


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", errors="surrogateescape")
