"""Any scheme, any size of image: trained, scored and drawn like the competition's own."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data.readers.read import read_table
from facekp.models.checkpoint import load_checkpoint
from facekp.models.ensemble import predict_table
from facekp.models.keypoint_model import KeypointModel
from facekp.models.scoring import unseen_rows
from facekp.runs.folder import RunFolder
from facekp.runs.frames import split_frame
from facekp.training.resume import checkpoint_to_resume
from facekp.training.setup import train
from tests.conftest import TINY, config_of, settings_of
from tests.drawn_photos import FIVE, five, write_photos

SMALL = [override for override in TINY if not override.startswith(("data", "trainer.max_epochs"))]


def settings(folder, *more):
    paths = (f"data.images={folder}/photos", f"data.labels={folder}/labels.csv", "data.cache=null")
    return settings_of("data=folder", *SMALL, "trainer.max_epochs=1", *paths, *more)


def write_noise(folder, names, count=20):
    """Photos without a face, and as many labels as a scheme has names, one in ten of them missing."""
    random = np.random.default_rng(0)
    (folder / "photos").mkdir()
    rows = []
    for i in range(count):
        width, height = (int(side) for side in random.integers(70, 200, 2))
        Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(
            folder / "photos" / f"{i}.png"
        )
        points = random.uniform(0.2, 0.8, (len(names), 2)) * (width, height)
        points[random.random(len(names)) < 0.1] = np.nan
        rows.append([f"{i}.png", *points.ravel().round(1)])
    columns = [f"{name}_{axis}" for name in names for axis in "xy"]
    pd.DataFrame(rows, columns=["name", *columns]).to_csv(folder / "labels.csv", index=False)


def test_68_points_at_64_pixels(tmp_path):
    scheme = Keypoints.from_dict(config_of("keypoints=ibug68")["keypoints"])
    write_noise(tmp_path, scheme.names)
    config = settings(tmp_path, "keypoints=ibug68", "data.size=64", "callbacks.pictures=1")
    figures = train(config, tmp_path / "run")
    assert {f"rmse/{name}" for name in scheme.names} | {"rmse/default", "nme"} <= set(figures)
    loaded = load_checkpoint(tmp_path / "run" / "checkpoints" / "best.ckpt")
    assert (loaded.model.codec.size, len(loaded.model.mean_face[0])) == ((64, 64), 68)
    table = read_table(config.data, loaded.model.keypoints)
    split = pd.read_csv(tmp_path / "run" / "split.csv")
    assert unseen_rows([loaded], table).tolist() == np.flatnonzero(split["set"] == "val").tolist()
    assert {"nme", "nme/ocular", "auc/0.08"} <= set(figures["intervals"])
    coco = json.loads((tmp_path / "run" / "coco.json").read_text())
    assert [annotation["id"] for annotation in coco["annotations"]] == table.row[split["set"] == "val"].tolist()
    pictures = {path.stem for path in (tmp_path / "run" / "pictures").iterdir()}
    assert {"faces", "error_curve", "nme_curve"} < pictures
    larger = read_table(config.data.replaced(size=96), loaded.model.keypoints)
    with pytest.raises(
        UserError, match=r"takes images of size 64 x 64 pixels, but the data has 96 x 96; .*data.size=64"
    ):
        predict_table([loaded], larger)
    for_larger = replace(loaded, model=KeypointModel(scheme, (96, 96), config.model, "softmax", config.decoder))
    for table_of_one in (table, larger):
        with pytest.raises(UserError, match=r"takes 96 x 96 images, but .*best\.ckpt takes 64 x 64 ones"):
            predict_table([loaded, for_larger], table_of_one)


def test_a_scheme_without_pairs_lines_or_normaliser_in_two_conventions_at_128_pixels(tmp_path):
    bare = {key: FIVE[key] for key in ("name", "names")}
    scheme = Keypoints.from_dict({**bare, "sources": {"full": None, "quick": ["left_eye", "nose"]}})
    labels = write_photos(tmp_path, 24)
    quick = np.arange(24) % 3 == 0
    labels.loc[quick, [column for column in labels if column.startswith(("right", "left_mouth"))]] = np.nan
    labels.assign(source=np.where(quick, "quick", "")).to_csv(tmp_path / "labels.csv", index=False)
    config = settings(tmp_path, "data.size=128", "augment=strong", "subset=complete")
    figures = train(config.replaced(keypoints=scheme.to_dict()), tmp_path / "run")
    assert "nme" not in figures
    assert {"rmse/full", "rmse/quick", "rmse/nose"} <= set(figures)
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["finished"]
    split = pd.read_csv(tmp_path / "run" / "split.csv")
    assert set(split.loc[split["set"] == "train", "source"]) == {"full"}
    assert set(split.loc[split["set"] == "val", "source"]) == {"full", "quick"}
    assert (split.groupby("name")["fold"].nunique() == 1).all()


def test_names_of_photos_that_look_like_something_else_do_not_hinder_resuming(tmp_path, faces):
    names = np.array([f"{i:04d}" for i in range(79)] + ["NA"])
    table = replace(faces, name=names, photo_matrix=np.tile(np.eye(2, 3), (80, 1, 1)))
    rows = np.arange(80)
    split = split_frame(table, rows % 5, rows, rows[1:], rows[:1])
    run = RunFolder(tmp_path)
    split.to_csv(run.split, index=False)
    assert checkpoint_to_resume(run, split, {}, 9) is None
    with pytest.raises(UserError, match="differ from those"):
        checkpoint_to_resume(run, split.assign(name=names[::-1]), {}, 9)


def test_a_network_that_needs_the_size_takes_that_of_the_data():
    for model in ("regression", "simcc"):
        assert config_of(f"model={model}")["model"]["network"]["size"] == 96
        own = config_of(f"model={model}", "data=folder", "data.images=a", "data.labels=b", "data.size=64")
        assert own["model"]["network"]["size"] == 64


def test_the_coordinate_network_draws_its_prediction_as_wide_as_the_target():
    assert config_of("model=regression", "experiment=cpu")["model"]["network"]["sigma"] == 0.6


def test_predictions_are_also_written_in_the_photo_s_pixels(tmp_path):
    labels = write_photos(tmp_path, 20)
    train(settings(tmp_path).replaced(keypoints=five().to_dict()), tmp_path / "run")
    found = pd.read_csv(tmp_path / "run" / "predictions.csv")
    table = read_table(settings(tmp_path).data, five())
    for one in found.itertuples():
        own = labels.iloc[one.row - 1]
        assert one.name == own["name"]
        assert (one.photo_true_x, one.photo_true_y) == pytest.approx(
            (own[f"{one.keypoint}_x"], own[f"{one.keypoint}_y"]), abs=2e-3
        )
        expected = table.photo_matrix[one.row - 1] @ [one.x, one.y, 1]
        assert (one.photo_x, one.photo_y) == pytest.approx(tuple(expected), abs=2e-3)
