"""Early stopping holds when a run is resumed, and does not remember a request from before min_epochs."""

from types import SimpleNamespace

import pytest
import torch
from pytorch_lightning.callbacks import EarlyStopping

from facekp.runs.folder import RunFolder
from facekp.training.callbacks.early_stopping import PatientStopping
from facekp.training.setup import train
from tests.conftest import TINY, settings_of


@pytest.fixture
def validated(tmp_path):
    """Validate epoch after epoch with these scores; whether the training would end after each."""

    def run(scores, patience=2, min_epochs=None, others=()):
        stopping = PatientStopping(patience, RunFolder(tmp_path))
        trainer = SimpleNamespace(
            should_stop=False,
            min_epochs=min_epochs,
            state=SimpleNamespace(fn="fit"),
            sanity_checking=False,
            fast_dev_run=False,
            strategy=SimpleNamespace(reduce_boolean_decision=lambda asked, all: asked),
            world_size=1,
        )
        ends = []
        for epoch, score in enumerate(scores):
            trainer.current_epoch, trainer.callback_metrics = epoch, {"val/rmse": torch.tensor(score)}
            trainer.should_stop = trainer.should_stop or epoch in others
            stopping.on_validation_end(trainer, None)
            ends.append(trainer.should_stop)
        return ends

    return run


def test_a_request_before_the_least_epochs_is_forgotten_when_the_rmse_falls_again(validated):
    flat_then_falling = [5.0, 5.0, 5.0, 4.0, 3.0, 2.0]
    assert validated(flat_then_falling) == [False, False, True, True, True, True]
    assert validated(flat_then_falling, min_epochs=5) == [False] * 6
    assert validated([5.0] * 6, min_epochs=5) == [False, False, False, False, True, True]


def test_what_another_callback_asks_for_stays(validated):
    assert validated([5.0, 4.0, 3.0], min_epochs=5, others=[1]) == [False, True, True]


def test_a_run_that_was_killed_after_its_last_epoch_is_not_trained_further(tmp_path, caplog):
    given = [*TINY, "trainer.max_epochs=30", "lr=1e-9", "callbacks.patience=2"]
    run = RunFolder(tmp_path / "run")
    whole = train(settings_of(*given), run.path)
    assert whole["epochs"] < 30
    before = run.last_checkpoint.read_bytes()
    run.write_metrics({**run.read_metrics(), "finished": False})  # as if it was killed before its final metrics
    resumed = train(settings_of(*given), run.path, resume=True)
    assert (resumed["epochs"], resumed["rmse"]) == (whole["epochs"], whole["rmse"])
    assert run.last_checkpoint.read_bytes() == before
    assert run.is_finished()
    longer = train(settings_of(*given, "trainer.max_epochs=40"), run.path, resume=True)
    assert longer["epochs"] > whole["epochs"]  # a finished run, for which more epochs were given


def test_checkpoints_of_earlier_versions_fit():
    assert PatientStopping(3, RunFolder(".")).state_key == EarlyStopping("val/rmse").state_key
