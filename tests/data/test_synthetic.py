"""Drawn faces: the points sit on what is painted, the mixture is the real data's, the task is hard enough."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data.synthetic.canvas import fill, shrink, to_canvas
from facekp.data.synthetic.faces import draw_faces
from facekp.data.synthetic.geometry import POSE_STD, SHAPE_STD, SIZE, Pose, Shape, landmarks, project
from facekp.data.synthetic.labelling import SyntheticSettings
from facekp.data.synthetic.painting import Look, render
from facekp.data.table import FaceTable

CONF = Path(__file__).parents[2] / "conf" / "keypoints" / "kaggle15.yaml"
PLAIN = Look(
    skin=200, hair=190, brow=200, lip=200, iris=200, white=200, style="bald", glasses=0, beard=0, moustache=0,
    covered="", light=(0, 0), contrast=1, offset=0, gamma=1, blur=0, noise=0,
)  # fmt: skip
POSES = [Pose(), Pose(yaw=0.4), Pose(pitch=-0.25), Pose(roll=0.3), Pose(0.3, 0.2, -0.3, 1.1, 51.3, 46.8)]
QUIET = SyntheticSettings(missing=0, duplicates=0, wrong=0, noise=(0, 0))


@pytest.fixture(scope="module")
def keypoints() -> Keypoints:
    return Keypoints.from_dict(yaml.safe_load(CONF.read_text()))


@pytest.fixture(scope="module")
def faces(keypoints: Keypoints) -> FaceTable:
    return draw_faces(1500, 7, keypoints)


def centroid(weights: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[: weights.shape[0], : weights.shape[1]]
    return np.array([(x * weights).sum(), (y * weights).sum()]) / weights.sum()


def pooled(errors: np.ndarray) -> float:
    return float(np.sqrt(np.nanmean(errors**2)))


def place(name: str, shape: Shape, pose: Pose) -> np.ndarray:
    return project(landmarks(shape)[name], shape, pose)[0]


@pytest.mark.parametrize("point", [(40.0, 40.0), (12.25, 70.5), (33.33, 8.81), (90.5, 90.0)])
def test_a_dot_is_centred_on_its_point(point: tuple[float, float]) -> None:
    canvas = np.zeros((2 * SIZE, 2 * SIZE), np.uint8)
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    fill(canvas, to_canvas(2.5 * np.stack([np.cos(turn), np.sin(turn)], -1) + point), 255)
    np.testing.assert_allclose(centroid(shrink(canvas).astype(float)), point, atol=0.05)


@pytest.mark.parametrize("pose", POSES)
@pytest.mark.parametrize("name", ["left_eye_center", "right_eye_center"])
def test_the_iris_is_painted_at_the_eye_centre(name: str, pose: Pose) -> None:
    shape = Shape(eye_open=8, gaze=1.0)  # so wide that no lid cuts the iris
    bright, dark = (render(shape, pose, PLAIN._replace(iris=i), np.random.default_rng(0)) for i in (200, 0))
    x, y = place(name, shape, pose).round().astype(int)
    window = np.s_[y - 6 : y + 7, x - 6 : x + 7]
    painted = centroid((bright[window].astype(float) - dark[window]).clip(0)) + np.array([x - 6, y - 6])
    np.testing.assert_allclose(painted, place(name, shape, pose), atol=0.3)


@pytest.mark.parametrize("pose", POSES)
def test_the_mouth_is_painted_between_its_points(pose: Pose) -> None:
    shape = Shape(mouth_half=15, gap=4)
    bright, dark = (render(shape, pose, PLAIN._replace(lip=i), np.random.default_rng(0)) for i in (200, 0))
    row, column = np.nonzero(bright.astype(int) - dark > 40)
    turn = np.array([[np.cos(pose.roll), np.sin(pose.roll)], [-np.sin(pose.roll), np.cos(pose.roll)]])
    painted = np.stack([column, row], -1) @ turn.T
    left, right, top, low = (
        turn @ place(name, shape, pose)
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
        ends = [place(f"{name}_eyebrow_{end}_end", shape, pose) for end in ("inner", "outer")]
        along = (ends[1] - ends[0]) / np.linalg.norm(ends[1] - ends[0])
        row, column = np.nonzero(weights > 90)
        reach = (np.stack([column, row], -1) - ends[0]) @ along
        reach = reach[reach > -6]  # the other brow lies beyond
        assert reach.min() == pytest.approx(0, abs=1.2)
        assert reach.max() == pytest.approx(np.linalg.norm(ends[1] - ends[0]), abs=1.5)


def test_turning_the_head_moves_the_nose_tip_further_than_the_eyes() -> None:
    ahead, aside = ({name: place(name, Shape(), Pose(yaw=yaw))[0] for name in landmarks(Shape())} for yaw in (0, 0.3))
    shift = {name: aside[name] - ahead[name] for name in ahead}
    assert shift["nose_tip"] > 4
    assert shift["nose_tip"] > shift["nose_base"] > abs(shift["left_eye_center"] + shift["right_eye_center"]) / 2


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_faces(keypoints: Keypoints) -> None:
    first, again, other = (draw_faces(12, seed, keypoints) for seed in (3, 3, 4))
    assert first.images.tobytes() == again.images.tobytes()
    assert first.points.tobytes() == again.points.tobytes()
    assert not (first.images == other.images).all(axis=(1, 2)).any()


def test_more_rows_begin_with_the_same_rows(faces: FaceTable, keypoints: Keypoints) -> None:
    short = draw_faces(100, 7, keypoints)
    np.testing.assert_array_equal(short.images, faces.images[:100])
    np.testing.assert_array_equal(short.points, faces.points[:100])
    np.testing.assert_array_equal(short.source, faces.source[:100])


def test_the_table_has_the_types_every_reader_promises(faces: FaceTable) -> None:
    assert (faces.images.dtype, faces.images.shape) == (np.uint8, (1500, 96, 96))
    assert (faces.points.dtype, faces.points.shape) == (np.float32, (1500, 15, 2))
    assert (faces.source.dtype, faces.row.tolist()) == (np.int8, list(range(1500)))
    half_missing = np.isnan(faces.points).any(-1) != np.isnan(faces.points).all(-1)
    assert not half_missing.any()
    assert np.nanmin(faces.points) >= 0
    assert np.nanmax(faces.points) < SIZE


def test_a_third_of_every_stretch_of_rows_is_dense(faces: FaceTable) -> None:
    assert (faces.source == 0).sum() == int(1500 * 0.325)
    assert all(12 <= (faces.source[start : start + 40] == 0).sum() <= 14 for start in range(0, 1480, 40))


def test_the_number_of_labels_tells_the_source_as_in_a_csv(faces: FaceTable, keypoints: Keypoints) -> None:
    np.testing.assert_array_equal(keypoints.source_of(2 * faces.mask.sum(axis=1)), faces.source)


def test_points_are_missing_as_in_the_real_data(faces: FaceTable, keypoints: Keypoints) -> None:
    dense, sparse = faces.mask[faces.source == 0], faces.mask[faces.source == 1]
    assert 0.02 < (~dense).any(axis=1).mean() < 0.12
    missing = dict(zip(keypoints.names, (~dense).sum(axis=0), strict=True))
    assert missing["left_eyebrow_outer_end"] + missing["right_eyebrow_outer_end"] > 0.3 * (~dense).sum()
    assert missing["nose_tip"] == 0
    assert 0 < (sparse.sum(axis=1) == 3).sum() < 0.02 * len(sparse)
    assert not sparse[:, ~keypoints.labels_of("sparse")].any()


def test_the_two_sources_mean_different_points_by_nose_and_lip(keypoints: Keypoints) -> None:
    """One face under both conventions; the offsets are those between the real sources' means."""
    dense, sparse = (
        draw_faces(40, 1, keypoints, SyntheticSettings(share, 0, 0, 0, (0, 0))).points.astype(float) for share in (1, 0)
    )
    both = keypoints.labels_of("sparse")
    names = np.array(keypoints.names)[both]
    difference = dict(zip(names, np.nanmean((sparse - dense)[:, both], axis=0), strict=True))
    np.testing.assert_allclose(difference["left_eye_center"], 0, atol=1e-6)
    assert difference["nose_tip"][1] == pytest.approx(7.8, abs=1.5)
    assert difference["mouth_center_bottom_lip"][1] == pytest.approx(-5.1, abs=1.5)


def test_the_mean_faces_are_the_real_ones(faces: FaceTable, keypoints: Keypoints) -> None:
    """Rounded means of the competition's training rows, by source."""
    real = [
        {"left_eye_center": (66, 37), "right_eyebrow_outer_end": (16, 30), "nose_tip": (48, 57)},
        {"left_eye_center": (66, 38), "nose_tip": (49, 65), "mouth_center_bottom_lip": (49, 77)},
    ]
    for source, means in enumerate(real):
        for name, mean in means.items():
            drawn = np.nanmean(faces.points[faces.source == source, keypoints.names.index(name)], axis=0)
            np.testing.assert_allclose(drawn, mean, atol=2.0)


def test_a_few_rows_repeat_an_earlier_image(faces: FaceTable) -> None:
    small = faces.images.reshape(1500, 48, 2, 48, 2).mean((2, 4)).reshape(1500, -1)
    small = small - small.mean(axis=1, keepdims=True)
    small /= np.linalg.norm(small, axis=1, keepdims=True)
    later, earlier = np.nonzero(np.tril(small @ small.T > 0.985, -1))
    assert 0.01 < len(np.unique(later)) / 1500 < 0.04
    same = (faces.images[later] == faces.images[earlier]).all(axis=(1, 2))
    assert same.any()
    assert not same.all()
    assert (faces.source[later] != faces.source[earlier]).any()
    apart = (faces.points[later] - faces.points[earlier])[:, :2].astype(float)
    assert 0 < np.nanmedian(np.abs(apart)) < 1.5


def test_wrong_labels_exist_but_do_not_rule_the_error(keypoints: Keypoints) -> None:
    clean = draw_faces(200, 7, keypoints, QUIET).points.astype(float)
    spoilt = draw_faces(200, 7, keypoints, SyntheticSettings(missing=0, duplicates=0, wrong=0.2, noise=(0, 0))).points
    errors = spoilt - clean
    wrong = np.nan_to_num(np.abs(errors)).max(axis=(1, 2)) > 3
    assert wrong.mean() == pytest.approx(0.2, abs=0.08)
    assert SyntheticSettings().wrong < 0.005
    assert pooled(errors) * np.sqrt(SyntheticSettings().wrong / 0.2) < 0.5


def test_label_noise_has_each_sources_size(keypoints: Keypoints) -> None:
    clean = draw_faces(200, 7, keypoints, QUIET)
    noisy = draw_faces(200, 7, keypoints, SyntheticSettings(missing=0, duplicates=0, wrong=0, noise=(0.5, 1.0)))
    for source, size in ((0, 0.5), (1, 1.0)):
        rows = clean.source == source
        assert pooled((noisy.points - clean.points)[rows].astype(float)) == pytest.approx(size, rel=0.12)


def test_neither_the_mean_face_nor_a_linear_regression_solves_the_task(faces: FaceTable) -> None:
    train, unseen = np.arange(1500) < 1100, np.arange(1500) >= 1100
    pixels = np.stack([cv2.resize(image, (48, 48), interpolation=cv2.INTER_AREA) for image in faces.images])
    pixels = pixels.reshape(1500, -1).astype(float)
    pixels = (pixels - pixels.mean(1, keepdims=True)) / pixels.std(1, keepdims=True)
    mean_errors, ridge_errors = [], {penalty: [] for penalty in (200, 1000, 5000)}
    for source in (0, 1):
        some = faces.mask[faces.source == source].any(axis=0)
        points = faces.points[:, some].reshape(1500, -1).astype(float)
        own = faces.source == source
        fit, test = own & train & ~np.isnan(points).any(axis=1), own & unseen
        mean, centre = points[fit].mean(axis=0), pixels[fit].mean(axis=0)
        mean_errors.append((points[test] - mean).ravel())
        known = pixels[fit] - centre
        for penalty, errors in ridge_errors.items():
            weights = np.linalg.solve(known @ known.T + penalty * np.eye(len(known)), points[fit] - mean)
            errors.append((points[test] - mean - (pixels[test] - centre) @ known.T @ weights).ravel())
    assert pooled(np.concatenate(mean_errors)) > 4
    assert min(pooled(np.concatenate(errors)) for errors in ridge_errors.values()) > 2.5


def test_every_measure_of_a_face_varies() -> None:
    assert min(SHAPE_STD) > 0
    assert min(POSE_STD) > 0


def test_what_cannot_be_drawn_is_named(keypoints: Keypoints) -> None:
    raw = keypoints.to_dict()
    chin = Keypoints.from_dict({**raw, "names": [*raw["names"], "chin"], "sources": {"dense": None}})
    with pytest.raises(UserError, match=r"kaggle15.*'chin'.*keypoints=kaggle15"):
        draw_faces(1, 0, chin)
    three = Keypoints.from_dict({**raw, "sources": {"dense": None, "a": ["nose_tip"], "b": ["nose_tip"]}})
    with pytest.raises(UserError, match="dense, a, b"):
        draw_faces(1, 0, three)
    with pytest.raises(UserError, match=r"data\.rows: 0"):
        draw_faces(0, 0, keypoints)
    with pytest.raises(UserError, match="seed: -1"):
        draw_faces(1, -1, keypoints)


def test_a_scheme_of_one_source_gets_dense_rows_only(keypoints: Keypoints) -> None:
    single = Keypoints.from_dict({**keypoints.to_dict(), "sources": {"dense": None}})
    table = draw_faces(9, 0, single)
    assert table.source.tolist() == [0] * 9
    assert table.mask.mean() > 0.9
