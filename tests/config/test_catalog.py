"""What can be chosen and set is read off the YAML files: choices, keys, defaults, meanings."""

import pytest

from facekp.config.catalog import Catalog, config_folders
from facekp.config.location import CONF_DIR

COMMANDS = sorted(path.stem for path in CONF_DIR.glob("*.yaml"))


@pytest.fixture(scope="module")
def train() -> Catalog:
    return Catalog("train", [CONF_DIR])


def test_groups_have_their_files_as_choices(train):
    assert train.groups["optimizer"].default == "adam"
    assert train.groups["optimizer"].choices == ["adam", "adamw", "muon", "sgd"]
    assert "seed/1_sgd_complete" in train.groups["experiment"].choices


def test_keys_have_the_default_and_the_comment_of_their_file(train):
    entries = train.entries()
    assert entries["lr"].default == "1e-3"
    assert "learning rate" in entries["lr"].meaning
    assert entries["model.network.stride"].default == "4"
    assert "sweep.resume" in entries
    assert not any(key.startswith("hydra") or key.endswith("defaults") for key in entries)


def test_another_choice_has_its_own_keys_and_inherits_those_it_builds_on(train):
    entries = train.entries({"augment": "wild", "model": "simcc"})
    assert entries["augment.wild"].default == "0.1"
    assert entries["augment.wild"].meaning == train.entries()["augment.wild"].meaning != ""
    assert "model.network.levels" not in entries
    assert "data.batch_size" in train.entries({"data": "coco"})


def test_mappings_in_a_list_have_their_position_as_key_and_replace_an_inherited_list(train):
    entries = train.entries({"augment": "robust"})
    assert entries["augment.transforms.0.jpeg"].default == "10"
    assert "JPEG quality" in entries["augment.transforms.0.jpeg"].meaning
    assert "augment.transforms" not in entries
    assert train.entries()["augment.transforms"].default == "[]"
    assert train.all_keys()["augment.transforms.0.noise"] == ["augment=robust"]


def test_a_second_mapping_and_what_follows_a_list_are_read(tmp_path):
    (tmp_path / "demo.yaml").write_text("# x\ntop:\n  list:\n  - a: 1  # one\n    b: 2\n  - a: 3\n  after: 4\nend: 5\n")
    found = {key: entry.default for key, entry in Catalog("demo", [tmp_path]).entries().items()}
    assert found == {"top.list.0.a": "1", "top.list.0.b": "2", "top.list.1.a": "3", "top.after": "4", "end": "5"}


def test_a_key_of_some_choices_names_them(train):
    keys = train.all_keys()
    assert keys["scheduler.end"] == ["scheduler=cosine", "scheduler=onecycle"]
    assert keys["lr"] == []


def test_comments_that_go_on_in_the_next_line_are_joined(tmp_path):
    (tmp_path / "demo.yaml").write_text(
        "# python -m demo: shows.\na: 1   # first\n            # and second\nb: # group\n  c: x#y\n"
    )
    catalog = Catalog("demo", [tmp_path])
    assert catalog.summary == "shows."
    assert {key: (entry.default, entry.meaning) for key, entry in catalog.entries().items()} == {
        "a": ("1", "first and second"),
        "b.c": ("x#y", ""),
    }


def test_a_user_s_folder_comes_before_facekp_s(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.yaml").write_text("defaults: [folder, _self_]\nimages: photos  # my photos\n")
    folders = config_folders([f"--config-dir={tmp_path}", "lr=1"])
    catalog = Catalog("train", folders)
    assert folders == [tmp_path, CONF_DIR]
    assert "mine" in catalog.groups["data"].choices
    assert catalog.choice("data", "mine")["images"].meaning == "my photos"
    assert catalog.choice("data", "mine")["name"].default == "folder"
    assert config_folders(["--config-dir", str(tmp_path)]) == folders


def test_plug_ins_bring_choices_and_keys():
    extra = {"loss": {"focal": {"name": "focal", "gamma": 2.0}}}
    catalog = Catalog("train", [CONF_DIR], extra)
    assert catalog.groups["loss"].choices[-1] == "focal"
    assert catalog.entries({"loss": "focal"})["loss.gamma"].default == "2.0"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_key_of_every_command_has_a_meaning(command):
    catalog = Catalog(command, [CONF_DIR])
    assert catalog.summary
    entries = {key: entry for key, entry in catalog.entries().items() if not key.startswith("keypoints.")}
    missing = [key for key, entry in entries.items() if not entry.meaning]
    assert missing == []
