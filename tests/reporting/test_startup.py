"""What the benchmark measures of start-up, and what a training does not wait for."""

import subprocess
import sys

from facekp.reporting import startup
from facekp.reporting.startup import FIRST_STEP, TRAIN, measure_startup


def test_a_measured_training_ends_after_its_first_step(tmp_path, monkeypatch):
    monkeypatch.setattr(startup, "ROUNDS", 1)
    start = measure_startup(tmp_path)
    assert all(seconds > 0 for seconds in start)
    run = tmp_path / "start1" / "run"
    assert (run / "config.yaml").is_file()
    assert not (run / "metrics.csv").exists()  # ended before its epoch did
    assert not (run / "pictures").exists()


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
