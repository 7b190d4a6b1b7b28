"""Colour from photos to points: one training in colour, and what uses its checkpoint."""

import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from facekp import KeypointPredictor, find_points
from facekp.core.errors import UserError
from facekp.data.images import read_image
from facekp.data.readers.read import read_table
from facekp.models.checkpoint import load_checkpoint
from facekp.models.ensemble import check_same_images, load_models, predict_table
from facekp.photos.reading import Photo
from facekp.photos.table_refining import predict_refined
from facekp.photos.web_handler import heatmap_pictures
from facekp.reporting.html.faces import ImageStore, face
from facekp.training.setup import train
from tests.commands.test_own_landmarks import settings
from tests.drawn_photos import FIVE, write_photos


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of photos, the settings of a training of one epoch in colour, and its best checkpoint."""
    folder = tmp_path_factory.mktemp("colour")
    write_photos(folder, 12, boxes=True)
    config = settings(folder, "data.channels=3", "callbacks.pictures=2").replaced(keypoints=FIVE)
    train(config, folder / "run")
    return folder, config, folder / "run" / "checkpoints" / "best.ckpt"


def test_a_checkpoint_in_colour_predicts_from_colours(trained):
    _, config, ckpt = trained
    loaded = load_checkpoint(ckpt)
    assert loaded.model.image_channels == 3
    assert loaded.model.network.stem[0].in_channels == 3
    table = read_table(config.data, loaded.model.keypoints)
    points = predict_table([loaded], table).points
    predictor = KeypointPredictor.from_checkpoint(ckpt, views="all", engine="torch")
    np.testing.assert_allclose(predictor(table.images)[0], points, atol=1e-3)
    np.testing.assert_allclose(predictor(table.images.transpose(0, 3, 1, 2))[0], points, atol=1e-3)
    np.testing.assert_allclose(predictor(table.images[0])[0], points[0], atol=1e-3)
    larger = np.repeat(np.repeat(table.images[:2], 2, axis=1), 2, axis=2)
    np.testing.assert_allclose((predictor(larger)[0] + 0.5) / 2 - 0.5, points[:2], atol=1e-3)
    assert not np.array_equal(predictor(table.images[..., ::-1])[0], predictor(table.images)[0])  # blue for red
    assert predict_refined([loaded], table).points.shape == points.shape


def test_photos_are_predicted_in_colour_and_shown_so(trained):
    folder, _, ckpt = trained
    photo = read_image(str(next((folder / "photos").glob("*.jpg"))))
    (found,) = find_points(photo, ckpt=ckpt, detector="none", refine=False)
    predictor = KeypointPredictor.from_checkpoint(ckpt)
    crop = found.crop.cut(photo)
    assert crop.shape == (96, 96, 3)
    np.testing.assert_allclose(found.points, found.crop.to_photo(predictor(crop)[0]), atol=1e-3)
    assert len(heatmap_pictures(Photo("photo", photo), found, predictor)) == 5


def test_grey_data_and_grey_models_beside_colour_are_refused_in_one_line(trained):
    _, config, ckpt = trained
    loaded = load_checkpoint(ckpt)
    grey = read_table(config.data.replaced(channels=1), loaded.model.keypoints)
    with pytest.raises(UserError, match=r"best.ckpt: takes colour images, but .* are grey; .*data.channels=3"):
        predict_table([loaded], grey)
    with pytest.raises(UserError, match=r"images: of shape .*; give colour crops"):
        KeypointPredictor.from_checkpoint(ckpt)(grey.images)
    first, second = load_models([ckpt, ckpt])
    second.model.image_channels = 1
    with pytest.raises(UserError, match=r"best\.ckpt: takes grey images, but .*best\.ckpt takes colour ones"):
        check_same_images(second, first)


def test_a_page_shows_colours():
    store = ImageStore()
    red = np.zeros((8, 6, 3), np.uint8)
    red[..., 0] = 255
    assert face(store, red, "a face", [])["size"] == [6, 8]
    (url,) = store.images.values()
    with Image.open(BytesIO(base64.b64decode(url.partition(",")[2]))) as shown:
        np.testing.assert_array_equal(np.asarray(shown), red)
