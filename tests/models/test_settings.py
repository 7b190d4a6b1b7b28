"""Settings of models and decoders: what is not valid is refused in one line, None keeps a checkpoint's value."""

import pytest

from facekp.core.errors import UserError
from facekp.core.settings import parse
from facekp.models.settings import DecoderOverride, DecoderSettings, ModelSettings
from tests.conftest import config_of

DECODER = DecoderSettings(rule="mean", floor=0.1, flip=True, shift=2.0, scale=0.05)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rule": "men"}, "decoder.rule=men: choose one of argmax, .*; did you mean mean"),
        ({"filp": True}, "decoder.filp: unknown key; did you mean flip"),
        ({"scale": 0.6}, "decoder.scale=0.6: must be at most 0.5"),
        ({"shift": -1}, "decoder.shift=-1: must be at least 0"),
        ({"floor": True}, "decoder.floor=true: must be a number"),
    ],
)
def test_an_invalid_decoder_is_refused_in_one_line(values, message):
    with pytest.raises(UserError, match=message):
        parse(DecoderSettings, {**DECODER.plain(), **values}, "decoder")
    with pytest.raises(UserError, match=message):
        parse(DecoderOverride, values, "decoder")


def test_an_override_changes_what_is_not_none():
    assert DecoderOverride().applied_to(DECODER) == DECODER
    changed = DecoderOverride(flip=False, shift=0.0).applied_to(DECODER)
    assert changed.plain() == {**DECODER.plain(), "flip": False, "shift": 0.0}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sigma": 1e-300}, "model.sigma=1e-300: must be at least 0.05"),
        ({"normalise": {"mean": 0.0, "std": 0}}, "model.normalise.std=0: must be greater than 0"),
        ({"network": {"name": "hourglas"}}, "model.network.*did you mean hourglass"),
        ({"by_sources": True}, "model.by_sources: unknown key; did you mean by_source"),
    ],
)
def test_an_invalid_model_is_refused_in_one_line(values, message):
    with pytest.raises(UserError, match=message):
        parse(ModelSettings, {**config_of()["model"], **values}, "model")


@pytest.mark.parametrize(
    "name", ["hourglass", "hourglass_small", "hourglass_fast", "hourglass_seed", "regression", "simcc"]
)
def test_the_settings_of_every_model_keep_the_values_of_their_file(name):
    values = config_of(f"model={name}")["model"]
    assert parse(ModelSettings, values, "model").plain() == values
