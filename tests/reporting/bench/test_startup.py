"""What the benchmark measures of start-up, and what a training does not wait for."""

import subprocess
import sys

import pytest

from facekp.__main__ import COMMANDS
from facekp.core.errors import UserError
from facekp.reporting.bench import startup
from facekp.reporting.bench.startup import FIRST_STEP, TRAIN, command_names, measure_startup
from tests.faults.children import CAMPAIGN
from tests.reporting.bench.conftest import bench_settings


@pytest.mark.skipif(not CAMPAIGN, reason="takes minutes: make faults runs it")
def test_a_measured_training_ends_after_its_first_step(tmp_path):
    arguments = startup.start_cases(tmp_path / "photo.png")[startup.FIRST]
    assert startup._cpu_seconds(arguments, tmp_path / "bytecode" / "start", is_mistake=False) > 0
    run = tmp_path / "bytecode" / "start" / "run"
    assert (run / "config.yaml").is_file()
    assert not (run / "metrics.csv").exists()  # ended before its epoch did
    assert not (run / "pictures").exists()


def test_the_first_training_step_is_measured_beside_plain_torch(tmp_path, monkeypatch):
    times = iter([9.0, 4.0, 5.0, 2.0, 7.0, 2.0])
    monkeypatch.setattr(startup, "start_cases", lambda photo: {startup.FIRST: (), startup.PLAIN: ()})
    monkeypatch.setattr(startup, "_cpu_seconds", lambda *given: next(times))
    (measured,) = measure_startup(bench_settings("rounds=2"), tmp_path)
    assert (measured.value, measured.baseline) == (6.0, 2.0)  # the first round compiles


def test_a_start_that_fails_is_no_measurement(tmp_path, monkeypatch):
    monkeypatch.setattr(startup, "start_cases", lambda photo: {"wrong": ("-c", "raise ValueError('no')")})
    with pytest.raises(UserError, match="ValueError: no"):
        list(measure_startup(bench_settings("rounds=1"), tmp_path))


def test_every_command_has_a_start_that_is_measured():
    cases = [startup._module(name)[1] for name in command_names()]
    assert {f"facekp.{name}" for name in COMMANDS} == set(cases)


def test_the_first_step_waits_neither_for_scipy_nor_for_matplotlib(tmp_path):
    """Both took seconds of each start."""
    (tmp_path / "watch.py").write_text(
        "import sys, pytorch_lightning\n"
        "class Watch(pytorch_lightning.Callback):\n"
        "    def on_train_batch_end(self, *args):\n"
        "        print('imported:', [name for name in ('scipy.signal', 'matplotlib') if name in sys.modules])\n"
    )
    watched = ["++callbacks.a._target_=watch.Watch", *FIRST_STEP]
    command = [sys.executable, *TRAIN, *watched, f"out={tmp_path / 'run'}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=300)
    assert "imported: []" in done.stdout, done.stdout + done.stderr
