"""Settings of the commands that load checkpoints: what is not valid is refused in one line."""

import pytest

from facekp.core.errors import UserError
from facekp.core.settings import parse
from facekp.models.command_settings import (
    CalibrateSettings,
    EvaluateSettings,
    ExportSettings,
    PackSettings,
    SubmitSettings,
)
from tests.conftest import config_of

COMMANDS = {
    "evaluate": (EvaluateSettings, []),
    "submit": (SubmitSettings, []),
    "pack": (PackSettings, ["out=b.ckpt"]),
    "calibrate": (CalibrateSettings, ["out=b.ckpt"]),
    "export": (ExportSettings, ["out=b.onnx"]),
}


def settings(name, *overrides):
    model, given = COMMANDS[name]
    return parse(model, config_of("ckpt=a.ckpt", *given, *overrides, name=name))


@pytest.mark.parametrize("name", COMMANDS)
def test_the_config_of_every_command_is_valid(name):
    assert settings(name).ckpt == "a.ckpt"


@pytest.mark.parametrize("name", ["evaluate", "submit", "pack"])
def test_several_checkpoints_may_be_named(name):
    assert settings(name, "ckpt=[a.ckpt,b.onnx]").ckpt == ["a.ckpt", "b.onnx"]
    with pytest.raises(UserError, match="ckpt"):
        settings(name, "ckpt=[]")


@pytest.mark.parametrize("name", ["calibrate", "export"])
def test_commands_for_one_checkpoint_refuse_several(name):
    with pytest.raises(UserError, match="must be one checkpoint; name one file"):
        settings(name, "ckpt=[a.ckpt,b.ckpt]")


@pytest.mark.parametrize(
    ("name", "override", "message"),
    [
        ("evaluate", "decoder.scale=0.7", r"decoder\.scale=0\.7: must be at most 0\.5"),
        ("evaluate", "out='a b'", "out=a b: must be a path of letters"),
        ("pack", "half=1", "half=1: must be true or false"),
        ("pack", "offsets={sparse: far}", r"offsets\.sparse=far: must be a number"),
        ("pack", "out=b.onnx", r"^out=b\.onnx: a checkpoint must not end as files of facekp\.export do"),
        ("calibrate", "out=b.pt2", r"^out=b\.pt2: .*choose a name that ends with \.ckpt"),
        ("calibrate", "twin=5", "twin=5: must be a text"),
        ("export", "check=1", "check=1: must be at least 2"),
        ("export", "format=tflite", "format=tflite: choose one of onnx, torch_export"),
        ("export", "precision=int4", "precision=int4: choose one of float32, int8"),
        ("export", "input=float64", "input=float64: choose one of uint8, float32"),
        ("export", "format=torch_export", r"out=b\.onnx: a file of format=torch_export must end in \.pt2"),
    ],
)
def test_an_invalid_value_is_refused_in_one_line(name, override, message):
    with pytest.raises(UserError, match=message) as error:
        settings(name, override)
    assert "\n" not in str(error.value)


def test_int8_is_for_onnx_only():
    with pytest.raises(UserError, match="precision=int8: is available with format=onnx only"):
        settings("export", "format=torch_export", "out=b.pt2", "precision=int8")
