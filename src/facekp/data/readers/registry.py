"""The old import path of `facekp.data.readers.read`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from facekp.core.keypoints import Keypoints
from facekp.data.readers import read
from facekp.data.readers.base import READERS
from facekp.data.table import FaceTable


def _typed(settings: Any) -> Any:
    return READERS.parse(settings, "data") if isinstance(settings, Mapping) else settings


def read_table(settings: Any, keypoints: Keypoints) -> FaceTable:
    return read.read_table(_typed(settings), keypoints)


def read_test(settings: Any, keypoints: Keypoints) -> tuple[FaceTable, pd.DataFrame]:
    return read.read_test(_typed(settings), keypoints)
