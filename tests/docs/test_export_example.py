"""The example of docs/how-to/export.md, which uses an exported file without facekp, gives the points of facekp."""

import json
import re
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

import facekp
from facekp.data.synthetic.faces import draw_faces
from facekp.models.packaged import file_of
from facekp.photos.yunet import WEIGHTS
from tests.conftest import REPOSITORY

PAGE = REPOSITORY / "docs" / "how-to" / "export.md"


@pytest.mark.parametrize("scale", [1, 2])
def test_the_example_gives_the_points_of_find_points(tmp_path, scheme, scale):
    pytest.importorskip("onnxruntime")
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE)
    (tmp_path / "example.py").write_text(f"import sys; sys.modules['facekp'] = None  # not installed\n{code}")
    shutil.copy(file_of("fast"), tmp_path / "network.onnx")
    shutil.copy(WEIGHTS, tmp_path)
    face = cv2.resize(draw_faces(1, 0, scheme).images[0], None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    photo = np.pad(face, ((50, 40), (0, 90)), mode="edge")  # the crop is smaller, and larger than the network's input
    tinted = (photo[..., None] * np.array([0.7, 0.8, 1.0])).round().astype(np.uint8)
    cv2.imwrite(str(tmp_path / "photo.png"), tinted)
    (found,) = facekp.find_points(tmp_path / "photo.png", ckpt="fast", refine=False, min_confidence=0.5)

    command = [sys.executable, "example.py", "photo.png"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    points = json.loads(done.stdout)
    assert tuple(points) == found.names
    assert np.abs(np.array(list(points.values())) - found.points).max() < 0.01  # pixels, as the page states
