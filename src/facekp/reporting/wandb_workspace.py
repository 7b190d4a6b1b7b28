"""`python -m facekp.dashboard entity=NAME`: a Weights & Biases workspace that compares the runs of a project.

Runs are grouped by optimiser, learning rate and subset, so every panel shows one bar, curve or line for each of their
combinations. What the panels name is what `facekp.training.wandb_run` tells: keys of config.yaml, metrics.csv and metrics.json.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints

log = logging.getLogger(__name__)
COMPARED = ("optimizer.name", "lr", "subset")  # config keys whose combinations are compared

VARIED = (*COMPARED, "scheduler.name", "loss.name", "model.network.name", "model.sigma", "data.fold", "seed")


def build_workspace(entity: str, project: str, title: str, keypoints: Keypoints) -> Any:
    """The workspace (`wandb_workspaces.workspaces.Workspace`), not sent yet.

    Raises:
        UserError: the package is not installed.
    """
    try:
        import wandb_workspaces.reports.v2 as wr
        import wandb_workspaces.workspaces as ws
    except ModuleNotFoundError as error:
        raise UserError(f"dashboard: {error}; pip install 'facekp[dashboard]'") from error

    def curve(title: str, *names: str, log_y: bool = False, groupby: str | None = None) -> Any:
        return wr.LinePlot(title=title, x="epoch", y=list(names), title_x="epoch", log_y=log_y, groupby=groupby)

    def bars(title: str, *names: str, groupby: Any = None) -> Any:
        return wr.BarPlot(title=title, metrics=list(names), title_x="RMSE, pixels", groupby=groupby)

    sources = [f"rmse/{name}" for name in keypoints.source_names]
    columns = [wr.ParallelCoordinatesPlotColumn(metric=wr.Config(key), log=key == "lr" or None) for key in VARIED]
    columns.append(wr.ParallelCoordinatesPlotColumn(metric=wr.SummaryMetric("rmse"), display_name="RMSE"))
    sections = {
        "RMSE by optimiser, learning rate and subset": [
            bars("every combination", "rmse"),
            *(bars(f"by {key}", "rmse", groupby=wr.Config(key)) for key in COMPARED),
            wr.ScatterPlot(title="by learning rate", x=wr.Config("lr"), y=wr.SummaryMetric("rmse"), log_x=True),
        ],
        "curves": [
            curve("validation RMSE, pixels", "val/rmse", log_y=True),
            curve("validation RMSE by sweep, pixels", "val/rmse", log_y=True, groupby="Group"),
            *(curve(f"validation RMSE, {name}, pixels", f"val/{name}", log_y=True) for name in sources),
            curve("training loss", "train/loss"),
            curve("validation loss", "val/loss"),
            curve("learning rate", "lr"),
        ],
        "what decides": [wr.ParallelCoordinatesPlot(title="settings and RMSE", columns=columns)],
        "by source and keypoint": [
            bars("by source", *sources),
            bars("by keypoint", *(f"rmse/{name}" for name in keypoints.names)),
        ],
        "sample faces": [wr.WeavePanelSummaryTable(table_name="faces")],
    }
    return ws.Workspace(
        entity=entity,
        project=project,
        name=title,
        sections=[ws.Section(name=name, panels=panels, is_open=True) for name, panels in sections.items()],
        settings=ws.WorkspaceSettings(x_axis="epoch", max_runs=100),
        runset_settings=ws.RunsetSettings(
            groupby=[ws.Config(key) for key in COMPARED],
            order=[ws.Ordering(ws.Summary("rmse"), ascending=True)],
        ),
    )


def specification(workspace: Any) -> dict[str, Any]:
    """What W&B is sent, as plain values."""
    view = workspace._to_model()
    return {
        "entityName": view.entity,
        "projectName": view.project,
        "displayName": view.display_name,
        "spec": json.loads(view.spec.model_dump_json(by_alias=True, exclude_none=True)),
    }


def own_entity() -> str:
    """The account's default entity.

    Raises:
        UserError: there is no account, or it can't be asked.
    """
    import wandb

    from facekp.training.wandb_run import has_account  # here, as it brings Lightning

    way_out = "; wandb login gives one, dry_run=true out=FILE.json only writes the specification"
    client = wandb.setup(wandb.Settings(silent=True)).settings
    if not has_account(client):
        raise UserError(f"dashboard: no W&B account on this machine{way_out}")
    try:
        return str(wandb.Api(timeout=20).default_entity)
    except Exception as error:  # the client has no common one
        raise UserError(f"dashboard: {client.base_url} did not accept the account: {error}{way_out}") from error


def send(workspace: Any) -> str:
    """Save the workspace at W&B; its address.

    Raises:
        UserError: it was not taken.
    """
    try:
        workspace.save()
    except Exception as error:  # the client has no common one
        place = f"{workspace.entity}/{workspace.project}"
        raise UserError(f"dashboard: W&B did not take it for {place}: {error}; check entity= and project=") from error
    log.info("dashboard: %s", workspace.url)
    return workspace.url
