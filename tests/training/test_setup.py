"""`train`: what it checks before it trains, and what it warns of at the end."""

import pytest

from facekp.core.errors import UserError
from facekp.training.setup import _warn_of_offsets, train
from tests.conftest import TINY, settings_of


def test_labels_to_one_side_are_reported_with_the_offsets_to_set(caplog):
    settings = settings_of("data.offsets={dense:0.25,sparse:1}")
    _warn_of_offsets({"offset/dense": 0.1, "offset/sparse": 0.75}, settings)
    assert "the labels of sparse lie 0.75 px to the right of the predictions" in caplog.text
    assert "set 'data.offsets={dense:0.25,sparse:1.75}'" in caplog.text
    assert "labels of dense" not in caplog.text


def test_without_mirror_images_labels_to_one_side_are_learnt_and_not_reported(caplog):
    _warn_of_offsets({"offset/sparse": 0.75}, settings_of("augment=none"))
    assert not caplog.text


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.offsets={hand:1}"], "offsets: 'hand' is not a source"),
        (["data.folds=50", "data.rows=10"], r"data\.folds"),
        (["teacher.ckpt=no.ckpt"], r"no\.ckpt: does not exist"),
    ],
)
def test_what_only_the_data_or_a_file_shows_is_refused_before_the_folder_is_written(tmp_path, overrides, message):
    with pytest.raises(UserError, match=message):
        train(settings_of(*TINY, *overrides), tmp_path / "run")
    assert not (tmp_path / "run").exists()
