"""best.ckpt and last.ckpt: when each is saved, and that a failed write leaves the old file."""

from collections import Counter
from pathlib import PurePosixPath
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from facekp.core.errors import UserError
from facekp.runs.folder import RunFolder
from facekp.training.callbacks.checkpoints import AtomicCheckpointIO, BestAndLastCheckpoints
from facekp.training.callbacks.stopping import StopAtSignal


def epoch(callback, rmse=None):
    """The files that are saved at the end of an epoch, by name; without ``rmse`` it is not validated."""
    saved = []
    trainer = SimpleNamespace(
        datamodule=SimpleNamespace(has_scores=True),
        callback_metrics={} if rmse is None else {"val/rmse": torch.tensor(rmse)},
        save_checkpoint=lambda path: saved.append(path.name),
    )
    callback.on_train_epoch_start(trainer, None)
    if rmse is not None:
        callback.on_validation_end(trainer, None)
    callback.on_train_epoch_end(trainer, None)
    return saved


def test_the_best_one_is_saved_after_the_lowest_rmse_and_the_last_one_after_every_epoch(tmp_path):
    callback = BestAndLastCheckpoints(RunFolder(tmp_path))
    assert epoch(callback) == ["last.ckpt"]
    assert epoch(callback, 3.0) == ["best.ckpt", "last.ckpt"]
    assert epoch(callback, 3.5) == ["last.ckpt"]
    assert epoch(callback) == ["last.ckpt"]
    assert epoch(callback, 2.0) == ["best.ckpt", "last.ckpt"]


@pytest.mark.parametrize(
    ("epochs", "asked_to_stop", "stops", "saved"),
    [
        (2, False, False, False),
        (3, False, False, True),
        (8, False, False, True),
        (2, True, False, True),
        (2, False, True, True),
    ],
)
def test_the_last_one_is_saved_every_few_epochs_and_before_the_training_ends(
    tmp_path, epochs, asked_to_stop, stops, saved
):
    stop = StopAtSignal()
    stop.code = 143 if asked_to_stop else 0
    paths = []
    trainer = SimpleNamespace(
        datamodule=SimpleNamespace(has_scores=True),
        current_epoch=epochs - 1,
        max_epochs=8,
        should_stop=stops,
        callbacks=[stop],
        strategy=SimpleNamespace(reduce_boolean_decision=lambda asked, all: asked),
        save_checkpoint=paths.append,
    )
    folder = RunFolder(tmp_path)
    BestAndLastCheckpoints(folder, every=3).on_train_epoch_end(trainer, None)
    assert paths == [folder.last_checkpoint] * saved


def test_a_resumed_run_remembers_its_best_rmse(tmp_path):
    first, second = (BestAndLastCheckpoints(RunFolder(tmp_path)) for _ in range(2))
    epoch(first, 2.0)
    second.load_state_dict(first.state_dict())
    assert epoch(second, 2.5) == ["last.ckpt"]
    assert first.state_key == "Checkpoints"  # of files that 0.1 wrote


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path):
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"epoch": 1}, path)
    with pytest.raises(UserError, match=r"checkpoint\['epoch'\]: is a builtins.function"):
        AtomicCheckpointIO().save_checkpoint({"epoch": lambda: 2}, path)
    assert torch.load(path, weights_only=True) == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_figures_of_a_replaced_best_checkpoint_are_removed(tmp_path):
    folder = RunFolder(tmp_path)
    callback = BestAndLastCheckpoints(folder)
    for rmse, remain in ((3.0, False), (3.5, True)):
        for path in (folder.reliability, folder.corruptions, folder.corrupted_reliability):
            path.touch()
        epoch(callback, rmse)
        assert folder.corruptions.exists() == folder.reliability.exists() == remain


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (np.float64(1), "numpy.float64"),
        (np.ones(2), "numpy.ndarray"),
        (PurePosixPath("a"), "pathlib"),
        (print, "builtins"),
    ],
)
def test_a_value_that_a_checkpoint_could_not_be_read_with_is_refused_before_it_is_written(tmp_path, value, kind):
    content = {"callbacks": {"Mine": {"scores": [0.5, value]}}}
    with pytest.raises(UserError, match=rf"checkpoint\['callbacks'\]\['Mine'\]\['scores'\]\[1\]: is a {kind}"):
        AtomicCheckpointIO().save_checkpoint(content, tmp_path / "last.ckpt")
    assert not list(tmp_path.iterdir())


def test_all_values_that_torch_reads_may_be_kept(tmp_path):
    content = {
        "a": torch.zeros(2, 3).shape,
        "b": torch.float32,
        "c": Counter("aab"),
        "d": (1, None, "x"),
        2: {1.5, True},
    }
    AtomicCheckpointIO().save_checkpoint(content, tmp_path / "last.ckpt")
    assert torch.load(tmp_path / "last.ckpt", weights_only=True) == content
