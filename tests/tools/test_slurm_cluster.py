"""`tools/slurm` as far as it goes without SLURM: what is missing is named, and a failed check is one line."""

import pytest
from tools.slurm import cluster

from tools import checks, slurm_check


def test_missing_programs_are_named_with_their_packages(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster.shutil, "which", lambda name: None if name in ("munged", "slurmd") else name)
    with pytest.raises(SystemExit, match="munged, slurmd: not installed; apt-get install slurm-wlm munge"):
        cluster.Cluster(tmp_path)


def test_waiting_ends_with_the_problem():
    with pytest.raises(SystemExit, match="after 0 s: jobs still run"):
        checks.wait_until(lambda: False, 0, "jobs still run")
    checks.wait_until(lambda: True, 0, "never")


class NoCluster:
    """Stands for a cluster that is there."""

    def __init__(self, folder):
        self.folder = folder

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def run(self, *command):
        return "slurm-wlm 22.05"


def test_a_failed_check_is_a_line_the_others_follow_and_the_exit_code_is_1(monkeypatch, capsys):
    def broken(of, folder):
        checks.check(folder.is_dir(), "no folder")
        checks.check(False, "a job is lost")

    monkeypatch.setattr(slurm_check, "Cluster", NoCluster)
    monkeypatch.setattr(slurm_check, "CHECKS", {"a": broken, "b": lambda of, folder: "4 jobs"})
    monkeypatch.setattr("sys.argv", ["slurm_check"])
    with pytest.raises(SystemExit) as ended:
        slurm_check.main()
    assert ended.value.code == 1
    printed = capsys.readouterr().out.splitlines()
    assert printed[1].startswith("a: FAILED: a job is lost (")
    assert printed[2].startswith("b: 4 jobs (")


def test_jobs_of_a_sweep_and_epochs_of_a_run_are_counted(tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "sweep.csv").write_text("folder,status\na,ok\nb,failed\n")
    with pytest.raises(AssertionError, match="status"):
        checks.jobs_that_are_ok(tmp_path, 2)
    assert slurm_check._epochs(tmp_path / "metrics.csv") == 0
    (tmp_path / "metrics.csv").write_text("epoch,rmse\n1,3\n2,2\n")
    assert slurm_check._epochs(tmp_path / "metrics.csv") == 2
