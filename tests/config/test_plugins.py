"""Plug-ins: modules of plugins=, entry points, and the choices they bring."""

import re
import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest
import torch

from facekp.config import plugins
from facekp.config.plugins import import_plugins, named_plugins, plugin_choices, without_files
from facekp.core.errors import UserError
from facekp.core.registry import unknown_groups
from facekp.functional.losses import LOSSES

MODULE = """
from facekp.functional.losses import LOSSES

@LOSSES.register("{name}")
def {name}(raw, target, cells, gamma: float = 2.0, *, power: int):
    return raw
"""


@pytest.fixture
def losses(monkeypatch):
    """The registry of losses, restored afterwards."""
    monkeypatch.setattr(LOSSES, "entries", dict(LOSSES.entries))
    monkeypatch.setattr(LOSSES, "own_settings", dict(LOSSES.own_settings))
    return LOSSES


@pytest.fixture
def module_here(tmp_path, monkeypatch):
    """Write a plug-in into the working directory; its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != ""])

    def write(name, text=MODULE):
        (tmp_path / f"{name}.py").write_text(text.format(name=name))
        monkeypatch.delitem(sys.modules, name, raising=False)
        return name

    return write


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ([], []),
        (["plugins=[a,b.c]"], ["a", "b.c"]),
        (["lr=1", "+plugins=[a]"], ["a"]),
        (["plugins=a"], ["a"]),
        (["plugins=[a]", "plugins=[b]"], ["b"]),
    ],
)
def test_the_last_plugins_of_the_command_line_counts(arguments, names):
    assert named_plugins(arguments) == names


@pytest.mark.parametrize("value", ["3", "{a: b}", "[[a]]"])
def test_something_else_than_module_names_is_refused(value):
    with pytest.raises(UserError, match="list of module names"):
        named_plugins([f"plugins={value}"])


def test_a_module_of_the_working_directory_registers_and_becomes_a_choice(module_here, losses):
    import_plugins([module_here("facekp_test_loss")])
    choices = plugin_choices(["facekp_test_loss"])
    assert choices["loss"]["facekp_test_loss"] == {
        "name": "facekp_test_loss",
        "activation": "softmax",
        "gamma": 2.0,
        "power": "???",
    }
    assert losses.origin("facekp_test_loss") == {"name": "facekp_test_loss", "module": "facekp_test_loss"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import not_there_at_all", r"plugins=\[broken\]: it needs not_there_at_all, which is not installed"),
        ("raise SystemExit(0)", r"plugins=\[broken\]: ends the program when it is imported .SystemExit: 0."),
        (
            "from facekp.losses import LOSSES",
            r"it needs facekp\.losses, which does not exist; import from facekp\.functional",
        ),
        ("import facekp.loses", r"it needs facekp\.loses, which facekp does not have; correct the import"),
        ("1 / 0", r"plugins=\[broken\]: can't be imported: ZeroDivisionError"),
    ],
)
def test_a_plug_in_that_can_t_be_imported_is_one_line(module_here, text, message):
    module_here("broken", text)
    with pytest.raises(UserError, match=message):
        import_plugins(["broken"])


def test_torch_s_defaults_stay_if_a_plug_in_sets_them(module_here):
    text = "import torch; torch.set_default_dtype(torch.float64); torch.set_default_device('meta')"
    import_plugins([module_here("facekp_test_defaults", text)])
    assert torch.zeros(1).dtype == torch.float32
    assert torch.zeros(1).device.type == "cpu"


def test_a_file_with_the_name_of_an_imported_module_is_named(module_here, losses, caplog):
    import_plugins([module_here("mine")])
    assert not caplog.records
    module_here("mine", "")  # forgotten, and imported again
    Path("json.py").write_text("")
    import_plugins(["json", "mine"])  # Python's own module, which is imported already
    (record,) = caplog.records
    assert re.search(r"^plugins=\[json\]: imports .*json/__init__\.py, not .*/json\.py; rename", record.getMessage())


def test_an_unknown_module_is_one_line(module_here):
    with pytest.raises(UserError, match=r"plugins=\[nowhere\]: no such module"):
        import_plugins(["nowhere"])


@pytest.mark.parametrize(
    ("path", "hint"),
    [("./mine.py", r"\[mine\]$"), ("code/mine.py", r"\[mine\], with PYTHONPATH=code$"), ("/a/mine", "PYTHONPATH=/a$")],
)
def test_a_path_is_no_module(module_here, path, hint):
    with pytest.raises(UserError, match=rf"is a path; name the module: .*{hint}"):
        import_plugins([path])


def test_entry_points_of_installed_packages_are_choices_without_plugins(module_here, losses, monkeypatch):
    name = module_here("facekp_test_entry")
    sys.path.append(".")
    found = EntryPoint(name, f"{name}:{name}", "facekp.losses")
    monkeypatch.setattr(plugins, "installed_entry_points", lambda group: [found] if group == "facekp.losses" else [])
    monkeypatch.setattr(losses, "_installed", lambda: {name: found})
    assert name not in sys.modules
    assert plugin_choices([])["loss"][name]["gamma"] == 2.0
    assert losses.parse({"name": name, "power": 3}).power == 3


def test_an_installed_package_may_import_registries_that_the_command_does_not_use(module_here, losses, monkeypatch):
    name = module_here("facekp_test_imports", MODULE + "type(LOSSES)('shape', 'shape', None, 'test.shapes')\n")
    sys.path.append(str(Path.cwd()))
    found = EntryPoint(name, f"{name}:{name}", "facekp.losses")
    monkeypatch.setattr(plugins, "REGISTRIES", registries := {"facekp.losses": losses})
    monkeypatch.setattr("facekp.core.registry.REGISTRIES", registries)
    monkeypatch.setattr(plugins, "installed_entry_points", lambda group: [found] if group == "facekp.losses" else [])
    monkeypatch.setattr(losses, "_installed", lambda: {name: found})
    assert name in plugin_choices([])["loss"]
    assert "test.shapes" in registries


def test_an_installed_package_that_is_broken_stops_no_command(losses, monkeypatch, caplog):
    found = EntryPoint("gone", "not_there_at_all:loss", "facekp.losses")
    monkeypatch.setattr(plugins, "installed_entry_points", lambda group: [found] if group == "facekp.losses" else [])
    monkeypatch.setattr(losses, "_installed", lambda: {"gone": found})
    assert "gone" not in plugin_choices([]).get("loss", {})
    assert "left out: loss 'gone'" in caplog.text
    with pytest.raises(UserError, match="loss 'gone'"):
        losses.parse({"name": "gone"})


def test_a_group_of_entry_points_that_does_not_exist_is_named(monkeypatch, caplog):
    points = EntryPoints(
        [EntryPoint("mine", "mine:loss", group) for group in ("facekp.loss", "facekp.losses", "other")]
    )
    monkeypatch.setattr("facekp.core.registry._all_entry_points", lambda: points)
    assert unknown_groups(["facekp.losses", "facekp.readers"]) == ["facekp.loss"]
    monkeypatch.setattr(plugins, "installed_entry_points", lambda group: points.select(group=group))
    plugin_choices([])
    assert "left out: entry points of mine in an unknown group, facekp.loss; did you mean facekp.losses?" in caplog.text


def test_a_plug_in_can_t_have_the_name_of_a_config_file_of_facekp(losses):
    @losses.register("wing")
    def wing(raw, target, cells):
        return raw

    with pytest.raises(UserError, match="loss 'wing': facekp has loss=wing already; choose another name"):
        plugin_choices(["this_module"])


def test_a_default_that_no_config_file_can_hold_is_named(losses):
    @losses.register("with_default")
    def with_default(raw, target, cells, weights=frozenset({1})):
        return raw

    with pytest.raises(UserError, match=r"loss 'with_default': the default of weights, a frozenset, can't be part of"):
        plugin_choices(["this_module"])


def test_a_file_of_the_user_replaces_the_choice_of_a_plug_in(tmp_path):
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / "mine.yaml").write_text("name: mine")
    choices = {"loss": {"mine": {"name": "mine"}, "other": {"name": "other"}}, "optimizer": {"mine": {"name": "mine"}}}
    assert without_files(choices, [tmp_path]) == {
        "loss": {"other": {"name": "other"}},
        "optimizer": choices["optimizer"],
    }


def test_without_plug_ins_nothing_is_imported(monkeypatch):
    monkeypatch.setattr(plugins, "installed_entry_points", lambda group: [])
    assert plugin_choices([]) == {}
