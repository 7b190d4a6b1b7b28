"""tools/transfer_benchmark.py: its sets share no near-duplicate, and its table is the mean over the seeds."""

import importlib.util
import sys

import numpy as np
import pandas as pd
import pytest

from facekp.data.readers.read import read_table
from facekp.data.synthetic.faces import draw_faces
from tests.conftest import REPOSITORY

spec = importlib.util.spec_from_file_location("transfer_benchmark", REPOSITORY / "tools" / "transfer_benchmark.py")
benchmark = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = benchmark  # dataclasses look their module up
spec.loader.exec_module(benchmark)


@pytest.fixture(scope="module")
def table(scheme):
    """Drawn faces, each of them twice."""
    faces = draw_faces(60, 0, scheme)
    return faces.joined(faces)


def test_sets_share_no_image_and_hold_completely_labelled_faces(table):
    sets = benchmark.divide(table, scored=8, users=10)
    parts = [{image.tobytes() for image in part.images[:]} for part in (sets.scored, sets.users, sets.others)]
    assert len(set.union(*parts)) == sum(map(len, parts))
    assert (len(sets.scored), len(sets.users)) == (8, 10)
    assert len(sets.others) > 0
    assert sets.others.mask.all()


def test_photos_are_read_back_as_they_were(table, tmp_path):
    few, five = (
        table.take(np.flatnonzero(table.mask.all(axis=1))[:4]),
        benchmark.settings_of("keypoints=celeba5").keypoints,
    )
    benchmark.write_photos(tmp_path, few, five.names)
    data = benchmark.settings_of("keypoints=celeba5", *benchmark.folder_data(tmp_path, 96), "data.cache=null").data
    again = read_table(data, five)
    np.testing.assert_array_equal(again.images, few.images)
    places = [few.keypoints.names.index(name) for name in five.names]
    np.testing.assert_allclose(again.points, few.points[:, places], atol=1e-4)


def test_every_training_takes_about_as_many_steps():
    assert [benchmark.epochs_for(300, faces, 32, 10) for faces in (50, 100, 300, 1000)] == [150, 100, 33, 10]
    assert benchmark.epochs_for(1, 1000, 32, 10) == 1


def test_the_table_has_the_mean_over_the_seeds():
    rows = [
        {"faces": 50, "seed": seed, "start": start, "rmse": rmse, "nme": rmse / 40}
        for start, values in (("scratch", (3.0, 5.0)), ("transfer", (1.0, 1.2)))
        for seed, rmse in enumerate(values)
    ]
    (row,) = benchmark.table_of(pd.DataFrame(rows)).to_dict("records")
    assert row["training faces"] == "50"
    assert row["from scratch: RMSE, px"] == "4.000 ± 1.414"
    assert row["from the checkpoint: NME, %"] == "2.75 ± 0.35"
