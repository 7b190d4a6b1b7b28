"""Settings of the wrong kind are told before anything is done."""

import pytest

from facekp.config.rules import RULES, check, check_setting
from facekp.core.errors import UserError

WRONG = {
    "seed": [-1, 1.5, "a", True, 2**32],
    "lr": [0, -1, "fast", float("nan"), None],
    "data.fold": [1.0, -1, "x"],
    "data.rows": [0, "many"],
    "data.batch_size": [0, 1.5, True],
    "augment.flip": [2, -0.1, "x"],
    "augment.scale": [1, 5],
    "augment.stretch": [1, 1.5],
    "augment.contrast": [1.5, -0.1],
    "augment.blur": [2],
    "augment.erase": [20],
    "augment.rotate": [-1, None],
    "model.sigma": [0, "abc", None],
    "model.normalise.std": [0, "abc"],
    "model.network.name": [["a"], None],
    "optimizer.name": [["a"]],
    "optimizer.momentum": [1, -0.1, "much"],
    "optimizer.betas": [[0.9], [0.9, 1], 0.9, ["a", "b"]],
    "optimizer.weight_decay": [-1, "x"],
    "scheduler.warmup": [1, -0.1, "x"],
    "scheduler.end": [2, None],
    "loss.foreground": ["high", -1],
    "decoder.flip": ["abc", 1],
    "callbacks.pictures": [-1, 1.5, "abc"],
    "ckpt": [5, True, None, [5], [], {"a": 1}],
    "init_from": [5, ["A"]],
    "debug": ["abc"],
}


GIVEN = {
    "evaluate": ["ckpt=a"],
    "submit": ["ckpt=a"],
    "pack": ["ckpt=a", "out=b"],
    "calibrate": ["ckpt=a", "out=b"],
    "export": ["ckpt=a", "out=b"],
    "synthetic": ["out=a"],
}


def nested(key, value):
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in WRONG.items() for value in values])
def test_a_wrong_value_is_told_with_its_key(key, value):
    with pytest.raises(UserError) as error:
        check(nested(key, value))
    assert str(error.value).startswith(f"{key}=")
    assert "must be" in str(error.value)


@pytest.mark.parametrize("value", [2.0, True, "2", 3, None, [2]])
def test_a_network_s_whole_number_is_no_float_and_no_flag(value):
    check_setting("stride", 2, (1, 2, 4))
    with pytest.raises(UserError, match=r"network\.stride"):
        check_setting("stride", value, (1, 2, 4))


def test_every_shipped_config_passes():
    from tests.conftest import CONF_DIR, config_of

    for path in CONF_DIR.glob("*.yaml"):
        check(config_of(*GIVEN.get(path.stem, []), name=path.stem))


def test_every_rule_is_about_a_setting_that_exists():
    from fnmatch import fnmatch

    from tests.conftest import CONF_DIR, config_of

    keys = set()

    def collect(values, prefix=""):
        for name, value in values.items():
            keys.add(prefix + name)
            if isinstance(value, dict):
                collect(value, f"{prefix}{name}.")

    for path in CONF_DIR.glob("*.yaml"):
        collect(config_of(*GIVEN.get(path.stem, []), name=path.stem))
    collect(config_of("data=synthetic", "logger=wandb", "hparams_search=optuna"))
    collect(config_of("data=coco", "data.images=a", "data.labels=b"))
    collect(config_of("optimizer=muon", "scheduler=onecycle", "loss=weighted_mse"))
    collect(config_of("loss=wing"))
    unused = [pattern for pattern in RULES if not any(fnmatch(key, pattern) for key in keys)]
    assert unused == []
