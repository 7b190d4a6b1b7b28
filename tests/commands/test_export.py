"""`facekp.export`: its file is taken wherever a checkpoint is; missing packages are one line."""

import sys

import numpy as np
import pytest

from facekp.core.errors import UserError
from facekp.data.competition import write_test, write_training
from facekp.evaluate import main as evaluate
from facekp.export import main as export
from facekp.reporting.bench.prediction import measure_batch
from facekp.submit import main as submit
from tests.conftest import composed


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


def test_a_missing_package_is_one_line(ckpt, tmp_path, monkeypatch, run_here):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (tmp_path / "a.onnx").write_bytes(b"")
    given = ["data=synthetic", "out=b.onnx", f"ckpt={ckpt}"]
    for name, task, arguments in (("export", export, given), ("evaluate", evaluate, ["ckpt=a.onnx"])):
        code, err = run_here(name, task, *arguments)
        assert code == 2
        assert "facekp[export]" in err
        assert len(err.strip().splitlines()) == 1
