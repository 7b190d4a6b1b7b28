"""Pruning: trials that fall behind end early, others are trained to their end."""

from types import SimpleNamespace

import pandas as pd
import torch
from optuna.trial import TrialState

from facekp.runs.searches.pruning import PruningCallback, pruning_callback
from facekp.runs.searches.study import open_study
from facekp.runs.sweep_folder import SweepFolder
from tests.runs.conftest import PRUNE, search_settings


def curves(folder, *rmse_by_epoch, prune=PRUNE):
    """Let trials report, one after the other; returns after how many epochs each ended. None: epoch not validated."""
    folder.mkdir(exist_ok=True)
    study = open_study(SweepFolder(folder), search_settings(prune=prune))
    ended = []
    for rmse in rmse_by_epoch:
        callback = PruningCallback(study.ask(), prune["percentile"])
        trainer = SimpleNamespace(max_epochs=len(rmse), should_stop=False)
        for trainer.current_epoch, value in enumerate(rmse):
            trainer.callback_metrics = {} if value is None else {"val/rmse": torch.tensor(value)}
            callback.on_train_epoch_start(trainer, None)
            if value is not None:
                callback.on_validation_end(trainer, None)
            callback.on_train_epoch_end(trainer, None)
            if trainer.should_stop:
                break
        assert bool(callback.message) == trainer.should_stop
        ended.append(trainer.current_epoch + 1)
        study.tell(callback.trial, state=TrialState.PRUNED) if callback.message else study.tell(callback.trial, value)
    return ended


def test_trials_that_fall_behind_end_early(tmp_path):
    good, bad, turning = [4.0, 3.0, 2.0], [9.0, 8.0, 7.0], [9.0, 2.0, 1.0]
    assert curves(tmp_path, good, bad, bad) == [3, 3, 2]  # two must be finished, and two epochs be over
    assert curves(tmp_path, turning, good) == [3, 3]
    assert curves(tmp_path, [9.0, 5.6, 9.0]) == [2]  # the median of 3, 8, 2 and 3 is 3
    assert curves(tmp_path, [9.0, 2.9, 9.0]) == [3]


def test_epochs_without_a_validation_are_not_reported(tmp_path):
    good, bad = [None, 3.0, None, 2.0], [None, 9.0, None, 9.0]
    assert curves(tmp_path, good, good, bad) == [4, 4, 2]


def test_nothing_is_pruned_without_a_percentile_nor_in_the_last_epoch(tmp_path):
    assert curves(tmp_path / "a", [1.0, 1.0], [1.0, 1.0], [9.0, 9.0]) == [2, 2, 2]
    assert curves(tmp_path, *[[1.0] * 4] * 3, [9.0] * 4, prune={**PRUNE, "percentile": None}) == [4, 4, 4, 4]


def test_only_a_running_trial_of_a_search_gets_the_callback(tmp_path):
    folder = SweepFolder(tmp_path)
    folder.write_settings([], None)
    assert pruning_callback(folder.job("lr-1")) is None
    folder.write_settings([], search_settings())
    study = open_study(folder, search_settings())
    for name in ("lr-1", "lr-2"):
        study.ask().set_user_attr("folder", name)
    study.tell(1, 5.0)
    callback = pruning_callback(folder.job("lr-1"))
    assert callback is not None
    assert (callback.trial.number, callback.percentile) == (0, 50)
    assert pruning_callback(folder.job("lr-2")) is None


def test_a_resumed_trial_reports_the_epoch_whose_report_was_lost(tmp_path):
    folder = SweepFolder(tmp_path)
    folder.write_settings([], search_settings())
    study = open_study(folder, search_settings())
    trial = study.ask()
    trial.set_user_attr("folder", "lr-1")
    trial.report(9.0, 1)
    (tmp_path / "lr-1").mkdir()
    columns = {"epoch": [1, 2, 3, 4], "val/rmse": [9.0, None, 7.0, 6.0]}  # killed before the reports of 3 and 4
    folder.job("lr-1").write_curves(pd.DataFrame(columns))

    callback = pruning_callback(folder.job("lr-1"))
    callback.on_train_start(SimpleNamespace(current_epoch=3), None)  # epoch 4 has no checkpoint: it is trained again
    assert study.get_trials()[0].intermediate_values == {1: 9.0, 3: 7.0}
