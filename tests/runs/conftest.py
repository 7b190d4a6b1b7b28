"""Configs of a sweep and of its jobs, as Hydra composes them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from facekp.config.location import CONF_DIR
from facekp.runs.settings import SearchSettings, parse_search
from facekp.runs.sweeps.job_names import register_job_name
from facekp.runs.sweeps.sweep import SHARED_KEYS

PRUNE = {"percentile": 50.0, "trials": 2, "epochs": 2}


@pytest.fixture
def job() -> Iterator[Callable[..., DictConfig]]:
    """Compose a job of a sweep and make it Hydra's current one; the function returns its config.

    ``shared`` are the keys that all jobs share; None: those of conf/train.yaml.
    """

    def make(*overrides: str, shared: Sequence[str] | None = ("out",)) -> DictConfig:
        register_job_name()
        with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            settings = [*overrides, *(() if shared is None else [f"{SHARED_KEYS}=[{','.join(shared)}]"])]
            cfg = compose("train", settings, return_hydra_config=True)
        HydraConfig.instance().set_config(cfg)
        return cfg

    yield make
    HydraConfig.instance().cfg = None


@pytest.fixture
def multirun() -> Iterator[Callable[..., DictConfig]]:
    """The config of a whole sweep, as the callback gets it before the first job; Hydra stays open for it."""
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):

        def make(folder: Path, *overrides: str) -> DictConfig:
            cfg = compose("train", [f"hydra.sweep.dir={folder}"], return_hydra_config=True)
            cfg.hydra.overrides.task = list(overrides)
            cfg.hydra.overrides.hydra = [f"hydra.sweep.dir={folder}"]
            return cfg

        yield make


def search_settings(**values: Any) -> SearchSettings:
    """Settings of a search that prunes early."""
    given = {"name": "optuna", "trials": 4, "parallel": None, "seed": 0, "random": 10, "storage": None, "prune": PRUNE}
    settings = parse_search({**given, **values})
    assert settings is not None
    return settings


def begin_job(folder: Path) -> None:
    """What a job leaves when it begins, as far as the sweep looks."""
    folder.mkdir(parents=True)
    (folder / "status.json").write_text(json.dumps({"status": "running", "message": "", "differs": {}}))
