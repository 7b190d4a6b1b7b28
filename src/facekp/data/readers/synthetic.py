"""``data=synthetic``: faces drawn on the fly (`facekp.data.synthetic`)."""

from __future__ import annotations

from facekp.core.keypoints import Keypoints
from facekp.data.readers.base import READERS
from facekp.data.synthetic.faces import draw_faces
from facekp.data.synthetic.settings import SyntheticSettings
from facekp.data.table import FaceTable


@READERS.register("synthetic")
def read_synthetic(settings: SyntheticSettings, keypoints: Keypoints) -> FaceTable:
    """Draw faces and label them like the competition's."""
    return draw_faces(settings.rows, settings.seed, keypoints)
