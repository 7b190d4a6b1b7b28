"""Configs of older versions get the keys of this one."""

from copy import deepcopy

import pytest
import yaml

from facekp.config.migration import migrate
from tests.conftest import FIXTURES

RUNS = ("run", "run_ema", "run_older")


def written(name):
    return yaml.safe_load((FIXTURES / name / "config.yaml").read_text())


@pytest.mark.parametrize("name", RUNS)
def test_values_that_an_older_version_wrote_stay(name):
    old = written(name)
    new = migrate(old)

    assert old.pop("logger") == {"name": "csv"}
    assert new["logger"] == {"csv": True}

    def check(before, after):
        for key, value in before.items():
            if isinstance(value, dict):
                check(value, after[key])
            else:
                assert after[key] == value, key

    check(old, new)


def test_the_argument_is_not_changed_and_a_second_call_changes_nothing():
    old = written("run_older")
    before = deepcopy(old)
    new = migrate(old)
    assert old == before
    assert migrate(new) == new


def test_keys_that_are_newer_than_the_run_get_the_value_that_keeps_its_behaviour():
    new = migrate(written("run_older"))
    assert new["data"]["offsets"] is None
    assert new["teacher"]["seen"] is False
    assert new["trainer"]["accumulate_grad_batches"] == 1
    assert new["plugins"] == []


def test_the_first_runs_had_other_names_and_no_teacher():
    old = {"model": {"network": {"name": "hourglass"}}, "trainer": {"fast_network": True, "precision": 32}}
    new = migrate(old)
    assert new["trainer"]["fast_cpu"] is True
    assert "fast_network" not in new["trainer"]
    assert new["trainer"]["precision"] == "32-true"
    assert new["model"]["network"]["block"] == "bottleneck"
    assert new["teacher"]["ckpt"] is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"name": "none"}, {"csv": False}),
        ({"name": "tensorboard"}, {"csv": True, "tensorboard": True}),
        ({"name": "wandb", "project": "p"}, {"csv": True, "wandb": True, "project": "p", "tags": [], "faces": 6}),
    ],
)
def test_a_logger_s_name_becomes_its_switch(old, new):
    logger = migrate({"logger": old})["logger"]
    assert "name" not in logger
    assert new.items() <= logger.items()


def test_what_is_no_training_gets_no_groups_of_one():
    assert migrate({}) == {}
    assert "trainer" not in migrate({"data": {"name": "kaggle"}, "ckpt": "a"})
