"""What ends a training early: a signal after the running batch, and a folder that is no longer there."""

import os
import shutil
import signal
from types import SimpleNamespace

import pytest

from facekp.core.errors import UserError
from facekp.core.signals import NOTICES, Stopped, stop_at_signals
from facekp.runs.folder import RunFolder
from facekp.training.callbacks.stopping import FolderGuard, StopAtSignal


def trainer(last=False, others=False):
    """A trainer in the last batch of an epoch or before; ``others``: whether another process got a signal."""
    strategy = SimpleNamespace(reduce_boolean_decision=lambda mine, all: mine or others)
    return SimpleNamespace(is_last_batch=last, strategy=strategy, is_global_zero=True)


@pytest.fixture
def stop():
    """The callback in a training; handlers are put back at the end, as Lightning does."""
    before = {number: signal.getsignal(number) for number in (*NOTICES, signal.SIGINT)}
    for number in NOTICES:
        signal.signal(number, signal.SIG_DFL)  # nohup ignores SIGHUP
    signal.signal(signal.SIGINT, signal.default_int_handler)
    callback = StopAtSignal()
    with stop_at_signals():
        callback.on_fit_start(trainer(), None)
        callback.on_train_start(trainer(), None)
        yield callback
        for number, handler in before.items():
            signal.signal(number, handler)


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_ends_the_training_after_the_batch(stop, number):
    stop.on_train_batch_end(trainer(), None, None, None, 0)
    send(number)
    with pytest.raises(Stopped) as end:
        stop.on_train_batch_end(trainer(), None, None, None, 1)
    assert end.value.code == (130 if number == signal.SIGINT else 143)
    assert stop.agreed


def test_a_notice_ends_the_training_after_the_epoch(stop):
    send(signal.SIGUSR1)
    send(signal.SIGUSR1)
    stop.on_train_batch_end(trainer(), None, None, None, 0)
    with pytest.raises(Stopped) as end:
        stop.on_train_epoch_start(trainer(), None)
    assert end.value.code == 143
    send(signal.SIGTERM)  # the time is over
    with pytest.raises(Stopped):
        stop.on_train_batch_end(trainer(), None, None, None, 1)


def test_after_an_epoch_s_last_batch_the_checkpoint_comes_first(stop):
    send(signal.SIGTERM)
    stop.on_train_batch_end(trainer(last=True), None, None, None, 0)
    with pytest.raises(Stopped):
        stop.on_train_epoch_start(trainer(), None)


def test_a_signal_in_the_last_epoch_is_not_forgotten(stop):
    stop.raise_if_asked()
    send(signal.SIGTERM)
    stop.on_train_batch_end(trainer(last=True), None, None, None, 0)
    with pytest.raises(Stopped):
        stop.raise_if_asked()


def test_a_terminal_that_sends_sighup_twice_ends_the_training_after_the_batch(stop):
    send(signal.SIGHUP)
    send(signal.SIGHUP)
    with pytest.raises(Stopped):
        stop.on_train_batch_end(trainer(), None, None, None, 0)


def test_a_second_signal_ends_the_training_at_once(stop):
    send(signal.SIGTERM)
    with pytest.raises(Stopped) as end:
        send(signal.SIGINT)
    assert end.value.code == 143
    assert not stop.agreed
    send(signal.SIGUSR1)


def test_all_processes_end_if_one_got_a_signal(stop):
    with pytest.raises(Stopped) as end:
        stop.on_train_batch_end(trainer(others=True), None, None, None, 0)
    assert end.value.code == 143


def test_without_handlers_of_the_command_lightning_s_stay():
    before = signal.getsignal(signal.SIGTERM)
    callback = StopAtSignal()
    callback.on_fit_start(trainer(), None)
    callback.on_train_start(trainer(), None)
    assert signal.getsignal(signal.SIGTERM) is before


def remove(folder):
    shutil.rmtree(folder)


def replace(folder):
    folder.rename(folder.with_name("b"))
    shutil.copytree(folder.with_name("b"), folder)


def remove_and_make(folder):
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "config.yaml").write_text("")


@pytest.mark.parametrize("change", [remove, replace, remove_and_make])
def test_a_folder_that_is_no_longer_the_run_s_ends_the_training(tmp_path, change):
    run = RunFolder(tmp_path / "a")
    run.path.mkdir()
    run.config.write_text("")
    guard = FolderGuard(run)
    guard.on_fit_start(trainer(), None)
    guard.on_train_epoch_end(trainer(), None)
    change(run.path)
    with pytest.raises(UserError, match=rf"^{run}: was removed, renamed or replaced while the run was trained"):
        guard.on_train_epoch_end(trainer(), None)
    guard.on_exception(trainer(), None, UserError())
    guard.on_train_epoch_end(trainer(), None)  # closed


def test_only_the_first_process_looks_after_the_folder(tmp_path):
    guard = FolderGuard(RunFolder(tmp_path / "missing"))
    guard.on_fit_start(SimpleNamespace(is_global_zero=False), None)
    guard.on_train_epoch_end(trainer(), None)
