"""Draws faces: a seed and a number of rows come in, a FaceTable in the mixture of the real data comes out.

Each face is a set of curves on a bulging surface (`Shape`), turned and placed (`Pose`), painted and photographed
(`Look`: greys, hair, light, blur, noise). The labelled points lie on that same surface, so they agree with the picture
by construction; what makes labels hard in reality is added on purpose: two labelling conventions, missing points,
noise, duplicates, a few wrong rows. No real image or label takes part; the mean face is the real one's, rounded.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike
from omegaconf import DictConfig

from facekp import cli
from facekp.data.csv import write_test, write_training
from facekp.data.table import FaceTable
from facekp.errors import UserError
from facekp.keypoints import Keypoints

log = logging.getLogger(__name__)
SIZE = 96  # pixels a side; faces are painted at twice that and averaged down
MOVED = {"nose_tip": "nose_base", "mouth_center_bottom_lip": "mouth_middle"}  # what the sparse source means by a name
OFTEN_MISSING = {"eyebrow_outer_end": 5.0, "mouth_center_bottom_lip": 2.0, "nose_tip": 0.0}  # weights; all others 1
CIRCLE = np.stack([np.cos(np.linspace(0, 2 * np.pi, 24, False)), np.sin(np.linspace(0, 2 * np.pi, 24, False))], -1)
HAIR = {"bald": 0.08, "short": 0.3, "parted": 0.2, "fringe": 0.1, "long": 0.24, "hat": 0.08}  # shares
ACROSS = np.linspace(-1, 1, 13)  # where a lid, a lip or a brow is sampled between its ends


@dataclass(frozen=True)
class SyntheticSettings:
    """The mixture.

    Attributes:
        dense: share of rows labelled by the first source.
        missing: share of dense rows that lack one point or more, and ten times the share of sparse ones.
        duplicates: share of rows that show an earlier row's face again, labelled anew by their own source.
        wrong: share of rows whose labels are shifted or sit on another feature.
        noise: standard deviation of the label noise of the dense and the sparse source, pixels.
    """

    dense: float = 0.325
    missing: float = 0.06
    duplicates: float = 0.02
    wrong: float = 0.0035
    noise: tuple[float, float] = (0.4, 0.6)


class Shape(NamedTuple):
    """The mean face in pixels: x to the person's left, y down, origin in the middle of the face."""

    head_half: float = 42.0
    head_top: float = -50.0
    chin: float = 47.0
    jaw: float = 0.3  # how much narrower the chin is than the temples
    eye_x: float = 18.2
    eye_y: float = -12.2  # of the corners
    eye_half: float = 7.1  # half the distance between the corners
    eye_open: float = 3.4  # the upper lid above the corners
    eye_slant: float = 0.0
    gaze: float = 0.0  # the irises' sideways shift
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
    smile: float = 1.5  # the corners above the line between the lips
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
    """Where the face looks and stands. Angles in radians, place in image pixels."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    scale: float = 1.0
    x: float = 48.0
    y: float = 50.0


POSE_STD = Pose(yaw=0.24, pitch=0.15, roll=0.15, scale=0.085, x=3.4, y=3.4)


class Look(NamedTuple):
    """What is painted with which grey, and the photograph. Greys in 0..255, widths in pixels."""

    skin: float
    hair: float
    brow: float
    lip: float
    iris: float
    white: float
    style: str  # of the hair
    glasses: float  # width of the frame, 0 for none
    beard: float  # 0 none, 1 as dark as the hair
    moustache: float
    covered: str  # by what: "", hand, strand
    light: tuple[float, float]  # relative brightness gained per half image, along x and y
    contrast: float
    offset: float
    gamma: float
    blur: float
    noise: float


def draw_faces(rows: int, seed: int, keypoints: Keypoints, settings: SyntheticSettings | None = None) -> FaceTable:
    """Draw faces and label them the way the real ones are. Row i depends on (seed, i) alone.

    Args:
        rows: N, at least 1.
        seed: at least 0; the same seed gives the same bytes, and more rows begin with the same rows.
        keypoints: a scheme of one or two sources with names of kaggle15; the second source is the sparse one.
        settings: the mixture; `SyntheticSettings()` is the real data's.

    Raises:
        UserError: a name or a number of sources that cannot be drawn, rows below 1, seed below 0.
    """
    settings = settings or SyntheticSettings()
    _check(rows, seed, keypoints)
    images = np.empty((rows, SIZE, SIZE), np.uint8)
    points = np.full((rows, len(keypoints.names), 2), np.nan, np.float32)
    source = np.array([_source(row, keypoints, settings) for row in range(rows)], np.int8)
    for row in range(rows):
        origin = _origin(row, seed, settings)
        images[row], places = _photograph(origin, seed)
        rng = np.random.default_rng([seed, row, 1])
        if origin != row:
            images[row] = _copy(images[row], rng)
        points[row] = _label(places, int(source[row]), keypoints, settings, rng)
    return FaceTable(keypoints, images, points, source, np.arange(rows))


def landmarks(shape: Shape) -> dict[str, tuple[float, float]]:
    """Where every point sits on the face, in the face's own pixels; `project` takes them to the image."""
    s = shape
    places = {"nose_tip": (0.0, s.nose_tip_y), "nose_base": (0.0, s.nose_tip_y + s.nose_under)}
    for name, side in (("left", 1), ("right", -1)):
        places[f"{name}_eye_center"] = (side * s.eye_x + s.gaze, s.eye_y - 0.25 * s.eye_open)
        places[f"{name}_eye_inner_corner"] = (side * (s.eye_x - s.eye_half), s.eye_y + s.eye_slant)
        places[f"{name}_eye_outer_corner"] = (side * (s.eye_x + s.eye_half), s.eye_y - s.eye_slant)
        places[f"{name}_eyebrow_inner_end"] = (side * s.brow_inner_x, s.brow_inner_y + side * s.brow_tilt)
        places[f"{name}_eyebrow_outer_end"] = (side * s.brow_outer_x, s.brow_outer_y + side * s.brow_tilt)
        places[f"mouth_{name}_corner"] = (s.mouth_x + side * s.mouth_half, s.mouth_y - s.smile)
    places["mouth_center_top_lip"] = (s.mouth_x, s.mouth_y - 0.3 * s.gap - s.lip_top)
    places["mouth_middle"] = (s.mouth_x, s.mouth_y + 0.2 * s.gap)
    places["mouth_center_bottom_lip"] = (s.mouth_x, s.mouth_y + 0.7 * s.gap + s.lip_low)
    return places


def project(face: ArrayLike, shape: Shape, pose: Pose) -> np.ndarray:
    """Places on the face (M, 2), face pixels, to places in the image (M, 2): lifted to the surface, turned, scaled."""
    x, y = np.asarray(face, float).reshape(-1, 2).T
    down = y - shape.nose_tip_y
    nose = shape.nose_depth * np.exp(-((x / 6) ** 2) - (down / np.where(down < 0, 13, 7)) ** 2)
    z = 34 * np.sqrt(np.maximum(1 - (x / 46) ** 2 - (y / 60) ** 2, 0)) + nose - 26  # zero lies behind the eyes
    (cy, sy), (cp, sp), (cr, sr) = ((np.cos(a), np.sin(a)) for a in (pose.yaw, pose.pitch, pose.roll))
    across, depth = x * cy + z * sy, z * cy - x * sy
    along = y * cp - depth * sp
    return _curve(pose.x + pose.scale * (across * cr - along * sr), pose.y + pose.scale * (across * sr + along * cr))


def render(shape: Shape, pose: Pose, look: Look, rng: Generator) -> np.ndarray:
    """Paint and photograph one face: uint8 (96, 96). `rng` draws background, strands and sensor noise."""
    canvas = _background(rng)
    pen = _Pen()
    _paint_head(pen, shape, look)
    _paint_relief(pen, shape, look)
    pen.draw(canvas, shape, pose)
    canvas = cv2.GaussianBlur(canvas, (0, 0), 1.6)  # the forms so far are soft, the features to come are not
    pen = _Pen()
    _paint_mouth(pen, shape, look)
    _paint_eyes(pen, shape, look)
    _paint_brows(pen, shape, look)
    _paint_hair(pen, shape, look, rng)
    if look.glasses:
        _paint_glasses(pen, shape, look)
    if look.covered:
        _paint_cover(pen, look, rng)
    pen.draw(canvas, shape, pose)
    return _develop(canvas, look, rng)


class _Pen:
    """Takes down shapes given in face pixels, then draws them all: projecting them at once makes a face 3 x faster."""

    def __init__(self) -> None:
        self.shapes: list[tuple[np.ndarray, float, float]] = []  # points (M, 2), grey, width; width 0 fills

    def fill(self, face: ArrayLike, grey: float) -> None:
        self.shapes.append((np.asarray(face), grey, 0.0))

    def line(self, face: ArrayLike, grey: float, width: float) -> None:
        self.shapes.append((np.asarray(face), grey, width))

    def oval(self, x: float, y: float, rx: float, ry: float, grey: float) -> None:
        self.fill(CIRCLE * (rx, ry) + (x, y), grey)

    def draw(self, canvas: np.ndarray, shape: Shape, pose: Pose) -> None:
        places = to_canvas(project(np.concatenate([face for face, _, _ in self.shapes]), shape, pose))
        start = 0
        for face, grey, width in self.shapes:
            corners = places[start : start + len(face)]
            start += len(face)
            if width:
                stroke(canvas, corners, grey, width * pose.scale)
            else:
                fill(canvas, corners, grey)


def to_canvas(points: np.ndarray) -> np.ndarray:
    """Image pixels (M, 2) to int32 sixteenths of a pixel of the canvas, which is twice the image's size.

    Image pixel x covers canvas pixels 2x and 2x + 1, so its centre is 2x + 0.5.
    """
    return np.rint((2 * points + 0.5) * 16).astype(np.int32)


def fill(canvas: np.ndarray, corners: np.ndarray, grey: float) -> None:
    """Fill a polygon (M, 2), from `to_canvas`, in place."""
    cv2.fillPoly(canvas, [corners], _grey(grey), cv2.LINE_AA, 4)


def stroke(canvas: np.ndarray, corners: np.ndarray, grey: float, width: float) -> None:
    """Draw an open curve (M, 2), from `to_canvas`, in place. `width` in image pixels."""
    cv2.polylines(canvas, [corners], False, _grey(grey), max(1, round(2 * width)), cv2.LINE_AA, 4)


def shrink(canvas: np.ndarray) -> np.ndarray:
    """The image of a canvas of twice the size: means of 2 x 2 pixels."""
    return cv2.resize(canvas, (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def _grey(value: float) -> int:
    return int(min(max(value, 0), 255))


# What is in the picture


def _photograph(row: int, seed: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The image of face `row` and where its points are in it."""
    rng = np.random.default_rng([seed, row, 0])
    shape = Shape(*_around(Shape(), SHAPE_STD, rng))
    shape = shape._replace(gap=max(shape.gap, 0.0), eye_open=max(shape.eye_open, 1.2))
    pose = Pose(*_around(Pose(), POSE_STD, rng))
    image = render(shape, pose, _look(rng), rng)
    places = landmarks(shape)
    return image, dict(zip(places, project(list(places.values()), shape, pose), strict=True))


def _around(mean: Sequence[float], std: Sequence[float], rng: Generator) -> list[float]:
    """Normal draws, cut at 2.3 standard deviations (20 degrees of roll)."""
    return (np.array(mean) + np.array(std) * np.clip(rng.normal(size=len(mean)), -2.3, 2.3)).tolist()


def _look(rng: Generator) -> Look:
    skin, hair = rng.uniform(80, 215), rng.choice([rng.uniform(10, 70), rng.uniform(50, 200)], p=[0.7, 0.3])
    turn, gain = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.45)
    bearded = rng.random() < 0.22
    return Look(
        skin=skin,
        hair=hair,
        brow=skin * rng.uniform(0.2, 0.65),
        lip=skin * rng.uniform(0.45, 0.85),
        iris=rng.uniform(5, 0.5 * skin),
        white=min(skin * 1.1 + 25, 250),
        style=str(rng.choice(list(HAIR), p=list(HAIR.values()))),
        glasses=rng.uniform(0.6, 1.5) if rng.random() < 0.15 else 0.0,
        beard=rng.uniform(0.3, 0.9) if bearded else 0.0,
        moustache=rng.uniform(0.3, 0.9) if bearded or rng.random() < 0.06 else 0.0,
        covered=str(rng.choice(["", "hand", "strand"], p=[0.9, 0.04, 0.06])),
        light=(gain * np.cos(turn), gain * np.sin(turn)),
        contrast=rng.uniform(0.45, 1.1),
        offset=rng.uniform(-25, 25),
        gamma=np.exp(rng.uniform(-0.35, 0.35)),
        blur=rng.choice([0.0, rng.uniform(0.3, 1.1)]),
        noise=rng.uniform(1, 9),
    )


def _background(rng: Generator) -> np.ndarray:
    """A gradient with stripes, boxes and discs, at twice the image's size, mostly out of focus."""
    corners = rng.uniform(0, 255, (2, 2)).astype(np.uint8)
    canvas = cv2.resize(corners, (2 * SIZE, 2 * SIZE), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.25:
        _stripes(canvas, rng)
    for _ in range(rng.integers(0, 7)):
        x, y, width, height = rng.uniform((0, 0, 4, 4), (96, 96, 40, 60))
        corner_or_round = CIRCLE if rng.random() < 0.5 else np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
        fill(canvas, to_canvas(corner_or_round * (width / 2, height / 2) + (x, y)), rng.uniform(0, 255))
    return cv2.blur(canvas, (9, 9)) if rng.random() < 0.6 else canvas


def _stripes(canvas: np.ndarray, rng: Generator) -> None:
    grey, step, lean = rng.uniform(0, 255), rng.uniform(5, 20), rng.uniform(-60, 60)
    for x in np.arange(-60, 156, step):
        stroke(canvas, to_canvas(np.array([[x, -2], [x + lean, 98]])), grey, step * 0.4)


# The parts of a face, from the back to the front


def _outline(shape: Shape, grow: float = 0.0) -> np.ndarray:
    """The head's edge (24, 2), clockwise from its left side; the top half is the last 12 points."""
    x, y = CIRCLE.T
    x = x * (1 - shape.jaw * np.maximum(y, 0) ** 2) * (shape.head_half + grow)
    return _curve(x, y * np.where(y > 0, shape.chin, -shape.head_top) * (1 + grow / 50))


def _paint_head(pen: _Pen, s: Shape, look: Look) -> None:
    skin = look.skin
    if look.style in ("long", "parted"):
        length = 70 if look.style == "long" else 20
        top = _outline(s, 7)[12:]
        pen.fill([*top, (s.head_half + 8, length), (-s.head_half - 8, length)], look.hair)
    elif look.style != "bald":
        pen.fill(_outline(s, 4)[12:], look.hair)
    pen.fill([(-22, 20), (22, 20), (26, 62), (70, 76), (70, 120), (-70, 120), (-70, 76), (-26, 62)], 0.7 * skin)
    for side in (-1, 1):
        pen.oval(side * s.head_half, -4, 5, 11, 0.78 * skin)
    pen.fill(_outline(s), 0.86 * skin)
    pen.fill(_outline(s, -5), 0.94 * skin)
    pen.fill(_outline(s, -11), skin)


def _paint_relief(pen: _Pen, s: Shape, look: Look) -> None:
    """Beard, eye sockets, cheeks and nose: all that is shading rather than an edge."""
    skin = look.skin
    base = s.nose_tip_y + s.nose_under
    if look.beard:
        jaw = _outline(s)[1:12] * (0.98, 1)
        pen.fill([*jaw, (-27, 14), (-20, base + 5), (20, base + 5), (27, 14)], _mix(skin, look.hair, look.beard))
    for side in (-1, 1):
        pen.oval(side * s.eye_x, s.eye_y - 1, s.eye_half + 4, 7, 0.86 * skin)
        pen.oval(side * 22, 10, 8, 6, 1.06 * skin)
        lit = 1 + 0.6 * side * look.light[0] - 0.1  # the nose's flank away from the light is darker
        flank = [(side * 2, s.eye_y), (side * 3, s.nose_tip_y - 6), (side * s.nose_half, base - 3), (side * 4, base)]
        pen.fill([(side * 7, s.eye_y - 2), *flank], lit * 0.93 * skin)
        pen.oval(side * 0.62 * s.nose_half, base - 3.4, 0.4 * s.nose_half, 2.8, 0.92 * skin)
    pen.oval(0, base + 1.2, s.nose_half, 1.6, 0.72 * skin)
    pen.line([(0, s.eye_y), (0, s.nose_tip_y)], 1.1 * skin, 2.4)
    pen.oval(0, s.nose_tip_y, 3.6, 3.2, 1.22 * skin + 8)
    for side in (-1, 1):
        pen.oval(side * 0.45 * s.nose_half, base - 1.6, 1.9, 1.2, 0.3 * skin)
        wing = [(side * (s.nose_half - 1), base - 7), (side * (s.nose_half + 0.4), base - 3.5), (side * 5, base - 0.5)]
        pen.line(wing, 0.6 * skin, 0.8)
        fold = [(side * (s.nose_half + 3), base - 3), (side * (s.mouth_half + 3), s.mouth_y - 3)]
        pen.line(fold, 0.86 * skin, 1.0)
    if look.moustache:
        lip = s.mouth_y - 0.3 * s.gap - s.lip_top
        wing_tips = [(-s.mouth_half - 1, lip + 3), (0, base + 0.8), (s.mouth_half + 1, lip + 3), (0, lip)]
        pen.fill(wing_tips, _mix(skin, look.hair, look.moustache))


def _paint_mouth(pen: _Pen, s: Shape, look: Look) -> None:
    rise = s.smile * ACROSS**2  # a parabola through the middle and the corners
    x, line = s.mouth_x + s.mouth_half * ACROSS, s.mouth_y - rise
    bulge = 1 - ACROSS**2
    bow = s.lip_top * (bulge + 0.25 * bulge * np.minimum(ACROSS**2 * 6, 1))  # the upper lip dips in the middle
    upper, lower = line - 0.3 * s.gap * bulge, line + 0.7 * s.gap * bulge
    pen.fill(_band(x, upper - bow, upper), 0.9 * look.lip)
    pen.fill(_band(x, lower, lower + s.lip_low * bulge), 1.08 * look.lip)
    if s.gap > 0.8:
        pen.fill(_band(x, upper, lower), 0.3 * look.lip)
        if s.gap > 1.5:
            pen.fill(_band(0.8 * (x - s.mouth_x) + s.mouth_x, upper, upper + 0.55 * (lower - upper)), look.white)
    pen.line(_curve(x, upper), 0.4 * look.lip, 0.7)
    pen.line(_curve(x, lower + s.lip_low * bulge + 1.2)[3:-3], 0.75 * look.skin, 0.8)


def _paint_eyes(pen: _Pen, s: Shape, look: Look) -> None:
    for name, side in (("left", 1), ("right", -1)):
        x, line = side * (s.eye_x + s.eye_half * ACROSS), s.eye_y - s.eye_slant * ACROSS
        upper, lower = (line + lid * (1 - ACROSS**2) for lid in (-s.eye_open, 0.5 * s.eye_open))
        pen.fill(_band(x, upper, lower), look.white)
        cx, cy = landmarks(s)[f"{name}_eye_center"]
        for radius, grey in ((3.2, look.iris), (1.4, 0.4 * look.iris)):
            disc = CIRCLE * radius + (cx, cy)
            lift = (disc[:, 0] - side * s.eye_x) / (side * s.eye_half)
            level, bulge = s.eye_y - s.eye_slant * lift, np.maximum(1 - lift**2, 0)
            disc[:, 1] = np.clip(disc[:, 1], level - s.eye_open * bulge, level + 0.5 * s.eye_open * bulge)
            pen.fill(disc, grey)  # the lids cut it
        pen.line(_curve(x, upper), 0.3 * look.skin, 0.9)
        pen.line(_curve(x, lower), 0.62 * look.skin, 0.5)
        pen.line(_curve(x, upper - 2.2)[2:-1], 0.75 * look.skin, 0.6)


def _paint_brows(pen: _Pen, s: Shape, look: Look) -> None:
    places = landmarks(s)
    for name in ("left", "right"):
        inner, outer = np.array(places[f"{name}_eyebrow_inner_end"]), np.array(places[f"{name}_eyebrow_outer_end"])
        x, y = (inner + (outer - inner) * (ACROSS[:, None] + 1) / 2).T
        arch = y - s.brow_arch * (1 - ACROSS**2)
        thick = max(s.brow_thick, 0.7) * np.minimum(1, 0.25 + 0.9 * (1 - ACROSS))  # tapers to the outer end
        pen.fill(_band(x, arch - thick, arch + thick), look.brow)


def _paint_hair(pen: _Pen, s: Shape, look: Look, rng: Generator) -> None:
    if look.style == "bald":
        return
    x = ACROSS * (s.head_half + 2)
    side = rng.choice([-1, 1])
    hairline = {
        "short": -37 + 12 * ACROSS**4,
        "parted": -34 - 7 * side * ACROSS + 16 * ACROSS**6,
        "fringe": -27 + rng.uniform(-3, 1.5, len(ACROSS)) + 6 * ACROSS**6,
        "long": -40 + 34 * ACROSS**4,
        "hat": np.full(len(ACROSS), -29.0),
    }[look.style]
    cap = _outline(s, 5)[12:]
    pen.fill([*cap, (s.head_half + 4, hairline[-1]), *_curve(x, hairline)[::-1]], look.hair)
    if look.style == "hat":
        pen.line(_curve(x * 1.1, hairline), 0.6 * look.hair, 3.0)
    if look.style == "long":
        for edge in (-1, 1):
            inner, outer = s.head_half - rng.uniform(0, 6), s.head_half + 12
            lock = np.array([[inner, -25], [inner + 2, 10], [inner, 60], [outer, 60], [outer, -25]])
            pen.fill(lock * (edge, 1), look.hair)
    for start in rng.uniform(-30, 30, 4):
        pen.line([(start, s.head_top), (start * 1.15, -38)], look.hair + rng.uniform(-25, 40), 0.7)


def _paint_glasses(pen: _Pen, s: Shape, look: Look) -> None:
    frame = 20 if look.skin > 110 else 225
    for side in (-1, 1):
        lens = np.sign(CIRCLE) * np.abs(CIRCLE) ** 0.7 * (s.eye_half + 4.5, 7.5) + (side * s.eye_x, s.eye_y + 0.5)
        pen.line([*lens, lens[0]], frame, look.glasses)
        pen.line([(side * (s.eye_x + s.eye_half + 4.5), s.eye_y - 2), (side * 44, s.eye_y - 3)], frame, look.glasses)
    pen.line([(-s.eye_x + s.eye_half + 4.5, s.eye_y), (s.eye_x - s.eye_half - 4.5, s.eye_y)], frame, look.glasses)


def _paint_cover(pen: _Pen, look: Look, rng: Generator) -> None:
    side = rng.choice([-1, 1])
    if look.covered == "strand":
        for start in rng.uniform(2, 26, 4):
            pen.line([(side * start, -48), (side * (start + 5), -24), (side * (start + 13), 8)], look.hair, 1.0)
        return
    for finger in range(4):
        x, y = 20 + 2 * finger, 12 + 8 * finger
        for grey, width in ((0.6, 9.0), (0.95, 7.5)):
            pen.line([(side * x, y), (side * (x + 34), y + 22)], grey * look.skin, width)


def _curve(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.array([x, y]).T  # several times faster than np.stack, which a face would call 50 times


def _band(x: np.ndarray, top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """The closed strip between two curves over the same x: (2M, 2)."""
    return np.concatenate([_curve(x, top), _curve(x, bottom)[::-1]])


def _mix(skin: float, hair: float, share: float) -> float:
    return skin + share * (0.8 * min(hair, skin) - skin)


def _develop(canvas: np.ndarray, look: Look, rng: Generator) -> np.ndarray:
    """Light, blur, contrast, gamma and sensor noise: the canvas becomes a photograph, uint8 (96, 96)."""
    image: np.ndarray = shrink(canvas).astype(np.float32)
    if look.blur:
        image = cv2.GaussianBlur(image, (0, 0), look.blur)
    half = np.linspace(-1, 1, SIZE, dtype=np.float32)
    light = 1 + np.float32(look.light[0]) * half + np.float32(look.light[1]) * half[:, None]
    toned = (np.clip(image * light, 0, 255) / 255) ** np.float32(look.gamma)
    photo = 128 + np.float32(look.contrast) * (255 * toned - 128) + np.float32(look.offset)
    photo += np.float32(look.noise) * rng.standard_normal(photo.shape, np.float32)
    return np.clip(np.rint(photo), 0, 255).astype(np.uint8)


# Who labels it, and how


def _source(row: int, keypoints: Keypoints, settings: SyntheticSettings) -> int:
    """Spread evenly, so that every stretch of rows holds the share."""
    dense = int((row + 1) * settings.dense) > int(row * settings.dense) or len(keypoints.sources) == 1
    return 0 if dense else 1


def _origin(row: int, seed: int, settings: SyntheticSettings) -> int:
    """The row whose face this row shows: itself, or for a duplicate an earlier one."""
    rng = np.random.default_rng([seed, row, 2])
    if row == 0 or rng.random() >= settings.duplicates:
        return row
    return _origin(int(rng.integers(row)), seed, settings)


def _copy(image: np.ndarray, rng: Generator) -> np.ndarray:
    """The same file again, or the same picture saved once more: a grey level of noise."""
    if rng.random() < 0.5:
        return image
    return np.clip(image + np.rint(rng.normal(0, 1.2, image.shape)), 0, 255).astype(np.uint8)


def _label(
    places: dict[str, np.ndarray], source: int, keypoints: Keypoints, settings: SyntheticSettings, rng: Generator
) -> np.ndarray:
    """float32 (K, 2): what this source writes down about a face; NaN where it writes nothing."""
    means = MOVED if source == 1 else {}
    points = np.array([places[means.get(name, name)] for name in keypoints.names])
    points += rng.normal(0, settings.noise[source], points.shape)
    labelled = keypoints.labels_of(keypoints.source_names[source]) & ~_forgotten(source, keypoints, settings, rng)
    if rng.random() < settings.wrong:
        points = _spoil(points, labelled, rng)
    inside = (points >= 0).all(axis=1) & (points < SIZE).all(axis=1)
    return np.where((labelled & inside)[:, None], points, np.nan).astype(np.float32)


def _forgotten(source: int, keypoints: Keypoints, settings: SyntheticSettings, rng: Generator) -> np.ndarray:
    """bool (K,): points the source would label but did not; in dense rows mostly one, mostly a brow's outer end."""
    names = np.array(keypoints.names)
    if source == 1:
        return (names == "mouth_center_bottom_lip") & (rng.random() < settings.missing / 10)
    weight = np.array([next((w for end, w in OFTEN_MISSING.items() if name.endswith(end)), 1.0) for name in names])
    forgotten = np.zeros(len(names), bool)
    if rng.random() < settings.missing:
        count = min(int(rng.geometric(0.6)), 5, int(np.count_nonzero(weight)))
        forgotten[rng.choice(len(names), count, replace=False, p=weight / weight.sum())] = True
    return forgotten


def _spoil(points: np.ndarray, labelled: np.ndarray, rng: Generator) -> np.ndarray:
    """A wrong row: all of it shifted by 8 px, or one point on the feature next to it."""
    if rng.random() < 0.5 or labelled.sum() < 2:
        turn = rng.uniform(0, 2 * np.pi)
        return points + 8 * np.array([np.cos(turn), np.sin(turn)])
    chosen = rng.choice(np.flatnonzero(labelled))
    others = np.flatnonzero(labelled & (np.arange(len(points)) != chosen))
    nearest = others[np.linalg.norm(points[others] - points[chosen], axis=1).argmin()]
    return np.where((np.arange(len(points)) == chosen)[:, None], points[nearest], points)


def _check(rows: int, seed: int, keypoints: Keypoints) -> None:
    unknown = [name for name in keypoints.names if name not in landmarks(Shape())]
    if unknown:
        raise UserError(
            f"keypoints {keypoints.name}: synthetic faces have no point {unknown[0]!r}; take keypoints=kaggle15"
        )
    if len(keypoints.sources) > 2:
        found = ", ".join(keypoints.sources)
        raise UserError(
            f"keypoints {keypoints.name}: sources: synthetic faces know two at most, not {found}; merge some"
        )
    if rows < 1:
        raise UserError(f"data.rows: {rows} is too few synthetic faces; give at least 1")
    if seed < 0:
        raise UserError(f"seed: {seed} is negative; give 0 or more")


def main(cfg: DictConfig) -> Path:
    """Hydra's task: write training.csv, test.csv and IdLookupTable.csv, as the competition's folder holds them."""
    config = cli.plain(cfg)
    keypoints = Keypoints.from_dict(config["keypoints"])
    folder, seed = Path(config["out"]), config["data"]["seed"]
    write_training(folder / "training.csv", draw_faces(config["data"]["rows"], seed, keypoints))
    test = draw_faces(config["test_rows"], seed + 1, keypoints)
    write_test(folder, replace(test, row=np.arange(1, len(test) + 1)), test.mask)
    log.info("written: %s (%d training rows, %d test rows)", folder, config["data"]["rows"], len(test))
    return folder


if __name__ == "__main__":
    cli.run("synthetic", main)
