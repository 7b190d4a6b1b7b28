"""Commands that may take long show how far they are; here as lines of a log file, without the seconds of silence."""

import shutil

import numpy as np
import pytest

from facekp.calibrate import main as calibrate
from facekp.core import console
from facekp.data.competition import write_test, write_training
from facekp.detection_benchmark import main as detection_benchmark
from facekp.evaluate import main as evaluate
from facekp.export import main as export
from facekp.submit import main as submit
from tests.conftest import composed
from tests.exports import QUICK


@pytest.fixture
def lines(monkeypatch, capfd):
    """A function that runs a command and returns the lines of its progress, by what is done."""
    monkeypatch.setattr(console, "SILENT", 0.0)
    monkeypatch.setattr(console, "LINES_APART", 0.0)

    def run(name, main, *overrides):
        main(composed(*overrides, name=name))
        err = capfd.readouterr().err.splitlines()
        return {line.split(":")[0]: line for line in err if ": " in line and ("%" in line or " done in " in line)}

    return run


def test_evaluate_counts_the_faces_of_all_checkpoints(lines, ckpt):
    shown = lines("evaluate", evaluate, f"ckpt=[{ckpt},{ckpt}]", "data=synthetic", "data.rows=60")
    assert shown["predicting faces"].startswith("predicting faces: 24 of 24 (100%)")  # 12 held out of 60


def test_submit_counts_the_rows_of_the_file_and_the_faces(lines, ckpt, tmp_path, faces):
    few = faces.take(np.arange(20))
    write_test(tmp_path, few, few.mask)
    out = tmp_path / "s.csv"
    shown = lines("submit", submit, f"ckpt={ckpt}", f"data.dir={tmp_path}", "data.cache=null", f"out={out}")
    assert shown["predicting faces"].startswith("predicting faces: 20 of 20 (100%)")
    assert shown[f"reading rows of {tmp_path / 'test.csv'}"].endswith(": 20 done in 0 s")


def test_export_counts_the_faces_that_check_the_graph(lines, ckpt, tmp_path):
    given = ["data=synthetic", "data.rows=60", "check=10", *QUICK, f"out={tmp_path / 'x.pt2'}"]
    assert lines("export", export, f"ckpt={ckpt}", *given)["checking faces"].startswith(
        "checking faces: 10 of 10 (100%)"
    )


def test_calibrate_counts_faces(lines, ckpt, tmp_path):
    copied = shutil.copy(ckpt, tmp_path)  # calibrate writes into the folder of a checkpoint's run
    given = ["data=synthetic", "data.rows=100", f"out={tmp_path / 'c.ckpt'}"]
    shown = lines("calibrate", calibrate, f"ckpt={copied}", *given)
    assert "(100%)" in shown["predicting faces"]


def test_the_detection_benchmark_counts_the_faces_of_all_sources_and_sizes(lines, ckpt, tmp_path, faces):
    write_training(tmp_path / "training.csv", faces)
    given = [f"data.dir={tmp_path}", "data.cache=null", "faces=2", "scales=[1,2]", "detector=none"]
    shown = lines("detection_benchmark", detection_benchmark, f"ckpt={ckpt}", *given)
    assert shown["looking for faces"].startswith("looking for faces: 8 of 8 (100%)")
