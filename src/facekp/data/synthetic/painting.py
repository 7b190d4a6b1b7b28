"""Paints and photographs a face: shape, pose and look come in, an image of 96 x 96 pixels comes out."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.random import Generator

from facekp.data.synthetic.canvas import CIRCLE, Pen, fill, shrink, stroke, to_canvas
from facekp.data.synthetic.geometry import SIZE, Pose, Shape, curve, landmarks

HAIR = {"bald": 0.08, "short": 0.3, "parted": 0.2, "fringe": 0.1, "long": 0.24, "hat": 0.08}  # probabilities

ACROSS = np.linspace(-1, 1, 13)  # positions between the ends of a lid, lip or brow at which it is sampled


class Look(NamedTuple):
    """Greys of the parts, hair and accessories, and properties of the photograph. Greys 0..255, widths in pixels."""

    skin: float
    hair: float
    brow: float
    lip: float
    iris: float
    white: float
    style: str  # of the hair, one of `HAIR`
    glasses: float  # width of the frame, 0 for none
    beard: float  # 0 none, 1 as dark as the hair
    moustache: float
    covered: str  # what covers the face: "" (nothing), hand or strand
    light: tuple[float, float]  # relative change of brightness over half the image, along x and y
    contrast: float
    offset: float
    gamma: float
    blur: float
    noise: float


def render(shape: Shape, pose: Pose, look: Look, rng: Generator) -> np.ndarray:
    """Paint and photograph a face, uint8 (96, 96). Background, strands of hair and sensor noise come from ``rng``."""
    canvas = _background(rng)
    pen = Pen()
    _paint_head(pen, shape, look)
    _paint_relief(pen, shape, look)
    pen.draw(canvas, shape, pose)
    canvas = cv2.GaussianBlur(canvas, (0, 0), 1.6)  # soft forms so far; the features that follow are sharp
    pen = Pen()
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


def draw_look(rng: Generator) -> Look:
    """A random look."""
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


# The parts of a face, from back to front


def _outline(shape: Shape, grow: float = 0.0) -> np.ndarray:
    """The head's edge (24, 2), clockwise from its left side; the top half is the last 12 points."""
    x, y = CIRCLE.T
    x = x * (1 - shape.jaw * np.maximum(y, 0) ** 2) * (shape.head_half + grow)
    return curve(x, y * np.where(y > 0, shape.chin, -shape.head_top) * (1 + grow / 50))


def _paint_head(pen: Pen, s: Shape, look: Look) -> None:
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


def _paint_relief(pen: Pen, s: Shape, look: Look) -> None:
    """Beard, eye sockets, cheeks and nose: parts that are shading rather than edges."""
    skin = look.skin
    base = s.nose_tip_y + s.nose_under
    if look.beard:
        jaw = _outline(s)[1:12] * (0.98, 1)
        pen.fill([*jaw, (-27, 14), (-20, base + 5), (20, base + 5), (27, 14)], _mix(skin, look.hair, look.beard))
    for side in (-1, 1):
        pen.oval(side * s.eye_x, s.eye_y - 1, s.eye_half + 4, 7, 0.86 * skin)
        pen.oval(side * 22, 10, 8, 6, 1.06 * skin)
        lit = 1 + 0.6 * side * look.light[0] - 0.1  # the side of the nose away from the light is darker
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


def _paint_mouth(pen: Pen, s: Shape, look: Look) -> None:
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
    pen.line(curve(x, upper), 0.4 * look.lip, 0.7)
    pen.line(curve(x, lower + s.lip_low * bulge + 1.2)[3:-3], 0.75 * look.skin, 0.8)


def _paint_eyes(pen: Pen, s: Shape, look: Look) -> None:
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
            pen.fill(disc, grey)  # clipped by the lids
        pen.line(curve(x, upper), 0.3 * look.skin, 0.9)
        pen.line(curve(x, lower), 0.62 * look.skin, 0.5)
        pen.line(curve(x, upper - 2.2)[2:-1], 0.75 * look.skin, 0.6)


def _paint_brows(pen: Pen, s: Shape, look: Look) -> None:
    ends = landmarks(s)
    for name in ("left", "right"):
        inner, outer = np.array(ends[f"{name}_eyebrow_inner_end"]), np.array(ends[f"{name}_eyebrow_outer_end"])
        x, y = (inner + (outer - inner) * (ACROSS[:, None] + 1) / 2).T
        arch = y - s.brow_arch * (1 - ACROSS**2)
        thick = max(s.brow_thick, 0.7) * np.minimum(1, 0.25 + 0.9 * (1 - ACROSS))  # tapers to the outer end
        pen.fill(_band(x, arch - thick, arch + thick), look.brow)


def _paint_hair(pen: Pen, s: Shape, look: Look, rng: Generator) -> None:
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
    pen.fill([*cap, (s.head_half + 4, hairline[-1]), *curve(x, hairline)[::-1]], look.hair)
    if look.style == "hat":
        pen.line(curve(x * 1.1, hairline), 0.6 * look.hair, 3.0)
    if look.style == "long":
        for edge in (-1, 1):
            inner, outer = s.head_half - rng.uniform(0, 6), s.head_half + 12
            lock = np.array([[inner, -25], [inner + 2, 10], [inner, 60], [outer, 60], [outer, -25]])
            pen.fill(lock * (edge, 1), look.hair)
    for start in rng.uniform(-30, 30, 4):
        pen.line([(start, s.head_top), (start * 1.15, -38)], look.hair + rng.uniform(-25, 40), 0.7)


def _paint_glasses(pen: Pen, s: Shape, look: Look) -> None:
    frame = 20 if look.skin > 110 else 225
    for side in (-1, 1):
        lens = np.sign(CIRCLE) * np.abs(CIRCLE) ** 0.7 * (s.eye_half + 4.5, 7.5) + (side * s.eye_x, s.eye_y + 0.5)
        pen.line([*lens, lens[0]], frame, look.glasses)
        pen.line([(side * (s.eye_x + s.eye_half + 4.5), s.eye_y - 2), (side * 44, s.eye_y - 3)], frame, look.glasses)
    pen.line([(-s.eye_x + s.eye_half + 4.5, s.eye_y), (s.eye_x - s.eye_half - 4.5, s.eye_y)], frame, look.glasses)


def _paint_cover(pen: Pen, look: Look, rng: Generator) -> None:
    side = rng.choice([-1, 1])
    if look.covered == "strand":
        for start in rng.uniform(2, 26, 4):
            pen.line([(side * start, -48), (side * (start + 5), -24), (side * (start + 13), 8)], look.hair, 1.0)
        return
    for finger in range(4):
        x, y = 20 + 2 * finger, 12 + 8 * finger
        for grey, width in ((0.6, 9.0), (0.95, 7.5)):
            pen.line([(side * x, y), (side * (x + 34), y + 22)], grey * look.skin, width)


def _band(x: np.ndarray, top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """The closed strip between two curves over the same x: (2M, 2)."""
    return np.concatenate([curve(x, top), curve(x, bottom)[::-1]])


def _mix(skin: float, hair: float, weight: float) -> float:
    return skin + weight * (0.8 * min(hair, skin) - skin)


def _develop(canvas: np.ndarray, look: Look, rng: Generator) -> np.ndarray:
    """Turn the canvas into a photograph, uint8 (96, 96), by light, blur, contrast, gamma and sensor noise.

    Processors differ in the last bit of a blur and of a power. In float64 that bit does not reach the grey levels.
    """
    image: np.ndarray = shrink(canvas).astype(np.float64)
    if look.blur:
        image = cv2.GaussianBlur(image, (0, 0), look.blur)
    image = image.astype(np.float32)
    half = np.linspace(-1, 1, SIZE, dtype=np.float32)
    light = 1 + np.float32(look.light[0]) * half + np.float32(look.light[1]) * half[:, None]
    toned = ((np.clip(image * light, 0, 255) / 255).astype(np.float64) ** np.float32(look.gamma)).astype(np.float32)
    photo = 128 + np.float32(look.contrast) * (255 * toned - 128) + np.float32(look.offset)
    photo += np.float32(look.noise) * rng.standard_normal(photo.shape, np.float32)
    return np.clip(np.rint(photo), 0, 255).astype(np.uint8)
