"""The command line: exit codes, one-line errors, precedence, any working directory."""

import io
import subprocess
import sys

import pytest
import torch
from omegaconf.errors import OmegaConfBaseException

from facekp import __version__, evaluate, submit
from facekp import train as train_module
from facekp.config import command as cli
from facekp.core.signals import Stopped
from facekp.data.synthetic import __main__ as synthetic
from tests.conftest import TINY, composed, facekp

TASKS = {"train": train_module.main, "evaluate": evaluate.main, "submit": submit.main, "synthetic": synthetic.main}


@pytest.fixture
def call(monkeypatch, run_here):
    """`run_here` by a command's name, without the data that a developer may have."""
    monkeypatch.delenv("FACEKP_DATA", raising=False)
    return lambda name, *arguments: run_here(name, TASKS[name], *arguments)


MISTAKES = {
    "unknown key": ("train", ["learning_rate=1"], "learning_rate"),
    "unknown choice": ("train", ["optimizer=lion"], "adam"),
    "bad grammar": ("train", ["lr=[1,"], "[1,"),
    "not key=value": ("train", ["adam"], "adam: must be key=value"),
    "blank in a key": ("train", ["a b=c"], "a b=c: can't be read; check blanks"),
    "range without an end": ("train", ["lr=interval(1)"], "lr=interval(1): missing a required argument: 'end'"),
    "list without brackets": (
        "evaluate",
        ["ckpt=a,b.ckpt"],
        "write ckpt=[a,b.ckpt] for a list, \"ckpt='a,b.ckpt'\" for",
    ),
    "rate no number": ("train", [*TINY, "lr=fast"], "lr=fast"),
    "seed negative": ("train", [*TINY, "seed=-1"], "seed=-1"),
    "fold too high": ("train", [*TINY, "data.fold=7"], "data.fold=7"),
    "too many folds": ("train", [*TINY, "data.folds=999"], "data.folds"),
    "no rows": ("train", [*TINY, "data.rows=0"], "data.rows=0"),
    "no such subset": ("train", [*TINY, "subset=half"], "subset=half"),
    "no epochs": ("train", [*TINY, "trainer.max_epochs=0"], "trainer.max_epochs=0"),
    "stride 3": ("train", [*TINY, "model.network.stride=3"], "model.network.stride=3"),
    "nine stacks": ("train", [*TINY, "model.network.stacks=9"], "model.network.stacks=9"),
    "no GPU here": ("train", [*TINY, "trainer=gpu"], "gpu"),
    "no such decoder rule": ("train", [*TINY, "decoder.rule=median"], "argmax"),
    "blank in the folder's name": ("train", [*TINY, "out='a b'"], "blanks"),
    "data missing": ("train", [], "Do one of these"),
    "weights missing": ("train", [*TINY, "init_from=no.ckpt"], "no.ckpt"),
    "resume from nowhere": ("train", ["resume=nowhere"], "nowhere"),
    "checkpoint not named": ("evaluate", ["data=synthetic"], "ckpt"),
    "checkpoint missing": ("evaluate", ["data=synthetic", "ckpt=no.ckpt"], "no.ckpt"),
    "no checkpoint at all": ("evaluate", ["data=synthetic", "ckpt=[]"], "at least one"),
    "test files missing": ("submit", ["ckpt=shipped", "data.dir=nowhere"], "nowhere"),
    "nothing to submit": ("submit", ["ckpt=shipped", "data=synthetic"], "data.dir=DIR"),
    "out not named": ("synthetic", [], "out"),
    "folds no number": ("train", [*TINY, "data.folds=abc"], "data.folds=abc"),
    "no such precision": ("train", [*TINY, "trainer.precision=17"], "trainer"),
    "out is a file": ("train", [*TINY, "out=/etc/hostname"], "/etc/hostname"),
    "brackets in the folder's name": ("train", [*TINY, "out='a[b]'"], "a[b]"),
    "no test rows": ("synthetic", ["out=x", "test_rows=0"], "test_rows=0"),
    "scheme without a flip partner": ("train", [*TINY, "keypoints.pairs=[[a]]"], "keypoints"),
    "key of another trainer": ("train", [*TINY, "+trainer.max_step=5"], "trainer.max_step: unknown key"),
    "scheme of a checkpoint": ("evaluate", ["ckpt=shipped", "keypoints=ibug68"], "takes it from the checkpoint"),
    "no validation batch": ("train", [*TINY, "+trainer.limit_val_batches=0"], "trainer.limit_val_batches=0"),
    "no logger": ("train", [*TINY, "logger=null"], "logger=null"),
    "no data": ("train", ["data=null"], "yolo\n"),
    "no augmentation": ("train", [*TINY, "augment=null"], "did you mean none?"),
    "group taken out": ("train", [*TINY, "~augment"], "~augment: a group can't be removed; write augment=none"),
    "list of groups taken out": (
        "train",
        ["~logger=[csv]"],
        "~logger=[csv]: a group can't be removed; write logger=none",
    ),
    "group taken out, its key set": (
        "train",
        ["~callbacks", "callbacks.pictures=0"],
        "~callbacks: a group can't be removed; leave it out, or choose one: callbacks=default",
    ),
    "setting taken out": ("submit", ["~out"], "~out: can't be removed; give it a value: out=VALUE"),
    "teacher null with a plus": ("train", ["+teacher=null"], "did you mean none?"),
    "null in a list": ("train", ["+experiment=[minute,null]"], "takes one choice, not a list"),
    "null in a sweep": ("train", ["-m", "experiment=minute,null"], "experiment=null: there is no such choice"),
    "empty choice": ("train", ["experiment="], "experiment=: there is no such choice"),
    "key of a mapping that is null": ("train", [*TINY, "data.only.source=dense"], "'data.only={source: VALUE}'"),
    "key of a mapping that is a text": ("train", [*TINY, "subset.source=dense"], "'subset={source: VALUE}'"),
    "unknown key in braces": ("train", ["model.network={chanels: 8}"], "did you mean model.network.channels?"),
    "unknown choice in quotes": ("train", ["experiment='minutee'"], "did you mean minute?"),
    "group of another command": ("evaluate", ["+model=null"], "+model=null: a group of config files needs the name"),
    "empty key": ("train", ["=5"], "=5: must be key=value; the key is empty"),
    "empty argument": ("train", [""], "'': must be key=value"),
    "composing fails": (
        "train",
        ["hydra.job.env_copy=[FACEKP_NOWHERE]"],
        "the config can't be composed: KeyError: 'FACEKP_NOWHERE'; check the last argument",
    ),
    "key below a null of Hydra": (
        "train",
        ["-m", "+hydra.sweeper.params.lr=1"],
        "the config can't be composed: AssertionError: Unexpected type for root: NoneType; check the last argument",
    ),
    "key that Hydra does not have yet": (
        "train",
        ["hydra.job.env_set.A=1"],
        "hydra.job.env_set.A: there is no such key yet; check its name, or write +hydra.job.env_set.A=VALUE",
    ),
    "unknown mode": ("train", ["hydra.mode=FOO"], "hydra.mode=FOO: Invalid value 'FOO'"),
    "entry of a list that another choice has": (
        "train",
        ["augment.transforms.0.name=x"],
        "augment.transforms.0.name: only augment=robust has this entry; give the whole list: augment.transforms=[{",
    ),
    "two choices without a sweep": (
        "train",
        ["model=simcc,hourglass"],
        "takes one choice; give one of them, or -m for",
    ),
    "comma for a point": ("train", ["lr=1,5e-3"], "lr=1,5e-3: write lr=1.5e-3 for one number, lr=[1,5e-3] for a list"),
    "sweep that shows its config": ("train", ["-m", "--cfg", "job"], "--multirun --cfg: can't be combined"),
    "completion without a shell": ("train", ["--shell-completion"], "--shell-completion: needs one shell"),
    "config of another command": ("train", ["--config-name=evaluate"], "--config-name: a command has one config"),
    "sweep of a command without one": ("evaluate", ["-m"], "--multirun: evaluate has no sweep"),
    "mode of a command without a sweep": ("submit", ["hydra.mode=MULTIRUN"], "submit has no sweep"),
    "setting as an option": ("train", ["--lr=1e-3"], "--lr=1e-3: unknown option; write lr=1e-3"),
    "setting with one hyphen": ("train", ["-lr=1"], "-lr=1: unknown option; write lr=1"),
    "setting and value apart": (
        "train",
        ["--batch-size", "8"],
        "--batch-size: unknown option; write data.batch_size=VALUE",
    ),
    "option with one hyphen": ("train", ["-help"], "-help: unknown option; did you mean --help?"),
    "unknown option": ("train", ["-v"], "-v: unknown option; --help lists the options"),
    "option without its value": ("train", ["--cfg"], "--cfg: needs a value; write --cfg job"),
    "option with another value": ("train", ["--info=x"], "--info x: choose one of all, config,"),
    "plug-ins without brackets": ("train", ["plugins=a,b"], "plugins=a,b: must be a list of module names"),
    "group as a mapping": ("train", ["model={name:simcc}"], "model: Key 'name' is not in struct; choose a file"),
    "group added": ("train", ["+model=simcc"], "+model: chooses a second one; leave out the +, model=NAME"),
    "reference to nothing": ("train", ["lr=${nope}"], "lr: Interpolation key 'nope' not found"),
    "search without a sweep": ("train", [*TINY, "hparams_search=optuna"], "start it with -m"),
    "plug-in that is not there": ("train", [*TINY, "plugins=[nowhere]"], "plugins=[nowhere]: no such module"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(call, case):
    if case == "no GPU here" and torch.cuda.is_available():
        pytest.skip("there is one")
    name, arguments, message = MISTAKES[case]
    code, err = call(name, *arguments)
    lines = [line for line in err.splitlines(keepends=True) if "facekp: error:" in line]
    assert code == 2, err
    assert len(lines) == 1
    assert message in lines[0]
    assert "Traceback" not in err


EXPERIMENTS = {
    "logger null": ("# @package _global_\nlogger: null\n", [], "logger=null: a config file sets it; remove this line"),
    "augment null": ("# @package _global_\naugment: null\n", [], "augment=null: a config file sets it"),
    "trainer null, its key set": (
        "# @package _global_\ntrainer: null\n",
        ["trainer.max_epochs=1"],
        "trainer.max_epochs: trainer=cpu has this key, but a config file chooses another one or sets trainer to null",
    ),
    "hydra null": ("# @package _global_\nhydra: null\n", [], "the config can't be composed: AttributeError"),
    "empty": ("", [], "experiment=mine: the file is empty or its first line is missing"),
    "without a package": ("lr: 1\n", [], "begin it with '# @package _global_'"),
    "byte order mark": ("\ufeff# @package _global_\nlr: 1\n", [], "mine.yaml: begins with a byte order mark"),
    "in its own defaults": (
        "# @package _global_\ndefaults: [/experiment/mine]\n",
        [],
        "experiment/mine.yaml: the defaults list leads back to the same file",
    ),
    "folder of the run": (
        "# @package _global_\nhydra: {run: {dir: there}}\n",
        [*TINY, "out=here"],
        "hydra.run.dir=there: name the folder by out=there",
    ),
}


@pytest.mark.parametrize("case", EXPERIMENTS)
def test_a_mistake_in_the_file_of_an_experiment_is_one_line(call, tmp_path, case):
    text, arguments, message = EXPERIMENTS[case]
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "mine.yaml").write_text(text)
    code, err = call("train", "--config-dir=conf", "experiment=mine", *arguments)
    assert (code, len(err.splitlines())) == (2, 1), err
    assert message in err


@pytest.mark.parametrize("argument", ["experiment=null", "+experiment=null"])
def test_no_experiment_may_be_written_as_null(run_here, argument):
    configs = []
    code, err = run_here("train", configs.append, "experiment=minute", argument, "lr=2")
    assert (code, configs[0].lr, configs[0].trainer.max_epochs) == (0, 2, composed().trainer.max_epochs), err


@pytest.mark.parametrize("name", ["42", "1e3", "true"])
def test_a_choice_may_look_like_a_number(run_here, tmp_path, name):
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / f"{name}.yaml").write_text("# @package _global_\nlr: 2\n")
    configs = []
    code, err = run_here("train", configs.append, "--config-dir=conf", f"experiment={name}")
    assert (code, configs[0].lr) == (0, 2), err


def test_a_callback_may_be_given_as_a_mapping(run_here):
    configs = []
    code, err = run_here("train", configs.append, "callbacks.mine={_target_: a.Mine, patience: 3}")
    assert (code, configs[0].callbacks.mine.patience) == (0, 3), err


def test_the_version_is_that_of_facekp(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train", "--version"])
    cli.run_command("train", lambda cfg: pytest.fail("was run"))
    assert capsys.readouterr().out == f"facekp {__version__}\n"


def test_one_plug_in_needs_no_brackets(run_here, tmp_path):
    (tmp_path / "one_plugin.py").write_text("")
    configs = []
    code, err = run_here("train", configs.append, "plugins=one_plugin")
    assert (code, configs[0].plugins) == (0, ["one_plugin"]), err


def test_a_group_or_key_that_is_taken_out_is_no_file():
    assert cli.split_arguments("inspect", ["a.csv", "~data", "~photo.jpg"]) == (["a.csv", "~photo.jpg"], ["~data"])
    assert cli.split_arguments("predict", ["~smooth"]) == ([], ["~smooth"])


def test_a_file_whose_path_holds_an_equals_sign_is_no_setting(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("date=2024", "data.fold=1"):
        (tmp_path / name).mkdir()
    arguments = ["date=2024", f"{tmp_path}/day=1/missing.jpg", "../day=1/a.jpg", "data.fold=1", "day=1"]
    assert cli.split_arguments("inspect", arguments) == (arguments[:3], arguments[3:])


def test_debug_shows_the_traceback(call):
    code, err = call("train", *TINY, "lr=fast", "debug=true")
    assert code == 2
    assert "Traceback" in err


def test_a_second_run_never_overwrites_the_first(call, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("kept")
    code, err = call("train", *TINY, "out=run")
    assert code == 2
    assert "resume=run" in err
    assert (tmp_path / "run" / "config.yaml").read_text() == "kept"


def test_anything_else_ends_with_1_and_a_traceback(monkeypatch, tmp_path):
    code = "from facekp.config.command import run_command\ndef main(cfg): raise RuntimeError('broken')\n"
    code += "run_command('train', main)"
    (tmp_path / "broken.py").write_text(code)
    done = subprocess.run([sys.executable, "broken.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "RuntimeError: broken" in done.stderr


def test_relative_paths_start_at_the_working_directory_and_printed_paths_can_be_pasted_back(tmp_path):
    done = facekp("train", *TINY, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    printed = dict(line.split(": ", 1) for line in done.stderr.splitlines() if line.startswith(("run:", "ckpt:")))
    assert (tmp_path / printed["run"] / "metrics.json").is_file()
    scored = facekp("evaluate", f"ckpt={printed['ckpt']}", "data=synthetic", "data.rows=60", cwd=tmp_path)
    assert scored.returncode == 0, scored.stderr
    again = facekp("train", f"resume={printed['run']}", "trainer.max_epochs=3", cwd=tmp_path)
    assert again.returncode == 0, again.stderr


def test_the_console_script_dispatches_and_lists_its_commands(tmp_path):
    def script(*arguments):
        command = [sys.executable, "-m", "facekp", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    listed = script("--help")
    assert listed.returncode == 0
    assert "train" in listed.stdout
    assert script("trian").returncode == 2
    written = script("data.synthetic", "out=drawn", "data.rows=3", "test_rows=2")
    assert written.returncode == 0, written.stderr
    assert len((tmp_path / "drawn" / "training.csv").read_text().splitlines()) == 4


def test_an_interrupt_ends_with_130_and_no_traceback(monkeypatch, tmp_path, capsys):
    def interrupted(cfg):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["bench"])
    with pytest.raises(SystemExit) as end:
        cli.run_command("bench", interrupted)
    assert end.value.code == 130
    assert capsys.readouterr().err == ""


def test_a_signal_while_hydra_composes_ends_with_its_code_whatever_composing_then_raises(monkeypatch, capsys):
    """OmegaConf's clean-up may fail where a signal came between two of its lines."""

    def interrupted(**options):
        try:
            raise Stopped(143)
        finally:
            raise OmegaConfBaseException("'NoneType' object has no attribute '_invalidate_flags_cache'")

    monkeypatch.setattr(cli.hydra, "main", interrupted)
    monkeypatch.setattr(sys, "argv", ["bench"])
    with pytest.raises(Stopped) as end:
        cli.run_command("bench", print)
    assert end.value.code == 143
    assert capsys.readouterr().err == ""


def loaded_modules(code, cwd):
    """The heavy modules that a process has imported after some code."""
    program = f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=cwd, capture_output=True, text=True, check=True)
    heavy = {"torch", "pytorch_lightning", "pandas", "cv2", "matplotlib", "torchmetrics"}
    return heavy & set(done.stdout.splitlines()[-1].split())


RUN = "import runpy; sys.argv = ['train', {}]; runpy.run_module('facekp.train', run_name='__main__')"


@pytest.mark.parametrize("argument", ["--help", "learning_rate=1", "optimizer=lion", "trainer.max_epoch=3"])
def test_help_and_a_mistake_in_a_key_import_nothing_heavy(argument, tmp_path):
    assert not loaded_modules(RUN.format(repr(argument)), tmp_path)


@pytest.mark.parametrize("name", ["predict", "app", "submit", "pack", "data.synthetic", "dashboard"])
def test_commands_that_train_nothing_do_not_import_lightning(name):
    code = f"import sys, facekp.{name}; assert not {{'pytorch_lightning', 'torchmetrics'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_options_may_stand_between_settings(call):
    code, err = call("train", "data=synthetic", "--config-dir=.", "lrr=1")
    assert code == 2
    assert "did you mean lr?" in err


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--config-dir=nowhere", "--config-dir=nowhere: there is no such folder"),
        ("keypoints=mine", "your own files need --config-dir=DIR, with DIR/keypoints/mine.yaml, and plug-ins pl"),
    ],
)
def test_a_folder_that_is_missing_or_forgotten_is_named(argument, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train", argument])
    with pytest.raises(SystemExit) as left:
        cli.run_command("train", lambda cfg: pytest.fail("was run"))
    assert left.value.code == 2
    assert message in capsys.readouterr().err


def test_a_file_that_has_the_name_of_a_choice_of_facekp_is_refused(tmp_path, call):
    own = tmp_path / "keypoints" / "celeba5.yaml"
    own.parent.mkdir()
    own.write_text("name: five\nnames: [a, b]\n")
    code, err = call("train", f"--config-dir={tmp_path}", "keypoints=celeba5", "data=synthetic")
    assert code == 2
    assert f"=celeba5: facekp has a choice of this name, which would be taken instead of {own}; rename it" in err


def test_characters_that_the_output_s_encoding_lacks_are_written_as_escapes(run_here, monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    code, stderr = run_here("inspect", lambda cfg: print("pose: \u00fc", flush=True))
    assert (code, stderr, written.getvalue()) == (0, "", b"pose: \\xfc\n")
