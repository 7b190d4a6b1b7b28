"""The exceptions for mistakes of users: invalid data, unknown keys or choices, missing files, a full disk.

Commands print them as one line on stderr and exit with code 2 (see `facekp.config.command`).
"""

from __future__ import annotations


class UserError(ValueError):
    """A mistake in what the user gave.

    The message is one line. It says what is wrong and where (file, row, column or key), shows the value, and says how
    to fix it.
    """


class CannotWrite(UserError):
    """A file can't be written: the disk is full, the folder is read-only or was removed, a limit is reached."""


def first_line(error: BaseException) -> str:
    r"""The first line of an error's message; its type if the message is empty.

    Example:
        >>> first_line(ValueError("broken\nhere")), first_line(ValueError())
        ('broken', 'ValueError')
    """
    return (str(error).strip() or type(error).__name__).splitlines()[0]
