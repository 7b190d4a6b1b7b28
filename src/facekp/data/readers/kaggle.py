"""``data=kaggle``: the competition's folder, which can be downloaded first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pandas as pd

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.core.settings import FilePath
from facekp.data.competition import MissingFile, read_test_csv, read_training_csv
from facekp.data.readers.base import READERS
from facekp.data.settings import GreyDataSettings
from facekp.data.table import FaceTable

T = TypeVar("T")
COMPETITION = "facial-keypoints-detection"


class KaggleSettings(GreyDataSettings):
    """``data=kaggle``.

    Attributes:
        dir: folder that holds the competition's files.
        cache: folder of the parsed tables; None: no cache.
        download: download missing files with the kaggle package.
    """

    dir: FilePath
    cache: FilePath | None
    download: bool


@READERS.register("kaggle")
def read_kaggle(settings: KaggleSettings, keypoints: Keypoints) -> FaceTable:
    """Read training.csv.

    Raises:
        UserError: it is missing or not valid, or the download failed.
    """
    folder, cache = Path(settings.dir), settings.cache_folder
    rows = settings.rows if settings.rows_from == "first" else None
    return _with_download(settings, lambda: read_training_csv(folder, keypoints, cache, rows))


def read_test_files(settings: KaggleSettings, keypoints: Keypoints) -> tuple[FaceTable, pd.DataFrame]:
    """Read test.csv and IdLookupTable.csv (`facekp.data.competition.read_test_csv`).

    Raises:
        UserError: one is missing or not valid, or the download failed.
    """
    return _with_download(settings, lambda: read_test_csv(Path(settings.dir), keypoints, settings.cache_folder))


def _with_download(settings: KaggleSettings, read: Callable[[], T]) -> T:
    """What ``read`` returns; missing files are downloaded first where ``download`` is set."""
    try:
        return read()
    except MissingFile as error:
        if not settings.download:
            raise UserError(f"{error}. {_hint(error.name)}") from error
    _download(settings.dir)
    return read()


def _hint(name: str) -> str:
    """What to do where a file is missing."""
    ways = [
        "download the competition's files to that folder, by hand or with data.download=true (needs the kaggle package "
        "and its credentials)",
        "set FACEKP_DATA=DIR or data.dir=DIR",
    ]
    if name == "training.csv":
        ways.append("use drawn faces with data=synthetic")
        return "Do one of these: " + "; ".join(f"({i}) {way}" for i, way in enumerate(ways, start=1))
    files = "test.csv and IdLookupTable.csv"
    return f"A submission needs {files} of the competition: " + ", or ".join(ways)


def _download(folder: str) -> None:
    try:
        from kaggle import api

        api.authenticate()
        api.competition_download_files(COMPETITION, path=folder)
    except (Exception, SystemExit) as error:  # the package exits the process where credentials are missing
        raise UserError(
            f"data.download=true: {type(error).__name__}: {error}. It needs pip install 'facekp[kaggle]', credentials "
            f"(KAGGLE_API_TOKEN or ~/.kaggle) and the competition's rules accepted on its page"
        ) from error
