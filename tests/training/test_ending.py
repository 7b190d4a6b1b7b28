"""A training that ends early says what is kept, and ends the processes that wait for it."""

import signal
from types import SimpleNamespace

import pytest
from torch import distributed

from facekp.core.errors import CannotWrite, UserError
from facekp.core.signals import Stopped
from facekp.runs.folder import RunFolder
from facekp.training.callbacks.stopping import StopAtSignal
from facekp.training.ending import reported_end


def exited():
    """What Lightning raises after Ctrl+C."""
    error = SystemExit(1)
    error.__context__ = KeyboardInterrupt()
    return error


@pytest.fixture
def ended(tmp_path):
    """End a training by an exception; what came out of it, and the signals that the other processes got."""

    def end(error, first=True, agreed=False):
        killed = []
        launcher = SimpleNamespace(kill=killed.append)
        trainer = SimpleNamespace(is_global_zero=first, global_rank=0, strategy=SimpleNamespace(launcher=launcher))
        stop = StopAtSignal()
        stop.agreed = agreed
        run, ended = RunFolder(tmp_path), (SystemExit, UserError, RuntimeError)
        with pytest.raises(ended) as found, reported_end(run, ["mine"], trainer, stop):
            raise error
        return found.value, killed

    return end


@pytest.mark.parametrize(("error", "code"), [(Stopped(143), 143), (KeyboardInterrupt(), 130), (exited(), 130)])
def test_a_stop_has_the_signal_s_exit_code_and_the_command_that_continues(ended, tmp_path, caplog, error, code):
    found, killed = ended(error)
    assert isinstance(found, Stopped)
    assert found.code == code
    assert killed == [signal.SIGKILL]
    assert caplog.messages == [f"stopped; continue with resume={tmp_path} plugins=[mine]"]


def test_a_plug_in_that_exits_is_no_signal(ended, caplog):
    found, killed = ended(SystemExit("weights.bin is missing"))
    assert found.code == "weights.bin is missing"
    assert killed == [signal.SIGKILL]
    assert caplog.messages == []


def test_an_error_to_which_a_signal_led_is_reported_as_the_stop(ended, tmp_path, caplog):
    error = RuntimeError("half built")
    error.__context__ = Stopped(143)
    found, _ = ended(error)
    assert found.code == 143
    assert caplog.messages == [f"stopped; continue with resume={tmp_path} plugins=[mine]"]


def test_processes_that_stop_together_are_not_killed_and_only_the_first_reports(ended, caplog):
    assert ended(Stopped(143), agreed=True)[1] == []
    caplog.clear()
    found, _ = ended(Stopped(143), first=False, agreed=True)
    assert found.code == 0
    assert caplog.messages == []


def test_a_file_that_can_t_be_written_names_the_last_good_checkpoint(ended, tmp_path):
    run, error = RunFolder(tmp_path), CannotWrite("a.ckpt: cannot be written (full)")
    found, killed = ended(error)
    assert str(found) == "a.ckpt: cannot be written (full); then start the run again"
    assert killed == [signal.SIGKILL]
    run.config.write_text("")
    assert str(ended(error)[0]).endswith(f"no epoch was completed; then continue with resume={run} plugins=[mine]")
    run.checkpoints.mkdir()
    run.last_checkpoint.write_text("")
    assert f"the last good checkpoint is {run.last_checkpoint}; then continue with resume={run}" in str(ended(error)[0])


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[/a/gloo/transport/tcp/pair.cc:5] Read error [10.0.0.2]:1: reset by peer. This is typically"),
        distributed.DistNetworkError("Read error [10.0.0.2]:1: reset by peer"),
    ],
)
def test_a_lost_process_is_one_line_that_names_it_and_the_command_that_continues(ended, tmp_path, error):
    RunFolder(tmp_path).config.write_text("")
    found, killed = ended(error)
    assert isinstance(found, UserError)
    assert str(found) == (
        "rank 0 lost another process of this training (Read error [10.0.0.2]:1: reset by peer); see the messages of "
        f"the other ranks; no epoch was completed; then continue with resume={tmp_path} plugins=[mine]"
    )
    assert killed == [signal.SIGKILL]


def test_other_errors_pass(ended):
    for error in (UserError("diverged"), RuntimeError("a fault")):
        assert ended(error) == (error, [signal.SIGKILL])
