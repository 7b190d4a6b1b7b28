"""`facekp.export`: its file is taken wherever a checkpoint is; missing packages are one line."""

import os

import numpy as np
import pytest

from facekp.core.errors import UserError
from facekp.data.competition import write_test, write_training
from facekp.evaluate import main as evaluate
from facekp.reporting.bench.prediction import measure_batch
from facekp.submit import main as submit
from tests.conftest import composed, facekp


def test_evaluate_and_submit_take_it_as_they_take_a_checkpoint(of_all, ckpt, tmp_path, faces):
    exported, _, decoder = of_all
    given = ["data=synthetic", "data.rows=60"]
    graph = evaluate(composed(f"ckpt={exported}", *given, name="evaluate"))
    checkpoint = evaluate(composed(f"ckpt={ckpt}", *given, *decoder, name="evaluate"))
    assert graph["rmse"] == pytest.approx(checkpoint["rmse"], abs=1e-3)
    few = faces.take(np.arange(10))  # poorly trained, so that each gets a second look
    write_training(tmp_path / "training.csv", few)
    write_test(tmp_path, few, few.mask)
    given = [f"data.dir={tmp_path}", "data.cache=null", f"ckpt={exported}", f"out={tmp_path / 's.csv'}"]
    assert submit(composed(*given, name="submit")).is_file()  # with a second look
    with pytest.raises(UserError, match="export it again"):
        evaluate(composed(f"ckpt={exported}", "decoder=dark", name="evaluate"))


def test_bench_compares_its_time_with_the_checkpoint_s(of_all, ckpt):
    first, second = measure_batch([str(ckpt), str(of_all[0])], rounds=1, threads=1)
    assert (first.baseline, second.baseline, second.baseline_name) == (None, first.value, str(ckpt))


def test_a_missing_package_is_one_line(ckpt, tmp_path):
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('no', name='onnxruntime')")
    (tmp_path / "a.onnx").write_bytes(b"")
    path = f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"
    for command, given in (("export", ["data=synthetic", "out=b.onnx", f"ckpt={ckpt}"]), ("evaluate", ["ckpt=a.onnx"])):
        done = facekp(command, *given, cwd=tmp_path, PYTHONPATH=path)
        assert done.returncode == 2
        assert "facekp[export]" in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
