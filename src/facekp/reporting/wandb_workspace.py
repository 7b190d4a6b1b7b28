"""The W&B dashboard: a workspace that compares the runs of a project.

Runs are grouped by optimiser, learning rate and subset, so every panel shows one bar, curve or line for each of their
combinations. Panels refer to keys of config.yaml, metrics.csv and metrics.json, as
`facekp.training.loggers.wandb_callback` logs them. A declared metric that is shown in the place ``dashboard`` has its
own panels (`facekp.functional.metrics`).
"""

from __future__ import annotations

import json
import logging
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Self

from pydantic import model_validator

from facekp.config.command import CommandSettings
from facekp.core.errors import UserError
from facekp.core.files import write_json
from facekp.core.keypoints import Keypoints, KeypointsField
from facekp.core.outputs import output_file
from facekp.core.settings import NewPath, Text
from facekp.reporting.wandb_account import has_account

if TYPE_CHECKING:
    from facekp.functional.metrics import Metric

log = logging.getLogger(__name__)

COMPARED_KEYS = ("optimizer.name", "lr", "subset")  # config keys whose combinations are compared
VARIED = (*COMPARED_KEYS, "scheduler.name", "loss.name", "model.network.name", "model.sigma", "data.fold", "seed")
ACCOUNT_HINT = "wandb login stores its API key; dry_run=true out=FILE.json writes the specification without one"


class DashboardSettings(CommandSettings):
    """Settings of ``facekp.dashboard``.

    Attributes:
        keypoints: its points and sources have a bar and a curve each.
        entity: W&B user or team; None: the default of the account.
        project: W&B project.
        title: name of the workspace.
        out: file for the specification; None: it is not written.
        overwrite: replace ``out`` if it exists.
        dry_run: write the file only.
    """

    keypoints: KeypointsField
    entity: Text | None
    project: Text
    title: Text
    out: NewPath | None
    overwrite: bool = False
    dry_run: bool

    @model_validator(mode="after")
    def _dry_run_writes_a_file(self) -> Self:
        if self.dry_run and self.out is None:
            raise ValueError("dry_run=true: has no effect without a file; give out=FILE.json")
        return self


def create_dashboard(settings: DashboardSettings) -> str | None:
    """Build the workspace, write its specification if a file is given, and save it at W&B unless it is a dry run.

    Returns:
        its address; None after a dry run.

    Raises:
        UserError: a package or the account is missing, or W&B refuses the workspace.
    """
    with nullcontext() if settings.out is None else output_file(settings.out, overwrite=settings.overwrite) as out:
        workspace = build_workspace(settings.entity or "", settings.project, settings.title, settings.keypoints)
        if out is not None:
            write_json(out, specification(workspace))
            log.info("written: %s", out)
    if settings.dry_run:
        return None
    default = default_entity()
    workspace.entity = settings.entity or default
    return send(workspace)


def build_workspace(entity: str, project: str, title: str, keypoints: Keypoints) -> Any:
    """The workspace (`wandb_workspaces.workspaces.Workspace`), not sent yet.

    Raises:
        UserError: the package wandb-workspaces is not installed.
    """
    try:
        import wandb_workspaces.workspaces as ws
    except ModuleNotFoundError as error:
        raise UserError(f"dashboard: {error}; pip install 'facekp[dashboard]'") from error

    sections = {**_rmse_sections(keypoints), **_metric_sections(keypoints), **_face_sections()}
    return ws.Workspace(
        entity=entity,
        project=project,
        name=title,
        sections=[ws.Section(name=name, panels=panels, is_open=True) for name, panels in sections.items()],
        settings=ws.WorkspaceSettings(x_axis="epoch", max_runs=100),
        runset_settings=ws.RunsetSettings(
            groupby=[ws.Config(key) for key in COMPARED_KEYS],
            order=[ws.Ordering(ws.Summary("rmse"), ascending=True)],
        ),
    )


def _rmse_sections(keypoints: Keypoints) -> dict[str, list[Any]]:
    """Panels of the RMSE, the losses and the learning rate, by section."""
    import wandb_workspaces.reports.v2 as wr

    sources = [f"rmse/{name}" for name in keypoints.source_names]
    columns = [wr.ParallelCoordinatesPlotColumn(metric=wr.Config(key), log=key == "lr" or None) for key in VARIED]
    columns.append(wr.ParallelCoordinatesPlotColumn(metric=wr.SummaryMetric("rmse"), display_name="RMSE"))
    return {
        "RMSE by optimiser, learning rate and subset": [
            _bars("every combination", "rmse"),
            *(_bars(f"by {key}", "rmse", groupby=wr.Config(key)) for key in COMPARED_KEYS),
            wr.ScatterPlot(title="by learning rate", x=wr.Config("lr"), y=wr.SummaryMetric("rmse"), log_x=True),
        ],
        "curves": [
            _curve("validation RMSE, pixels", "val/rmse", log_y=True),
            _curve("validation RMSE by sweep, pixels", "val/rmse", log_y=True, groupby="Group"),
            *(_curve(f"validation RMSE, {name}, pixels", f"val/{name}", log_y=True) for name in sources),
            _curve("training loss", "train/loss"),
            _curve("validation loss", "val/loss"),
            _curve("learning rate", "lr"),
        ],
        "settings and RMSE": [wr.ParallelCoordinatesPlot(title="settings and RMSE", columns=columns)],
        "by source and keypoint": [
            _bars("by source", *sources),
            _bars("by keypoint", *(f"rmse/{name}" for name in keypoints.names)),
        ],
    }


def _metric_sections(keypoints: Keypoints) -> dict[str, list[Any]]:
    """A section with the bars and curves of all other metrics that are shown in the dashboard; empty without any."""
    from facekp.functional.metrics import MAIN, POOLED, metrics_shown  # imported here: it imports torch

    panels = []
    for metric in metrics_shown("dashboard"):
        keys = [] if metric.name == MAIN else _scalar_keys(metric, keypoints)
        panels += [_bars(metric.title(key), key, axis=metric.title(key)) for key in keys]
        if "epoch" in metric.shown:
            logged = [key for key in keys if metric.name not in POOLED or key == metric.name]
            panels += [_curve(f"validation {metric.title(key)}", f"val/{key}") for key in logged]
    return {"other metrics": panels} if panels else {}


def _scalar_keys(metric: Metric, keypoints: Keypoints) -> list[str]:
    """The keys that a metric has in metrics.json, found by computing it for a few made-up faces."""
    import numpy as np

    from facekp.functional.metrics import MetricInput

    sources = np.arange(len(keypoints.source_names))  # one face per source
    numbers = np.arange(len(keypoints.names))
    truth = np.stack([numbers**2, numbers], axis=-1)  # (K, 2); no two groups of points have the same mean
    truth = np.tile(truth.astype(np.float32), (len(sources), 1, 1))
    figures = metric(MetricInput(truth + 1, truth, sources, keypoints, np.ones(truth.shape[:2], dtype=np.float32)))
    return [key for key, value in figures.items() if not isinstance(value, dict)]


def _face_sections() -> dict[str, list[Any]]:
    import wandb_workspaces.reports.v2 as wr

    return {"sample faces": [wr.WeavePanelSummaryTable(table_name="faces")]}


def _curve(title: str, *names: str, log_y: bool = False, groupby: str | None = None) -> Any:
    import wandb_workspaces.reports.v2 as wr

    return wr.LinePlot(title=title, x="epoch", y=list(names), title_x="epoch", log_y=log_y, groupby=groupby)


def _bars(title: str, *names: str, groupby: Any = None, axis: str = "RMSE, pixels") -> Any:
    import wandb_workspaces.reports.v2 as wr

    return wr.BarPlot(title=title, metrics=list(names), title_x=axis, groupby=groupby)


def specification(workspace: Any) -> dict[str, Any]:
    """What is sent to W&B, as plain values."""
    view = workspace._to_model()
    return {
        "entityName": view.entity,
        "projectName": view.project,
        "displayName": view.display_name,
        "spec": json.loads(view.spec.model_dump_json(by_alias=True, exclude_none=True)),
    }


def default_entity() -> str:
    """The default entity of the account.

    Raises:
        UserError: there is no account, or the server refuses it.
    """
    import wandb

    client = wandb.setup(wandb.Settings(silent=True)).settings
    if not has_account(client):
        raise UserError(f"dashboard: no W&B account on this machine; {ACCOUNT_HINT}")
    try:
        return str(wandb.Api(timeout=20).default_entity)
    except Exception as error:  # the client's errors have no common class
        raise UserError(f"dashboard: {client.base_url} did not accept the account: {error}; {ACCOUNT_HINT}") from error


def send(workspace: Any) -> str:
    """Save the workspace at W&B.

    Returns:
        its address.

    Raises:
        UserError: W&B refuses it.
    """
    try:
        workspace.save()
    except Exception as error:  # the client's errors have no common class
        project = f"{workspace.entity}/{workspace.project}"
        raise UserError(f"dashboard: W&B refused it for {project}: {error}; check entity= and project=") from error
    log.info("dashboard: %s", workspace.url)
    return workspace.url
