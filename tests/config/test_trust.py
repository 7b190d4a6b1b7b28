"""Nothing that a config file names is called, but for what facekp lists; what the user types counts for more."""

import os
import pickle

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra.types import RunMode

from facekp.config.trust import CheckedConfigLoader, may_be_named, names_code
from facekp.core.errors import UserError
from facekp.core.signals import Stopped
from facekp.train import main

SCHEME = "name: mine\nnames: [left, right]\n"
GLOBAL = "# @package _global_\n"
BOMB = "a: &a [x,x,x,x,x,x,x,x]\n" + "".join(
    f"{n}: &{n} [{','.join([f'*{m}'] * 8)}]\n" for m, n in zip("abcdefg", "bcdefgh", strict=True)
)


class Trap:
    """Unpickling it makes a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (os.mkdir, (self.path,))


@pytest.fixture
def with_file(tmp_path, run_here):
    """Run a training with a landmark scheme of a config folder; the fixture returns the exit code and the message."""

    def run(text, *arguments, name="keypoints/mine.yaml"):
        file = tmp_path / "conf" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text) if isinstance(text, str) else file.write_bytes(text)
        trap = tmp_path / "trap.pkl"
        trap.write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
        choice = [f"{name.split('/')[0]}=mine"] if "/" in name else []
        code, err = run_here("train", main, "--config-dir=conf", *choice, "data=synthetic", *arguments)
        assert not (tmp_path / "sprung").exists(), "code of a file ran"
        return code, err

    return run


def test_a_folder_beside_the_config_files_may_have_the_name_of_a_key(with_file, tmp_path):
    (tmp_path / "conf/out").mkdir(parents=True)
    code, err = with_file(SCHEME, "out=conf/out/first", "trainer.max_epochs=0")
    assert code == 2
    assert "trainer.max_epochs" in err  # the first fault that is left


LOADERS = ("joblib.load", "torch.load", "pandas.read_pickle", "numpy.load", "os.system", "builtins.eval", "facekp.x.Y")
CONFIG_PLACES = {
    "callback": "hydra:\n  callbacks:\n    x: {_target_: %s, filename: trap.pkl}\n",
    "launcher": "hydra:\n  launcher: {_target_: %s}\n",
    "sweeper": "hydra:\n  sweeper: {_target_: %s}\n",
    "formatter": "hydra:\n  job_logging: {version: 1, root: {}, formatters: {x: {(): %s, filename: trap.pkl}}}\n",
    "handler": "hydra:\n  hydra_logging: {version: 1, root: {}, handlers: {x: {class: %s, filename: trap.pkl}}}\n",
    "external": "hydra:\n  job_logging: {version: 1, root: {}, handlers: {x: {class: logging.StreamHandler, stream: 'ext://%s'}}}\n",
    "by reference": "evil: {_target_: %s, filename: trap.pkl}\nhydra:\n  callbacks:\n    x: ${evil}\n",
    "all by reference": "evil: {x: {_target_: %s, filename: trap.pkl}}\nhydra:\n  callbacks: ${evil}\n",
}


@pytest.mark.parametrize("place", CONFIG_PLACES)
@pytest.mark.parametrize("mode", [(), ("-m",)], ids=["run", "sweep"])
def test_hydra_calls_nothing_that_a_file_names(with_file, place, mode):
    loaders = LOADERS if place == "callback" else LOADERS[:1]
    for loader in loaders:
        code, err = with_file(f"{GLOBAL}keypoints: {{name: mine, names: [a]}}\n{CONFIG_PLACES[place] % loader}", *mode)
        assert code == 2, err
        assert len(err.splitlines()) == 1, err
        assert "hydra." in err, err


@pytest.mark.parametrize(
    "text", ["x: {_target_: joblib.load, filename: trap.pkl}", "setup: [touch sprung]", "python: evil"]
)
def test_a_launcher_of_a_folder_holds_no_code(with_file, tmp_path, text):
    (tmp_path / "conf" / "hydra" / "launcher").mkdir(parents=True)
    basic = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
    (tmp_path / "conf" / "hydra" / "launcher" / "evil.yaml").write_text(f"_target_: {basic}\n{text}\n")
    code, err = with_file(
        f"{GLOBAL}defaults: [override /hydra/launcher: evil]\nkeypoints: {{name: mine, names: [a]}}\n"
    )
    assert (code, len(err.splitlines())) == (2, 1)
    assert "hydra.launcher." in err


def test_the_config_of_a_job_is_checked_too(with_file):
    text = f"{GLOBAL}keypoints: {{name: mine, names: [a]}}\n{CONFIG_PLACES['handler'] % 'joblib.load'}"
    code, err = with_file(text, "-m", "keypoints=kaggle15,mine", "trainer.max_epochs=1")
    assert code != 0
    assert "is not allowed" in err


REFUSED = {
    "a plug-in": ("plugins: [antigravity]\n", "plugins=['antigravity']: a config file names it"),
    "a callback's class": (
        "callbacks: {x: {_target_: joblib.load}}\n",
        "callbacks.x._target_=joblib.load: a file names it",
    ),
    "a logger's class": ("logger: {x: {_target_: a.B}}\n", "logger.x._target_=a.B: a file names it"),
    "a folder of checkpoints": (
        "callbacks: {x: {_target_: pytorch_lightning.callbacks.ModelCheckpoint, dirpath: /home/me}}\n",
        "callbacks.x.dirpath=/home/me: a file names this path",
    ),
    "a file name that leads out": (
        "callbacks: {x: {_target_: pytorch_lightning.callbacks.ModelCheckpoint, filename: ../best}}\n",
        "callbacks.x.filename=../best: a file names this path",
    ),
    "a class by reference": ("y: {_target_: a.B}\ncallbacks: {x: '${y}'}\n", "callbacks.x=${y}: must be a plain value"),
    "the environment": ("hydra: {job: {env_set: {PYTHONPATH: /tmp}}}\n", "hydra.job.env_set.PYTHONPATH: a config file"),
    "a copy of the environment": ("hydra: {job: {env_copy: [HOME]}}\n", "hydra.job.env_set.HOME: a config file"),
    "a command": (
        "defaults: [override /hydra/launcher: submitit_slurm]\nhydra: {launcher: {setup: [touch sprung]}}\n",
        "hydra.launcher.setup",
    ),
    "arguments of jobs": ("hydra: {sweeper: {params: {plugins: antigravity}}}\n", "hydra.sweeper.params.plugins"),
    "a log file": (
        "hydra: {job_logging: {version: 1, root: {}, handlers: {x: {class: logging.FileHandler, filename: /tmp/x}}}}\n",
        "hydra.job_logging.handlers.x.filename=/tmp/x",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_file_may_not_set(with_file, case):
    text, message = REFUSED[case]
    head = text.partition("\n")[0] + "\n" if text.startswith("defaults") else ""
    rest = text.removeprefix(head)
    code, err = with_file(f"{GLOBAL}{head}keypoints: {{name: mine, names: [a]}}\n{rest}")
    assert code == 2
    assert err.startswith(f"facekp: error: {message}"), err
    assert len(err.splitlines()) == 1


def test_a_primary_config_of_a_folder_adds_no_search_path(tmp_path):
    (tmp_path / "evil.yaml").write_text("hydra: {searchpath: ['pkg://antigravity']}\n")
    path = ConfigSearchPathImpl()
    path.append("test", f"file://{tmp_path}")
    with pytest.raises(UserError, match=r"hydra\.searchpath: a config file can't set it; give it on the command line"):
        CheckedConfigLoader(path).load_configuration("evil", [], RunMode.RUN)


def test_the_command_line_may_set_them(with_file):
    given = ["callbacks.x._target_=pytorch_lightning.callbacks.ModelSummary", "+hydra.job.env_set.FACEKP_TEST=1"]
    code, err = with_file(SCHEME, *given, "hydra/launcher=joblib", "hydra.launcher.temp_folder=x", "--cfg", "job")
    assert code == 0, err


def test_a_file_may_name_callbacks_of_lightning_and_choose_a_launcher(with_file):
    text = (
        f"{GLOBAL}defaults: [override /hydra/launcher: joblib]\nkeypoints: {{name: mine, names: [a]}}\n"
        "callbacks: {x: {_target_: pytorch_lightning.callbacks.LearningRateMonitor}}\nhydra: {launcher: {n_jobs: 2}}\n"
    )
    code, err = with_file(text, "--cfg", "job")
    assert code == 0, err


def test_hydras_rerun_of_a_pickle_is_refused(with_file):
    code, err = with_file(SCHEME, "--experimental-rerun=trap.pkl")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "--experimental-rerun" in err


DAMAGED = {
    "a tab": ("name: mine\nnames:\n\t- a\n", "line 3; indent with spaces, not tabs"),
    "an alias bomb": (f"{SCHEME}{BOMB}", "more than 200000 values"),
    "an alias of itself": ("name: mine\nnames: &a [*a]\n", "nested more than 50 levels"),
    "an unknown alias": ("name: *a\n", "not valid YAML: found undefined alias"),
    "deep nesting": (f"name: mine\nnames: {'[' * 20_000}\n", "not valid YAML|nested more than 50 levels"),
    "deep mappings": ("name: mine\n" + "\n".join(" " * n + "a:" for n in range(200)), "nested more than 50 levels"),
    "a duplicated key": (f"{SCHEME}name: again\n", "duplicate key"),
    "a tag of Python": ("name: !!python/object/apply:os.system [touch sprung]\n", "not valid YAML|could not determine"),
    "a long number": (f"name: {'1' * 5000}\nnames: [a]\n", "not valid YAML"),
    "a wrong date": ("name: 2020-99-99\nnames: [a]\n", "not valid YAML"),
    "a list": ("- a\n", "mine.yaml|must be"),
    "another encoding": ("name: é\n".encode("latin-1"), "not a text in UTF-8"),
    "zeros": (b"\0" * 64, "not valid YAML"),
    "too large": ("# " + "x" * 5_000_000, "5 MB"),
    "two documents": (f"{SCHEME}---\n{SCHEME}", "not valid YAML"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_config_file_is_one_line_with_its_name(with_file, case):
    text, message = DAMAGED[case]
    code, err = with_file(text)
    assert code == 2, err
    assert len(err.splitlines()) == 1, err
    assert "keypoints/mine.yaml" in err or case == "a list", err
    assert any(part in err for part in message.split("|")), err


def test_arguments_of_a_stored_sweep_that_may_run_code():
    code = [
        "--config-dir=/tmp", "-cd", "--experimental-rerun=x", "hydra.callbacks.x._target_=a", "+hydra.job.env_set.A=1",
        "hydra/sweeper=x", "hydra/job_logging=x", "hydra.launcher.setup=[a]", "hydra.launcher.python=a", "plugins=[a]",
        "++plugins.0=a", "keypoints@hydra.callbacks=a", "callbacks.x._target_=a.B", "callbacks.x={_target_:a.B}",
        "callbacks.x._target_=pytorch_lightning.callbacks.Timer,a.B", "out=${oc.env:HOME}",
        "hydra.launcher.name='a\nb'", "callbacks.x.dirpath=/home/me", "+logger.x.name=../y",
    ]  # fmt: skip
    assert [text for text in code if not names_code(text)] == []
    settings = [
        "lr=1e-3,1e-4", "data=synthetic", "~teacher", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2",
        "hydra.sweep.dir=a", "callbacks.x._target_=pytorch_lightning.callbacks.Timer", "callbacks.patience=3",
        "callbacks.x.filename={epoch}-{val/rmse:.2f}", "callbacks.x.dirpath=null", "logger.x.prefix=val/",
    ]  # fmt: skip
    assert [text for text in settings if names_code(text)] == []


def test_the_table_of_hydras_own_choices_is_allowed(tmp_path, run_here):
    """Each launcher and log config that Hydra and the installed launchers bring."""
    launchers = [f"launcher={name}" for name in ("basic", "joblib", "submitit_local", "submitit_slurm")]
    logs = [f"job_logging={name}" for name in ("default", "stdout", "disabled")]
    for choice in (*launchers, *logs, "hydra_logging=default"):
        code, err = run_here("train", main, "data=synthetic", f"hydra/{choice}", "--cfg", "job")
        assert code == 0, (choice, err)


def test_classes_of_installed_packages_of_plug_ins_may_be_named(monkeypatch):
    class Point:
        module = "their_plugins.losses"

    monkeypatch.setattr(
        "facekp.config.trust.installed_entry_points", lambda group: [Point] if group == "facekp.losses" else []
    )
    assert may_be_named("their_plugins.callback.Timer")
    for target in ("their_plugins_2.A", "joblib.load", "os.system", "their_plugins.a:os.system", "their_plugins.a b"):
        assert not may_be_named(target)


def test_a_signal_while_hydra_looks_for_its_mode_ends_the_command(run_here, monkeypatch):
    """Hydra goes on after any error there."""
    compose = ConfigLoaderImpl._load_configuration_impl
    calls = []

    def interrupted(self, **options):
        calls.append(options)
        if len(calls) > 1:
            return compose(self, **options)
        try:
            raise Stopped(143)
        finally:
            raise AttributeError("half merged")

    monkeypatch.setattr(ConfigLoaderImpl, "_load_configuration_impl", interrupted)
    assert run_here("train", lambda cfg: None, "data=synthetic")[0] == 143
    assert len(calls) == 1
