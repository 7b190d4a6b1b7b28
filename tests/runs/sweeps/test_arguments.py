"""``sweep.resume=DIR`` stands for the command line of the sweep in that folder."""

import subprocess
import sys

import pytest
import yaml

from facekp.config import command as cli
from facekp.core.errors import UserError
from facekp.runs.sweep_folder import SweepFolder
from facekp.runs.sweeps.arguments import resume_sweep_text, rewrite_arguments
from facekp.runs.sweeps.sweep import begin_sweep
from tests.runs.conftest import begin_job


def test_the_arguments_of_a_sweep_are_read_from_its_folder(multirun, tmp_path):
    begin_sweep(multirun(tmp_path, "lr=1,2", "+x='a b'"))
    again = ["-m", "lr=1,2", "+x='a b'", f"hydra.sweep.dir={tmp_path}"]
    assert rewrite_arguments([f"sweep.resume={tmp_path}"]) == again
    assert rewrite_arguments(["-m", f"sweep.resume={tmp_path}"]) == again
    assert rewrite_arguments(["debug=true", f"sweep.resume={tmp_path}"]) == ["-m", "debug=true", *again[1:]]
    assert rewrite_arguments(["lr=1"]) == ["lr=1"]
    assert rewrite_arguments(["sweep.resume=null", "lr=1"]) == ["sweep.resume=null", "lr=1"]


@pytest.mark.parametrize("option", [["--config-dir=mine"], ["--config-dir", "mine"], ["-cd", "mine"]])
def test_options_of_hydra_are_kept(multirun, tmp_path, option):
    begin_sweep(multirun(tmp_path, "lr=1,2"))
    again = ["-m", *option, "lr=1,2", f"hydra.sweep.dir={tmp_path}"]
    assert rewrite_arguments([*option, f"sweep.resume={tmp_path}"]) == again


@pytest.mark.parametrize("given", [["-cd", "there"], ["--config-dir=there"], ["--config-dir=/mine"]])
def test_the_config_folder_of_a_sweep_must_be_given_again(given, tmp_path):
    SweepFolder(tmp_path).write_settings(["--config-dir=/mine", "data=mine", "lr=1,2"], None)
    with pytest.raises(UserError, match=r"the sweep needs --config-dir=/mine; .* add it to the command line"):
        rewrite_arguments([f"sweep.resume={tmp_path}"])
    again = rewrite_arguments([*given, f"sweep.resume={tmp_path}"])
    assert again == ["-m", *given, "data=mine", "lr=1,2", f"hydra.sweep.dir={tmp_path}"]
    assert resume_sweep_text(tmp_path, []) == f"sweep.resume={tmp_path} --config-dir=/mine"


def test_the_budget_of_a_search_may_grow(multirun, tmp_path):
    begin_sweep(multirun(tmp_path, "hparams_search.trials=4", "lr=1,2"))
    begin_job(tmp_path / "lr-1")
    again = rewrite_arguments([f"sweep.resume={tmp_path}", "hparams_search.trials=9"])
    assert again == ["-m", "hparams_search.trials=9", "lr=1,2", f"hydra.sweep.dir={tmp_path}"]
    begin_sweep(multirun(tmp_path, *again[1:3]))
    assert yaml.safe_load((tmp_path / "sweep.yaml").read_text())["overrides"] == again[1:3]


def test_an_argument_that_the_sweep_has_keeps_its_place(multirun, tmp_path):
    begin_sweep(multirun(tmp_path, "lr=1,2", "data.dir=d", "seed=1,2"))
    again = rewrite_arguments([f"sweep.resume={tmp_path}", "seed=1,2", "data.dir=d"])
    assert again == ["-m", "lr=1,2", "data.dir=d", "seed=1,2", f"hydra.sweep.dir={tmp_path}"]


def test_an_argument_that_may_run_code_keeps_its_place_when_it_is_given_again(multirun, tmp_path):
    code = "++callbacks.mine._target_=mine.Callback"
    begin_sweep(multirun(tmp_path, "lr=1,2", code, "seed=0"))
    begin_job(tmp_path / "lr-1")
    again = rewrite_arguments([f"sweep.resume={tmp_path}", code])
    assert again == ["-m", "lr=1,2", code, "seed=0", f"hydra.sweep.dir={tmp_path}"]
    begin_sweep(multirun(tmp_path, *again[1:-1]))  # is not refused as another sweep


def test_an_argument_alone_that_the_sweep_has_keeps_its_place_and_the_last_folder_counts(tmp_path):
    SweepFolder(tmp_path).write_settings(["lr=1,2", "seed=1,2"], None)
    again = rewrite_arguments(["sweep.resume=null", f"sweep.resume={tmp_path}", "seed=1,2"])
    assert again == ["-m", "lr=1,2", "seed=1,2", f"hydra.sweep.dir={tmp_path}"]


def test_a_moved_sweep_is_resumed_where_it_is_now(tmp_path):
    SweepFolder(tmp_path).write_settings(["hydra.sweep.dir=/before", "lr=1,2"], None)
    again = rewrite_arguments([f"sweep.resume={tmp_path}"])
    assert again == ["-m", "lr=1,2", f"hydra.sweep.dir={tmp_path}"]


def test_relative_paths_are_those_of_the_directory_in_which_a_sweep_was_started(multirun, tmp_path, monkeypatch):
    (tmp_path / "there" / "photos").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "there")
    given = ["data.images=photos", "data.labels=missing.csv", "lr=1,2", "seed=photos"]
    begin_sweep(multirun(tmp_path / "s", *given))
    begin_job(tmp_path / "s" / "lr-1")
    same = rewrite_arguments([f"sweep.resume={tmp_path / 's'}"])
    assert same == ["-m", *given, f"hydra.sweep.dir={tmp_path / 's'}"]
    monkeypatch.chdir(tmp_path)
    again = rewrite_arguments(["sweep.resume=s"])
    assert again == ["-m", f"data.images={tmp_path / 'there' / 'photos'}", *given[1:], "hydra.sweep.dir=s"]
    begin_sweep(multirun(tmp_path / "s", *again[1:-1]))
    assert rewrite_arguments(["sweep.resume=s"]) == again


def test_a_setting_of_the_machine_that_the_sweep_did_not_have_is_kept_for_the_next_time(tmp_path):
    SweepFolder(tmp_path).write_settings(["lr=1,2"], None)
    again = rewrite_arguments([f"sweep.resume={tmp_path}", "trainer.devices=2"])
    assert again == ["-m", "trainer.devices=2", "lr=1,2", f"hydra.sweep.dir={tmp_path}"]
    assert rewrite_arguments([f"sweep.resume={tmp_path}"]) == again


@pytest.mark.parametrize("moved", ["data.dir=there", "teacher.ckpt=there", "trainer.devices=2"])
def test_paths_and_settings_of_the_machine_may_change(multirun, tmp_path, moved):
    stored = [moved.partition("=")[0] + "=1", "lr=1,2"]
    begin_sweep(multirun(tmp_path, *stored))
    begin_job(tmp_path / "lr-1")
    again = rewrite_arguments([f"sweep.resume={tmp_path}", moved])
    assert again == ["-m", moved, "lr=1,2", f"hydra.sweep.dir={tmp_path}"]
    begin_sweep(multirun(tmp_path, *again[1:3]))
    assert rewrite_arguments([f"sweep.resume={tmp_path}"]) == again  # sweep.yaml keeps the new value
    with pytest.raises(UserError, match=r"can't be changed, as .* has several values"):
        rewrite_arguments([f"sweep.resume={tmp_path}", f"{moved},other"])
    SweepFolder(tmp_path).write_settings([stored[0] + ",2"], None)
    with pytest.raises(UserError, match=rf"{moved} can't be changed, as {stored[0]},2 has several values"):
        rewrite_arguments([f"sweep.resume={tmp_path}", moved])


@pytest.mark.parametrize("other", ["data.dir=there", "trainer.devices=2", "trainer.precision=bf16-mixed"])
def test_a_new_sweep_with_other_data_or_another_machine_is_refused_in_the_folder(multirun, tmp_path, other):
    begin_sweep(multirun(tmp_path, "lr=1,2"))
    begin_job(tmp_path / "lr-1")
    with pytest.raises(UserError, match="holds another sweep"):
        begin_sweep(multirun(tmp_path, "lr=1,2", other))


def test_the_precision_of_a_sweep_can_t_be_changed(multirun, tmp_path):
    begin_sweep(multirun(tmp_path, "lr=1,2"))
    with pytest.raises(UserError, match=r"trainer\.precision=32-true can't be changed when a sweep is resumed"):
        rewrite_arguments([f"sweep.resume={tmp_path}", "trainer.precision=32-true"])


def test_plugins_must_be_given_again_as_no_file_names_code_to_import(multirun, tmp_path):
    begin_sweep(multirun(tmp_path, "plugins=[mine,yours]", "lr=1,2"))
    for given in ([], ["plugins=[mine]"]):
        with pytest.raises(UserError, match=r"the sweep needs plugins=\[mine,yours\]; .* add this to the command line"):
            rewrite_arguments([f"sweep.resume={tmp_path}", *given])
    begin_job(tmp_path / "lr-1")
    again = rewrite_arguments([f"sweep.resume={tmp_path}", "plugins=[yours,mine]"])
    assert again == ["-m", "plugins=[yours,mine]", "lr=1,2", f"hydra.sweep.dir={tmp_path}"]
    begin_sweep(multirun(tmp_path, *again[1:3]))


MISTAKES = {
    "no folder": ([], None, "nowhere/sweep.yaml does not exist; name the folder of a sweep"),
    "another key": (["lr=1"], "overrides: [lr=2]", "lr=1 can't be changed"),
    "a group": (["trainer=cpu"], "overrides: [lr=2]", "; give settings of the machine alone, such as trainer.accel"),
    "a word": (["lr"], "overrides: [lr=2]", "lr can't be changed"),
    "invalid YAML": ([], "{", "did not write it"),
    "other YAML": ([], "- a", "did not write it"),
    "overrides that are a number": ([], "overrides: 1", "did not write it"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_sweep_that_can_t_be_resumed(case, tmp_path):
    more, content, message = MISTAKES[case]
    folder = tmp_path / "nowhere"
    if content is not None:
        folder.mkdir()
        (folder / "sweep.yaml").write_text(content)
    with pytest.raises(UserError, match=rf"^sweep.resume={folder}: .*{message}"):
        rewrite_arguments([f"sweep.resume={folder}", *more])


def test_a_path_that_would_have_to_be_quoted_is_refused():
    with pytest.raises(UserError, match=r"sweep\.resume=a b: must be a path of letters"):
        rewrite_arguments(["sweep.resume=a b"])


def test_a_missing_sweep_ends_the_command_with_2_in_one_line(monkeypatch, tmp_path, capsys):
    from facekp.train import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train", "sweep.resume=nowhere"])
    with pytest.raises(SystemExit) as end:
        cli.run_command("train", main, rewrite_arguments)
    assert end.value.code == 2
    err = capsys.readouterr().err
    assert err == "facekp: error: sweep.resume=nowhere: nowhere/sweep.yaml does not exist; name the folder of a sweep\n"


def test_importing_it_takes_no_heavy_package():
    code = "import sys, facekp.runs.sweeps.sweep, facekp.runs.sweeps.arguments; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "pytorch_lightning", "pandas", "numpy", "optuna", "matplotlib"} & set(modules)
