"""Settings of the commands on photos: ranges, and every shipped config is valid."""

import os

import pytest

from facekp.core.errors import UserError
from facekp.core.settings import parse
from facekp.photos.detectors import build_face_detector
from facekp.photos.face_detectors.yunet import YuNetDetector
from facekp.photos.settings import AppSettings, DetectionBenchmarkSettings, PredictSettings
from facekp.photos.smoothing import SmoothingSettings
from tests.conftest import config_of

CLASSES = {"predict": PredictSettings, "app": AppSettings, "detection_benchmark": DetectionBenchmarkSettings}


@pytest.mark.parametrize("name", CLASSES)
def test_the_shipped_config_gives_settings(name):
    settings = parse(CLASSES[name], config_of(name=name))
    assert settings.ckpt == "shipped"
    assert isinstance(build_face_detector(settings.detector), YuNetDetector)
    assert settings.decoder.changes() == {}
    config = config_of(name=name)
    if "data" in config:
        config["data"]["cache"] = os.path.expanduser(config["data"]["cache"])
    assert settings.plain() == config


@pytest.mark.parametrize(
    ("name", "key", "value", "message"),
    [
        ("predict", "batch", 0, "batch=0: must be at least 1"),
        ("predict", "frames", 0, "frames=0: must be at least 1"),
        ("predict", "frames", 1.5, "frames=1.5: must be a whole number"),
        ("predict", "detect_every", 0, "detect_every=0: must be at least 1"),
        ("predict", "smooth", {"min_cutoff": 0, "beta": 1, "d_cutoff": 1}, "smooth.min_cutoff=0: must be greater"),
        ("predict", "smooth", {"min_cutoff": 1, "beta": -1, "d_cutoff": 1}, "smooth.beta=-1: must be at least 0"),
        ("predict", "out", "a b", "out=a b: must be a path of letters"),
        ("predict", "draw", "abc", "draw=abc: must be true or false"),
        ("predict", "refine", 1, "refine=1: must be true or false"),
        ("predict", "source", "", "source='': must not be empty"),
        ("predict", "device", None, "device=null: must be a text"),
        ("predict", "ckpt", [], "ckpt=[]: "),
        ("predict", "detector", None, "detector=null: must be a group of settings; choose one of haar, none, yunet"),
        ("predict", "min_confidence", 1.5, "min_confidence=1.5: must be at most 1"),
        ("predict", "detectr", {}, "detectr: unknown key; did you mean detector?"),
        ("app", "port", 0, "port=0: must be at least 1"),
        ("app", "port", 65536, "port=65536: must be at most 65535"),
        ("app", "max_megabytes", 0, "max_megabytes=0: must be greater than 0"),
        ("app", "max_megapixels", -1, "max_megapixels=-1: must be greater than 0"),
        ("detection_benchmark", "faces", 101, "faces=101: must be at most 100"),
        ("detection_benchmark", "scales", [1, 0], "scales.1=0: must be greater than 0"),
        ("detection_benchmark", "scales", [1000], "scales.0=1000: must be at most 50"),
        ("detection_benchmark", "scales", 2, "scales=2: must be a list"),
    ],
)
def test_a_value_out_of_range_is_named(name, key, value, message):
    with pytest.raises(UserError) as error:
        parse(CLASSES[name], {**config_of(name=name), key: value})
    assert str(error.value).startswith(message)


def test_decoder_values_given_on_the_command_line_replace_the_checkpoint_s():
    settings = parse(PredictSettings, config_of("decoder.shift=0", "decoder.scale=0", name="predict"))
    assert settings.decoder.changes() == {"shift": 0.0, "scale": 0.0}


def test_smoothing_is_on_and_null_turns_it_off():
    on, off = (parse(PredictSettings, config_of(*given, name="predict")).smooth for given in ([], ["smooth=null"]))
    assert (on, off) == (SmoothingSettings(min_cutoff=0.5, beta=160, d_cutoff=2), None)
