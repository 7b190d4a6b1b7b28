"""Settings of the command ``facekp.data.synthetic``; apart from `settings`, because they import Hydra."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator

from facekp.config.command import CommandSettings
from facekp.core.keypoints import KeypointsField
from facekp.core.settings import NewPath, PositiveCount
from facekp.data.synthetic.settings import SyntheticSettings


def _refuse_other_readers(values: Any) -> Any:
    if isinstance(values, dict) and values.get("name") != "synthetic":
        raise ValueError(f"data={values.get('name')} does not draw faces; leave data= out")
    return values


class SyntheticCommandSettings(CommandSettings):
    """Settings of ``facekp.data.synthetic``.

    Attributes:
        out: folder for training.csv, test.csv and IdLookupTable.csv.
        overwrite: write into ``out`` even if it holds files.
        test_rows: images in test.csv.
        data: number of training rows, and the random seed.
        keypoints: the landmark scheme.
    """

    out: NewPath
    overwrite: bool = False
    test_rows: PositiveCount
    data: Annotated[SyntheticSettings, BeforeValidator(_refuse_other_readers)]
    keypoints: KeypointsField
