"""Settings of ``data=``, as a command line composes them."""

from __future__ import annotations

from typing import Any

from facekp.data.readers.base import READERS
from tests.conftest import config_of


def data_settings(*overrides: str) -> Any:
    """The typed settings of the reader that the overrides choose."""
    return READERS.parse(config_of(*overrides)["data"])
