"""`facekp.find_points`: from a photo to points in one call."""

import numpy as np
import pytest
from PIL import Image

import facekp
from facekp.core.errors import UserError
from facekp.photos.detectors import FACE_DETECTORS, build_face_detector
from tests.photos.conftest import colour, write_video


def test_a_file_and_its_pixels_give_the_points_of_the_predictor(tmp_path, faces, small_checkpoint, small_predictor):
    image = faces.images[0].repeat(2, axis=0).repeat(2, axis=1)  # halving it gives the image back
    Image.fromarray(image).save(tmp_path / "photo.png")
    given = (str(tmp_path / "photo.png"), tmp_path / "photo.png", image, colour(image), image.astype(np.float32))
    for photo in given:
        (face,) = facekp.find_points(photo, ckpt=small_checkpoint, detector="none", refine=False)
        assert np.allclose(face.points, 2 * (small_predictor(faces.images[0])[0] + 0.5) - 0.5, atol=0.02)
        assert face.names == tuple(faces.keypoints.names)
        assert face.box == (-0.5, -0.5, 191.5, 191.5)


def test_a_photo_without_a_face_gives_none(small_checkpoint):
    assert facekp.find_points(np.full((120, 160, 3), 90, np.uint8), ckpt=small_checkpoint) == []


def test_the_detector_may_be_an_object_or_a_name(faces, small_checkpoint):
    named = FACE_DETECTORS.parse({"name": "none"})
    (face,) = facekp.find_points(faces.images[0], ckpt=small_checkpoint, detector=build_face_detector(named))
    assert face.points.shape == (15, 2)
    with pytest.raises(UserError, match="haar, none, yunet"):
        facekp.find_points(faces.images[0], ckpt=small_checkpoint, detector="harr")


@pytest.mark.parametrize(
    ("photo", "message"),
    [
        ("nowhere.jpg", r"^nowhere.jpg: no such file$"),
        (np.zeros((4, 5, 2), np.uint8), r"^photo: an array of shape \(4, 5, 2\); give"),
        (np.full((40, 50, 3), 0.5), "multiply images by 255"),
        (np.full((40, 50), np.nan), "NaN"),
        (np.full((40, 50), 4095, np.uint16), "outside 0..255"),
    ],
)
def test_what_is_no_photo_is_refused_in_one_line(small_checkpoint, photo, message):
    with pytest.raises(UserError, match=message):
        facekp.find_points(photo, ckpt=small_checkpoint)


def test_files_that_are_no_photos_are_named(tmp_path, faces, small_checkpoint):
    write_video(tmp_path / "clip.mp4", faces.images[0], 2)
    Image.fromarray(faces.images[0]).save(tmp_path / "whole.jpg")
    (tmp_path / "half.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:1000])
    with pytest.raises(UserError, match=r"clip.mp4: is not a photo; for videos use facekp predict"):
        facekp.find_points(tmp_path / "clip.mp4", ckpt=small_checkpoint)
    with pytest.raises(UserError, match=r"half.jpg: .*truncated"):
        facekp.find_points(tmp_path / "half.jpg", ckpt=small_checkpoint)
