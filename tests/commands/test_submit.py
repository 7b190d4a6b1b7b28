"""`facekp.submit`: in the lookup table's order, finite, inside the image, by the source that the table reveals."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from facekp.core.errors import UserError
from facekp.core.settings import parse
from facekp.data.competition import write_test
from facekp.data.readers.read import read_test
from facekp.data.synthetic.faces import draw_faces
from facekp.models.checkpoint import load_checkpoint
from facekp.models.command_settings import SubmitSettings
from facekp.models.ensemble import predict_table
from facekp.submit import main
from tests.conftest import SHARED, composed, config_of


@pytest.fixture
def test_files(tmp_path, scheme):
    table = replace(draw_faces(9, 5, scheme), row=np.array([3, 1, 2, 40, 50, 60, 70, 80, 90]))
    requested = table.mask.copy()
    requested[0] = False  # an image without requested values
    requested[1] = [name == "nose_tip" for name in scheme.names]  # an image with one requested point
    write_test(tmp_path / "data", table, requested)
    return tmp_path / "data", table, requested


def submit(folder, ckpt, out, *more):
    return main(composed(f"ckpt={ckpt}", f"data.dir={folder}", f"out={out}", *more, name="submit"))


def test_every_requested_value_is_predicted_in_order(test_files, ckpt, tmp_path, scheme):
    folder, table, requested = test_files
    submission = pd.read_csv(submit(folder, ckpt, tmp_path / "s.csv", "data.cache=null", "refine=false"))
    lookup = pd.read_csv(folder / "IdLookupTable.csv")
    assert list(submission.columns) == ["RowId", "Location"]
    assert submission["RowId"].tolist() == lookup["RowId"].tolist()
    assert submission["Location"].between(0, 96).all()
    source = scheme.source_of(2 * requested.sum(axis=1))
    points = predict_table([load_checkpoint(ckpt)], replace(table, source=source)).points
    image_at = {int(image): i for i, image in enumerate(table.row)}
    for image, feature, location in zip(lookup["ImageId"], lookup["FeatureName"], submission["Location"], strict=True):
        k, axis = scheme.names.index(feature[:-2]), "xy".index(feature[-1])
        assert location == pytest.approx(np.clip(points[image_at[image], k, axis], 0, 96), abs=1e-3)


def test_files_that_the_command_reads_are_never_replaced(test_files, ckpt):
    folder = test_files[0]
    for file in (folder / "test.csv", folder / "IdLookupTable.csv", ckpt):
        before = file.read_bytes()
        with pytest.raises(UserError, match="is an input of the command; choose another name"):
            submit(folder, ckpt, file, "overwrite=true", "data.cache=null")
        assert file.read_bytes() == before


def test_empty_heatmaps_are_submitted_as_the_mean_face(test_files, ckpt, tmp_path):
    raw = torch.load(ckpt, weights_only=True)
    raw["facekp"]["activation"] = "none"
    for name, value in raw["state_dict"].items():
        if ".heads." in name:
            value.zero_()
    torch.save(raw, tmp_path / "dead.ckpt")
    submission = pd.read_csv(submit(test_files[0], tmp_path / "dead.ckpt", tmp_path / "s.csv", "data.cache=null"))
    assert submission["Location"].between(0, 96).all()
    face = raw["state_dict"]["model.mean_face"].numpy()
    off = np.abs(submission["Location"].to_numpy()[:, None] - face.ravel()).min(axis=1)
    assert off.max() < 1e-3


def test_the_published_weights_give_the_published_submission(competition, seed_weights, tmp_path):
    """On a sample; the original code on all 1783 of these JPEG copies: 70.1 % equal, 87.4 % within a pixel."""
    ours = pd.read_csv(submit(competition, seed_weights, tmp_path / "s.csv", "decoder=argmax", "data.cache=null"))
    published = pd.read_csv(SHARED / "seed" / "result_809.csv").set_index("RowId").loc[ours["RowId"], "Location"]
    off = np.abs(ours["Location"].to_numpy() - published.to_numpy())
    assert (off == 0).mean() > 0.62
    assert (off <= 1).mean() > 0.80


def test_the_source_is_given_by_the_number_of_requested_values(test_files, scheme):
    values = config_of("ckpt=x", f"data.dir={test_files[0]}", "data.cache=null", name="submit")
    table, _ = read_test(parse(SubmitSettings, values).data, scheme)
    requested = test_files[2]
    expected = np.where(requested.sum(axis=1) == 0, 0, scheme.source_of(2 * requested.sum(axis=1)))
    assert table.source.tolist() == expected.tolist()


def test_data_without_test_images_are_refused(ckpt, tmp_path):
    with pytest.raises(UserError, match=r"data=synthetic: .*kaggle"):
        main(composed(f"ckpt={ckpt}", "data=synthetic", f"out={tmp_path / 's.csv'}", name="submit"))


def test_an_earlier_submission_is_kept(test_files, ckpt, run_here, tmp_path):
    folder, _, _ = test_files
    given = [f"ckpt={ckpt}", f"data.dir={folder}", "data.cache=null"]
    for _ in range(2):
        code, err = run_here("submit", main, *given)
        assert code == 0, err
    assert (tmp_path / "submission-2.csv").read_text() == (tmp_path / "submission.csv").read_text()
    code, err = run_here("submit", main, *given, "out=submission.csv")
    assert code == 2
    assert "out=submission.csv: exists already" in err


def test_refine_predicts_faces_again_that_are_upside_down(test_files, tmp_path, scheme):
    _, table, requested = test_files
    turned = replace(table, images=np.rot90(np.array(table.images), 2, axes=(1, 2)).copy(), points=95 - table.points)
    write_test(tmp_path / "turned", turned, requested)
    lookup = pd.read_csv(tmp_path / "turned" / "IdLookupTable.csv")
    row_of, names = {int(row): i for i, row in enumerate(turned.row)}, scheme.names
    labels = [
        turned.points[row_of[image], names.index(feature[:-2]), "xy".index(feature[-1])]
        for image, feature in zip(lookup["ImageId"], lookup["FeatureName"], strict=True)
    ]

    def error(name, *given):
        written = submit(tmp_path / "turned", "shipped", tmp_path / name, "data.cache=null", "views=one", *given)
        return np.nanmedian(np.abs(pd.read_csv(written)["Location"] - labels))

    assert error("first.csv", "refine=false") > 10
    assert error("second.csv") < 2
