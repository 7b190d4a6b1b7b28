"""The W&B workspace: what would be sent, and that its panels refer to what runs log."""

import json

import pandas as pd
import pytest

from facekp import dashboard
from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.core.settings import parse
from facekp.functional import metrics
from facekp.reporting import wandb_workspace
from facekp.training.loggers.base import flat_figures
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


def test_the_specification_has_panels_that_compare_runs(view):
    assert (view["entityName"], view["projectName"], view["displayName"]) == ("team", "faces", "facekp")
    (runset,) = view["spec"]["section"]["runSets"]
    grouped = [key["name"] for key in runset["grouping"]]
    assert grouped == ["optimizer.value.name", "lr.value", "subset.value"]
    panels = panels_of(view)
    rmse, curves, decides, keypoints, others, faces = panels.values()
    assert [kind for kind, _ in rmse] == ["Bar Chart"] * 4 + ["Scatter Plot"]
    assert all(config["metrics"] == ["rmse"] for kind, config in rmse if kind == "Bar Chart")
    assert {kind for kind, _ in curves} == {"Run History Line Plot"}
    assert ["val/rmse"] in [config["metrics"] for _, config in curves]
    assert [config.get("groupBy") for _, config in curves].count("group") == 1
    ((kind, plot),) = decides
    assert kind == "Parallel Coordinates Plot"
    assert len(plot["columns"]) == len(wandb_workspace.VARIED) + 1
    assert len(keypoints[1][1]["metrics"]) == 15
    shown = [config["metrics"] for _, config in others]
    assert shown[:2] == [["nme"], ["val/nme"]]
    assert ["failure_rate/0.08"] in shown
    assert ["auc/0.10"] in shown
    assert "faces" in json.dumps(faces)


def test_every_name_in_it_is_logged_by_runs(view, tiny_run):
    config = config_of()
    summary = flat_figures(json.loads((tiny_run / "metrics.json").read_text()))
    history = set(pd.read_csv(tiny_run / "metrics.csv", nrows=0))
    for kind, panel in (pair for panels in panels_of(view).values() for pair in panels):
        if kind == "Run History Line Plot":
            assert {panel["xAxis"], *panel["metrics"]} <= history
        if kind == "Bar Chart":
            assert set(panel["metrics"]) <= set(summary)
    for key in wandb_workspace.VARIED:
        value = config
        for part in key.split("."):
            value = value[part]


def test_without_an_account_the_file_is_written_and_the_error_is_one_line(call, tmp_path):
    code, err = call("out=view.json")
    assert code == 2
    (line,) = [line for line in err.splitlines() if "facekp: error:" in line]
    assert "no W&B account" in line
    assert "dry_run=true" in line
    assert "Traceback" not in err
    assert json.loads((tmp_path / "view.json").read_text())["projectName"] == "facekp"


def test_a_dry_run_without_a_file_is_refused(call):
    code, err = call("dry_run=true")
    assert code == 2
    assert "out=FILE.json" in err


def test_the_workspace_is_saved_under_the_entity_of_the_account(call, monkeypatch):
    saved = []

    def send(workspace):
        saved.append(workspace)
        return "address"

    monkeypatch.setattr(wandb_workspace, "default_entity", lambda: "me")
    monkeypatch.setattr(wandb_workspace, "send", send)
    assert call("project=faces")[0] == 0
    assert call("entity=team")[0] == 0
    assert [(workspace.entity, workspace.project) for workspace in saved] == [("me", "faces"), ("team", "facekp")]


def test_the_default_project_is_that_of_the_runs():
    assert config_of("logger=wandb")["logger"]["project"] == config_of(name="dashboard")["project"]
    assert "python -m facekp.dashboard" in (REPOSITORY / "docs" / "how-to" / "wandb.md").read_text()


def test_a_declared_metric_has_panels_without_being_named_here(scheme, monkeypatch):
    """A metric with a part per source, and a curve because it is shown after every epoch."""

    def failures(scored):
        far = scored.distance > 5
        return {"": far.mean(), **{name: far[scored.source == s].mean() for s, name in enumerate(scheme.source_names)}}

    declared = metrics.Metric("failures", failures, "points off by 5 px", unit="fraction", shown=("epoch", "dashboard"))
    monkeypatch.setattr(metrics, "metrics_shown", lambda place: [declared])
    workspace = wandb_workspace.build_workspace("me", "faces", "title", scheme)
    panels = panels_of(wandb_workspace.specification(workspace))["other metrics"]
    shown = [(kind, config["metrics"]) for kind, config in panels]
    assert ("Bar Chart", ["failures/dense"]) in shown
    assert ("Run History Line Plot", ["val/failures"]) in shown
    assert len(shown) == 2 * (1 + len(scheme.source_names))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"project": ""}, "project='': must not be empty"),
        ({"entity": 3}, "entity=3: must be a text"),
        ({"dryrun": True}, "dryrun: unknown key; did you mean dry_run"),
        ({"dry_run": True}, "out=FILE.json"),
        ({"out": "a b"}, "out=a b: must be a path"),
    ],
)
def test_a_wrong_setting_is_refused_in_one_line(change, message):
    with pytest.raises(UserError) as caught:
        parse(wandb_workspace.DashboardSettings, {**config_of(name="dashboard"), **change})
    assert message in str(caught.value)


def test_a_distance_between_groups_of_points_has_its_panels():
    scheme = Keypoints.from_dict({"name": "four", "names": list("abcd"), "normaliser": [["a", "d"], ["b", "c"]]})
    panels = panels_of(wandb_workspace.specification(wandb_workspace.build_workspace("me", "faces", "title", scheme)))
    assert ("Bar Chart", ["nme"]) in [(kind, config["metrics"]) for kind, config in panels["other metrics"]]
