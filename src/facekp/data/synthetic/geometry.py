"""The drawn face's shape and pose, its landmarks, and their projection to the image."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

SIZE = 96  # side of the image, pixels; faces are painted at twice this size and averaged down


class Shape(NamedTuple):
    """Measures of a face in pixels; the defaults are the mean face.

    x points to the person's left, y down, and the origin is the middle of the face.
    """

    head_half: float = 42.0
    head_top: float = -50.0
    chin: float = 47.0
    jaw: float = 0.3  # how much narrower the chin is than the temples
    eye_x: float = 18.2
    eye_y: float = -12.2  # of the corners
    eye_half: float = 7.1  # half the distance between the corners
    eye_open: float = 3.4  # height of the upper lid above the corners
    eye_slant: float = 0.0
    gaze: float = 0.0  # sideways shift of the irises
    brow_inner_x: float = 8.4
    brow_inner_y: float = -20.5
    brow_outer_x: float = 31.8
    brow_outer_y: float = -20.0
    brow_tilt: float = 0.0  # left brow lower, right one higher
    brow_arch: float = 3.0
    brow_thick: float = 1.5
    nose_tip_y: float = 7.5
    nose_under: float = 7.8  # from the tip down to the base
    nose_half: float = 7.0
    nose_depth: float = 14.0
    mouth_x: float = 0.0
    mouth_y: float = 27.2
    mouth_half: float = 15.2
    smile: float = 1.5  # height of the corners above the line between the lips
    lip_top: float = 3.8
    lip_low: float = 4.4
    gap: float = 1.0  # between the lips


SHAPE_STD = Shape(
    2.5, 3, 3, 0.1,  # head
    1.4, 1.6, 0.8, 0.9, 0.8, 0.9,  # eyes
    1.9, 2.2, 2.0, 2.4, 0.9, 1.4, 0.5,  # brows
    2.6, 1.1, 1.0, 3.0,  # nose
    0.8, 2.4, 2.4, 1.8, 0.9, 1.0, 3.0,  # mouth
)  # fmt: skip


class Pose(NamedTuple):
    """Direction, size and position of a face. Angles in radians, position in image pixels."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    scale: float = 1.0
    x: float = 48.0
    y: float = 50.0


POSE_STD = Pose(yaw=0.24, pitch=0.15, roll=0.15, scale=0.085, x=3.4, y=3.4)


def landmarks(shape: Shape) -> dict[str, tuple[float, float]]:
    """The position of every point in pixels of the face; `project` maps them to the image."""
    s = shape
    positions = {"nose_tip": (0.0, s.nose_tip_y), "nose_base": (0.0, s.nose_tip_y + s.nose_under)}
    for name, side in (("left", 1), ("right", -1)):
        positions[f"{name}_eye_center"] = (side * s.eye_x + s.gaze, s.eye_y - 0.25 * s.eye_open)
        positions[f"{name}_eye_inner_corner"] = (side * (s.eye_x - s.eye_half), s.eye_y + s.eye_slant)
        positions[f"{name}_eye_outer_corner"] = (side * (s.eye_x + s.eye_half), s.eye_y - s.eye_slant)
        positions[f"{name}_eyebrow_inner_end"] = (side * s.brow_inner_x, s.brow_inner_y + side * s.brow_tilt)
        positions[f"{name}_eyebrow_outer_end"] = (side * s.brow_outer_x, s.brow_outer_y + side * s.brow_tilt)
        positions[f"mouth_{name}_corner"] = (s.mouth_x + side * s.mouth_half, s.mouth_y - s.smile)
    positions["mouth_center_top_lip"] = (s.mouth_x, s.mouth_y - 0.3 * s.gap - s.lip_top)
    positions["mouth_middle"] = (s.mouth_x, s.mouth_y + 0.2 * s.gap)
    positions["mouth_center_bottom_lip"] = (s.mouth_x, s.mouth_y + 0.7 * s.gap + s.lip_low)
    return positions


def project(face: ArrayLike, shape: Shape, pose: Pose) -> np.ndarray:
    """Positions on the face (M, 2), in its pixels, to positions in the image (M, 2).

    They are lifted to the face's surface, rotated, scaled and shifted.
    """
    x, y = np.asarray(face, float).reshape(-1, 2).T
    down = y - shape.nose_tip_y
    nose = shape.nose_depth * np.exp(-((x / 6) ** 2) - (down / np.where(down < 0, 13, 7)) ** 2)
    z = 34 * np.sqrt(np.maximum(1 - (x / 46) ** 2 - (y / 60) ** 2, 0)) + nose - 26  # zero is behind the eyes
    (cy, sy), (cp, sp), (cr, sr) = ((np.cos(a), np.sin(a)) for a in (pose.yaw, pose.pitch, pose.roll))
    across, depth = x * cy + z * sy, z * cy - x * sy
    along = y * cp - depth * sp
    return curve(pose.x + pose.scale * (across * cr - along * sr), pose.y + pose.scale * (across * sr + along * cr))


def curve(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Points (M, 2) from their coordinates (M,)."""
    return np.array([x, y]).T  # several times faster than np.stack, which one face would call 50 times
