"""Painting: the points are on the features that they name."""

import numpy as np
import pytest

from facekp.data.synthetic.geometry import Pose, Shape
from facekp.data.synthetic.painting import Look, render
from tests.data.synthetic.samples import centroid, position

PLAIN = Look(
    skin=200, hair=190, brow=200, lip=200, iris=200, white=200, style="bald", glasses=0, beard=0, moustache=0,
    covered="", light=(0, 0), contrast=1, offset=0, gamma=1, blur=0, noise=0,
)  # fmt: skip
POSES = [Pose(), Pose(yaw=0.4), Pose(pitch=-0.25), Pose(roll=0.3), Pose(0.3, 0.2, -0.3, 1.1, 51.3, 46.8)]


@pytest.mark.parametrize("pose", POSES)
@pytest.mark.parametrize("name", ["left_eye_center", "right_eye_center"])
def test_the_iris_is_painted_at_the_eye_centre(name: str, pose: Pose) -> None:
    shape = Shape(eye_open=8, gaze=1.0)  # so wide that no lid cuts the iris
    bright, dark = (render(shape, pose, PLAIN._replace(iris=i), np.random.default_rng(0)) for i in (200, 0))
    x, y = position(name, shape, pose).round().astype(int)
    window = np.s_[y - 6 : y + 7, x - 6 : x + 7]
    painted = centroid((bright[window].astype(float) - dark[window]).clip(0)) + np.array([x - 6, y - 6])
    np.testing.assert_allclose(painted, position(name, shape, pose), atol=0.3)


@pytest.mark.parametrize("pose", POSES)
def test_the_mouth_is_painted_between_its_points(pose: Pose) -> None:
    shape = Shape(mouth_half=15, gap=4)
    bright, dark = (render(shape, pose, PLAIN._replace(lip=i), np.random.default_rng(0)) for i in (200, 0))
    row, column = np.nonzero(bright.astype(int) - dark > 40)
    turn = np.array([[np.cos(pose.roll), np.sin(pose.roll)], [-np.sin(pose.roll), np.cos(pose.roll)]])
    painted = np.stack([column, row], -1) @ turn.T
    left, right, top, low = (
        turn @ position(name, shape, pose)
        for name in ("mouth_left_corner", "mouth_right_corner", "mouth_center_top_lip", "mouth_center_bottom_lip")
    )
    assert painted[:, 0].max() == pytest.approx(left[0], abs=1.2)
    assert painted[:, 0].min() == pytest.approx(right[0], abs=1.2)
    assert painted[:, 1].max() == pytest.approx(low[1], abs=1.2)
    near = painted[np.abs(painted[:, 0] - top[0]) < 1.5]
    assert near[:, 1].min() == pytest.approx(top[1], abs=1.2)


@pytest.mark.parametrize("pose", POSES)
def test_a_brow_is_painted_from_its_inner_to_its_outer_end(pose: Pose) -> None:
    shape = Shape(brow_arch=0)
    bright, dark = (render(shape, pose, PLAIN._replace(brow=i), np.random.default_rng(0)) for i in (200, 0))
    weights = (bright.astype(float) - dark).clip(0)
    for name in ("left", "right"):
        ends = [position(f"{name}_eyebrow_{end}_end", shape, pose) for end in ("inner", "outer")]
        along = (ends[1] - ends[0]) / np.linalg.norm(ends[1] - ends[0])
        row, column = np.nonzero(weights > 90)
        reach = (np.stack([column, row], -1) - ends[0]) @ along
        reach = reach[reach > -6]  # the other brow lies beyond
        assert reach.min() == pytest.approx(0, abs=1.2)
        assert reach.max() == pytest.approx(np.linalg.norm(ends[1] - ends[0]), abs=1.5)
