"""Classes of other packages as callbacks and loggers: checked before they are called."""

import sys

import pytest
from pytorch_lightning import Callback
from pytorch_lightning.callbacks import LearningRateMonitor
from pytorch_lightning.loggers import Logger

from facekp.core.errors import UserError
from facekp.core.settings import parse
from facekp.training.targets import SettingsWithTargets, build_targets


class Group(SettingsWithTargets):
    progress: bool


def group(**added):
    return parse(Group, {"progress": True, **added}, "callbacks")


def build(base=Callback, **entry):
    return build_targets(group(mine=entry), "callbacks", base)


def test_a_callback_is_created_with_the_other_keys_as_arguments():
    (monitor,) = build(_target_="pytorch_lightning.callbacks.LearningRateMonitor", logging_interval="step")
    assert type(monitor) is LearningRateMonitor
    assert monitor.logging_interval == "step"
    (by_position,) = build(_target_="pytorch_lightning.callbacks.LearningRateMonitor", _args_=["epoch"])
    assert by_position.logging_interval == "epoch"


def test_entries_are_kept_in_plain_values():
    entry = {"_target_": "package.Class", "sizes": [1, 2]}
    settings = group(mine=entry)
    assert settings.plain() == {"progress": True, "mine": entry}
    assert parse(Group, settings.plain()) == settings
    assert settings.replaced(progress=False).targets == {"mine": entry}


SPY = """
from pathlib import Path
from pytorch_lightning import Callback

def function(*arguments, **more):
    Path("called").touch()

class NoCallback:
    def __init__(self, *arguments, **more):
        Path("called").touch()

class Recorder(Callback):
    def __init__(self, size):
        self.size = size
"""


@pytest.fixture
def spy(tmp_path, monkeypatch):
    """A module of the working directory, whose functions and classes leave a file when they are called."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    (tmp_path / "spy_callbacks.py").write_text(SPY)
    yield tmp_path / "called"
    sys.modules.pop("spy_callbacks", None)


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "spy_callbacks.function",
        "spy_callbacks.NoCallback",
        "spy_callbacks",
        "pytorch_lightning.loggers.CSVLogger",
        "builtins.eval",
    ],
)
def test_anything_but_a_callback_is_refused_and_not_called(spy, target):
    with pytest.raises(UserError, match=f"^callbacks.mine._target_={target}: is not a .*Callback class") as caught:
        build(_target_=target, command="touch called", save_dir="called")
    assert "\n" not in str(caught.value)
    assert not spy.exists()


def test_a_callback_is_no_logger():
    with pytest.raises(UserError, match="is not a pytorch_lightning Logger class"):
        build(Logger, _target_="pytorch_lightning.callbacks.LearningRateMonitor")


def test_no_class_is_called_when_another_is_refused(spy):
    good = {"_target_": "spy_callbacks.Recorder", "size": 1}
    with pytest.raises(UserError, match=r"os.system"):
        build_targets(group(good=good, bad={"_target_": "os.system"}), "callbacks", Callback)


def test_a_module_of_the_working_directory_is_found(spy):
    (recorder,) = build(_target_="spy_callbacks.Recorder", size=3)
    assert recorder.size == 3


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("no_such_package.Class", "can't be imported: No module named 'no_such_package'"),
        ("pytorch_lightning.callbacks.LearningRateMonitr", "can't be imported: .*LearningRateMonitr"),
        ("", "can't be imported"),
    ],
)
def test_a_class_that_does_not_exist_is_one_line(target, message):
    with pytest.raises(UserError, match=f"^callbacks.mine._target_={target}: {message}"):
        build(_target_=target)


def test_arguments_that_the_class_refuses_are_one_line():
    with pytest.raises(UserError, match=r"^callbacks.mine: LearningRateMonitor can't be created: .*'interval'"):
        build(_target_="pytorch_lightning.callbacks.LearningRateMonitor", interval="step")


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ({"progres": False}, "callbacks.progres: unknown key; did you mean progress?"),
        ({"mine": {"size": 1}}, "callbacks.mine: unknown key; .* give mine._target_=package.Class"),
        ({"mine": {"_target_": 3}}, "callbacks.mine._target_: must be the name of a class"),
        ({"mine": {"_target_": "a.B", "_partial_": True}}, "callbacks.mine._partial_: not supported"),
        ({"mine": {"_target_": "a.B", "x": {"_target_": "os.system"}}}, "callbacks.mine.x._target_: not supported"),
        ({"mine": {"_target_": "a.B", "x": [{"y": {"_target_": "os.system"}}]}}, "callbacks.mine.x.y._target_: not"),
    ],
)
def test_other_keys_are_refused(added, message):
    with pytest.raises(UserError, match=f"^{message}"):
        group(**added)
