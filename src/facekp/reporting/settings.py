"""Settings of the command ``facekp.report``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from facekp.config.command import CommandSettings
from facekp.core.keypoints import KeypointsField
from facekp.core.settings import NewPath
from facekp.data.readers.base import READERS, DataSettings


class ReportSettings(CommandSettings):
    """Settings of ``facekp.report``.

    Attributes:
        what: ``runs`` compares runs, ``data`` shows the labels of a dataset.
        out: the page, an HTML file.
        overwrite: replace ``out`` even if it is no report.
        faces: worst faces, and best faces, of each run; pictures of duplicates and of suspicious labels; 0: no faces.
        resamples: of the images, in the bootstrap that tests whether two runs differ.
        data: the dataset of ``what=data``. The faces of a run are read as its config.yaml says.
        keypoints: landmark scheme of ``data``.
    """

    what: Literal["runs", "data"]
    out: NewPath
    overwrite: bool = False
    faces: Annotated[int, Field(ge=0, le=100)]
    resamples: Annotated[int, Field(ge=100)]
    data: Annotated[DataSettings, READERS.validator]
    keypoints: KeypointsField
