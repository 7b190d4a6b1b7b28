"""The canvas: image pixels and canvas pixels agree."""

import numpy as np
import pytest

from facekp.data.synthetic.canvas import fill, shrink, to_canvas
from facekp.data.synthetic.geometry import SIZE
from tests.data.synthetic.samples import centroid


@pytest.mark.parametrize("point", [(40.0, 40.0), (12.25, 70.5), (33.33, 8.81), (90.5, 90.0)])
def test_a_dot_is_centred_on_its_point(point: tuple[float, float]) -> None:
    canvas = np.zeros((2 * SIZE, 2 * SIZE), np.uint8)
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    fill(canvas, to_canvas(2.5 * np.stack([np.cos(turn), np.sin(turn)], -1) + point), 255)
    np.testing.assert_allclose(centroid(shrink(canvas).astype(float)), point, atol=0.05)
