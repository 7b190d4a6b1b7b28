"""`train`: what it checks before it trains."""

import pytest

from facekp.core.errors import UserError
from facekp.training.setup import train
from tests.conftest import TINY, settings_of


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
