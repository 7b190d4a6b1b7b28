"""What would give wrong results without a word: every case is refused, warned of, or done right. One row a case."""

import json
import os
import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints, flip_channels
from facekp.data.competition import read_test_csv, write_submission, write_test, write_training
from facekp.data.crops import photos_digest
from facekp.data.readers.read import read_table
from facekp.data.synthetic.faces import draw_faces
from facekp.models.calibration_fit import load_twin
from facekp.models.checkpoint import load_checkpoint
from facekp.models.ensemble import predict_table
from facekp.models.keypoint_model import KeypointModel
from facekp.models.predictor import KeypointPredictor
from facekp.models.scoring import unseen_rows
from facekp.models.settings import DecoderSettings
from facekp.models.transfer import copy_matching
from facekp.reporting.bench.example_runs import write_example_runs
from facekp.reporting.html.collect import read_runs
from facekp.reporting.html.grouping import group_runs
from facekp.runs.sweeps.configurations import by_configuration, repeated_keys
from facekp.runs.sweeps.job_names import differing
from tests.conftest import config_of, settings_of
from tests.data.photo_folder import read_folder
from tests.data.samples import data_settings
from tests.drawn_photos import FIVE, five, write_photos

FACES = 24


@pytest.fixture(scope="module")
def drawn(scheme):
    return draw_faces(FACES, 5, scheme)


@pytest.fixture
def given(drawn, scheme, ckpt, tmp_path, caplog):
    """What the cases work with."""
    return SimpleNamespace(drawn=drawn, scheme=scheme, ckpt=ckpt, folder=tmp_path, log=caplog)


def lone():
    """A scheme whose second source labels the left of two eyes."""
    return Keypoints.from_dict(
        {
            "name": "lone",
            "names": ["left_eye", "right_eye", "nose"],
            "pairs": [["left_eye", "right_eye"]],
            "sources": {"whole": None, "half": ["left_eye", "nose"]},
        }
    )


def reordered(scheme):
    """The same points in the opposite order."""
    return Keypoints.from_dict({**scheme.to_dict(), "names": list(scheme.names[::-1])})


def model_of(scheme, flip=False):
    torch.manual_seed(0)
    settings = settings_of("model.network.channels=8", "model.network.levels=1")
    decoder = DecoderSettings(rule="subpixel", floor=0.0, flip=flip, shift=0.0, scale=0.0)
    return KeypointModel(scheme, (96, 96), settings.model, "softmax", decoder).eval()


def in_order_of(table, scheme):
    index = [table.keypoints.names.index(name) for name in scheme.names]
    return replace(table, keypoints=scheme, points=table.points[:, index])


def kaggle(given, points=None, images=None):
    """Read the drawn faces from training.csv, with other points or images."""
    table = replace(given.drawn, points=given.drawn.points if points is None else points)
    table = table if images is None else replace(table, images=images)
    write_training(given.folder / "training.csv", table)
    return read_table(data_settings(f"data.dir={given.folder}", "data.cache=null"), given.scheme)


def photos(given, change=lambda labels: labels, count=12):
    """Read drawn photos, with changed labels."""
    labels = write_photos(given.folder, count)
    change(labels).to_csv(given.folder / "labels.csv", index=False)
    return read_folder(given.folder)


def coco(given, change=lambda points: points, count=12):
    """The labels of drawn photos in COCO's format, with changed points."""
    labels = write_photos(given.folder, count)
    names = labels["name"].drop_duplicates().tolist()
    columns = [f"{name}_{axis}" for name in FIVE["names"] for axis in "xy"]
    points = change(labels[columns].to_numpy(float).reshape(len(labels), -1, 2))
    visible = np.concatenate((points, np.full((*points.shape[:2], 1), 2)), axis=2)
    content = {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(names)],
        "annotations": [
            {"id": i, "image_id": names.index(name), "category_id": 1, "keypoints": visible[i].ravel().tolist()}
            for i, name in enumerate(labels["name"])
        ],
        "categories": [{"id": 1, "name": "face", "keypoints": FIVE["names"]}],
    }
    (given.folder / "labels.json").write_text(json.dumps(content))
    paths = (f"data.images={given.folder}/photos", f"data.labels={given.folder}/labels.json", "data.cache=null")
    return read_table(data_settings("data=coco", *paths), five())


# A source that labels one of a pair


def flips_are_a_permutation(given):
    for scheme in (lone(), given.scheme):
        channels = scheme.channels(by_source=True)
        flipped = flip_channels(channels, scheme.flip_order())
        assert sorted(flipped) == list(range(channels.max() + 1))
        assert (flipped[flipped] == np.arange(len(flipped))).all()
        assert (flipped[channels] == channels[:, scheme.flip_order()]).all()
    assert lone().channels(by_source=True).tolist() == [[0, 1, 2], [3, 4, 5]]


def flip_averaging_gives_mirrored_points_of_a_mirrored_image(given):
    model, order = model_of(lone(), flip=True), lone().flip_order()
    images, source = torch.from_numpy(given.drawn.images[:4])[:, None], torch.tensor([1, 1, 0, 1])
    points, mirrored = (model.predict(each, source).points for each in (images, images.flip(-1)))
    mirrored[..., 0] = 95 - mirrored[..., 0]
    torch.testing.assert_close(mirrored[:, order], points, atol=1e-3, rtol=0)


# Another order of points


def initial_weights_are_taken_by_name(given):
    loaded, scheme = load_checkpoint(given.ckpt), reordered(given.scheme)
    model = model_of(scheme)
    copy_matching(model, loaded)
    images, source = torch.from_numpy(given.drawn.images[:4])[:, None], torch.tensor([0, 1, 0, 1])
    index = [given.scheme.names.index(name) for name in scheme.names]
    expected = loaded.model.heatmaps(images)[torch.arange(4)[:, None], loaded.model.channels[source]][:, index]
    found = model.heatmaps(images)[torch.arange(4)[:, None], model.channels[source]]
    torch.testing.assert_close(found, expected)


def predict_points_in_another_order(given):
    predict_table([load_checkpoint(given.ckpt)], in_order_of(given.drawn, reordered(given.scheme)))


def ensemble_of_two_orders(given):
    raw = torch.load(given.ckpt, weights_only=True)
    raw["facekp"]["keypoints"] = reordered(given.scheme).to_dict()
    torch.save(raw, given.folder / "other.ckpt")
    KeypointPredictor.from_checkpoint([given.ckpt, given.folder / "other.ckpt"])


def ensemble_of_two_orders_of_sources(given):
    raw = torch.load(given.ckpt, weights_only=True)
    sources = {name: list(given.scheme.names) for name in ("dense", "sparse")}
    for file, names in (("one.ckpt", ("dense", "sparse")), ("two.ckpt", ("sparse", "dense"))):
        scheme = {**given.scheme.to_dict(), "sources": {name: sources[name] for name in names}}
        state = {f"model.{name}": value for name, value in model_of(Keypoints.from_dict(scheme)).state_dict().items()}
        entry = {**raw["facekp"], "keypoints": scheme, "labels": None}
        torch.save({**raw, "facekp": entry, "state_dict": state}, given.folder / file)
    KeypointPredictor.from_checkpoint([given.folder / "one.ckpt", given.folder / "two.ckpt"])


def twin_of_another_order(given):
    raw = torch.load(given.ckpt, weights_only=True)
    raw["facekp"]["keypoints"] = reordered(given.scheme).to_dict()
    torch.save(raw, given.folder / "twin.ckpt")
    load_twin(load_checkpoint(given.ckpt), str(given.folder / "twin.ckpt"))


def sides_exchanged_between_checkpoint_and_labels(given):
    order = given.scheme.flip_order()
    predict_table([load_checkpoint(given.ckpt)], replace(given.drawn, points=given.drawn.points[:, order]))


def axes_exchanged_between_checkpoint_and_labels(given):
    predict_table([load_checkpoint(given.ckpt)], replace(given.drawn, points=given.drawn.points[..., ::-1].copy()))


def images_of_another_size(given):
    images = np.stack([cv2.resize(image, (64, 64)) for image in given.drawn.images])
    predict_table([load_checkpoint(given.ckpt)], replace(given.drawn, images=images))


# Caches


def a_link_to_another_photo_is_another_photo(given):
    for name in ("a", "b"):
        (given.folder / f"{name}.png").write_bytes(name.encode())
        os.utime(given.folder / f"{name}.png", (1, 1))
    link = given.folder / "link.png"
    link.symlink_to(given.folder / "a.png")
    before = photos_digest(["link.png"], given.folder)
    link.unlink()
    link.symlink_to(given.folder / "b.png")
    assert photos_digest(["link.png"], given.folder) != before


def a_photo_replaced_with_its_size_and_time_is_another_photo(given):
    for name in ("a", "b"):
        (given.folder / f"{name}.png").write_bytes(name.encode())
        os.utime(given.folder / f"{name}.png", (1, 1))
    before = photos_digest(["a.png"], given.folder)
    os.replace(given.folder / "b.png", given.folder / "a.png")
    assert photos_digest(["a.png"], given.folder) != before


def the_same_names_in_another_folder_give_other_crops(given):
    write_photos(given.folder / "one", 6)
    shutil.copytree(given.folder / "one", given.folder / "two")
    for path in (given.folder / "two" / "photos").iterdir():
        status = path.stat()
        Image.open(path).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    cache = f"data.cache={given.folder}/cache"
    one, two = (read_folder(given.folder / name, cache) for name in ("one", "two"))
    assert (one.images != two.images).any()


# Reports


def two_folders_of_runs(given):
    config = config_of("data=kaggle", "data.dir=/first", "data.cache=null")
    write_example_runs(given.folder / "runs", 4, given.drawn, config)
    return [given.folder / "runs" / f"run00{i}" for i in range(4)]


def edit_config(folder, change):
    config = yaml.safe_load((folder / "config.yaml").read_text())
    change(config)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def runs_of_other_folders_are_no_seeds(given):
    folders = two_folders_of_runs(given)
    for i, folder in enumerate(folders):
        edit_config(folder, lambda config, i=i: config.update(lr=1e-3, seed=i, data={**config["data"], "fold": 0}))
    edit_config(folders[3], lambda config: config["data"].update(dir="/second"))
    runs, _ = read_runs([given.folder / "runs"])
    groups = group_runs(runs)
    assert sorted(len(group.runs) for group in groups) == [1, 3]
    assert {group.name for group in groups} == {"dir=/first", "dir=/second"}
    assert len({run.split for run in runs}) == 2


def runs_of_equal_content_are_seeds_wherever_it_was(given):
    folders = two_folders_of_runs(given)
    for i, folder in enumerate(folders):
        edit_config(folder, lambda config, i=i: config.update(lr=1e-3, seed=i, data={**config["data"], "dir": f"/{i}"}))
        (folder / "data.yaml").write_text(yaml.safe_dump({"images": "ab" * 16, "labels": f"{max(i, 2)}d" * 16}))
    groups = group_runs(read_runs([given.folder / "runs"])[0])
    assert sorted(len(group.runs) for group in groups) == [1, 3]


def runs_of_changed_labels_are_no_seeds(given):
    folders = two_folders_of_runs(given)
    for i, folder in enumerate(folders):
        edit_config(folder, lambda config, i=i: config.update(lr=1e-3, seed=i, data={**config["data"], "fold": 0}))
        frame = pd.read_csv(folder / "predictions.csv")
        frame = frame[frame["row"] == frame["row"].min()]  # the example runs hold out different rows
        frame["row"] = 7
        frame[["true_x", "true_y"]] = 10.0 + (i == 3)
        frame.to_csv(folder / "predictions.csv", index=False)
    groups = group_runs(read_runs([given.folder / "runs"])[0])
    assert sorted(len(group.runs) for group in groups) == [1, 3]
    assert any("other labels" in group.name for group in groups)


def jobs_of_other_folders_are_no_folds(given):
    jobs = pd.DataFrame({"dir": ["/a", "/a", "/b", "/b"], "fold": ["0", "1", "0", "1"], "rmse": [1.0, 2.0, 5.0, 6.0]})
    jobs = jobs.assign(minutes=1.0, status="ok", message="", folder=list("abcd"))
    assert repeated_keys(jobs) == ["data.fold"]
    assert by_configuration(jobs)["rmse"].tolist() == [1.5, 5.5]


def another_key_called_fold_or_seed_is_no_repetition(given):
    named = differing(["callbacks.mine.fold=1", "data.seed=2", "data.fold=3"], [], ["seed"])
    assert named == {"callbacks.mine.fold": "1", "data.seed": "2", "data.fold": "3"}
    assert differing(["data.fold=3", "model.split_seed=1"], [], []) == {"fold": "3", "model.split_seed": "1"}


# Units, axes and sides of labels


def mirrored(points, width):
    return np.stack((width - 1 - points[..., 0], points[..., 1]), axis=-1)


def exchange(labels, first, second):
    names = {f"{first}_{axis}": f"{second}_{axis}" for axis in "xy"}
    return labels.rename(columns={**names, **{new: old for old, new in names.items()}})


def exchange_sides(labels):
    return exchange(exchange(labels, "left_eye", "right_eye"), "left_mouth", "right_mouth")


def exchange_axes(labels):
    ends = {"x": "_y", "y": "_x"}
    return labels.rename(columns={name: f"{name[:-2]}{ends[name[-1]]}" for name in labels if name[-2:] in ("_x", "_y")})


def as_fractions(labels, folder):
    sizes = {name: Image.open(folder / "photos" / name).size for name in labels["name"].unique()}
    for axis, end in enumerate(("_x", "_y")):
        side = labels["name"].map(lambda name, axis=axis: sizes[name][axis])
        for column in (name for name in labels if name.endswith(end)):
            labels[column] = labels[column] / side
    return labels


def good_labels_pass(given):
    kaggle(given)
    photos(given)
    assert "exchange" not in given.log.text
    assert "transposed" not in given.log.text


def scaled(scale, middle=0.0):
    return lambda given: kaggle(given, (given.drawn.points - middle) / scale)


# Schemes


def scheme_with(**changes):
    return lambda given: Keypoints.from_dict({**lone().to_dict(), **changes})


def sources_of_equal_size(given):
    scheme = scheme_with(sources={"mine": None, "yours": ["nose", "left_eye", "right_eye"]})(given)
    scheme.source_of(np.array([6, 2]))


def offsets_of_another_source(given):
    model_of(given.scheme).keypoints.offsets({"mine": 1.0})


# Test images and submissions


def competition_files(given, change=lambda lookup: lookup, ids=(5, 2, 9)):
    """Write test.csv and IdLookupTable.csv of the first drawn faces, and read them back."""
    table = replace(given.drawn.take(np.arange(len(ids))), row=np.array(ids))
    write_test(given.folder, table, table.mask)
    lookup = pd.read_csv(given.folder / "IdLookupTable.csv")
    change(lookup).to_csv(given.folder / "IdLookupTable.csv", index=False)
    return table, *read_test_csv(given.folder, given.scheme)


def a_submission_follows_ids_in_any_order(given):
    wrote, table, lookup = competition_files(given, lambda lookup: lookup.sample(frac=1, random_state=0))
    write_submission(given.folder / "out.csv", table, np.nan_to_num(wrote.points), lookup)
    out = pd.read_csv(given.folder / "out.csv")
    assert out["RowId"].tolist() == lookup["RowId"].tolist() != sorted(lookup["RowId"])
    truth = {(int(row), name): value for row, points in zip(wrote.row, wrote.points, strict=True)
             for name, value in zip(given.scheme.columns, points.ravel(), strict=True)}  # fmt: skip
    expected = [truth[key] for key in zip(lookup["ImageId"], lookup["FeatureName"], strict=True)]
    np.testing.assert_allclose(out["Location"], expected, atol=1e-4)


def rename_a_feature(lookup):
    return lookup.replace("nose_tip_x", "nose_x")


def repeat_a_row(lookup):
    return pd.concat([lookup, lookup.head(1)])


def name_an_absent_image(lookup):
    return lookup.assign(ImageId=lookup["ImageId"].replace(9, 10))


# Scored rows


def training_rows_are_not_scored(given):
    loaded = load_checkpoint(given.ckpt)
    trained = read_table(data_settings("data=synthetic", "data.rows=60"), given.scheme)
    rows = unseen_rows([loaded], trained)
    assert 0 < len(rows) < 20
    again = unseen_rows([loaded], given.drawn.joined(trained))
    assert again.tolist() == [*range(FACES), *(rows + FACES)]


RIGHT, REFUSED, WARNED = "done right", "refused", "warned"
SIDES = "have their left points to the left of the right ones"
AXES = "have their left and right points above each other"
ROWS = [
    # a source that labels one point of a pair
    (flips_are_a_permutation, RIGHT, ""),
    (flip_averaging_gives_mirrored_points_of_a_mirrored_image, RIGHT, ""),
    # checkpoints of another order of points, sides, size
    (initial_weights_are_taken_by_name, RIGHT, ""),
    (predict_points_in_another_order, REFUSED, "predicts the points of kaggle15 .* in another order"),
    (ensemble_of_two_orders, REFUSED, "other.ckpt: has other keypoints"),
    (ensemble_of_two_orders_of_sources, REFUSED, "two.ckpt: has other keypoints"),
    (twin_of_another_order, REFUSED, "other keypoints than"),
    (sides_exchanged_between_checkpoint_and_labels, WARNED, "px with left and right points exchanged"),
    (axes_exchanged_between_checkpoint_and_labels, WARNED, "px with x and y exchanged"),
    (images_of_another_size, REFUSED, "takes images of size 96 x 96 pixels, but the data has 64 x 64"),
    (offsets_of_another_source, REFUSED, "offsets: 'mine' is not a source of kaggle15"),
    (training_rows_are_not_scored, RIGHT, ""),
    # schemes
    (scheme_with(pairs=[["nose", "nose"]]), REFUSED, "pairs: 'nose' is duplicated"),
    (scheme_with(pairs=[["left_eye", "nose"], ["nose", "right_eye"]]), REFUSED, "pairs: 'nose' is duplicated"),
    (scheme_with(pairs=[["left_eye", "ear"]]), REFUSED, "'ear' is not among names"),
    (scheme_with(names=["left_eye", "right_eye", "nose", "nose"]), REFUSED, "names: 'nose' is duplicated"),
    (scheme_with(names=["left_eye", "right_eye", "nose", ""]), REFUSED, "'' is empty or has blanks around it"),
    (scheme_with(sources={"a": None, "b": ["nose", "nose"]}), REFUSED, "sources.b: 'nose' is duplicated"),
    (sources_of_equal_size, REFUSED, "two of the sources mine, yours label equally many points"),
    # the competition's test files
    (a_submission_follows_ids_in_any_order, RIGHT, ""),
    (lambda given: competition_files(given, rename_a_feature), REFUSED, "'nose_x' is not a feature of kaggle15"),
    (lambda given: competition_files(given, repeat_a_row), REFUSED, "RowId: '1' is duplicated"),
    (lambda given: competition_files(given, name_an_absent_image), REFUSED, "'10' is not in test.csv"),
    (lambda given: competition_files(given, ids=(5, 2, 5)), REFUSED, "ImageId: '5' is duplicated"),
    # caches of photos
    (a_link_to_another_photo_is_another_photo, RIGHT, ""),
    (a_photo_replaced_with_its_size_and_time_is_another_photo, RIGHT, ""),
    (the_same_names_in_another_folder_give_other_crops, RIGHT, ""),
    # means over runs of different data
    (runs_of_other_folders_are_no_seeds, RIGHT, ""),
    (runs_of_equal_content_are_seeds_wherever_it_was, RIGHT, ""),
    (runs_of_changed_labels_are_no_seeds, RIGHT, ""),
    (jobs_of_other_folders_are_no_folds, RIGHT, ""),
    (another_key_called_fold_or_seed_is_no_repetition, RIGHT, ""),
    # units, axes and sides: the competition's CSV
    (good_labels_pass, RIGHT, ""),
    (scaled(96), REFUSED, "data=kaggle: all points are within one pixel .* fractions"),
    (scaled(48, 48), REFUSED, "data=kaggle: all points are within one pixel .* fractions"),
    (scaled(0.5), REFUSED, "is outside 0..96 pixels"),
    (lambda given: kaggle(given, given.drawn.points[..., ::-1]), WARNED, f"24 of 24 faces {AXES}"),
    (lambda given: kaggle(given, mirrored(given.drawn.points, 96)), WARNED, f"24 of 24 faces {SIDES}"),
    (lambda given: kaggle(given, given.drawn.points[:, given.scheme.flip_order()]), WARNED, f"24 faces {SIDES}"),
    (
        lambda given: kaggle(given, images=np.ascontiguousarray(given.drawn.images.transpose(0, 2, 1))),
        WARNED,
        "data=kaggle: the images look transposed",
    ),
    # the same of photos with a CSV
    (lambda given: photos(given, exchange_sides), WARNED, f"12 of 12 faces {SIDES}"),
    (lambda given: photos(given, lambda labels: as_fractions(labels, given.folder)), REFUSED, "from 0 to 1"),
    (
        lambda given: photos(given, lambda labels: as_fractions(labels, given.folder), count=1),
        REFUSED,
        "from 0 to 1",
    ),
    # and of COCO
    (lambda given: coco(given, lambda points: points[:, [1, 0, 2, 4, 3]]), WARNED, f"12 of 12 faces {SIDES}"),
    (lambda given: coco(given, lambda points: points / 1000), REFUSED, "from 0 to 1"),
]


@pytest.mark.parametrize(("case", "outcome", "message"), ROWS)
def test_nothing_is_wrong_in_silence(case, outcome, message, given):
    if outcome == REFUSED:
        with pytest.raises(UserError, match=message) as refusal:
            case(given)
        assert "\n" not in str(refusal.value)
        return
    case(given)
    if outcome == WARNED:
        found = [record.getMessage() for record in given.log.records if record.levelname == "WARNING"]
        (warning,) = (text for text in found if "exchange" in text or "transposed" in text)
        assert re.search(message, warning), warning
