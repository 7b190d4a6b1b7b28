"""`python -m facekp.train optimizer=adam lr=5e-4`: trains one network; with ``-m`` a sweep."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig

from facekp.config.command import run_command
from facekp.runs.lookup import with_newest_run
from facekp.runs.resume_arguments import allow_keys_of_the_run, check_run_dir
from facekp.runs.sweeps.arguments import rewrite_arguments


def main(cfg: DictConfig) -> dict[str, Any] | None:
    """Train what Hydra composed: a run, or a job of a sweep."""
    # imported here: --help and mistakes in a key must answer within a second
    from facekp.training.light_torchmetrics import import_torchmetrics

    import_torchmetrics()  # before Lightning imports it
    from facekp.training.run import run

    return run(cfg)


def rewrite(arguments: list[str]) -> list[str]:
    """The arguments that Hydra reads, where a sweep or a run is resumed, or the newest run is named.

    Raises:
        UserError: the folder of a run is named by ``hydra.run.dir=``, a sweep can't be resumed, or there is no run.
    """
    check_run_dir(arguments)
    return allow_keys_of_the_run(rewrite_arguments(with_newest_run(arguments)))


if __name__ == "__main__":
    run_command("train", main, rewrite)
