"""Tables of drawn faces: reproducible, composed like the real data, hard enough."""

import cv2
import numpy as np
import pytest

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data.synthetic.faces import draw_faces
from facekp.data.synthetic.geometry import SIZE
from facekp.data.table import FaceTable
from tests.data.synthetic.samples import pooled


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_faces(keypoints: Keypoints) -> None:
    first, again, other = (draw_faces(12, seed, keypoints) for seed in (3, 3, 4))
    assert first.images.tobytes() == again.images.tobytes()
    assert first.points.tobytes() == again.points.tobytes()
    assert not (first.images == other.images).all(axis=(1, 2)).any()


def test_the_last_bit_of_a_blur_does_not_reach_the_grey_levels(
    keypoints: Keypoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processors differ in it, as OpenCV adds in another order."""
    here = draw_faces(150, 0, keypoints)
    blur, floats = cv2.GaussianBlur, []

    def blur_elsewhere(image: np.ndarray, *how: object) -> np.ndarray:
        blurred = blur(image, *how)
        if blurred.dtype == np.uint8:
            return blurred
        floats.append(blurred)
        return np.nextafter(blurred, np.where(np.arange(96) % 2, np.inf, -np.inf).astype(blurred.dtype))

    monkeypatch.setattr(cv2, "GaussianBlur", blur_elsewhere)
    elsewhere = draw_faces(150, 0, keypoints)
    assert floats
    np.testing.assert_array_equal(elsewhere.images, here.images)


def test_more_rows_begin_with_the_same_rows(drawn: FaceTable, keypoints: Keypoints) -> None:
    short = draw_faces(100, 7, keypoints)
    np.testing.assert_array_equal(short.images, drawn.images[:100])
    np.testing.assert_array_equal(short.points, drawn.points[:100])
    np.testing.assert_array_equal(short.source, drawn.source[:100])


def test_the_table_has_the_types_of_every_reader(drawn: FaceTable) -> None:
    assert (drawn.images.dtype, drawn.images.shape) == (np.uint8, (1500, 96, 96))
    assert (drawn.points.dtype, drawn.points.shape) == (np.float32, (1500, 15, 2))
    assert (drawn.source.dtype, drawn.row.tolist()) == (np.int8, list(range(1500)))
    half_missing = np.isnan(drawn.points).any(-1) != np.isnan(drawn.points).all(-1)
    assert not half_missing.any()
    assert np.nanmin(drawn.points) >= 0
    assert np.nanmax(drawn.points) < SIZE


def test_a_third_of_every_stretch_of_rows_is_dense(drawn: FaceTable) -> None:
    assert (drawn.source == 0).sum() == int(1500 * 0.325)
    assert all(12 <= (drawn.source[start : start + 40] == 0).sum() <= 14 for start in range(0, 1480, 40))


def test_the_number_of_labels_gives_the_source_as_in_a_csv(drawn: FaceTable, keypoints: Keypoints) -> None:
    np.testing.assert_array_equal(keypoints.source_of(2 * drawn.mask.sum(axis=1)), drawn.source)


def test_the_mean_faces_are_the_real_ones(drawn: FaceTable, keypoints: Keypoints) -> None:
    """Rounded means of the competition's training rows, by source."""
    real = [
        {"left_eye_center": (66, 37), "right_eyebrow_outer_end": (16, 30), "nose_tip": (48, 57)},
        {"left_eye_center": (66, 38), "nose_tip": (49, 65), "mouth_center_bottom_lip": (49, 77)},
    ]
    for source, means in enumerate(real):
        for name, mean in means.items():
            position = np.nanmean(drawn.points[drawn.source == source, keypoints.names.index(name)], axis=0)
            np.testing.assert_allclose(position, mean, atol=2.0)


def test_a_few_rows_repeat_an_earlier_image(drawn: FaceTable) -> None:
    small = drawn.images.reshape(1500, 48, 2, 48, 2).mean((2, 4)).reshape(1500, -1)
    small = small - small.mean(axis=1, keepdims=True)
    small /= np.linalg.norm(small, axis=1, keepdims=True)
    later, earlier = np.nonzero(np.tril(small @ small.T > 0.985, -1))
    assert 0.01 < len(np.unique(later)) / 1500 < 0.04
    same = (drawn.images[later] == drawn.images[earlier]).all(axis=(1, 2))
    assert same.any()
    assert not same.all()
    assert (drawn.source[later] != drawn.source[earlier]).any()
    apart = (drawn.points[later] - drawn.points[earlier])[:, :2].astype(float)
    assert 0 < np.nanmedian(np.abs(apart)) < 1.5


def test_neither_the_mean_face_nor_a_linear_regression_solves_the_task(drawn: FaceTable) -> None:
    train, unseen = np.arange(1500) < 1100, np.arange(1500) >= 1100
    pixels = np.stack([cv2.resize(image, (48, 48), interpolation=cv2.INTER_AREA) for image in drawn.images])
    pixels = pixels.reshape(1500, -1).astype(float)
    pixels = (pixels - pixels.mean(1, keepdims=True)) / pixels.std(1, keepdims=True)
    mean_errors, ridge_errors = [], {penalty: [] for penalty in (200, 1000, 5000)}
    for source in (0, 1):
        some = drawn.mask[drawn.source == source].any(axis=0)
        points = drawn.points[:, some].reshape(1500, -1).astype(float)
        of_source = drawn.source == source
        fit, test = of_source & train & ~np.isnan(points).any(axis=1), of_source & unseen
        mean, centre = points[fit].mean(axis=0), pixels[fit].mean(axis=0)
        mean_errors.append((points[test] - mean).ravel())
        known = pixels[fit] - centre
        for penalty, errors in ridge_errors.items():
            weights = np.linalg.solve(known @ known.T + penalty * np.eye(len(known)), points[fit] - mean)
            errors.append((points[test] - mean - (pixels[test] - centre) @ known.T @ weights).ravel())
    assert pooled(np.concatenate(mean_errors)) > 4
    assert min(pooled(np.concatenate(errors)) for errors in ridge_errors.values()) > 2.5


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
