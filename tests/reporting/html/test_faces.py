"""The worst and best faces of a run carry their own image and points; what can't be shown is noted."""

from dataclasses import replace

import numpy as np
import pytest

from facekp.reporting.html import faces as module
from facekp.reporting.html.collect import read_runs
from facekp.reporting.html.faces import ImageStore, extremes, mark, worst_and_best


@pytest.fixture(scope="module")
def runs(example_runs):
    return read_runs([example_runs])[0]


def test_worst_and_best_faces_carry_their_own_image_and_points(runs, faces):
    store = ImageStore()
    choices = extremes(runs, 3, store)
    assert [choice["name"] for choice in choices] == [run.name for run in runs]
    for choice in choices:
        worst, best = choice["groups"]
        scores = [[float(face["caption"].split()[0]) for face in group["faces"]] for group in (worst, best)]
        assert scores[0] == sorted(scores[0], reverse=True)
        assert scores[1] == sorted(scores[1])
        assert scores[0][-1] > scores[1][-1]
        for face in worst["faces"]:
            row = int(face["note"].split()[1].rstrip(","))
            assert len(face["points"]) == faces.mask[row].sum()
            truth = np.array([point["ring"] for point in face["points"]])
            assert np.allclose(truth, faces.points[row][faces.mask[row]], atol=0.051)
            assert store.images[face["image"]].startswith("data:image/png;base64,")
    assert store.notes == []


def test_few_images_are_halved_and_never_in_both_groups(runs):
    three = runs[0].images.head(3)
    groups = worst_and_best(three, 8)
    assert [len(groups["worst"]), len(groups["best"])] == [2, 1]
    rows = [image.row for images in groups.values() for image in images]
    assert len(set(rows)) == 3


def test_an_image_is_stored_once():
    store = ImageStore()
    image = np.zeros((4, 4), dtype=np.uint8)
    assert store.add(image) == store.add(image.copy())
    assert len(store.images) == 1
    store.note("a")
    store.note("a")
    assert store.notes == ["a"]


def test_a_mark_has_what_it_is_given_to_a_tenth():
    assert mark("nose", ring=(1.26, 2), dot=None) == {"name": "nose", "ring": [1.3, 2.0]}


def test_data_that_changed_or_can_not_be_read_is_noted(runs):
    moved = replace(runs[0], predictions=runs[0].predictions.assign(true_x=runs[0].predictions["true_x"] + 1))
    store = ImageStore()
    assert extremes([moved], 2, store) == []
    assert "other labels" in store.notes[0]
    plugin = replace(runs[0], config={**runs[0].config, "data": {**runs[0].config["data"], "name": "unknown"}})
    store = ImageStore()
    assert extremes([plugin], 2, store) == []
    assert "can't be read" in store.notes[0]


def test_no_more_faces_are_drawn_than_the_run_had(runs):
    damaged = replace(runs[0], images=runs[0].images.rename(lambda row: row + 10**12, level="row"))
    assert extremes([damaged], 2, ImageStore()) == []


@pytest.mark.parametrize(("limit", "value"), [("MAX_IMAGES", 12), ("MAX_RUNS", 2)])
def test_a_full_page_shows_the_faces_of_the_best_runs_only(runs, limit, value, monkeypatch):
    monkeypatch.setattr(module, limit, value)
    store = ImageStore()
    shown = [choice["name"] for choice in extremes(runs, 3, store)]
    assert 0 < len(shown) < len(runs)
    assert shown == [run.name for run in runs[: len(shown)]]
    assert store.notes == [f"faces are shown for the best {len(shown)} runs only, to keep the page small"]
