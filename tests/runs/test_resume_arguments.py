"""What may differ where a run is resumed or repeated, and where a command line differs from that of a run."""

import pytest
import yaml
from omegaconf import OmegaConf

from facekp.config.location import CONF_DIR
from facekp.core.errors import UserError
from facekp.core.settings import path_fields
from facekp.data.readers.base import READERS
from facekp.runs import resume_arguments
from facekp.runs.folder import RunFolder
from facekp.runs.resume_arguments import (
    DATA_PATHS,
    allow_keys_of_the_run,
    changed_settings,
    check_run_dir,
    first_difference,
    may_change,
    moved_keys,
    with_changes,
)

OF_CELEBA = {"data.box_list", "data.attribute_list", "data.partition_list"}
PLACES = {"data.dir", "data.images", "data.labels", *OF_CELEBA, "data.cache", "data.anywhere", "teacher.ckpt"}
PARALLEL = {"trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy"}
SPEED = {"trainer.precision", "trainer.channels_last", "trainer.compile", "trainer.cuda_graph", "trainer.fast_cpu"}
MAY_CHANGE = {
    "resume": {"trainer.max_epochs", *PARALLEL, *SPEED, *PLACES},
    "rerun": {"callbacks.progress", "init_from", *PLACES},
}


@pytest.mark.parametrize("key", MAY_CHANGE)
def test_settings_that_may_change_get_the_value_of_the_command_line(key, tmp_path):
    overrides = [f"{name}=new" for name in sorted(MAY_CHANGE[key])]
    of_command = ["debug=true", "plugins=[a]", *(["out=x", "overwrite=true"] if key == "rerun" else [])]
    cfg = OmegaConf.from_dotlist(overrides)
    changed = changed_settings(str(tmp_path), cfg, [*overrides, f"{key}={tmp_path}", *of_command], key)
    assert changed == dict.fromkeys(MAY_CHANGE[key], "new")
    for name in {"lr", *MAY_CHANGE["resume"], *MAY_CHANGE["rerun"]} - MAY_CHANGE[key]:
        with pytest.raises(UserError, match=f"{name} can't be changed"):
            changed_settings(str(tmp_path), OmegaConf.create({}), [f"{name}=1"], key)


def test_every_path_of_a_reader_may_change():
    readers = [READERS.settings_class(path.stem) for path in (CONF_DIR / "data").glob("*.yaml")]
    assert len(readers) > 20
    assert {f"data.{key}" for settings in readers for key in path_fields(settings)} <= {*DATA_PATHS}


def test_a_class_that_the_run_has_already_is_no_change(tmp_path):
    text = "logger.mine._target_=a.B"
    (tmp_path / "overrides.yaml").write_text(yaml.safe_dump([f"+{text}"]))
    cfg = OmegaConf.create({"logger": {"csv": True}})
    assert changed_settings(str(tmp_path), cfg, [f"++{text}"]) == {}
    assert changed_settings(str(tmp_path), cfg, ["++logger.other._target_=a.B"]) == {"logger": {"csv": True}}


def test_keys_of_the_run_are_allowed_only_where_there_is_one():
    assert allow_keys_of_the_run(["rerun=a", "+data.dir=d", "lr=1"]) == ["rerun=a", "++data.dir=d", "lr=1"]
    for arguments in (["data.dir=d"], ["resume=null", "data.dir=d"]):
        assert allow_keys_of_the_run(arguments) == arguments


def test_processes_of_a_training_may_name_the_folder_that_they_are_in():
    check_run_dir(["hydra.run.dir=."])
    check_run_dir(['hydra.run.dir="."'])


@pytest.mark.parametrize(
    ("here", "expected"),
    [
        (["lr=1", "name='a'", "out=y"], None),
        (["name=a", "lr=1"], None),
        (["lr=2", "name=a"], "lr: 1; here: 2"),
        (["name=a"], "lr: 1; here: not given"),
        (["lr=1", "name=a", "seed=3"], "seed: not given; here: 3"),
    ],
)
def test_the_first_difference_of_two_command_lines_is_named(tmp_path, monkeypatch, here, expected):
    (tmp_path / "overrides.yaml").write_text(yaml.safe_dump(["lr=1", "name=a", "out=x"]))
    monkeypatch.setattr(resume_arguments, "command_line", lambda: here)
    assert first_difference(RunFolder(tmp_path), ["out"]) == expected


def test_a_resumed_run_keeps_what_is_there_unless_something_else_is_given(tmp_path):
    folder, given = RunFolder(tmp_path), ["data.images=photos", "data.labels=a.csv", "teacher.ckpt=[t.ckpt]"]
    machine = ["trainer.devices=2", "trainer.precision=32-true"]
    assert "data.images" in moved_keys(folder, given)  # without files of a run
    data = {"images": str(tmp_path), "labels": str(tmp_path / "a.csv"), "anywhere": True}
    config = {"data": data, "model": {}, "keypoints": {}, "teacher": {"ckpt": [str(tmp_path / "t.ckpt")]}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "overrides.yaml").write_text(yaml.safe_dump([*given, *machine]))
    assert moved_keys(folder, given) == ["data.labels", "teacher.ckpt"]
    (tmp_path / "a.csv").touch()
    (tmp_path / "t.ckpt").touch()
    assert moved_keys(folder, given) == []
    new = ["data.images=other", *given[1:], *machine, "lr=1"]
    assert moved_keys(folder, new) == ["data.images", "trainer.devices"]


def test_changes_are_made_in_a_copy_and_only_in_groups_that_are_there():
    config = {"trainer": {"devices": 1}, "lr": 0.1}
    assert with_changes(config, {"trainer.devices": 2}) == {"trainer": {"devices": 2}, "lr": 0.1}
    assert config == {"trainer": {"devices": 1}, "lr": 0.1}
    for key, group in (("lr.x", "lr"), ("data.dir", "data")):
        with pytest.raises(UserError, match=f"{key}: the run's config.yaml lacks the settings {group}"):
            with_changes(config, {key: 1})


def test_plug_ins_and_groups_of_the_machine_may_be_given_with_resume():
    assert may_change(["plugins=[a]", "lr=1", "trainer=gpu", "debug=true", "model=unet", "data.dir=d"]) == [
        "plugins=[a]",
        "trainer=gpu",
        "debug=true",
        "data.dir=d",
    ]
