"""The detection benchmark: scenes with known faces, and what is measured in them."""

import io
from dataclasses import asdict

import numpy as np
import pytest
from rich.console import Console

from facekp.core.settings import parse
from facekp.models.predictor import KeypointPredictor
from facekp.photos.detection_benchmark import (
    BenchmarkRow,
    DetectionResult,
    measure_detection,
    paste,
    pick_faces,
    results_table,
    run_detection_benchmark,
)
from facekp.photos.settings import DetectionBenchmarkSettings
from tests.conftest import config_of


class Jittered:
    """Knows where the faces are, except for a tenth of their size."""

    margin = 1.0

    def __init__(self, positions):
        self.positions, self.rng = iter(positions), np.random.default_rng(0)

    def find(self, image):
        crop = next(self.positions)
        side = crop.width * self.rng.uniform(0.95, 1.05)
        middle = np.array([crop.left, crop.top]) + (crop.width - 1) / 2 + self.rng.uniform(-0.05, 0.05, 2) * side
        return np.concatenate([middle - side / 2, middle + side / 2])[None]


class Listed:
    """Returns one list of boxes per photo."""

    margin = 1.0

    def __init__(self, boxes):
        self.boxes = iter(boxes)

    def find(self, image):
        return next(self.boxes)


def positions_of(faces, scale):
    return [paste(image, scale, np.random.default_rng([0, i]))[1] for i, image in enumerate(faces.images)]


def box_of(crop):
    return [crop.left - 0.5, crop.top - 0.5, crop.left + crop.width - 0.5, crop.top + crop.height - 0.5]


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_points_in_scenes_are_nearly_as_good_as_in_the_face_images(faces, scale):
    dense = pick_faces(faces, 0, 8)
    detector = Jittered(positions_of(dense, scale))
    result = measure_detection(dense, KeypointPredictor.from_checkpoint("shipped"), detector, scale)
    assert (result.missed, result.extra) == (0, 0)
    assert result.pasted < 1.3 * result.direct


def test_missed_faces_and_boxes_without_a_face_are_counted(faces, small_predictor):
    dense = pick_faces(faces, 0, 3)
    first, second, _ = positions_of(dense, 1.0)
    beside = [value + 60 for value in box_of(second)]
    detector = Listed([[box_of(first), beside], [beside], []])
    result = measure_detection(dense, small_predictor, detector, 1.0, refine=False)
    assert (result.faces, result.missed, result.extra) == (3, 2, 2)
    assert result.pasted == pytest.approx(result.direct, abs=0.2)  # at scale 1 the scene shows the image's own pixels


def test_without_any_face_found_the_distances_are_nan(faces, small_predictor):
    dense = pick_faces(faces, 0, 2)
    result = measure_detection(dense, small_predictor, Listed([[], []]), 1.0)
    assert (result.missed, result.extra) == (2, 0)
    assert np.isnan([result.direct, result.pasted]).all()


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_the_crop_of_a_scene_shows_the_pasted_image(faces, scale):
    scene, position = paste(faces.images[0], scale, np.random.default_rng(3))
    assert scene.dtype == np.uint8
    assert (position.width, position.height) == (round(96 * scale), round(96 * scale))
    shown = position.cut(scene).astype(int)
    limit = 0 if scale == 1 else 12
    assert np.abs(shown - faces.images[0]).mean() <= limit
    again, _ = paste(faces.images[0], scale, np.random.default_rng(3))
    assert np.array_equal(scene, again)


def test_faces_are_picked_evenly_and_never_twice(faces):
    dense = np.flatnonzero(faces.source == 0)
    picked = pick_faces(faces, 0, 5)
    assert picked.row.tolist() == faces.row[dense[np.linspace(0, len(dense) - 1, 5).round().astype(int)]].tolist()
    assert len(pick_faces(faces, 0, 10**6)) == len(dense)
    assert len(pick_faces(faces, 0, 0)) == 0


def test_every_source_and_size_is_measured(small_checkpoint):
    overrides = (f"ckpt={small_checkpoint}", "data=synthetic", "data.rows=80", "data.split_seed=1", "faces=2")
    config = config_of(*overrides, "scales=[1,2]", "detector=none", name="detection_benchmark")
    rows = run_detection_benchmark(parse(DetectionBenchmarkSettings, config))
    assert [(row.source, row.scale) for row in rows] == [("dense", 1), ("dense", 2), ("sparse", 1), ("sparse", 2)]
    assert all(row.result.faces == 2 for row in rows)


def test_the_table_shows_counts_distances_and_their_ratio():
    result = DetectionResult(faces=60, missed=1, extra=4, direct=0.71, pasted=0.7242)
    console = Console(file=io.StringIO(), width=110)
    console.print(results_table([BenchmarkRow("dense", 0.5, result)]))
    text = console.file.getvalue()
    assert "dense" in text
    assert all(word in text for word in ("0.5", "60", "0.710", "0.724", "1.02"))
    assert set(asdict(result)) == {"faces", "missed", "extra", "direct", "pasted"}
