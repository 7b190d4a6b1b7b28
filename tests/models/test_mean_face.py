"""Points that the network did not find are counted: below the floor, of empty heatmaps, of heatmaps with NaN."""

import numpy as np
import pytest
import torch

from facekp.models.checkpoint import load_checkpoint
from facekp.models.ensemble import load_models, predict_table
from facekp.models.mean_face import is_mean_face, report_mean_face
from facekp.models.settings import DecoderOverride


def counted(caplog):
    return [record.getMessage() for record in caplog.records if "mean face" in record.getMessage()]


def test_points_below_the_floor_are_counted(ckpt, faces, caplog):
    caplog.set_level("INFO")
    few = faces.take(np.arange(10))
    certain = predict_table(load_models(ckpt, DecoderOverride(floor=0.0)), few)
    assert counted(caplog) == []
    floor = float(np.quantile(certain.confidence, 0.3))
    expected = int((certain.confidence < floor).sum())
    models = load_models(ckpt, DecoderOverride(floor=floor))
    prediction = predict_table(models, few)
    assert int(is_mean_face(prediction.points, models, few.source).sum()) == expected
    assert len(counted(caplog)) == 1
    assert counted(caplog)[0].startswith(f"{expected} of 150 predicted points ({expected / 150:.1%}) are those of the")


def test_of_several_models_all_must_predict_it(ckpt, faces):
    few = faces.take(np.arange(6))
    unsure, sure = (load_models(ckpt, DecoderOverride(floor=floor)) for floor in (2.0, 0.0))
    for models, replaced in ((unsure + unsure, True), (unsure + sure, False)):
        found = is_mean_face(predict_table(models, few).points, models, few.source)
        assert found.all() if replaced else not found.any()


def test_heatmaps_that_are_not_finite_are_counted(ckpt, faces):
    loaded = load_checkpoint(ckpt)
    loaded.model.network.forward = lambda images: [torch.full((len(images), 19, 24, 24), torch.nan)]
    few = faces.take(np.arange(4))
    prediction = predict_table([loaded], few)
    assert is_mean_face(prediction.points, [loaded], few.source).all()


@pytest.mark.parametrize(("replaced", "level"), [(0, None), (1, "INFO"), (5, "INFO"), (6, "WARNING"), (100, "WARNING")])
def test_many_are_a_warning(caplog, replaced, level):
    caplog.set_level("INFO")
    report_mean_face(replaced, 100)
    assert [record.levelname for record in caplog.records] == ([] if level is None else [level])
