"""The one exception a user can cause: bad data, an unknown key or choice, a missing file.

Entry points turn it into a single line on stderr and exit code 2 (see `facekp.config.command`).
"""

from __future__ import annotations


class UserError(ValueError):
    """A mistake in what the user gave. The message names file, place, value and the way out, in one line."""
