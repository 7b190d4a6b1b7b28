"""What a run's results depend on besides its settings is described, and compared."""

import importlib
from types import SimpleNamespace

import torch
import yaml

from facekp.functional.losses import LOSSES
from facekp.runs.environment import differences, environment


def test_an_environment_names_versions_threads_and_instructions():
    found = environment()
    assert found["torch"] == torch.__version__
    assert found["threads"] == torch.get_num_threads()
    assert found["cpu_capability"] == torch.backends.cpu.get_cpu_capability()
    assert None not in (found["facekp"], found["numpy"], found["pytorch-lightning"], found["processor"])
    assert yaml.safe_load(yaml.safe_dump(found)) == found
    assert differences(found, environment()) == []


def test_an_environment_names_the_version_of_a_plug_in_package(monkeypatch):
    point = SimpleNamespace(dist=SimpleNamespace(name="facekp-star", version="1.2"))
    monkeypatch.setattr("facekp.runs.environment.installed_entry_points", lambda group: [point])
    assert environment()["facekp-star"] == "1.2"


def test_an_edited_module_of_a_plug_in_is_a_difference(monkeypatch, tmp_path):
    (tmp_path / "facekp_test_edited.py").write_text("def loss(raw, target, cells):\n    return raw.sum()\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("facekp_test_edited")
    monkeypatch.setattr(LOSSES, "entries", {**LOSSES.entries, "edited": module.loss})
    before = environment()
    assert len(before["module facekp_test_edited"]) == 12
    (tmp_path / "facekp_test_edited.py").write_text("def loss(raw, target, cells):\n    return raw.mean()\n")
    (difference,) = differences(before, environment())
    assert difference.startswith("module facekp_test_edited: was ")
    (tmp_path / "facekp_test_edited.py").unlink()
    assert "module facekp_test_edited" not in environment()


def test_differences_are_named_with_both_values():
    before = {"torch": "2.11.0", "threads": 2, "older": 1}
    assert differences(before, {"torch": "2.11.0", "threads": 1, "newer": 1}) == ["threads: was 2, is 1"]
