"""The former place of `read_table`, for scripts that were written for 0.1: it took plain settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from facekp.config.migration import migrate
from facekp.core.keypoints import Keypoints
from facekp.data.readers import read
from facekp.data.readers.base import READERS
from facekp.data.table import FaceTable

UNUSED = {"folds": 5, "fold": 0, "split_seed": 0, "batch_size": 32}  # say nothing about a table


def read_table(settings: Mapping[str, Any], keypoints: Keypoints) -> FaceTable:
    """Read the labelled rows of ``data=NAME``.

    Args:
        settings: the keys of ``data`` as plain values; those that 0.1 did not need may be left out.
        keypoints: the landmark scheme of the rows.

    Raises:
        UserError: as `facekp.data.readers.read.read_table`.
    """
    return read.read_table(READERS.parse(migrate({"data": {**UNUSED, **settings}})["data"]), keypoints)
