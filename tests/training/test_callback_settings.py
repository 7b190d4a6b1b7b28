"""Settings of the group callbacks: ranges, and keys that do not exist."""

import pytest

from facekp.core.errors import UserError
from facekp.core.settings import parse
from facekp.training.callback_settings import CallbackSettings
from tests.conftest import config_of


def test_the_shipped_file_is_valid():
    values = config_of()["callbacks"]
    assert parse(CallbackSettings, values, "callbacks").plain() == values


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("progress", "yes"),
        ("ema", -0.1),
        ("ema", 1.5),
        ("patience", 0),
        ("patience", 2.5),
        ("pictures", -1),
        ("pictures", 1.5),
        ("pictures", "abc"),
        ("patiance", 1),
    ],
)
def test_a_wrong_value_or_key_is_refused(key, value):
    with pytest.raises(UserError, match=f"^callbacks.{key}"):
        parse(CallbackSettings, {**config_of()["callbacks"], key: value}, "callbacks")
