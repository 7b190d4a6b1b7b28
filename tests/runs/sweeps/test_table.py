"""The table of a sweep: RMSE of all and of each source, other metrics where they are declared, empty cells."""

import json

import pytest

from facekp.functional.metrics import METRICS, metric
from facekp.runs.sweep_folder import SweepFolder
from facekp.runs.sweeps.configurations import by_configuration
from facekp.runs.sweeps.table import read_jobs, sweep_table


def leave(folder, name, status, metrics):
    (folder / name).mkdir()
    text = {"status": status, "message": "", "differs": {"lr": name}}
    (folder / name / "status.json").write_text(json.dumps(text))
    if metrics is not None:
        (folder / name / "metrics.json").write_text(json.dumps(metrics))


@pytest.fixture
def failures():
    """A metric that a plug-in declares."""

    @metric("failures", label="faces off by more than 5 px", unit="fraction", digits=1, better="lower")
    def failures(scored):
        return 0.25

    yield
    del METRICS.entries["failures"]


def test_a_metric_of_a_plug_in_has_its_column_and_digits(tmp_path, failures):
    parts = {"rmse/nose_tip": 1.0, "rmse/trimmed": 1.1, "auc/0.08": 0.5, "curve": {"pixels": [0.1]}}
    leave(tmp_path, "a", "ok", {"rmse": 1.5, "rmse/dense": 1.25, **parts, "failures": 0.25, "minutes": 2})
    leave(tmp_path, "b", "failed", None)
    jobs = read_jobs(SweepFolder(tmp_path), ["dense"])
    assert list(jobs) == ["lr", "rmse", "rmse/dense", "auc/0.08", "failures", "minutes", "status", "message", "folder"]
    table = sweep_table(jobs, "s")
    # the terminal leaves out the parts of other metrics, which sweep.csv has
    assert [column.header for column in table.columns] == ["lr", "rmse", "dense", "failures", "minutes", "status"]
    assert [list(column.cells) for column in table.columns] == [
        ["a", "b"],
        ["1.500", ""],
        ["1.250", ""],
        ["0.2", ""],
        ["2.000", ""],
        ["ok", "failed"],
    ]


def test_a_sweep_over_schemes_has_the_sources_of_each(tmp_path, tiny_run):
    for job, source in (("a", "full"), ("b", "quick")):
        leave(tmp_path, job, "ok", {"rmse": 1.5, f"rmse/{source}": 1.25})
        config = (tiny_run / "config.yaml").read_text()
        (tmp_path / job / "config.yaml").write_text(config.replace("    dense:", f"    {source}:"))
    leave(tmp_path, "c", "failed", None)
    jobs = read_jobs(SweepFolder(tmp_path), ["dense", "sparse"])
    assert list(jobs)[:5] == ["lr", "rmse", "rmse/full", "rmse/sparse", "rmse/quick"]
    assert jobs["rmse/quick"].dropna().tolist() == [1.25]


# settings such as metrics.pck and trainer.max_time.minutes
@pytest.mark.parametrize("setting", ["pck", "nme", "minutes", "folder", "jobs"])
def test_a_setting_with_the_name_of_another_column_has_its_own(tmp_path, setting):
    for job, value in (("a", "[0.05]"), ("b", "[0.1]")):
        leave(tmp_path, job, "ok", {"rmse": 1.5, "nme": 0.25, "minutes": 2, "pck": 0.5})
        status = json.dumps({"status": "ok", "message": "", "differs": {setting: value, "seed": job}})
        (tmp_path / job / "status.json").write_text(status)
    jobs = read_jobs(SweepFolder(tmp_path), [])
    assert jobs[f"{setting} (setting)"].tolist() == ["[0.05]", "[0.1]"]
    assert jobs["minutes"].tolist() == [2, 2]
    assert sweep_table(jobs, "s").columns[0].header == f"{setting} (setting)"
    assert by_configuration(jobs)["jobs"].tolist() == [1, 1]


@pytest.mark.parametrize("name", ["status.json", "metrics.json", "overrides.yaml"])
def test_a_damaged_job_is_listed_and_the_others_stay(tmp_path, name, caplog):
    for job in ("a", "b"):
        leave(tmp_path, job, "ok", {"rmse": 1.5})
    (tmp_path / "a" / name).write_text("[")
    jobs = read_jobs(SweepFolder(tmp_path), ["dense"]).set_index("folder")
    assert jobs["status"].to_dict() == {"b": "ok", "a": "damaged"}
    assert f"a/{name} can't be read" in jobs.loc["a", "message"]
    assert list(jobs)[:2] == ["lr", "rmse"]  # settings come first, also where the first job does not know its own
    assert f"damaged: {tmp_path}/a/{name} can't be read" in caplog.text


def test_a_finished_job_without_its_metrics_is_damaged(tmp_path):
    for job in ("a", "b"):
        leave(tmp_path, job, "ok", {"rmse": 1.5})
    (tmp_path / "a" / "metrics.json").unlink()
    jobs = read_jobs(SweepFolder(tmp_path), ["dense"]).set_index("folder")
    assert jobs["status"].to_dict() == {"b": "ok", "a": "damaged"}
    assert "a/metrics.json does not exist; put it back" in jobs.loc["a", "message"]


def test_without_a_job_there_is_an_empty_table(tmp_path):
    jobs = read_jobs(SweepFolder(tmp_path), ["dense"])
    assert list(jobs)[:2] == ["rmse", "rmse/dense"]
    assert jobs.empty
