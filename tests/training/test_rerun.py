"""A run is repeated from its folder alone: equal to the last bit, and what differs is reported."""

import json
import shutil

import pytest
import torch

from facekp.core.errors import UserError
from facekp.runs.environment import environment
from facekp.runs.folder import RunFolder
from facekp.train import main, rewrite
from facekp.training.rerun import compare, restore_environment, warn_of_changed_data
from facekp.training.run import repeated
from tests.conftest import TINY, composed

RUN = [*TINY, "data.seed=3", "seed=5", "optimizer=adamw", "lr=2e-3", "callbacks.ema=0.5"]


def test_a_repeated_run_is_equal_to_the_last_bit(run_here, tmp_path, caplog):
    caplog.set_level("INFO")
    assert run_here("train", main, *RUN, "out=first")[0] == 0
    code, err = run_here("train", main, "rerun=first", "out=second")
    assert code == 0, err
    first, second = (RunFolder(tmp_path / name) for name in ("first", "second"))
    metrics = [json.loads(run.metrics.read_text()) for run in (first, second)]
    for own in ("minutes", "checkpoint"):
        assert [values.pop(own) is not None for values in metrics] == [True, True]
    assert metrics[0] == metrics[1]
    assert first.predictions.read_text() == second.predictions.read_text()
    states = [torch.load(run.last_checkpoint, weights_only=True)["state_dict"] for run in (first, second)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert {**first.read_config(), "out": ""} == {**second.read_config(), "out": ""}
    assert second.read_config()["out"] == "second"
    assert first.read_environment() == second.read_environment() == environment()
    assert first.read_data() == second.read_data()
    assert "rerun=first: all metrics equal those of that run to the last bit" in caplog.text


def test_a_run_is_repeated_in_a_new_folder_by_itself(run_here, tiny_run, tmp_path):
    code, err = run_here("train", main, f"rerun={tiny_run}", f"out={tiny_run}")
    assert code == 2
    assert "holds a run already" in err
    code, err = run_here("train", main, f"rerun={tiny_run}", f"resume={tiny_run}")
    assert code == 2
    assert "rerun can't be changed when a run is resumed" in err
    code, err = run_here("train", main, "-m", "rerun=nowhere", "lr=1e-3,1e-4", "hydra.sweep.dir=s")
    assert code == 2
    assert "rerun=nowhere: repeats one run, without -m" in err


def settings_repeated(folder, *overrides):
    given = rewrite([f"rerun={folder}", *overrides])
    return repeated(RunFolder(folder), composed(*given), given)


@pytest.mark.parametrize(
    "key", ["lr=1", "optimizer=sgd", "data.fold=1", "seed=3", "trainer.max_epochs=9", "trainer=ddp"]
)
def test_settings_can_t_be_changed(tiny_run, key):
    with pytest.raises(UserError, match=rf"{key.split('=')[0]} can't be changed when a run is repeated"):
        settings_repeated(tiny_run, key)


def test_folder_and_places_may_be_given(tiny_run):
    settings = settings_repeated(tiny_run, "out=elsewhere", "logger=none", "callbacks.progress=true", "debug=true")
    assert (settings.out, settings.logger.csv, settings.callbacks.progress) == ("elsewhere", False, True)
    assert settings_repeated(tiny_run).out is None


def test_a_folder_that_holds_no_run_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"^rerun=.*config\.yaml does not exist"):
        settings_repeated(tmp_path)


@pytest.fixture
def copy(tiny_run, tmp_path):
    return RunFolder(shutil.copytree(tiny_run, tmp_path / "copy"))


def test_threads_are_those_of_the_run_and_differences_are_named(copy, caplog):
    before = copy.read_environment()
    copy.write_environment({**before, "threads": 2, "torch": "2.0.0"})
    threads = torch.get_num_threads()
    try:
        restore_environment(copy)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == [
        f"rerun={copy}: torch: was 2.0.0, is {before['torch']}; the results may differ in their last digits"
    ]


@pytest.mark.parametrize("threads", [None, "2", 0, -1, 10**9, True])
def test_a_number_of_threads_that_no_run_wrote_is_not_taken(copy, threads):
    copy.write_environment({**copy.read_environment(), "threads": threads})
    before = torch.get_num_threads()
    restore_environment(copy)
    assert torch.get_num_threads() == before


def test_a_run_of_an_older_version_says_that_its_environment_is_unknown(copy, caplog):
    copy.environment.unlink()
    restore_environment(copy)
    assert "an older version wrote it, so its number of threads and versions are unknown" in caplog.text


def test_changed_data_and_other_results_are_reported(copy, caplog):
    digests = copy.read_data()
    split = copy.read_split()
    warn_of_changed_data(copy, digests, split)
    assert caplog.messages == []
    warn_of_changed_data(copy, digests, split.assign(set=split["set"].to_numpy()[::-1]))
    assert "the training or held-out rows have changed since that run, so the results will differ" in caplog.text
    warn_of_changed_data(copy, {**digests, "labels": "0"}, split)
    assert "the labels of the data have changed since that run, so the results will differ" in caplog.text
    metrics = copy.read_metrics()
    compare(copy, {**metrics, "rmse": 1.25})
    assert f"rmse was {metrics['rmse']}, is 1.25" in caplog.text
