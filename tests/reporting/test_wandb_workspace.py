"""The W&B workspace: what would be sent, and that it names what runs tell."""

import json
import re

import pandas as pd
import pytest

from facekp.reporting import wandb_workspace as dashboard
from facekp.training.wandb_run import summary_of
from tests.conftest import REPOSITORY, config_of

pytest.importorskip("wandb_workspaces")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:wandb_workspaces")


@pytest.fixture
def call(monkeypatch, tmp_path, run_here):
    """`run_here` for `facekp.dashboard`, without an account."""
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    return lambda *arguments: run_here("dashboard", dashboard.main, *arguments)


def panels_of(view):
    """Type and config of every panel, by section."""
    sections = view["spec"]["section"]["panelBankConfig"]["sections"]
    return {s["name"]: [(p["viewType"], p["config"]) for p in s["panels"]] for s in sections}


@pytest.fixture
def view(call, tmp_path):
    code, err = call("entity=team", "project=faces", "dry_run=true", "out=view.json")
    assert code == 0, err
    return json.loads((tmp_path / "view.json").read_text())


def test_the_specification_has_the_panels_that_answer_the_task_s_questions(view):
    assert (view["entityName"], view["projectName"], view["displayName"]) == ("team", "faces", "facekp")
    (runset,) = view["spec"]["section"]["runSets"]
    grouped = [key["name"] for key in runset["grouping"]]
    assert grouped == ["optimizer.value.name", "lr.value", "subset.value"]
    panels = panels_of(view)
    rmse, curves, decides, keypoints, faces = panels.values()
    assert [kind for kind, _ in rmse] == ["Bar Chart"] * 4 + ["Scatter Plot"]
    assert all(config["metrics"] == ["rmse"] for kind, config in rmse if kind == "Bar Chart")
    assert {kind for kind, _ in curves} == {"Run History Line Plot"}
    assert ["val/rmse"] in [config["metrics"] for _, config in curves]
    assert [config.get("groupBy") for _, config in curves].count("group") == 1
    ((kind, plot),) = decides
    assert kind == "Parallel Coordinates Plot"
    assert len(plot["columns"]) == len(dashboard.VARIED) + 1
    assert len(keypoints[1][1]["metrics"]) == 15
    assert "faces" in json.dumps(faces)


def test_every_name_in_it_is_one_that_runs_tell(view, tiny_run):
    config = config_of()
    summary = summary_of(json.loads((tiny_run / "metrics.json").read_text()))
    history = set(pd.read_csv(tiny_run / "metrics.csv", nrows=0))
    for kind, panel in (one for panels in panels_of(view).values() for one in panels):
        if kind == "Run History Line Plot":
            assert {panel["xAxis"], *panel["metrics"]} <= history
        if kind == "Bar Chart":
            assert set(panel["metrics"]) <= set(summary)
    for key in dashboard.VARIED:
        value = config
        for part in key.split("."):
            value = value[part]


def test_without_an_account_one_line_says_so_and_the_file_is_written_all_the_same(call, tmp_path):
    code, err = call("out=view.json")
    assert code == 2
    (line,) = [line for line in err.splitlines() if "facekp: error:" in line]
    assert "no W&B account" in line
    assert "dry_run=true" in line
    assert "Traceback" not in err
    assert json.loads((tmp_path / "view.json").read_text())["projectName"] == "facekp"


def test_a_dry_run_without_a_file_is_told(call):
    code, err = call("dry_run=true")
    assert code == 2
    assert "out=FILE.json" in err


def test_an_account_s_workspace_is_saved_under_its_entity(call, monkeypatch):
    saved = []

    def send(workspace):
        saved.append(workspace)
        return "address"

    monkeypatch.setattr(dashboard, "own_entity", lambda: "me")
    monkeypatch.setattr(dashboard, "send", send)
    assert call("project=faces")[0] == 0
    assert call("entity=team")[0] == 0
    assert [(one.entity, one.project) for one in saved] == [("me", "faces"), ("team", "facekp")]


def test_the_project_s_default_is_that_of_the_runs():
    assert config_of("logger=wandb")["logger"]["project"] == config_of(name="dashboard")["project"]
    assert re.search(r"python -m facekp\.dashboard", (REPOSITORY / "README.md").read_text())
