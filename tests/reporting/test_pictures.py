"""Pictures of a run are drawn without a display, and show what they are given."""

import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from facekp.core.keypoints import Keypoints
from facekp.core.settings import parse
from facekp.functional.metrics import METRICS
from facekp.models.keypoint_model import KeypointModel
from facekp.models.scoring import metric_input, score_predictions
from facekp.models.settings import DecoderSettings, ModelSettings
from facekp.reporting.pictures import (
    draw_faces,
    draw_heatmaps,
    draw_learning_curves,
    draw_metric_curve,
    draw_reliability,
    draw_run,
    pixels,
    spread_out,
)
from facekp.runs.folder import RunFolder
from tests.conftest import config_of


@pytest.fixture(scope="module")
def model(scheme):
    config = config_of("model.network.channels=8", "model.network.levels=1")
    settings, decoder = parse(ModelSettings, config["model"]), parse(DecoderSettings, config["decoder"])
    return KeypointModel(scheme, (96, 96), settings, "softmax", decoder)


@pytest.fixture(scope="module")
def predicted(faces):
    points = np.nan_to_num(faces.points) + 1
    return points, score_predictions(metric_input(points, faces), faces)


def test_a_run_gets_all_pictures(tmp_path, model, faces, predicted):
    points, metrics = predicted
    folder = RunFolder(tmp_path)
    folder.write_curves(pd.DataFrame({"epoch": [1, 2], "val/rmse": [3.0, 2.0], "train/loss": [2.0, 1.0]}))
    draw_run(folder, model, faces, points, metrics, faces=4)
    names = {path.name for path in folder.pictures.iterdir()}
    assert names == {"faces.png", "heatmaps.png", "error_curve.png", "nme_curve.png", "curves.png"}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in folder.pictures.iterdir())


def test_no_faces_means_no_pictures(tmp_path, model, faces, predicted):
    draw_run(RunFolder(tmp_path), model, faces, *predicted, faces=0)
    assert not list(tmp_path.iterdir())


def test_pictures_show_any_name_and_break_long_ones(tmp_path, faces, recwarn):
    names = ["$^$", "眼", "eye[left]", "upper_eyelid_contour_of_the_left_eye_number_4"]
    scheme = Keypoints.from_dict({"name": "odd", "names": names, "sources": {"$_$": None}})
    rows = np.zeros(2, dtype=np.int64)
    table = replace(faces.take(rows), keypoints=scheme, points=faces.points[rows, :4], source=rows)
    config = config_of("model.network.channels=8", "model.network.levels=1")
    settings, decoder = parse(ModelSettings, config["model"]), parse(DecoderSettings, config["decoder"])
    model = KeypointModel(scheme, (96, 96), settings, "softmax", decoder)
    folder = RunFolder(tmp_path)
    draw_run(folder, model, table, table.points, {"mean_face": {}}, faces=2)
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]
    figure = draw_heatmaps(model, table)
    pixels(figure)
    titles = [ax.title.get_window_extent() for ax in figure.axes]
    assert all(left.x1 < right.x0 for left, right in pairwise(titles))


def test_faces_show_labels_and_predictions(faces):
    rows = faces.take(np.arange(3))
    image = pixels(draw_faces(rows, np.nan_to_num(rows.points)))
    red = (image[..., 0] > 200) & (image[..., 1] < 100) & (image[..., 2] < 100)
    green = (image[..., 1] > 150) & (image[..., 0] < 80)
    assert image.dtype == np.uint8
    assert red.any()
    assert green.any()


def test_rows_are_spread_over_table_and_sources():
    source = np.array([0] * 10 + [1] * 2)
    assert spread_out(source, 6).tolist() == [0, 4, 9, 10, 11]
    assert spread_out(source, 1).tolist() == [0]


def test_curves_hold_the_values_of_the_metrics(predicted):
    _, metrics = predicted
    (axes,) = draw_metric_curve(METRICS["curve"], metrics).axes
    network, baseline = axes.lines
    assert list(network.get_ydata()) == metrics["curve"]["share"]
    assert list(baseline.get_ydata()) == metrics["mean_face"]["curve"]["share"]
    curves = pd.DataFrame({"epoch": [1, 2], "val/rmse": [3.0, 2.0], "val/rmse/dense": [4.0, 3.0]})
    _, right = draw_learning_curves(curves, ["dense", "sparse"], metrics).axes
    assert [line.get_label() for line in right.lines] == ["all", "dense", "mean face"]


def test_epochs_are_whole_numbers_on_the_axis(predicted):
    curves = pd.DataFrame({"epoch": [1, 2, 3], "train/loss": [2.0, 1.0, 0.5], "val/rmse": [3.0, 2.0, 1.0]})
    figure = draw_learning_curves(curves, [], predicted[1])
    figure.canvas.draw()
    for ax in figure.axes:
        ticks = ax.get_xticks()
        assert (ticks == ticks.round()).all()
        assert {1, 2, 3} <= set(ticks)


def test_curves_need_no_score_of_the_mean_face():
    curves = pd.DataFrame({"epoch": [1, 2], "val/rmse": [3.0, 2.0]})
    _, right = draw_learning_curves(curves, [], {"mean_face": {}}).axes
    assert [line.get_label() for line in right.lines] == ["all"]


@pytest.mark.parametrize(("number", "rows"), [(8, 2), (7, 2), (6, 1), (12, 2), (1, 1)])
def test_faces_are_in_even_rows(faces, number, rows):
    few = faces.take(np.arange(number))
    axes = draw_faces(few, np.nan_to_num(few.points)).axes
    tops = [round(ax.get_subplotspec().rowspan.start) for ax in axes if ax.images]
    lengths = [tops.count(row) for row in range(rows)]
    assert sum(lengths) == number
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.filterwarnings("error")
def test_a_face_without_labels_is_drawn_without_a_score(faces):
    bare = replace(faces.take(np.arange(1)), points=np.full((1, *faces.points.shape[1:]), np.nan, np.float32))
    (ax,) = draw_faces(bare, np.zeros_like(bare.points)).axes
    assert ax.get_title().endswith("no label")


def test_reliability_is_drawn_in_its_band():
    (axes,) = draw_reliability({"points": 90, "expected": [1, 2], "measured": [1.1, 1.5]}).axes
    assert list(axes.lines[1].get_ydata()) == [1.1, 1.5]
    assert "90 points" in axes.lines[1].get_label()


def test_importing_the_module_leaves_matplotlib_s_backend_alone():
    code = (
        "import matplotlib; before = matplotlib.rcParams._get_backend_or_none();"
        "import facekp.reporting.pictures; assert matplotlib.rcParams._get_backend_or_none() == before"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
