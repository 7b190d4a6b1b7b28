"""Two commands that start at once never write one folder, and no sweep reports the runs of another."""

import time

import numpy as np
import pytest

from facekp.runs.folder import RunFolder
from facekp.runs.sweep_folder import SweepFolder
from tests.conftest import TINY
from tests.faults.children import Child, trials

QUICK = [*TINY, "trainer.max_epochs=1"]


def start_two(cwd, seed, *arguments):
    """Start two commands, the second up to 0.3 seconds later; exit codes and messages."""
    first = Child(cwd, [*QUICK, *arguments[0]])
    time.sleep(float(np.random.default_rng(seed).choice([0, 0, 0.01, 0.3])))
    second = Child(cwd, [*QUICK, *arguments[1]])
    return [(child.wait(), child.stderr()) for child in (first, second)]


@pytest.mark.parametrize("seed", trials(1))
def test_one_of_two_runs_with_the_same_folder_is_refused(tmp_path, whole, seed):
    ended = start_two(tmp_path, seed, ["out=r", "seed=1"], ["out=r", "seed=2"])
    codes = [code for code, _ in ended]
    assert sorted(codes) == [0, 2], ended
    refused = ended[codes.index(2)][1]
    assert "another process is writing to it" in refused or "holds a run already" in refused
    assert RunFolder(tmp_path / "r").read_config()["seed"] == codes.index(0) + 1


@pytest.mark.parametrize("seed", trials(1))
def test_two_runs_without_a_folder_get_two(tmp_path, whole, seed):
    ended = start_two(tmp_path, seed, ["seed=1"], ["seed=2"])
    assert [code for code, _ in ended] == [0, 0], ended
    configs = [RunFolder(path.parent).read_config() for path in tmp_path.glob("outputs/*/*/config.yaml")]
    assert sorted(config["seed"] for config in configs) == [1, 2]


@pytest.mark.parametrize(
    "named", [pytest.param(["hydra.sweep.dir=s"], marks=pytest.mark.slow), []], ids=["named", "default"]
)
@pytest.mark.parametrize("seed", trials(1))
def test_two_sweeps_have_a_folder_each(tmp_path, whole, seed, named):
    sweeps = [["-m", f"optimizer={name}", "seed=0,1", *named] for name in ("sgd", "adam")]
    ended = start_two(tmp_path, seed, *sweeps)
    codes = [code for code, _ in ended]
    assert sorted(codes) == ([0, 2] if named else [0, 0]), ended
    folders = [tmp_path / "s"] if named else [*tmp_path.glob("outputs/sweeps/*")]
    assert len(folders) == codes.count(0)
    for folder in folders:
        (optimizer,) = (text for text in SweepFolder(folder).read_overrides() if text.startswith("optimizer="))
        jobs = [RunFolder(folder / f"seed-{number}") for number in (0, 1)]
        assert {f"optimizer={job.read_config()['optimizer']['name']}" for job in jobs} == {optimizer}
        assert not (folder / ".lock").exists()
    assert not any("skipped:" in text for _, text in ended)
