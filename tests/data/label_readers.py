"""Reads label files with any reader, without composing a whole config for each, which takes most of a test's time."""

from __future__ import annotations

import yaml

from facekp.core.keypoints import Keypoints
from facekp.data.label_file import defaults_of
from facekp.data.labels.scheme_guess import shipped_schemes
from facekp.data.readers.base import READERS
from facekp.data.readers.read import read_table
from facekp.data.table import FaceTable
from tests.drawn_photos import five


def shipped(name: str) -> Keypoints:
    """A scheme of facekp."""
    return next(scheme for scheme in shipped_schemes() if scheme.name == name)


def read_labels(reader: str, *overrides: str, scheme: Keypoints | None = None) -> FaceTable:
    """The table of ``data=reader``, without a cache; overrides are ``data.KEY=VALUE``, the default scheme is `five`."""
    given = dict(text.removeprefix("data.").split("=", 1) for text in overrides)
    values = {key: yaml.safe_load(value) for key, value in given.items()}
    return read_table(READERS.parse({**defaults_of(reader), "cache": None, **values}), scheme or five())
