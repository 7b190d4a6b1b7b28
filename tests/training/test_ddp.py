"""Two processes train and validate like one."""

import json

import pytest

from tests.conftest import TINY, facekp


def test_two_gloo_processes_with_an_odd_number_of_validation_rows_equal_one(tmp_path):
    same = [
        *TINY,
        "augment=none",
        "decoder=argmax",
        "optimizer=sgd",
        "data.rows=65",
        "data.batch_size=13",
        "trainer.max_epochs=1",
    ]
    alone = facekp("train", *same, "out=alone", cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr
    together = facekp("train", *same, "trainer=ddp", "trainer.accelerator=cpu", "out=together", cwd=tmp_path)
    assert together.returncode == 0, together.stderr
    one, two = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("alone", "together"))
    assert one["labelled_values"] == two["labelled_values"]
    assert two["steps"] == one["steps"]
    logged = [float(line) for line in _column(tmp_path / "together" / "metrics.csv", "val/rmse")]
    assert logged[0] == pytest.approx(two["rmse"], rel=1e-4)  # computed by two processes, then by one
    assert two["rmse"] == pytest.approx(one["rmse"], rel=0.02)  # rounding, and a network that knows little


def _column(path, name):
    header, *rows = [line.split(",") for line in path.read_text().splitlines()]
    return [row[header.index(name)] for row in rows if row[header.index(name)]]
