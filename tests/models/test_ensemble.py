"""Predictions for tables: by the rows' sources or others, the mean of several models, and only where they fit."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from facekp.core.errors import UserError
from facekp.models.checkpoint import load_checkpoint
from facekp.models.ensemble import image_batches, load_models, predict_table
from facekp.models.settings import DecoderOverride


def test_several_models_predict_the_mean_of_their_points(ckpt, faces):
    few = faces.take(np.arange(20))
    first, second = load_models([ckpt, "shipped"])
    both = predict_table([first, second], few)
    for part in ("points", "confidence"):
        expected = (getattr(predict_table([first], few), part) + getattr(predict_table([second], few), part)) / 2
        np.testing.assert_allclose(getattr(both, part), expected, atol=1e-4)
    assert both.deviation is None
    assert both.expected_error is None


def test_a_calibrated_checkpoint_alone_predicts_deviations_and_expected_errors(faces):
    prediction = predict_table(load_models("shipped"), faces.take(np.arange(5)))
    assert prediction.deviation.shape == prediction.expected_error.shape == (5, 15)


def test_several_sources_per_row_are_predicted_at_once(ckpt, faces):
    few, loaded = faces.take(np.arange(18)), load_models(ckpt)
    both = predict_table(loaded, few, np.tile([0, 1], (18, 1)))
    assert both.points.shape == (18, 2, 15, 2)
    assert both.confidence.shape == (18, 2, 15)
    for source in (0, 1):
        alone = predict_table(loaded, few, np.full(18, source))
        np.testing.assert_allclose(both.points[:, source], alone.points, atol=1e-4)


def test_batches_cover_every_row_in_order(faces):
    batches = list(image_batches(faces, torch.device("cpu")))
    np.testing.assert_array_equal(torch.cat([images for images, _ in batches])[:, 0], faces.images)
    np.testing.assert_array_equal(torch.cat([source for _, source in batches]), faces.source)


def test_a_table_without_rows_gives_empty_arrays(ckpt, faces):
    assert predict_table(load_models(ckpt), faces.take(np.arange(0))).points.shape == (0, 15, 2)


def test_images_of_another_size_are_refused(ckpt, faces):
    with pytest.raises(UserError, match=r"96 x 96 pixels.*data\.size=96"):
        predict_table([load_checkpoint(ckpt)], replace(faces, images=np.zeros((80, 64, 64), np.uint8)))


def test_another_scheme_is_refused(ckpt, faces, scheme):
    other = replace(scheme, names=tuple(f"p{i}" for i in range(15)))
    with pytest.raises(UserError, match="predicts the points of kaggle15"):
        predict_table([load_checkpoint(ckpt)], replace(faces, keypoints=other))


def test_the_checkpoint_s_decoder_is_used_unless_another_is_given(ckpt):
    def decoder(**values):
        return load_models(ckpt, DecoderOverride(**values))[0].model.decoder

    assert decoder().rule == "subpixel"
    assert decoder(flip=True) == decoder().replaced(flip=True)


def test_views_one_leaves_out_the_views_of_a_checkpoint_but_not_those_that_are_asked_for(ckpt):
    def decoder(views, **values):
        return load_models("shipped", DecoderOverride(**values), views)[0].model.decoder

    every = decoder("all")
    assert every.shift > 0
    assert every.scale > 0
    assert decoder("one") == every.replaced(shift=0.0, scale=0.0)
    assert decoder("one", scale=0.1) == every.replaced(shift=0.0, scale=0.1)


def test_an_exported_file_keeps_its_views(of_all):
    assert load_models(of_all[0], views="one")[0].model.decoder.scale == 0.05


def test_every_model_of_an_ensemble_must_fit_the_data(ckpt, faces, scheme):
    fitting, other = load_checkpoint("shipped"), load_checkpoint(ckpt)
    other.model.keypoints = replace(scheme, sources={"dense": scheme.names, "other": scheme.names})
    with pytest.raises(UserError, match=r"best\.ckpt: predicts the sources of kaggle15 \(dense, other\)"):
        predict_table([fitting, other], faces)
