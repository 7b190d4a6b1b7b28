"""Settings of sweeps and searches: ranges, and the choice of none."""

import pytest

from facekp.core.errors import UserError
from facekp.runs.settings import parse_search
from tests.conftest import config_of
from tests.runs.conftest import PRUNE, search_settings


def test_the_shipped_choices_are_valid():
    assert parse_search(config_of()["hparams_search"]) is None
    settings = parse_search(config_of("hparams_search=optuna")["hparams_search"])
    assert settings is not None
    assert (settings.trials, settings.prune.percentile) == (20, 50)
    assert parse_search(settings.plain()) == settings


MISTAKES = {
    "no trial": ({"trials": 0}, r"hparams_search\.trials=0: must be at least 1"),
    "half a trial": ({"trials": 1.5}, r"hparams_search\.trials=1\.5: must be a whole number"),
    "none at a time": ({"parallel": 0}, r"hparams_search\.parallel=0: must be at least 1"),
    "a negative seed": ({"seed": -1}, r"hparams_search\.seed=-1: must be at least 0"),
    "no random trial": ({"random": 0}, r"hparams_search\.random=0: must be at least 1"),
    "an empty storage": ({"storage": ""}, r"hparams_search\.storage='': must not be empty"),
    "a percentile too high": ({"prune": {**PRUNE, "percentile": 101}}, r"hparams_search\.prune\.percentile=101"),
    "no finished trial": ({"prune": {**PRUNE, "trials": 0}}, r"hparams_search\.prune\.trials=0: must be at least 1"),
    "no epoch": ({"prune": {**PRUNE, "epochs": 0}}, r"hparams_search\.prune\.epochs=0: must be at least 1"),
    "an unknown key": ({"trails": 3}, r"hparams_search\.trails: unknown key; did you mean trials\?"),
    "no group": ({"prune": None}, r"hparams_search\.prune=null: must be a group of settings"),
    "another sampler": ({"name": "grid"}, r"hparams_search\.name=grid: must be optuna"),
    "a key of no search": ({"name": "none"}, "trials: not a key of hparams_search=none; choose hparams_search=optuna"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_value_that_is_not_valid_is_named(case):
    values, message = MISTAKES[case]
    with pytest.raises(UserError, match=message):
        search_settings(**values)
