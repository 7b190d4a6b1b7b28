"""Settings of the commands ``facekp.data.inspect`` and ``facekp.data.convert``, and the file that both read."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from pydantic import AfterValidator

from facekp.config.catalog import config_folders
from facekp.config.command import CommandSettings, read_settings
from facekp.config.location import CONF_DIR
from facekp.core.errors import UserError
from facekp.core.files import write_text
from facekp.core.keypoints import Keypoints, KeypointsField
from facekp.core.settings import FilePath, NewPath, one_of
from facekp.data.label_file import LabelFile, open_label_file
from facekp.data.labels.scheme_guess import scheme_yaml, shipped_schemes
from facekp.data.writers.base import WRITERS

S = TypeVar("S", bound=CommandSettings)


def _check_format(name: str) -> str:
    if name not in WRITERS:
        raise ValueError(one_of(sorted(WRITERS), name))
    return name


class LabelFileSettings(CommandSettings):
    """Settings of a command that reads a label file.

    Attributes:
        data: settings of the reader; None: the reader that recognises the file, with its defaults.
        keypoints: the landmark scheme; None: a shipped one with the file's points, or a new one.
        images: folder of the photos; None: it is searched beside the file.
        overwrite: write into ``out`` even if it holds files.
    """

    data: dict[str, Any] | None = None
    keypoints: KeypointsField | None = None
    images: FilePath | None
    overwrite: bool


class InspectSettings(LabelFileSettings):
    """Settings of ``facekp.data.inspect``.

    Attributes:
        out: folder for a new scheme; None: it is printed.
    """

    out: NewPath | None


class ConvertSettings(LabelFileSettings):
    """Settings of ``facekp.data.convert``.

    Attributes:
        out: folder for the labels and the scheme.
        format: name of a writer.
    """

    out: NewPath
    format: Annotated[str, AfterValidator(_check_format)]


def read_named(cfg: DictConfig, model: type[S]) -> S:
    """The settings; a chosen reader lacks its file and photos, which are named otherwise.

    Raises:
        UserError: a setting is not valid.
    """
    for key in ("images", "labels"):
        if cfg.get("data") is not None and OmegaConf.is_missing(cfg.data, key):
            cfg.data[key] = None
    return read_settings(cfg, model)


def open_named(settings: LabelFileSettings, names: Sequence[str]) -> LabelFile:
    """The label file that the command line names.

    Raises:
        UserError: none or several are named, or the file can't be read.
    """
    if len(names) != 1:
        raise UserError(f"{len(names)} files are named; name one label file, or one folder of label files")
    named = settings.images or (settings.data or {}).get("images")
    images = Path(named).expanduser() if named else None
    return open_label_file(Path(names[0]).expanduser(), settings.data, images, settings.keypoints)


def folder_of_scheme(settings: LabelFileSettings) -> str | None:
    """The folder of ``--config-dir``, if a scheme is named; None: a new scheme has none yet."""
    folder = config_folders(sys.argv[1:])[0]
    return None if settings.keypoints is None or folder == CONF_DIR else str(folder)


def write_scheme(folder: Path, keypoints: Keypoints) -> Path:
    """Write a scheme where ``--config-dir=folder`` finds it; return the file. A shipped scheme's file is copied."""
    path = folder / "keypoints" / f"{keypoints.name}.yaml"
    shipped = CONF_DIR / "keypoints" / path.name
    is_shipped = keypoints in shipped_schemes()
    write_text(path, shipped.read_text(encoding="utf-8") if is_shipped else scheme_yaml(keypoints))
    return path
