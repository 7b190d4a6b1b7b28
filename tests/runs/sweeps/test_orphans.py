"""A worker whose sweep was killed ends its job, and then itself."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from facekp.runs.sweeps import orphans
from facekp.runs.sweeps.orphans import job_of_worker

WORKER = """
import sys, time
from pathlib import Path
from facekp.runs.sweeps import orphans
orphans._is_joblib_worker, orphans.PAUSE = lambda: True, 0.05
folder = Path(sys.argv[1])
with orphans.job_of_worker():
    (folder / "begun").touch()
    while not (folder / "go_on").exists():
        time.sleep(0.02)
    time.sleep(0.5)  # the thread sees that the parent has ended
    (folder / "ended").touch()
{then}
time.sleep(60)
"""
NEXT_JOB = """
with orphans.job_of_worker():
    (folder / "next").touch()
"""


def becomes_true(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def is_running(pid):
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="needs Linux's list of processes")
@pytest.mark.parametrize("then", ["", NEXT_JOB], ids=["idle", "handed over"])
def test_a_worker_without_a_sweep_ends_after_its_job(tmp_path, then):
    (tmp_path / "worker.py").write_text(WORKER.format(then=then))
    sweep = f"""
import os, subprocess, sys, time
os.environ[{orphans.SWEEP!r}] = str(os.getpid())
print(subprocess.Popen([sys.executable, {str(tmp_path / "worker.py")!r}, {str(tmp_path)!r}]).pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", sweep], stdout=subprocess.PIPE, text=True) as process:
        worker = int(process.stdout.readline())
        assert becomes_true((tmp_path / "begun").exists, 60)
        process.kill()
    (tmp_path / "go_on").touch()
    assert becomes_true((tmp_path / "ended").exists, 60)
    assert becomes_true(lambda: not is_running(worker))
    assert not (tmp_path / "next").exists()


def test_other_processes_are_not_watched(monkeypatch):
    monkeypatch.setenv(orphans.SWEEP, "1")
    monkeypatch.setattr(orphans, "_watch_sweep", lambda: pytest.fail("watched"))
    with job_of_worker():
        pass
