"""Settings of the group logger: every choice, several choices merged, ranges."""

import pytest

from facekp.core.errors import UserError
from facekp.core.settings import parse
from facekp.training.logger_settings import LoggerSettings
from tests.conftest import config_of


def logger(*overrides):
    return parse(LoggerSettings, config_of(*overrides)["logger"], "logger")


def switches(settings):
    return settings.csv, settings.wandb, settings.tensorboard


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("logger=csv", (True, False, False)),
        ("logger=none", (False, False, False)),
        ("logger=wandb", (True, True, False)),
        ("logger=tensorboard", (True, False, True)),
        ("logger=[csv,wandb]", (True, True, False)),
        ("logger=[csv,wandb,tensorboard]", (True, True, True)),
        ("logger=[tensorboard]", (True, False, True)),
    ],
)
def test_every_choice_switches_its_loggers_on(override, expected):
    assert switches(logger(override)) == expected


def test_csv_is_the_default():
    assert logger() == logger("logger=csv")


@pytest.mark.parametrize("choice", ["wandb", "[csv,wandb]", "[wandb,tensorboard]"])
def test_keys_of_a_logger_can_be_set_whether_it_is_alone_or_not(choice):
    settings = logger(f"logger={choice}", "logger.offline=true", "logger.faces=2", "logger.tags=[a,b]")
    assert (settings.offline, settings.faces, settings.tags) == (True, 2, ["a", "b"])
    assert settings.project == "facekp"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("offline", "no"),
        ("tags", "a"),
        ("tags", [1]),
        ("tags", [""]),
        ("tags", ["x" * 65]),
        ("faces", -1),
        ("patience", -1.0),
        ("project", ""),
        ("projet", "x"),
        ("name", "wandb"),
    ],
)
def test_a_wrong_value_or_key_is_refused(key, value):
    with pytest.raises(UserError, match=f"^logger.{key}"):
        parse(LoggerSettings, {**config_of("logger=wandb")["logger"], key: value}, "logger")


def test_wandb_without_its_other_keys_is_refused():
    with pytest.raises(UserError, match="choose logger=wandb"):
        parse(LoggerSettings, {"csv": True, "wandb": True}, "logger")
