"""`python -m facekp.dashboard entity=NAME`: a Weights & Biases workspace that compares the runs of a project.

Runs are grouped by optimiser, learning rate and subset, so every panel shows one bar, curve or line for each of their
combinations. What the panels name is what `facekp.training.wandb_run` tells: keys of config.yaml, metrics.csv and metrics.json.
"""

from __future__ import annotations

import logging
from pathlib import Path

from omegaconf import DictConfig

from facekp.config.command import plain, run_command
from facekp.core.errors import UserError
from facekp.core.files import write_json
from facekp.core.keypoints import Keypoints
from facekp.reporting.wandb_workspace import build_workspace, own_entity, send, specification

log = logging.getLogger(__name__)


def main(cfg: DictConfig) -> str | None:
    """Hydra's task: build, write where asked for, send."""
    config = plain(cfg)
    if config["dry_run"] and config["out"] is None:
        raise UserError("dry_run=true: nothing would come of it; name a file with out=FILE.json")
    keypoints = Keypoints.from_dict(config["keypoints"])
    workspace = build_workspace(config["entity"] or "", config["project"], config["title"], keypoints)
    if config["out"] is not None:
        write_json(Path(config["out"]), specification(workspace))
        log.info("written: %s", config["out"])
    if config["dry_run"]:
        return None
    own = own_entity()
    workspace.entity = config["entity"] or own
    return send(workspace)


if __name__ == "__main__":
    run_command("dashboard", main)
