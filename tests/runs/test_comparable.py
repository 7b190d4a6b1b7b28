"""Which earlier run a run is compared with."""

import json
import os

import pytest
import yaml

from facekp.runs import comparable
from facekp.runs.comparable import last_comparable_run
from facekp.runs.folder import RunFolder

DATA = {"name": "kaggle", "dir": "/data", "fold": 0, "batch_size": 32, "offsets": None}


@pytest.fixture
def write(tmp_path):
    clock = iter(range(100))

    def written(name, split="row,set\n1,val\n", rmse=2.0, finished=True, trial=False, **data):
        run = RunFolder(tmp_path / name)
        run.path.mkdir(parents=True)
        config = {"data": {**DATA, **data}, "keypoints": {"name": "k"}, "model": {}}
        run.config.write_text(yaml.safe_dump(config | {"trainer": {"fast_dev_run": trial}}))
        run.split.write_text(split)
        run.metrics.write_text(json.dumps({"rmse": rmse, "finished": finished}))
        os.utime(run.metrics, (at := next(clock), at))
        return run

    return written


def test_it_is_the_newest_finished_run_of_the_same_data(write):
    write("old")
    same = write("same", batch_size=16, offsets={"dense": 1.0})
    write("other fold", fold=1)
    write("other rows", split="row,set\n2,val\n")
    write("other folder", dir="/elsewhere")
    write("unfinished", finished=False)
    write("trial of one batch", trial=True)
    assert last_comparable_run(write("new")) == same


def test_a_run_before_the_labels_were_corrected_is_not_comparable(write):
    older, before, new = write("older"), write("before"), write("new")
    before.data.write_text("images: a\nlabels: b\n")
    new.data.write_text("images: a\nlabels: c\nteacher: d\n")
    assert last_comparable_run(new) == older  # it has no digests
    before.data.write_text("images: d\nlabels: c\n")
    assert last_comparable_run(new) == older
    before.data.write_text("images: a\nlabels: c\nteacher: e\n")
    assert last_comparable_run(new) == before


def test_a_run_without_an_rmse_is_passed_over(write):
    kept = write("kept")
    write("without").metrics.write_text(json.dumps({"labelled_values": 0, "finished": True}))
    assert last_comparable_run(write("new")) == kept


def test_runs_of_other_landmarks_are_not_comparable(write):
    other = write("other")
    config = yaml.safe_load(other.config.read_text())
    other.config.write_text(yaml.safe_dump({**config, "keypoints": {"name": "others"}}))
    assert last_comparable_run(write("new")) is None


def test_splits_are_compared_by_their_rows_not_by_their_size_and_time(write):
    other, new = write("other", split="row,set\n2,val\n"), write("new")
    for run in (other, new):
        os.utime(run.split, (1, 1))
    assert last_comparable_run(new) is None


def test_runs_of_other_days_and_runs_with_a_name_are_found(write):
    first = write("outputs/2026-01-01/10-00-00")
    second = write("outputs/2026-01-02/10-00-00")
    assert last_comparable_run(first) == second
    assert last_comparable_run(second) == first
    assert last_comparable_run(write("outputs/named")) == second


def test_without_another_run_and_beside_a_damaged_one_there_is_none(write, tmp_path, monkeypatch):
    write("damaged").config.write_text("- a list")
    run = write("new")
    assert last_comparable_run(run) is None
    monkeypatch.chdir(tmp_path)
    assert last_comparable_run(RunFolder("new")) is None


def test_names_are_relative_where_the_run_s_is(write, tmp_path, monkeypatch):
    write("first")
    write("second")
    monkeypatch.chdir(tmp_path)
    assert str(last_comparable_run(RunFolder("second"))) == "first"
    assert str(last_comparable_run(RunFolder(tmp_path / "second"))) == str(tmp_path / "first")


def test_a_run_that_is_removed_meanwhile_is_passed_over(write, monkeypatch):
    kept = write("kept")
    removed = write("removed")
    neighbours = comparable._neighbours

    def found_and_removed(run):
        found = list(neighbours(run))
        removed.metrics.unlink(missing_ok=True)
        return found

    monkeypatch.setattr(comparable, "_neighbours", found_and_removed)
    assert last_comparable_run(write("new")) == kept
