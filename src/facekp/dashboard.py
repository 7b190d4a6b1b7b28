"""`python -m facekp.dashboard entity=NAME`: builds a Weights & Biases workspace that compares the runs of a project."""

from __future__ import annotations

from omegaconf import DictConfig

from facekp.config.command import read_settings, run_command


def main(cfg: DictConfig) -> str | None:
    """Hydra's task."""
    # imported here: --help and mistakes in a key must answer within a second
    from facekp.reporting.wandb_workspace import DashboardSettings, create_dashboard

    return create_dashboard(read_settings(cfg, DashboardSettings))


if __name__ == "__main__":
    run_command("dashboard", main)
