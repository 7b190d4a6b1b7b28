"""lr=find: searches for the learning rate before the training, and keeps the curve."""

import pytest
import torch
import yaml

from facekp.runs.folder import RunFolder
from facekp.training.learning_rate import MAX_RATE, MIN_RATE
from facekp.training.setup import train
from tests.conftest import TINY, settings_of

SMALL = [*TINY, "trainer.max_epochs=1", "data.batch_size=4"]


@pytest.fixture(scope="module", autouse=True)
def short_search():
    """A search of 30 steps instead of a hundred."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("facekp.training.learning_rate.SEARCH_STEPS", 30)
        yield


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search") / "run"
    return train(settings_of(*SMALL, "lr=find"), folder), RunFolder(folder)


def test_the_config_holds_the_number_that_was_found(searched):
    metrics, folder = searched
    rate = yaml.safe_load(folder.config.read_text())["lr"]
    assert MIN_RATE < rate < MAX_RATE
    assert folder.read_curves()["lr"][0] == pytest.approx(rate)
    assert metrics["finished"]


def test_the_curve_is_kept_as_a_picture(searched):
    _, folder = searched
    assert (folder.pictures / "lr_find.png").read_bytes().startswith(b"\x89PNG")


def test_the_training_is_the_one_of_that_rate(searched, tmp_path):
    found = searched[1]
    rate = yaml.safe_load(found.config.read_text())["lr"]
    train(settings_of(*SMALL, f"lr={rate}"), tmp_path / "given")
    checkpoints = found.last_checkpoint, RunFolder(tmp_path / "given").last_checkpoint
    first, second = (torch.load(path, weights_only=True)["state_dict"] for path in checkpoints)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_the_same_seed_finds_the_same_rate_and_no_progress_bar_is_written_to_a_file(searched, tmp_path, capfd):
    train(settings_of(*SMALL, "lr=find"), tmp_path / "again")
    assert "Finding best" not in capfd.readouterr().err
    rates = [yaml.safe_load(run.config.read_text())["lr"] for run in (searched[1], RunFolder(tmp_path / "again"))]
    assert rates[0] == rates[1]
