"""The face's surface: depth and variation."""

from facekp.data.synthetic.geometry import POSE_STD, SHAPE_STD, Pose, Shape, landmarks
from tests.data.synthetic.samples import position


def test_turning_the_head_moves_the_nose_tip_further_than_the_eyes() -> None:
    def across(yaw: float) -> dict[str, float]:
        return {name: position(name, Shape(), Pose(yaw=yaw))[0] for name in landmarks(Shape())}

    ahead, aside = across(0), across(0.3)
    shift = {name: aside[name] - ahead[name] for name in ahead}
    assert shift["nose_tip"] > 4
    assert shift["nose_tip"] > shift["nose_base"] > abs(shift["left_eye_center"] + shift["right_eye_center"]) / 2


def test_every_measure_of_a_face_varies() -> None:
    assert min(SHAPE_STD) > 0
    assert min(POSE_STD) > 0
