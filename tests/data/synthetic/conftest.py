"""What the tests of drawn faces share."""

import pytest

from facekp.core.keypoints import Keypoints
from facekp.data.synthetic import faces
from facekp.data.synthetic.faces import draw_faces
from facekp.data.table import FaceTable
from tests import kept_faces


@pytest.fixture(autouse=True)
def draw_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here each face is drawn anew."""
    monkeypatch.setattr(faces, "_photograph", kept_faces.draw)


@pytest.fixture(scope="session")
def keypoints(scheme: Keypoints) -> Keypoints:
    return scheme


@pytest.fixture(scope="session")
def drawn(keypoints: Keypoints) -> FaceTable:
    return draw_faces(1500, 7, keypoints)
