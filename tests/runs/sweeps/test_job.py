"""A job of a sweep: its status, its failure, resuming it, and one process at a time."""

import json
import subprocess
import sys
import threading

import pytest

from facekp.core.errors import UserError
from facekp.core.signals import Stopped
from facekp.runs.folder import RunFolder, RunStatus
from facekp.runs.sweeps.job import Pruned, run_job, train_in_new_process


def test_a_crash_is_written_down_and_ends_nothing(job, tmp_path, capsys):
    def crash(resume):
        raise RuntimeError("broken\nin two lines")

    folder = RunFolder(tmp_path / "lr-1")
    assert run_job(folder, job("lr=1"), crash) is None
    status = json.loads(folder.status.read_text())
    assert status == {"status": "failed", "message": "broken in two lines", "differs": {"lr": "1"}}
    assert "RuntimeError: broken" in folder.traceback.read_text()
    assert "facekp: error: lr-1: broken in two lines" in capsys.readouterr().err


def test_a_job_is_running_while_it_runs_and_a_second_try_forgets_the_failure(job, tmp_path):
    folder, cfg = RunFolder(tmp_path / "lr-1"), job("lr=1")
    run_job(folder, cfg, lambda resume: 1 / 0)

    def succeed(resume):
        assert not resume
        assert folder.read_status().status == "running"
        assert not folder.traceback.exists()
        return {"rmse": 2.0}

    assert run_job(folder, cfg, succeed) == {"rmse": 2.0}
    assert folder.read_status().status == "ok"


def test_a_job_that_has_begun_is_resumed_and_a_finished_one_is_kept(job, tmp_path):
    cfg, resumed, folder = job("lr=1"), [], RunFolder(tmp_path)
    folder.write_origin()
    folder.config.write_text("")
    folder.metrics.write_text('{"rmse": 3.0}')
    for _ in range(2):
        assert run_job(folder, cfg, lambda resume: resumed.append(resume) or {"rmse": 3.0}) == {"rmse": 3.0}
    assert resumed == [True]


def test_a_pruned_job_is_no_failure_and_is_not_run_again(job, tmp_path, capsys):
    folder = RunFolder(tmp_path)

    def prune(resume):
        folder.write_origin()
        folder.metrics.write_text('{"rmse": 3.0}')
        raise Pruned("after epoch 1")

    assert run_job(folder, job("lr=1"), prune) is None
    status = folder.read_status()
    assert (status.status, status.message, status.differs) == ("pruned", "after epoch 1", {"lr": "1"})
    assert run_job(folder, job("lr=1"), lambda resume: 1 / 0) == {"rmse": 3.0}
    assert capsys.readouterr().err == ""


def test_a_job_is_trained_by_one_process_at_a_time(job, tmp_path, caplog):
    code = "import sys, time; from filelock import FileLock; l = FileLock(sys.argv[1]); l.acquire(); print(flush=True)"
    command = [sys.executable, "-c", f"{code}; time.sleep(600)", str(tmp_path / ".lock")]
    cfg = job("lr=1")
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline()
        threading.Timer(0.5, other.kill).start()
        assert run_job(RunFolder(tmp_path), cfg, lambda resume: {"rmse": 1.0}) == {"rmse": 1.0}
    assert "another process trains this run" in caplog.text


@pytest.mark.parametrize("status", ["ok", "pruned", "interrupted"])
def test_the_run_of_another_job_is_neither_kept_nor_resumed(job, tmp_path, status):
    folder = RunFolder(tmp_path)
    job("optimizer=sgd", "seed=1", "debug=true")
    folder.write_origin()
    folder.config.write_text("")
    folder.metrics.write_text('{"rmse": 3.0}')
    folder.write_status(RunStatus(status))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UserError, match=r"holds the run of another job \(optimizer: sgd; here: adam\); choose another"):
        run_job(folder, job("optimizer=adam", "seed=1"), lambda resume: 1 / 0)
    with pytest.raises(UserError, match=r"\(lr: not given; here: 1e-3\)"):
        run_job(folder, job("optimizer=sgd", "seed=1", "lr=1e-3"), lambda resume: 1 / 0)
    assert {path: path.read_bytes() for path in before} == before
    same = run_job(folder, job("optimizer='sgd'", "++seed=1", "plugins=[os]"), lambda resume: {"rmse": 3.0})
    assert same == {"rmse": 3.0}


@pytest.mark.parametrize(("stop", "code"), [(KeyboardInterrupt(), 130), (Stopped(143), 143)])
@pytest.mark.parametrize("exits", [False, True])  # as Lightning does after a KeyboardInterrupt
def test_a_signal_ends_the_sweep_with_its_exit_code(job, tmp_path, stop, code, exits):
    def interrupted(resume):
        try:
            raise stop
        except BaseException:
            if exits:
                sys.exit(1)
            raise

    with pytest.raises(SystemExit) as end:
        run_job(RunFolder(tmp_path), job("lr=1"), interrupted)
    assert end.value.code == code
    assert RunFolder(tmp_path).read_status().status == "interrupted"


def test_a_plug_in_that_exits_fails_its_job_alone(job, tmp_path, capsys):
    assert run_job(RunFolder(tmp_path), job("lr=1"), lambda resume: sys.exit("weights.bin is missing")) is None
    status = RunFolder(tmp_path).read_status()
    assert (status.status, status.message) == ("failed", "sys.exit was called: weights.bin is missing")
    assert "weights.bin is missing" in capsys.readouterr().err


def test_an_error_to_which_a_signal_led_is_no_failure_of_the_job(job, tmp_path):
    def interrupted(resume):
        try:
            raise Stopped(143)
        finally:
            raise AttributeError("half built")

    with pytest.raises(SystemExit) as end:
        run_job(RunFolder(tmp_path), job("lr=1"), interrupted)
    assert end.value.code == 143
    assert RunFolder(tmp_path).read_status().status == "interrupted"


@pytest.fixture
def started(job, monkeypatch):
    """Commands that would have been started; each prints two lines and fails."""
    commands = []

    class Failed(subprocess.Popen):
        def __init__(self, command, **options):
            commands.append(command[2:])
            code = "import sys; print('one', 'facekp: error: two', sep=chr(10), file=sys.stderr); sys.exit(2)"
            super().__init__([sys.executable, "-c", code], **options)

    monkeypatch.setattr(subprocess, "Popen", Failed)
    return commands


def test_a_process_of_its_own_gets_the_overrides_and_its_last_lines_are_kept(job, started, tmp_path):
    job("lr=1")
    folder = RunFolder(tmp_path)
    with pytest.raises(UserError, match=r"^two \(exit code 2\)") as error:
        train_in_new_process(folder, ["plugins=[mine]", "lr=1"], resume=False)
    assert error.value.__notes__ == ["one\nfacekp: error: two\n"]
    with pytest.raises(UserError):
        train_in_new_process(folder, ["plugins=[mine]", "lr=1"], resume=True)
    one_run = ["hydra.mode=RUN", f"hydra.run.dir={tmp_path}"]  # a config file may set hydra.mode=MULTIRUN
    assert started == [
        ["facekp.train", "plugins=[mine]", "lr=1", *one_run],
        ["facekp.train", "plugins=[mine]", f"resume={tmp_path}", *one_run],
    ]


def test_a_process_of_its_own_ends_with_the_sweep(job, tmp_path, monkeypatch):
    class Endless(subprocess.Popen):
        def __init__(self, command, **options):
            super().__init__([sys.executable, "-c", "import time; print(flush=True); time.sleep(600)"], **options)
            children.append(self)
            self.stderr.close()
            self.stderr = stopping()

    def stopping():
        raise Stopped(143)
        yield

    children = []
    job("lr=1")
    monkeypatch.setattr(subprocess, "Popen", Endless)
    with pytest.raises(Stopped):
        train_in_new_process(RunFolder(tmp_path), ["lr=1"], resume=False)
    assert children[0].returncode == -15
